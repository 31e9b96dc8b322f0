/* SPDX-License-Identifier: BSD-2-Clause */
/* The way back through network.c: from logits or the encoder's output to every weight's gradient.
 */
#include <string.h>
#include "model/network_buffers.h"
#include "model/ops.h"

static void add(float *to, const float *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] += from[i];
}

/* d_h of the embedded tokens (rows, D). */
static void embed_backward(struct pass *p, const struct network_weights *w,
			   struct network_weights *d, const float *d_h)
{
	const struct network *net = p->net;
	struct pass_buffers *k = p->buffers;
	size_t D = net->architecture.embed_dim, stride = net->architecture.stride;

	for (size_t row = 0; row < p->n_rows; row++)
		add(d->position + p->place[row] * D, d_h + row * D, D);
	for (uint32_t b = 0; b < p->n_flows; b++)
		for (int m = 0; m < MODALITIES; m++) {
			const float *d_cls = d_h + p->cls[b * MODALITIES + m] * D;

			add(d->cls[m], d_cls, D);
			add(d->indicator[m], d_cls, D);
		}
	for (int m = 0; m < MODALITIES; m++) {
		struct gathered *g = &k->gathered[m];
		size_t n_in = m == MODALITY_BYTE ? stride : D;

		for (size_t i = 0; i < g->n; i++)
			memcpy(k->mapped + i * D, d_h + g->row[i] * D, D * sizeof(float));
		bias_backward(d->indicator[m], k->mapped, g->n, D);
		if (d->proj_bias[m])
			bias_backward(d->proj_bias[m], k->mapped, g->n, D);
		if (m == MODALITY_BYTE && d->table)
			byte_table_backward(d->table, k->mapped, k->window, g->n, stride, D);
		else if (d->proj[m])
			linear_backward(NULL, 0, false, d->proj[m], k->mapped, g->in, n_in,
					w->proj[m], g->n, n_in, D);
	}
}

void network_encode_backward(struct pass *p, const struct network_weights *w,
			     struct network_weights *d, const float *d_output)
{
	struct rows rows = {p->n_rows, p->n_flows, p->start};

	embed_backward(p, w, d,
		       stack_backward(p->stack, &w->encoder, &d->encoder, &rows, d_output));
}

void network_classify_backward(struct pass *p, const struct network_weights *w,
			       struct network_weights *d, const float *d_logits)
{
	const struct network *net = p->net;
	size_t D = net->architecture.embed_dim;
	float *d_pooled = p->buffers->d_pooled, *d_output = p->buffers->d_output;

	linear_backward(d_pooled, D, false, d->head, d_logits, p->pooled, D, w->head, p->n_flows, D,
			net->n_classes);
	if (d->head_bias)
		bias_backward(d->head_bias, d_logits, p->n_flows, net->n_classes);
	memset(d_output, 0, p->n_rows * D * sizeof(float));
	for (uint32_t b = 0; b < p->n_flows; b++)
		for (int m = 0; m < MODALITIES; m++)
			memcpy(d_output + p->cls[b * MODALITIES + m] * D, d_pooled + b * D,
			       D * sizeof(float));
	network_encode_backward(p, w, d, d_output);
}
