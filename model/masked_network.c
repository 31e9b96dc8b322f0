/* SPDX-License-Identifier: BSD-2-Clause */
/* See masked_network.h. */
#include "model/masked_network.h"
#include <errno.h>
#include <math.h>
#include <string.h>
#include "model/arena.h"
#include "model/ops.h"

#define IAT_LOG_UNIT 1e-3F

struct masked_weights {
	struct network_weights encoder;
	struct stack_weights decoder;
	float *mask_token, *position;
	float *embed, *embed_bias;
	float *byte_pred, *byte_bias, *size_pred, *size_bias, *iat_pred, *iat_bias;
};

struct masked_pass {
	const struct masked_network *m;
	struct pass *pass;
	struct stack *decoder;
	size_t *start;                /* of the decoder's rows */
	size_t *kept_row;             /* (rows) of the encoder, those of bytes kept and their CLS */
	size_t *decoder_row;          /* (rows) where each goes */
	uint16_t *place;              /* (decoder rows) byte token */
	uint8_t *removed;             /* (decoder rows) */
	float *seen, *d_seen;         /* (rows, D): encoder's output at kept_row */
	float *embedded, *d_embedded; /* (rows, d) */
	float *h, *d_h;               /* (decoder rows, d) */
	float *pred, *d_pred;         /* (decoder rows, stride) */
	float *masked, *d_masked;     /* (masked rows, D) of sizes or times */
	size_t *masked_row;
	float *head, *d_head; /* (masked rows, size classes) */
	float *d_output;      /* (rows, D) of the encoder */
	void *arena;
};

void masked_network_init(struct masked_network *m, const struct architecture *a,
			 const struct token_config *tokens, const struct decoder_config *decoder)
{
	network_init(&m->net, a, tokens, 0, true);
	m->decoder = *decoder;
	m->decoder_stack = network_stack_shape(a, decoder->embed_dim, decoder->depth, true);
	m->n_size_classes = layout_size_classes(tokens);
	m->size_mask_id = (float)(m->n_size_classes - 1);
}

static void bind(struct masked_weights *w, const struct masked_network *m,
		 const struct layout *layout, float *values)
{
	struct value_block block = {layout, values};
	const struct {
		const char *name;
		float **place;
	} list[] = {
		{"byte_mask_token", &w->mask_token},
		{"byte_decoder_pos_embed", &w->position},
		{"byte_decoder_embed.weight", &w->embed},
		{"byte_decoder_embed.bias", &w->embed_bias},
		{"byte_decoder_pred.weight", &w->byte_pred},
		{"byte_decoder_pred.bias", &w->byte_bias},
		{"size_decoder_pred.weight", &w->size_pred},
		{"size_decoder_pred.bias", &w->size_bias},
		{"iat_decoder_pred.weight", &w->iat_pred},
		{"iat_decoder_pred.bias", &w->iat_bias},
	};

	network_bind_block(&w->encoder, &m->net, layout, values);
	network_bind_stack(&w->decoder, "byte_decoder_blocks", "decoder_norm_f.weight",
			   m->decoder.depth, value_block_find, &block);
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		*list[i].place = value_block_find(&block, list[i].name);
}

static int allocate(struct masked_pass *p, uint32_t max_flows)
{
	const struct network *net = &p->m->net;
	size_t D = net->architecture.embed_dim, d = p->m->decoder.embed_dim;
	size_t stride = net->architecture.stride, M = max_flows * net->L;
	size_t M_bytes = max_flows * (net->n_byte_tokens + 1), M_values = max_flows * net->S;
	struct arena_piece list[] = {
		ARENA_PIECE(p->start, size_t, max_flows + 1),
		ARENA_PIECE(p->kept_row, size_t, M_bytes),
		ARENA_PIECE(p->decoder_row, size_t, M_bytes),
		ARENA_PIECE(p->place, uint16_t, M_bytes),
		ARENA_PIECE(p->removed, uint8_t, M_bytes),
		ARENA_PIECE(p->seen, float, M_bytes *D),
		ARENA_PIECE(p->d_seen, float, M_bytes *D),
		ARENA_PIECE(p->embedded, float, M_bytes *d),
		ARENA_PIECE(p->d_embedded, float, M_bytes *d),
		ARENA_PIECE(p->h, float, M_bytes *d),
		ARENA_PIECE(p->d_h, float, M_bytes *d),
		ARENA_PIECE(p->pred, float, M_bytes *stride),
		ARENA_PIECE(p->d_pred, float, M_bytes *stride),
		ARENA_PIECE(p->masked, float, M_values *D),
		ARENA_PIECE(p->d_masked, float, M_values *D),
		ARENA_PIECE(p->masked_row, size_t, M_values),
		ARENA_PIECE(p->head, float, M_values * p->m->n_size_classes),
		ARENA_PIECE(p->d_head, float, M_values * p->m->n_size_classes),
		ARENA_PIECE(p->d_output, float, M *D),
	};

	p->arena = arena_new(list, sizeof(list) / sizeof(list[0]));
	return p->arena ? 0 : -ENOMEM;
}

