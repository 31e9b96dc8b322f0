/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The Mamba mixer (arXiv 2312.00752, figure 3), forward and backward, as in block.h:
 *   x, z = W_in u;  c = silu(conv(x));  dt, B, C = W_x c;  dt = W_dt dt;
 *   y = scan(c, z, dt, B, C);  h = W_out y
 */
#include "model/block.h"
#include "model/ops.h"

/* Laid out one after the other in `kept`: M rows of each. */
struct kept {
	float *x, *z, *c, *dt, *y; /* (M, E); y takes c's place unless training */
	float *dbc;                /* (M, R + 2 N): dt before its projection, B, C */
	float *states;             /* of all flows' scans, training only */
};

static size_t n_chunks(size_t n_rows, size_t n_flows)
{
	return n_rows / SCAN_CHUNK + n_flows; /* flows round up each */
}

static size_t mamba_kept_floats(const struct block_shape *s, size_t n_rows, size_t n_flows)
{
	size_t n = n_rows * ((s->training ? 5 : 4) * s->E + s->R + 2 * s->N);

	return s->training ? n + n_chunks(n_rows, n_flows) * s->E * s->N : n;
}

static size_t mamba_scratch_floats(const struct block_shape *s, size_t n_rows, size_t n_flows)
{
	(void)n_flows;
	return n_rows * (4 * s->E + s->R + 2 * s->N);
}

static void lay_out(struct kept *k, const struct block_shape *s, const float *kept, size_t n_rows)
{
	float *place = (float *)kept;
	size_t n = n_rows * s->E;

	k->x = place;
	k->z = place + n;
	k->c = place + 2 * n;
	k->dt = place + 3 * n;
	k->y = s->training ? place + 4 * n : k->c;
	k->dbc = place + (s->training ? 5 : 4) * n;
	k->states = k->dbc + n_rows * (s->R + 2 * s->N);
}

static struct scan_inputs scan_inputs(const struct block_shape *s, const struct block_weights *w,
				      const struct kept *k, size_t row)
{
	size_t stride = s->R + 2 * s->N;

	return (struct scan_inputs){
		.x = k->c + row * s->E,
		.z = k->z + row * s->E,
		.dt = k->dt + row * s->E,
		.bc = k->dbc + row * stride + s->R,
		.bc_stride = stride,
		.A_log = w->A_log,
		.D = w->D,
		.dt_bias = w->dt_bias,
	};
}

static void scan_flows(const struct block_shape *s, const struct block_weights *w, struct kept *k,
		       const struct rows *rows)
{
	float *states = s->training ? k->states : NULL;

	for (size_t b = 0; b < rows->n_flows; b++) {
		size_t row = rows->start[b], L = rows->start[b + 1] - row;
		struct scan_inputs in = scan_inputs(s, w, k, row);

		scan_forward(k->y + row * s->E, states, &in, 1, L, s->E, s->N);
		if (states)
			states += scan_chunks(L) * s->E * s->N;
	}
}

static void mamba_forward(const struct block_shape *s, const struct block_weights *w, float *kept,
			  const struct rows *rows, float *residual, const float *u, float *h)
{
	size_t M = rows->n_rows, D = s->D, E = s->E, dbc = s->R + 2 * s->N;
	struct kept k;

	(void)residual;
	lay_out(&k, s, kept, M);
	linear_forward(k.x, u, D, w->in_proj, M, D, E);
	linear_forward(k.z, u, D, w->in_proj + E * D, M, D, E);
	for (size_t b = 0; b < rows->n_flows; b++) {
		size_t row = rows->start[b];

		conv_silu_forward(k.c + row * E, k.x + row * E, w->conv, w->conv_bias, 1,
				  rows->start[b + 1] - row, E, s->K);
	}
	linear_forward(k.dbc, k.c, E, w->x_proj, M, E, dbc);
	linear_forward(k.dt, k.dbc, dbc, w->dt_proj, M, s->R, E);
	scan_flows(s, w, &k, rows);
	linear_forward(h, k.y, E, w->out_proj, M, E, D);
}

struct scratch {
	float *dy, *dz, *dc, *ddt; /* (M, E); dx takes dy's place */
	float *ddbc;               /* (M, R + 2 N) */
};

static void scan_flows_backward(const struct block_shape *s, const struct block_weights *w,
				struct block_weights *d, const struct kept *k,
				const struct scratch *t, const struct rows *rows)
{
	size_t stride = s->R + 2 * s->N;
	const float *states = k->states;

	for (size_t b = 0; b < rows->n_flows; b++) {
		size_t row = rows->start[b], L = rows->start[b + 1] - row;
		struct scan_inputs in = scan_inputs(s, w, k, row);
		struct scan_gradients gradients = {
			.x = t->dc + row * s->E,
			.z = t->dz + row * s->E,
			.dt = t->ddt + row * s->E,
			.bc = t->ddbc + row * stride + s->R,
			.bc_stride = stride,
			.A_log = d->A_log,
			.D = d->D,
			.dt_bias = d->dt_bias,
		};

		scan_backward(&gradients, t->dy + row * s->E, states, &in, 1, L, s->E, s->N);
		states += scan_chunks(L) * s->E * s->N;
	}
}

static void conv_flows_backward(const struct block_shape *s, const struct block_weights *w,
				struct block_weights *d, const struct kept *k,
				const struct scratch *t, const struct rows *rows)
{
	for (size_t b = 0; b < rows->n_flows; b++) {
		size_t row = rows->start[b], at = row * s->E;

		conv_silu_backward(t->dy + at, d->conv, d->conv_bias, t->dc + at, k->x + at,
				   w->conv, w->conv_bias, 1, rows->start[b + 1] - row, s->E, s->K);
	}
}

static void mamba_backward(const struct block_shape *s, const struct block_weights *w,
			   struct block_weights *d, const float *kept, float *scratch,
			   const struct rows *rows, const float *u, const float *d_h,
			   float *d_residual, float *d_u)
{
	size_t M = rows->n_rows, D = s->D, E = s->E, R = s->R, dbc = R + 2 * s->N, n = M * E;
	struct scratch t = {scratch, scratch + n, scratch + 2 * n, scratch + 3 * n,
			    scratch + 4 * n};
	struct kept k;

	(void)d_residual; /* this block leaves the residual stream alone */
	lay_out(&k, s, kept, M);
	linear_backward(t.dy, E, false, d->out_proj, d_h, k.y, E, w->out_proj, M, E, D);
	scan_flows_backward(s, w, d, &k, &t, rows);
	linear_backward(t.ddbc, dbc, false, d->dt_proj, t.ddt, k.dbc, dbc, w->dt_proj, M, R, E);
	linear_backward(t.dc, E, true, d->x_proj, t.ddbc, k.c, E, w->x_proj, M, E, dbc);
	conv_flows_backward(s, w, d, &k, &t, rows);
	linear_backward(d_u, D, false, d->in_proj, t.dy, u, D, w->in_proj, M, D, E);
	linear_backward(d_u, D, true, d->in_proj + E * D, t.dz, u, D, w->in_proj + E * D, M, D, E);
}

const struct block_kind mamba_block = {
	.backbone = "mamba",
	.kept_floats = mamba_kept_floats,
	.scratch_floats = mamba_scratch_floats,
	.forward = mamba_forward,
	.backward = mamba_backward,
};
