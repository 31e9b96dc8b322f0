/* SPDX-License-Identifier: BSD-2-Clause */
/* See layout.h. Names and shapes are those of the official modules' state dict. */
#include "model/layout.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than there are of each in any network. */
#define MAX_OUTSIDE_BLOCKS 48
#define MAX_IN_BLOCK       12

uint32_t layout_byte_tokens(const struct architecture *a, const struct token_config *tokens)
{
	return tokens->shape.packets * sample_row_bytes(&tokens->shape) / a->stride;
}

uint32_t layout_sequence_length(const struct architecture *a, const struct token_config *tokens)
{
	return 2 * (tokens->shape.seq_len + 1U) + layout_byte_tokens(a, tokens) + 1;
}

uint32_t layout_size_classes(const struct token_config *tokens)
{
	return tokens->shape.bidirectional ? 3003 : 1503;
}

void layout_free(struct layout *l)
{
	if (!l)
		return;
	free(l->list);
	free(l);
}

const struct parameter *layout_find(const struct layout *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->list[i].name, name) == 0)
			return &l->list[i];
	return NULL;
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), n_end = strlen(end);

	return n >= n_end && strcmp(text + n - n_end, end) == 0;
}

static void add(struct layout *l, uint32_t layer, const char *prefix, const char *name,
		const uint64_t *shape, uint32_t n_dims)
{
	struct parameter *p = &l->list[l->n++];

	snprintf(p->name, sizeof(p->name), "%s%s", prefix, name);
	memcpy(p->shape, shape, n_dims * sizeof(*shape));
	p->n_dims = n_dims;
	p->layer = layer;
	p->offset = l->n_values;
	p->n_values = 1;
	for (uint32_t i = 0; i < n_dims; i++)
		p->n_values *= shape[i];
	p->decayed =
		n_dims > 1 && !ends_with(p->name, "pos_embed") && !ends_with(p->name, "cls_token");
	l->n_values += p->n_values;
}

