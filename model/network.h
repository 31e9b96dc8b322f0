/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The network on the operators of ops.h: embedding, encoder, classifier, forward and backward; used
 * by the CPU engine, by fine-tuning and by pre-training. It knows no files, losses or loops.
 *
 * A pass takes n_flows of a batch from first on. Each flow is the tokens that its places name
 * (batch.h): all of them, only those that exist (packed), or those that pre-training left.
 *
 * struct pass owns the buffers of one pass, and is used by one thread; a network is immutable and
 * shared. Weights and gradients are struct network_weights: pointers into a model file's tensors or
 * into one block (layout.h); nothing writes through those of weights.
 */
#pragma once
#include "model/batch.h"
#include "model/layout.h"
#include "model/stack.h"

struct network {
	struct architecture architecture;
	struct token_config tokens;
	uint32_t n_classes;
	struct stack_shape encoder;
	size_t S, n_byte_tokens, L; /* sizes; byte tokens and all tokens when nothing is left out */
};

enum modality { MODALITY_SIZE, MODALITY_IAT, MODALITY_BYTE, MODALITIES };

struct network_weights {
	float *cls[MODALITIES], *indicator[MODALITIES];
	float *position;
	float *proj[MODALITIES], *proj_bias[MODALITIES]; /* bytes: the stride's; NULL if there is
							    none */
	float *table;                                    /* byte_embed.table; NULL with stride */
	struct stack_weights encoder;
	float *head, *head_bias; /* NULL in pre-training; head_bias also without one */
};

/* The shape of blocks of width D in the architecture: the encoder's, a decoder's. */
struct stack_shape network_stack_shape(const struct architecture *a, uint32_t D, uint32_t depth,
				       bool training);
void network_init(struct network *net, const struct architecture *a,
		  const struct token_config *tokens, uint32_t n_classes, bool training);

/* find returns NULL for a tensor that is not there; every one that the architecture needs is. */
void network_bind(struct network_weights *w, const struct network *net,
		  float *(*find)(void *ctx, const char *name), void *ctx);
/* A stack's: prefix "encoder_blocks", norm "norm_f.weight". */
void network_bind_stack(struct stack_weights *w, const char *prefix, const char *norm,
			uint32_t depth, float *(*find)(void *ctx, const char *name), void *ctx);
/* The same for one block of values in a layout's order. */
void network_bind_block(struct network_weights *w, const struct network *net,
			const struct layout *layout, float *values);
struct value_block {
	const struct layout *layout;
	float *values;
};
float *value_block_find(void *block, const char *name); /* a `find` in struct value_block */

/*
 * Called during a pass with intermediates: "tokens", "out" and "residual" of each block, "norm_f",
 * each (rows, D), and "pooled" (n_flows, D).
 */
typedef void (*tap_fn)(void *ctx, const char *name, uint32_t block, const float *values,
		       uint32_t first_flow, uint32_t n_flows);

struct pass {
	const struct network *net;
	size_t max_rows, n_rows;
	uint32_t max_flows, n_flows, first_flow;
	size_t *start;       /* as in struct rows */
	uint16_t *place;     /* (rows) which token of the whole sequence a row is */
	size_t *cls;         /* (n_flows, MODALITIES): rows of the CLS tokens */
	float *h;            /* (rows, D) */
	const float *output; /* (rows, D), of the encoder */
	float *pooled;       /* (n_flows, D): sum of the CLS tokens */
	struct stack *stack;
	tap_fn tap;
	void *tap_ctx;
	struct pass_buffers *buffers; /* private */
};

/* Buffers for up to max_flows flows of max_rows tokens together; max_rows >= L. -ENOMEM. */
int pass_new(const struct network *net, uint32_t max_flows, size_t max_rows,
	     struct pass **ret_pass);
void pass_free(struct pass *p); /* accepts NULL */
/* How many flows of batch[first .. end) fit one pass: at least 1 when there is one. */
uint32_t pass_fit(const struct pass *p, const struct batch *batch, uint32_t first, uint32_t end);

/* Fills start, place, cls, then runs the encoder: the result is p->output. */
void network_encode(struct pass *p, const struct network_weights *w, const struct batch *batch,
		    uint32_t first, uint32_t n_flows);
/* d_output (rows, D). Adds to d. Follows network_encode of the same flows. */
void network_encode_backward(struct pass *p, const struct network_weights *w,
			     struct network_weights *d, const float *d_output);

/* logits (n_flows, n_classes) from p->output: head of the sum of the CLS tokens. */
void network_classify(struct pass *p, const struct network_weights *w, float *logits);
/* The whole way back from logits to the embedding. */
void network_classify_backward(struct pass *p, const struct network_weights *w,
			       struct network_weights *d, const float *d_logits);