int masked_pass_new(const struct masked_network *m, uint32_t max_flows,
		    struct masked_pass **ret_pass)
{
	struct masked_pass *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->m = m;
	if (pass_new(&m->net, max_flows, max_flows * m->net.L, &p->pass) ||
	    stack_new(&m->decoder_stack, max_flows * (m->net.n_byte_tokens + 1), max_flows,
		      &p->decoder) ||
	    allocate(p, max_flows)) {
		masked_pass_free(p);
		return -ENOMEM;
	}
	*ret_pass = p;
	return 0;
}

void masked_pass_free(struct masked_pass *p)
{
	if (!p)
		return;
	pass_free(p->pass);
	stack_free(p->decoder);
	free(p->arena);
	free(p);
}

static int compare_place(const void *a, const void *b)
{
	return *(const uint16_t *)a - *(const uint16_t *)b;
}

/* The decoder's rows: each flow's byte tokens in order, then its CLS. Returns how many come from
 * the encoder; the others hold the mask token. */
static size_t lay_decoder_rows(struct masked_pass *p, const struct flow_mask *masks,
			       uint32_t n_flows)
{
	uint16_t N = (uint16_t)p->m->net.n_byte_tokens;
	size_t row = 0, n_kept = 0;

	for (uint32_t b = 0; b < n_flows; b++) {
		const struct flow_mask *mask = &masks[b];
		uint16_t *place = p->place + row;
		size_t cls = p->pass->cls[b * MODALITIES + MODALITY_BYTE];

		p->start[b] = row;
		memcpy(place, mask->byte, mask->n_bytes * sizeof(*place));
		qsort(place, mask->n_bytes, sizeof(*place), compare_place);
		place[mask->n_bytes] = N;
		memset(p->removed + row, 1, mask->n_bytes);
		for (uint16_t i = 0; i < mask->n_kept; i++) {
			const uint16_t *at = bsearch(&mask->byte[i], place, mask->n_bytes,
						     sizeof(*place), compare_place);

			/* the encoder has them in this order, before CLS */
			p->kept_row[n_kept] = cls - mask->n_kept + i;
			p->decoder_row[n_kept++] = row + (size_t)(at - place);
			p->removed[row + (size_t)(at - place)] = 0;
		}
		row += mask->n_bytes;
		p->kept_row[n_kept] = cls;
		p->decoder_row[n_kept++] = row;
		p->removed[row++] = 0;
	}
	p->start[n_flows] = row;
	return n_kept;
}

static void gather_rows(float *to, const float *from, const size_t *row, size_t n, size_t D)
{
	for (size_t i = 0; i < n; i++)
		memcpy(to + i * D, from + row[i] * D, D * sizeof(float));
}

static void scatter_add_rows(float *to, const float *from, const size_t *row, size_t n, size_t D)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < D; k++)
			to[row[i] * D + k] += from[i * D + k];
}

static void decoder_input(struct masked_pass *p, const struct masked_weights *w, size_t n_rows,
			  size_t n_kept)
{
	size_t d = p->m->decoder.embed_dim;

	for (size_t row = 0; row < n_rows; row++)
		memcpy(p->h + row * d, w->mask_token, d * sizeof(float));
	for (size_t i = 0; i < n_kept; i++)
		memcpy(p->h + p->decoder_row[i] * d, p->embedded + i * d, d * sizeof(float));
	for (size_t row = 0; row < n_rows; row++)
		for (size_t k = 0; k < d; k++)
			p->h[row * d + k] += w->position[p->place[row] * d + k];
}