#define ADD(l, layer, prefix, name, ...)                                                           \
	add(l, layer, prefix, name, (const uint64_t[]){__VA_ARGS__},                               \
	    sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static void add_embedding(struct layout *l, const struct architecture *a,
			  const struct token_config *tokens)
{
	static const char *const modality[] = {"byte", "size", "iat"};
	uint64_t D = a->embed_dim;

	for (int i = 0; i < 3; i++) {
		ADD(l, 0, modality[i], "_cls_token", 1, 1, D);
		ADD(l, 0, modality[i], "_indicator", 1, 1, D);
	}
	ADD(l, 0, "", "pos_embed", 1, layout_sequence_length(a, tokens), D);
	if (a->byte_table)
		ADD(l, 0, "byte_embed.", "table", a->stride, 256, D);
	else
		ADD(l, 0, "byte_embed.", "proj.weight", D, 1, a->stride);
	ADD(l, 0, "byte_embed.", "proj.bias", D);
	for (int i = 1; a->project_values && i < 3; i++) {
		ADD(l, 0, modality[i], "_embed.proj.weight", D, D);
		ADD(l, 0, modality[i], "_embed.proj.bias", D);
	}
}

static void add_mamba(struct layout *l, uint32_t layer, const char *prefix,
		      const struct architecture *a, uint64_t D)
{
	uint64_t E = a->expand * D, N = a->d_state, R = (D + 15) / 16;

	ADD(l, layer, prefix, "norm.weight", D);
	ADD(l, layer, prefix, "mixer.in_proj.weight", 2 * E, D);
	ADD(l, layer, prefix, "mixer.conv1d.weight", E, 1, a->d_conv);
	ADD(l, layer, prefix, "mixer.conv1d.bias", E);
	ADD(l, layer, prefix, "mixer.x_proj.weight", R + 2 * N, E);
	ADD(l, layer, prefix, "mixer.dt_proj.weight", E, R);
	ADD(l, layer, prefix, "mixer.dt_proj.bias", E);
	ADD(l, layer, prefix, "mixer.A_log", E, N);
	ADD(l, layer, prefix, "mixer.D", E);
	ADD(l, layer, prefix, "mixer.out_proj.weight", D, E);
}

static void add_attention(struct layout *l, uint32_t layer, const char *prefix,
			  const struct architecture *a, uint64_t D)
{
	uint64_t F = a->expand * D;

	ADD(l, layer, prefix, "norm.weight", D);
	ADD(l, layer, prefix, "mixer.in_proj.weight", 3 * D, D);
	ADD(l, layer, prefix, "mixer.out_proj.weight", D, D);
	ADD(l, layer, prefix, "norm2.weight", D);
	ADD(l, layer, prefix, "mlp.fc1.weight", 2 * F, D);
	ADD(l, layer, prefix, "mlp.fc2.weight", D, F);
}

static void add_block(struct layout *l, uint32_t layer, const char *list, uint32_t index,
		      const struct architecture *a, uint64_t D)
{
	char prefix[40];

	snprintf(prefix, sizeof(prefix), "%s.%u.", list, index);
	if (strcmp(a->backbone, "attention") == 0)
		add_attention(l, layer, prefix, a, D);
	else
		add_mamba(l, layer, prefix, a, D);
}

/* Embedding and blocks, which classifier and pre-training share. NULL: no memory. */
static struct layout *encoder_layout(const struct architecture *a,
				     const struct token_config *tokens, uint32_t more_blocks)
{
	struct layout *l = calloc(1, sizeof(*l));
	size_t most = MAX_OUTSIDE_BLOCKS + MAX_IN_BLOCK * ((size_t)a->depth + more_blocks);

	if (l)
		l->list = calloc(most, sizeof(*l->list));
	if (!l || !l->list) {
		layout_free(l);
		return NULL;
	}
	l->n_layers = a->depth + 2;
	add_embedding(l, a, tokens);
	for (uint32_t i = 0; i < a->depth; i++)
		add_block(l, i + 1, "encoder_blocks", i, a, a->embed_dim);
	ADD(l, a->depth + 1, "", "norm_f.weight", a->embed_dim);
	return l;
}

int layout_classifier(const struct architecture *a, const struct token_config *tokens,
		      uint32_t n_classes, struct layout **ret_layout)
{
	struct layout *l = encoder_layout(a, tokens, 0);

	if (!l)
		return -ENOMEM;
	ADD(l, a->depth + 1, "", "head.weight", n_classes, a->embed_dim);
	if (a->head_bias)
		ADD(l, a->depth + 1, "", "head.bias", n_classes);
	*ret_layout = l;
	return 0;
}

int layout_pretrain(const struct architecture *a, const struct token_config *tokens,
		    const struct decoder_config *decoder, struct layout **ret_layout)
{
	struct layout *l = encoder_layout(a, tokens, decoder->depth);
	uint64_t D = a->embed_dim, d = decoder->embed_dim;
	uint64_t n_sizes = layout_size_classes(tokens);
	uint32_t last = a->depth + 1;

	if (!l)
		return -ENOMEM;
	ADD(l, last, "", "byte_mask_token", 1, 1, d);
	ADD(l, last, "", "byte_decoder_pos_embed", 1, layout_byte_tokens(a, tokens) + 1, d);
	ADD(l, last, "", "byte_decoder_embed.weight", d, D);
	ADD(l, last, "", "byte_decoder_embed.bias", d);
	for (uint32_t i = 0; i < decoder->depth; i++)
		add_block(l, last, "byte_decoder_blocks", i, a, d);
	ADD(l, last, "", "decoder_norm_f.weight", d);
	ADD(l, last, "", "byte_decoder_pred.weight", a->stride, d);
	ADD(l, last, "", "byte_decoder_pred.bias", a->stride);
	ADD(l, last, "", "size_decoder_pred.weight", n_sizes, D);
	ADD(l, last, "", "size_decoder_pred.bias", n_sizes);
	ADD(l, last, "", "iat_decoder_pred.weight", 1, D);
	ADD(l, last, "", "iat_decoder_pred.bias", 1);
	*ret_layout = l;
	return 0;
}
