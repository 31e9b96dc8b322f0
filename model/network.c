/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See network.h. Layers in order; arithmetic is in the operators and blocks.
 *
 * The three kinds of tokens are embedded apart: their inputs are gathered row by row, mapped
 * together, and added to the rows they belong to.
 */
#include "model/network.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "model/network_buffers.h"
#include "model/ops.h"

struct stack_shape network_stack_shape(const struct architecture *a, uint32_t D, uint32_t depth,
				       bool training)
{
	bool attention = strcmp(a->backbone, attention_block.backbone) == 0;

	return (struct stack_shape){
		.kind = attention ? &attention_block : &mamba_block,
		.depth = depth,
		.block = {.D = D,
			  .E = (size_t)a->expand * D,
			  .N = a->d_state,
			  .K = a->d_conv,
			  .R = (D + 15) / 16,
			  .heads = a->heads,
			  .F = (size_t)a->expand * D,
			  .training = training},
	};
}

void network_init(struct network *net, const struct architecture *a,
		  const struct token_config *tokens, uint32_t n_classes, bool training)
{
	*net = (struct network){
		.architecture = *a,
		.tokens = *tokens,
		.n_classes = n_classes,
		.encoder = network_stack_shape(a, a->embed_dim, a->depth, training),
		.S = tokens->shape.seq_len,
		.n_byte_tokens = layout_byte_tokens(a, tokens),
		.L = layout_sequence_length(a, tokens),
	};
}

static void bind_block(struct block_weights *w, const char *prefix, uint32_t index,
		       float *(*find)(void *ctx, const char *name), void *ctx)
{
	const struct {
		const char *name;
		float **place;
	} list[] = {
		{"norm.weight", &w->norm},
		{"mixer.in_proj.weight", &w->in_proj},
		{"mixer.conv1d.weight", &w->conv},
		{"mixer.conv1d.bias", &w->conv_bias},
		{"mixer.x_proj.weight", &w->x_proj},
		{"mixer.dt_proj.weight", &w->dt_proj},
		{"mixer.dt_proj.bias", &w->dt_bias},
		{"mixer.A_log", &w->A_log},
		{"mixer.D", &w->D},
		{"mixer.out_proj.weight", &w->out_proj},
		{"norm2.weight", &w->norm2},
		{"mlp.fc1.weight", &w->fc1},
		{"mlp.fc2.weight", &w->fc2},
	};
	char name[64];

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		snprintf(name, sizeof(name), "%s.%u.%s", prefix, index, list[i].name);
		*list[i].place = find(ctx, name);
	}
}

void network_bind_stack(struct stack_weights *w, const char *prefix, const char *norm,
			uint32_t depth, float *(*find)(void *ctx, const char *name), void *ctx)
{
	for (uint32_t i = 0; i < depth; i++)
		bind_block(&w->block[i], prefix, i, find, ctx);
	w->norm_f = find(ctx, norm);
}

/* A model file may have tensors of options that are off; nobody has checked their shapes. */
static void drop_unasked(struct network_weights *w, const struct architecture *a)
{
	if (!a->byte_table)
		w->table = NULL;
	for (int m = MODALITY_SIZE; !a->project_values && m <= MODALITY_IAT; m++)
		w->proj[m] = w->proj_bias[m] = NULL;
	if (!a->head_bias)
		w->head_bias = NULL;
}

void network_bind(struct network_weights *w, const struct network *net,
		  float *(*find)(void *ctx, const char *name), void *ctx)
{
	const struct {
		const char *name;
		float **place;
	} list[] = {
		{"byte_cls_token", &w->cls[MODALITY_BYTE]},
		{"size_cls_token", &w->cls[MODALITY_SIZE]},
		{"iat_cls_token", &w->cls[MODALITY_IAT]},
		{"byte_indicator", &w->indicator[MODALITY_BYTE]},
		{"size_indicator", &w->indicator[MODALITY_SIZE]},
		{"iat_indicator", &w->indicator[MODALITY_IAT]},
		{"pos_embed", &w->position},
		{"byte_embed.proj.weight", &w->proj[MODALITY_BYTE]},
		{"byte_embed.proj.bias", &w->proj_bias[MODALITY_BYTE]},
		{"byte_embed.table", &w->table},
		{"size_embed.proj.weight", &w->proj[MODALITY_SIZE]},
		{"size_embed.proj.bias", &w->proj_bias[MODALITY_SIZE]},
		{"iat_embed.proj.weight", &w->proj[MODALITY_IAT]},
		{"iat_embed.proj.bias", &w->proj_bias[MODALITY_IAT]},
		{"head.weight", &w->head},
		{"head.bias", &w->head_bias},
	};

	*w = (struct network_weights){0};
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		*list[i].place = find(ctx, list[i].name);
	drop_unasked(w, &net->architecture);
	network_bind_stack(&w->encoder, "encoder_blocks", "norm_f.weight", net->architecture.depth,
			   find, ctx);
}

