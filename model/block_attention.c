/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The attention block: attention over all tokens of a flow, then a gated feed-forward half, a norm
 * before each, no biases.
 *   residual += out_proj(attention(in_proj(u)))
 *   h = fc2(gate(fc1(norm2(residual))))
 * The order of tokens comes from the position embedding alone.
 */
#include <string.h>
#include "model/block.h"
#include "model/ops.h"

/* Laid out one after the other in `kept`. */
struct kept {
	float *qkv;                          /* (rows, 3 D) */
	float *attended, *normed, *residual; /* (rows, D); residual, as left, only in training */
	float *fc1, *gated;                  /* (rows, 2 F), (rows, F) */
	float *log_sums;                     /* flow b's (heads, L) begin at start[b] * heads */
};

static size_t attention_kept_floats(const struct block_shape *s, size_t n_rows, size_t n_flows)
{
	(void)n_flows;
	return n_rows * ((s->training ? 6 : 5) * s->D + 3 * s->F + s->heads);
}

static void lay_out(struct kept *k, const struct block_shape *s, const float *kept, size_t n_rows)
{
	float *place = (float *)kept;

	k->qkv = place;
	k->attended = k->qkv + n_rows * 3 * s->D;
	k->normed = k->attended + n_rows * s->D;
	k->fc1 = k->normed + n_rows * s->D;
	k->gated = k->fc1 + n_rows * 2 * s->F;
	k->log_sums = k->gated + n_rows * s->F;
	k->residual = k->log_sums + n_rows * s->heads;
}

/* The halves come after each other and share what they need: d_gated, d_fc1 and d_normed of the
 * feed-forward half; d_attended and d_qkv of the attention. */
static size_t attention_scratch_floats(const struct block_shape *s, size_t n_rows, size_t n_flows)
{
	size_t feed_forward = 3 * s->F + s->D, attention = 4 * s->D;

	(void)n_flows;
	return n_rows * (feed_forward > attention ? feed_forward : attention);
}

static void attend_flows(const struct block_shape *s, const struct kept *k, const struct rows *rows)
{
	for (size_t b = 0; b < rows->n_flows; b++) {
		size_t row = rows->start[b], at = row * s->D;

		attention_forward(k->attended + at, k->log_sums + row * s->heads, k->qkv + 3 * at,
				  1, rows->start[b + 1] - row, s->D, s->heads);
	}
}

static void attention_block_forward(const struct block_shape *s, const struct block_weights *w,
				    float *kept, const struct rows *rows, float *residual,
				    const float *u, float *h)
{
	size_t M = rows->n_rows, D = s->D, F = s->F;
	struct kept k;

	lay_out(&k, s, kept, M);
	linear_forward(k.qkv, u, D, w->in_proj, M, D, 3 * D);
	attend_flows(s, &k, rows);
	linear_forward(h, k.attended, D, w->out_proj, M, D, D);
	add_norm_forward(k.normed, residual, h, w->norm2, M, D, 0);
	if (s->training)
		memcpy(k.residual, residual, M * D * sizeof(float));
	linear_forward(k.fc1, k.normed, D, w->fc1, M, D, 2 * F);
	gate_forward(k.gated, k.fc1, M, F);
	linear_forward(h, k.gated, F, w->fc2, M, F, D);
}

/* From d_h to what comes through norm2, which is added to d_residual. */
static void feed_forward_backward(const struct block_shape *s, const struct block_weights *w,
				  struct block_weights *d, const struct kept *k, float *scratch,
				  size_t M, const float *d_h, float *d_residual)
{
	size_t D = s->D, F = s->F;
	float *d_gated = scratch, *d_fc1 = d_gated + M * F, *d_normed = d_fc1 + M * 2 * F;

	linear_backward(d_gated, F, false, d->fc2, d_h, k->gated, F, w->fc2, M, F, D);
	gate_backward(d_fc1, d_gated, k->fc1, M, F);
	linear_backward(d_normed, D, false, d->fc1, d_fc1, k->normed, D, w->fc1, M, D, 2 * F);
	norm_backward(d_residual, d->norm2, d_normed, k->residual, w->norm2, M, D);
}

static void attend_flows_backward(const struct block_shape *s, const struct kept *k, float *d_qkv,
				  const float *d_attended, const struct rows *rows)
{
	for (size_t b = 0; b < rows->n_flows; b++) {
		size_t row = rows->start[b], at = row * s->D;

		attention_backward(d_qkv + 3 * at, d_attended + at, k->attended + at,
				   k->log_sums + row * s->heads, k->qkv + 3 * at, 1,
				   rows->start[b + 1] - row, s->D, s->heads);
	}
}

/* The addition hands d_residual to the attention's output as it is. */
static void attention_block_backward(const struct block_shape *s, const struct block_weights *w,
				     struct block_weights *d, const float *kept, float *scratch,
				     const struct rows *rows, const float *u, const float *d_h,
				     float *d_residual, float *d_u)
{
	size_t M = rows->n_rows, D = s->D;
	float *d_attended = scratch, *d_qkv = d_attended + M * D;
	struct kept k;

	lay_out(&k, s, kept, M);
	feed_forward_backward(s, w, d, &k, scratch, M, d_h, d_residual);
	linear_backward(d_attended, D, false, d->out_proj, d_residual, k.attended, D, w->out_proj,
			M, D, D);
	attend_flows_backward(s, &k, d_qkv, d_attended, rows);
	linear_backward(d_u, D, false, d->in_proj, d_qkv, u, D, w->in_proj, M, D, 3 * D);
}

const struct block_kind attention_block = {
	.backbone = "attention",
	.kept_floats = attention_kept_floats,
	.scratch_floats = attention_scratch_floats,
	.forward = attention_block_forward,
	.backward = attention_block_backward,
};