/* Squared error on removed tokens, and its gradient into d_pred. */
static double byte_loss(struct masked_pass *p, const struct batch *batch, uint32_t first,
			uint32_t n_flows, double n_removed)
{
	const struct token_config *t = &p->m->net.tokens;
	size_t stride = p->m->net.architecture.stride;
	size_t n_bytes = p->m->net.n_byte_tokens * stride;
	double sum = 0, unit = n_removed > 0 ? 1 / (n_removed * (double)stride) : 0;

	for (uint32_t b = 0; b < n_flows; b++) {
		const uint8_t *bytes = batch->bytes + (first + b) * n_bytes;

		for (size_t i = p->start[b] * stride; i < p->start[b + 1] * stride; i++) {
			size_t row = i / stride;
			float want, off;

			p->d_pred[i] = 0;
			if (!p->removed[row])
				continue;
			want = bytes[p->place[row] * stride + i % stride] * t->byte_scale +
			       t->byte_offset;
			off = p->pred[i] - want;
			sum += (double)off * off;
			p->d_pred[i] = (float)(2 * off * unit);
		}
	}
	return sum * unit;
}

static void decoder_backward(struct masked_pass *p, const struct masked_weights *w,
			     struct masked_weights *d, const struct rows *rows, size_t n_kept,
			     const float *output)
{
	const struct masked_network *m = p->m;
	size_t D = m->net.architecture.embed_dim, dd = m->decoder.embed_dim;
	size_t stride = m->net.architecture.stride, n = rows->n_rows;
	const float *d_input;

	bias_backward(d->byte_bias, p->d_pred, n, stride);
	linear_backward(p->d_h, dd, false, d->byte_pred, p->d_pred, output, dd, w->byte_pred, n, dd,
			stride);
	d_input = stack_backward(p->decoder, &w->decoder, &d->decoder, rows, p->d_h);
	for (size_t row = 0; row < n; row++)
		for (size_t k = 0; k < dd; k++) {
			d->position[p->place[row] * dd + k] += d_input[row * dd + k];
			if (p->removed[row])
				d->mask_token[k] += d_input[row * dd + k];
		}
	gather_rows(p->d_embedded, d_input, p->decoder_row, n_kept, dd);
	bias_backward(d->embed_bias, p->d_embedded, n_kept, dd);
	linear_backward(p->d_seen, D, false, d->embed, p->d_embedded, p->seen, D, w->embed, n_kept,
			D, dd);
	scatter_add_rows(p->d_output, p->d_seen, p->kept_row, n_kept, D);
}

static double decode_bytes(struct masked_pass *p, const struct masked_weights *w,
			   struct masked_weights *d, const struct batch *batch, uint32_t first,
			   uint32_t n_flows, const struct flow_mask *masks, double n_removed)
{
	size_t D = p->m->net.architecture.embed_dim, dd = p->m->decoder.embed_dim;
	size_t stride = p->m->net.architecture.stride;
	size_t n_kept = lay_decoder_rows(p, masks, n_flows);
	struct rows rows = {p->start[n_flows], n_flows, p->start};
	const float *output;
	double loss;

	gather_rows(p->seen, p->pass->output, p->kept_row, n_kept, D);
	linear_forward(p->embedded, p->seen, D, w->embed, n_kept, D, dd);
	bias_forward(p->embedded, w->embed_bias, n_kept, dd);
	decoder_input(p, w, rows.n_rows, n_kept);
	output = stack_forward(p->decoder, &w->decoder, &rows, p->h);
	linear_forward(p->pred, output, dd, w->byte_pred, rows.n_rows, dd, stride);
	bias_forward(p->pred, w->byte_bias, rows.n_rows, stride);
	loss = byte_loss(p, batch, first, n_flows, n_removed);
	if (d)
		decoder_backward(p, w, d, &rows, n_kept, output);
	return loss;
}

/* Cross-entropy of one row of logits, its gradient times unit into d_logits. */
static double cross_entropy(float *d_logits, const float *logits, size_t n, size_t target,
			    double unit)
{
	float most = logits[0];
	double sum = 0;

	for (size_t c = 1; c < n; c++)
		most = fmaxf(most, logits[c]);
	for (size_t c = 0; c < n; c++) {
		d_logits[c] = expf(logits[c] - most);
		sum += (double)d_logits[c];
	}
	for (size_t c = 0; c < n; c++)
		d_logits[c] = (float)((double)d_logits[c] / sum * unit);
	d_logits[target] -= (float)unit;
	return (log(sum) + (double)most - (double)logits[target]) * unit;
}

