/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The network of masked pre-training (golden formulas, "Pre-training"; arXiv 2601.21792): the
 * encoder over what masking left, and the three ways back to what it took:
 *
 * - bytes: most byte tokens are removed before the encoder; a decoder sees its own embedding of the
 *   rest, a learned mask token in every other place, CLS last: mean squared error on the scaled
 *   bytes of removed tokens;
 * - sizes: masked ones are replaced by the mask id; a linear head over sizes: cross-entropy;
 * - times: masked ones are replaced by 0; a linear head: mean squared error.
 *
 * With packed tokens all this is about tokens that exist. Times on the logarithmic scale are
 * predicted a thousandth of their size, so that no modality outweighs the others.
 */
#pragma once
#include "model/network.h"

/* What was taken from flows of a batch, whose places, sizes and times are then what is left. */
struct flow_mask {
	uint16_t n_bytes, n_kept;
	uint16_t *byte; /* (n_bytes) byte tokens (0 .. N - 1): the kept first, as the encoder sees
			   them; the removed after them */
	uint16_t n_sizes, n_iats;
	uint16_t *size, *iat;        /* which were masked, and ... */
	float *true_size, *true_iat; /* ... what they were */
};

struct masked_counts {
	double bytes, sizes, iats; /* tokens of a whole batch: what its means divide by */
};

struct masked_losses {
	double bytes, sizes, iats;
};

struct masked_network {
	struct network net;
	struct decoder_config decoder;
	struct stack_shape decoder_stack;
	size_t n_size_classes;
	float size_mask_id;
};

void masked_network_init(struct masked_network *m, const struct architecture *a,
			 const struct token_config *tokens, const struct decoder_config *decoder);

/* Buffers of one thread. max_flows whole flows fit. */
struct masked_pass;
int masked_pass_new(const struct masked_network *m, uint32_t max_flows,
		    struct masked_pass **ret_pass);
void masked_pass_free(struct masked_pass *p); /* accepts NULL */

/* The flows' share of the batch's three mean losses. values and gradient (NULL = losses only):
 * blocks of a layout_pretrain; gradients of the losses' sum are added. masks[0 .. n_flows) are of
 * the batch's flows from first on. */
struct masked_losses masked_network_gradient(struct masked_pass *p, const struct layout *layout,
					     const struct batch *batch, uint32_t first,
					     uint32_t n_flows, const struct flow_mask *masks,
					     const struct masked_counts *counts,
					     const float *values, float *gradient);
