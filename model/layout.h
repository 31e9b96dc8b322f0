/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which tensors a network has: the one list of names, shapes and groups, by which model files are
 * checked and trainers keep weights, gradients and moments, each one block of n_values floats.
 * Names are the official state dict's. Owner: the caller; layout_free.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "model/model_file.h"

struct parameter {
	char name[64];
	uint32_t n_dims;
	uint64_t shape[4];
	size_t offset, n_values; /* in the block */
	uint32_t layer;          /* 0 embeddings, 1.. the blocks, depth + 1 what comes after */
	bool decayed;            /* weight decay: not on 1-D parameters, pos_embed and CLS tokens */
};

struct layout {
	struct parameter *list; /* in the order of the network, offsets growing */
	size_t n;
	size_t n_values;
	uint32_t n_layers; /* depth + 2 */
};

/* The byte decoder of masked pre-training (golden formulas, "Pre-training"). */
struct decoder_config {
	uint32_t embed_dim; /* official 128 */
	uint32_t depth;     /* official 2 */
};

/* -ENOMEM. The architecture has been checked by model_read_metadata or settings. */
int layout_classifier(const struct architecture *a, const struct token_config *tokens,
		      uint32_t n_classes, struct layout **ret_layout);
int layout_pretrain(const struct architecture *a, const struct token_config *tokens,
		    const struct decoder_config *decoder, struct layout **ret_layout);
void layout_free(struct layout *l); /* accepts NULL */

/* NULL when there is none of that name. */
const struct parameter *layout_find(const struct layout *l, const char *name);

/* Byte tokens P (H + Y) / stride, and the whole sequence: (S + 1) + (S + 1) + (N + 1). */
uint32_t layout_byte_tokens(const struct architecture *a, const struct token_config *tokens);
uint32_t layout_sequence_length(const struct architecture *a, const struct token_config *tokens);
/* Classes of a masked size: 0 to 1500 (signed 3000), one that the official code leaves free, and
 * the mask itself. */
uint32_t layout_size_classes(const struct token_config *tokens);
