/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One block of the encoder, Mamba or attention, behind one interface, forward and backward.
 * network.c has added h to the residual stream and normed it: a block turns u (rows, D) into h
 * (rows, D), and may add to the residual stream itself (attention does, between its two halves).
 *
 * Rows are the tokens of some flows, one flow after the other; flows may differ in length. All
 * buffers are the caller's: `kept` lives from forward to backward (without training it may be one
 * for all blocks), `scratch` only within backward.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "model/model_file.h"

struct rows {
	size_t n_rows, n_flows;
	const size_t *start; /* (n_flows + 1): flow b has rows start[b] .. start[b + 1] - 1 */
};

struct block_shape {
	size_t D, E, N, K, R; /* letters of ops.h */
	size_t heads, F;      /* attention: heads, inner width of its feed-forward half */
	bool training;        /* keep what backward needs */
};

/* Weights, or their gradients. Weights are not written through these. */
struct block_weights {
	float *norm; /* before the block; network.c's */
	/* mamba */
	float *in_proj, *conv, *conv_bias, *x_proj, *dt_proj, *dt_bias, *A_log, *D, *out_proj;
	/* attention: in_proj (3 D, D) and out_proj (D, D) as above, then */
	float *norm2, *fc1, *fc2; /* (D), (2 F, D), (D, F) */
};

struct block_kind {
	const char *backbone;
	size_t (*kept_floats)(const struct block_shape *s, size_t n_rows, size_t n_flows);
	size_t (*scratch_floats)(const struct block_shape *s, size_t n_rows, size_t n_flows);
	void (*forward)(const struct block_shape *s, const struct block_weights *w, float *kept,
			const struct rows *rows, float *residual, const float *u, float *h);
	/* d_h: of the block's output. d_residual: in, of the residual stream as the block left it;
	 * out, as the block found it. d_u is written. Gradients of weights are added to d. */
	void (*backward)(const struct block_shape *s, const struct block_weights *w,
			 struct block_weights *d, const float *kept, float *scratch,
			 const struct rows *rows, const float *u, const float *d_h,
			 float *d_residual, float *d_u);
};

extern const struct block_kind mamba_block;     /* block_mamba.c */
extern const struct block_kind attention_block; /* block_attention.c */