float *value_block_find(void *ctx, const char *name)
{
	const struct value_block *block = ctx;
	const struct parameter *p = layout_find(block->layout, name);

	return p ? block->values + p->offset : NULL;
}

void network_bind_block(struct network_weights *w, const struct network *net,
			const struct layout *layout, float *values)
{
	struct value_block block = {layout, values};

	network_bind(w, net, value_block_find, &block);
}

uint32_t pass_fit(const struct pass *p, const struct batch *batch, uint32_t first, uint32_t end)
{
	size_t n_rows = 0;
	uint32_t n = 0;

	while (first + n < end && n < p->max_flows) {
		n_rows += batch->n_places[first + n];
		if (n_rows > p->max_rows)
			break;
		n++;
	}
	return n;
}

static enum modality modality_of(const struct network *net, size_t place)
{
	return place <= net->S           ? MODALITY_SIZE
	       : place <= 2 * net->S + 1 ? MODALITY_IAT
					 : MODALITY_BYTE;
}

/* Rows of all flows, in order. */
static void lay_rows(struct pass *p, const struct batch *batch, uint32_t first)
{
	const struct network *net = p->net;
	size_t row = 0;

	for (uint32_t b = 0; b < p->n_flows; b++) {
		const uint16_t *place = batch->places + (size_t)(first + b) * batch->n_tokens;

		p->start[b] = row;
		for (uint16_t i = 0; i < batch->n_places[first + b]; i++, row++) {
			p->place[row] = place[i];
			if (place_is_cls(net->S, net->L, place[i]))
				p->cls[b * MODALITIES + modality_of(net, place[i])] = row;
		}
	}
	p->start[p->n_flows] = row;
	p->n_rows = row;
}

/* Padding is one value again and again: that costs a copy. */
static const float *sinusoid_of(struct pass_buffers *k, float value, size_t D)
{
	if (!k->sinusoid_known || k->sinusoid_value != value)
		sinusoid_forward(k->sinusoid, value, k->frequency, D);
	k->sinusoid_known = true;
	k->sinusoid_value = value;
	return k->sinusoid;
}

static void gather_bytes(struct pass *p, const uint8_t *bytes, size_t token)
{
	struct gathered *g = &p->buffers->gathered[MODALITY_BYTE];
	const struct token_config *t = &p->net->tokens;
	size_t stride = p->net->architecture.stride;
	uint8_t *window = p->buffers->window + g->n * stride;

	memcpy(window, bytes + token * stride, stride);
	if (p->net->architecture.byte_table)
		return;
	for (size_t i = 0; i < stride; i++)
		g->in[g->n * stride + i] = window[i] * t->byte_scale + t->byte_offset;
}

/* What the token in this place is embedded from. */
static void gather_input(struct pass *p, const struct batch *batch, size_t flow, size_t place,
			 enum modality m)
{
	const struct network *net = p->net;
	const struct gathered *g = &p->buffers->gathered[m];
	size_t D = net->architecture.embed_dim, S = net->S;
	float value;

	if (m == MODALITY_BYTE) {
		gather_bytes(p, batch->bytes + flow * net->n_byte_tokens * batch->stride,
			     place - 2 * (S + 1));
		return;
	}
	value = m == MODALITY_SIZE ? batch->sizes[flow * S + place]
				   : batch->iats[flow * S + place - S - 1];
	memcpy(g->in + g->n * D, sinusoid_of(p->buffers, value, D), D * sizeof(float));
}

