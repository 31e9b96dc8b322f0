/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks one after the other on a residual stream, and the norm after the last (golden formulas,
 * "Encoder"): the encoder, and the decoder of masked pre-training.
 *
 *   residual += h; h = Block(RMSNorm(residual)) ... output = RMSNorm_f(residual + h)
 *
 * A stack owns the buffers of one pass and is used by one thread.
 */
#pragma once
#include <stdint.h>
#include "model/block.h"

struct stack_shape {
	const struct block_kind *kind;
	struct block_shape block;
	uint32_t depth;
};

struct stack_weights {
	struct block_weights block[MODEL_MAX_DEPTH];
	float *norm_f;
};

typedef void (*stack_tap_fn)(void *ctx, const char *name, uint32_t block, const float *values);

struct stack {
	struct stack_shape shape;
	size_t max_rows;
	/* NULL, or (depth, flows): what a block's output is multiplied by (drop path, arXiv
	 * 1603.09382). The caller's. */
	const float *drop;
	/* "out" and "residual" of each block, "norm_f"; each (rows, D). May be NULL. */
	stack_tap_fn tap;
	void *tap_ctx;
	/* private; training keeps a copy for each block, else one serves all */
	size_t n_copies, kept_floats;
	float *residual, *u;           /* (n_copies; max_rows, D) */
	float *kept;                   /* (n_copies - 1 or 1; kept_floats) */
	float *d_residual, *d_h, *d_u; /* (max_rows, D), training only, like scratch */
	float *scratch;
	void *arena;
};

/* -ENOMEM. */
int stack_new(const struct stack_shape *shape, size_t max_rows, size_t max_flows,
	      struct stack **ret_stack);
void stack_free(struct stack *s); /* accepts NULL */

/* h (rows, D) is used up; returns the output (rows, D), which lives until the next call. */
const float *stack_forward(struct stack *s, const struct stack_weights *w, const struct rows *rows,
			   float *h);
/* d_output (rows, D). Adds to d; returns the gradient of h (rows, D). */
const float *stack_backward(struct stack *s, const struct stack_weights *w, struct stack_weights *d,
			    const struct rows *rows, const float *d_output);