/* The rows of masked sizes or times; a place's row is found by walking both lists, which grow. */
static size_t find_masked(struct masked_pass *p, const struct flow_mask *masks, uint32_t n_flows,
			  enum modality m)
{
	size_t n = 0, offset = m == MODALITY_SIZE ? 0 : p->m->net.S + 1;

	for (uint32_t b = 0; b < n_flows; b++) {
		const uint16_t *list = m == MODALITY_SIZE ? masks[b].size : masks[b].iat;
		uint16_t n_list = m == MODALITY_SIZE ? masks[b].n_sizes : masks[b].n_iats;
		size_t row = p->pass->start[b];

		for (uint16_t i = 0; i < n_list; i++) {
			while (p->pass->place[row] != offset + list[i])
				row++;
			p->masked_row[n++] = row;
		}
	}
	gather_rows(p->masked, p->pass->output, p->masked_row, n, p->m->net.architecture.embed_dim);
	return n;
}

static void head_backward(struct masked_pass *p, const float *weight, float *d_weight,
			  float *d_bias, size_t n, size_t n_out)
{
	size_t D = p->m->net.architecture.embed_dim;

	bias_backward(d_bias, p->d_head, n, n_out);
	linear_backward(p->d_masked, D, false, d_weight, p->d_head, p->masked, D, weight, n, D,
			n_out);
	scatter_add_rows(p->d_output, p->d_masked, p->masked_row, n, D);
}

static double decode_sizes(struct masked_pass *p, const struct masked_weights *w,
			   struct masked_weights *d, uint32_t n_flows,
			   const struct flow_mask *masks, double n_masked)
{
	size_t D = p->m->net.architecture.embed_dim, C = p->m->n_size_classes, row = 0;
	size_t n = find_masked(p, masks, n_flows, MODALITY_SIZE);
	double loss = 0;

	linear_forward(p->head, p->masked, D, w->size_pred, n, D, C);
	bias_forward(p->head, w->size_bias, n, C);
	for (uint32_t b = 0; b < n_flows; b++)
		for (uint16_t i = 0; i < masks[b].n_sizes; i++, row++)
			loss += cross_entropy(p->d_head + row * C, p->head + row * C, C,
					      (size_t)masks[b].true_size[i], 1 / n_masked);
	if (d && n > 0)
		head_backward(p, w->size_pred, d->size_pred, d->size_bias, n, C);
	return loss;
}

static double decode_iats(struct masked_pass *p, const struct masked_weights *w,
			  struct masked_weights *d, uint32_t n_flows, const struct flow_mask *masks,
			  double n_masked)
{
	size_t D = p->m->net.architecture.embed_dim, row = 0;
	size_t n = find_masked(p, masks, n_flows, MODALITY_IAT);
	float unit = p->m->net.tokens.iat_log ? IAT_LOG_UNIT : 1;
	double loss = 0;

	linear_forward(p->head, p->masked, D, w->iat_pred, n, D, 1);
	bias_forward(p->head, w->iat_bias, n, 1);
	for (uint32_t b = 0; b < n_flows; b++)
		for (uint16_t i = 0; i < masks[b].n_iats; i++, row++) {
			float off = p->head[row] - unit * masks[b].true_iat[i];

			loss += (double)off * off / n_masked;
			p->d_head[row] = (float)(2 * off / n_masked);
		}
	if (d && n > 0)
		head_backward(p, w->iat_pred, d->iat_pred, d->iat_bias, n, 1);
	return loss;
}

struct masked_losses masked_network_gradient(struct masked_pass *p, const struct layout *layout,
					     const struct batch *batch, uint32_t first,
					     uint32_t n_flows, const struct flow_mask *masks,
					     const struct masked_counts *counts,
					     const float *values, float *gradient)
{
	struct masked_weights w, d_space, *d = gradient ? &d_space : NULL;
	struct masked_losses losses;

	bind(&w, p->m, layout, (float *)values);
	if (d)
		bind(d, p->m, layout, gradient);
	network_encode(p->pass, &w.encoder, batch, first, n_flows);
	memset(p->d_output, 0, p->pass->n_rows * p->m->net.architecture.embed_dim * sizeof(float));
	losses.bytes = decode_bytes(p, &w, d, batch, first, n_flows, masks, counts->bytes);
	losses.sizes = decode_sizes(p, &w, d, n_flows, masks, counts->sizes);
	losses.iats = decode_iats(p, &w, d, n_flows, masks, counts->iats);
	if (d)
		network_encode_backward(p->pass, &w.encoder, &d->encoder, p->d_output);
	return losses;
}