static void gather(struct pass *p, const struct batch *batch, uint32_t first, enum modality m)
{
	struct gathered *g = &p->buffers->gathered[m];

	g->n = 0;
	for (uint32_t b = 0; b < p->n_flows; b++)
		for (size_t row = p->start[b]; row < p->start[b + 1]; row++) {
			size_t place = p->place[row];

			if (modality_of(p->net, place) != m ||
			    place_is_cls(p->net->S, p->net->L, place))
				continue;
			gather_input(p, batch, first + b, place, m);
			g->row[g->n++] = row;
		}
}

static void add_rows(float *h, const struct gathered *g, const float *tokens, const float *bias,
		     size_t D)
{
	for (size_t i = 0; i < g->n; i++)
		for (size_t d = 0; d < D; d++)
			h[g->row[i] * D + d] += tokens[i * D + d] + (bias ? bias[d] : 0.0F);
}

/* h = indicator + position (+ CLS) */
static void begin_rows(struct pass *p, const struct network_weights *w)
{
	const struct network *net = p->net;
	size_t D = net->architecture.embed_dim;

	for (size_t row = 0; row < p->n_rows; row++) {
		size_t place = p->place[row];
		enum modality m = modality_of(net, place);
		const float *position = w->position + place * D;
		const float *cls = place_is_cls(net->S, net->L, place) ? w->cls[m] : NULL;

		for (size_t d = 0; d < D; d++)
			p->h[row * D + d] =
				w->indicator[m][d] + position[d] + (cls ? cls[d] : 0.0F);
	}
}

static void embed(struct pass *p, const struct network_weights *w, const struct batch *batch,
		  uint32_t first)
{
	struct pass_buffers *k = p->buffers;
	size_t D = p->net->architecture.embed_dim, stride = p->net->architecture.stride;
	size_t *row_place = k->row;
	float *in_place = k->in;

	begin_rows(p, w);
	for (int m = 0; m < MODALITIES; m++) {
		struct gathered *g = &k->gathered[m];
		size_t n_in = m == MODALITY_BYTE ? stride : D;
		const float *tokens = k->mapped;

		g->row = row_place;
		g->in = in_place;
		gather(p, batch, first, m);
		row_place += g->n;
		in_place += g->n * n_in;
		if (m == MODALITY_BYTE && w->table)
			byte_table_forward(k->mapped, k->window, w->table, g->n, stride, D);
		else if (w->proj[m])
			linear_forward(k->mapped, g->in, n_in, w->proj[m], g->n, n_in, D);
		else
			tokens = g->in;
		add_rows(p->h, g, tokens, w->proj_bias[m], D);
	}
}

static void tell(const struct pass *p, const char *name, uint32_t block, const float *values)
{
	if (p->tap)
		p->tap(p->tap_ctx, name, block, values, p->first_flow, p->n_flows);
}

static void tell_of_stack(void *ctx, const char *name, uint32_t block, const float *values)
{
	tell(ctx, name, block, values);
}

void network_encode(struct pass *p, const struct network_weights *w, const struct batch *batch,
		    uint32_t first, uint32_t n_flows)
{
	p->n_flows = n_flows;
	p->first_flow = first;
	lay_rows(p, batch, first);
	embed(p, w, batch, first);
	tell(p, "tokens", 0, p->h);
	p->stack->tap = p->tap ? tell_of_stack : NULL;
	p->stack->tap_ctx = p;
	p->output = stack_forward(p->stack, &w->encoder,
				  &(struct rows){p->n_rows, n_flows, p->start}, p->h);
}

void network_classify(struct pass *p, const struct network_weights *w, float *logits)
{
	const struct network *net = p->net;
	const float *output = p->output;
	size_t D = net->architecture.embed_dim;

	for (uint32_t b = 0; b < p->n_flows; b++) {
		const size_t *cls = p->cls + b * MODALITIES;

		for (size_t d = 0; d < D; d++)
			p->pooled[b * D + d] = output[cls[0] * D + d] + output[cls[1] * D + d] +
					       output[cls[2] * D + d];
	}
	tell(p, "pooled", 0, p->pooled);
	linear_forward(logits, p->pooled, D, w->head, p->n_flows, D, net->n_classes);
	if (w->head_bias)
		bias_forward(logits, w->head_bias, p->n_flows, net->n_classes);
}
