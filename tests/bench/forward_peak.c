/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What share of the machine's matrix-product peak the forward pass reaches at the paper's size (D
 * 256, depth 4, 443 tokens), on one thread: the operations of its matrix products alone, over the
 * time of the whole pass, over what sgemm reaches on 2048 x 2048 x 2048 matrices. Pass and sgemm
 * take turns, and the best of each counts: a busy machine lengthens both.
 *
 * Then each operator by itself, on the pass's shapes and in its order.
 */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "model/initialise.h"
#include "model/network.h"
#include "model/ops.h"

#define N_CLASSES 12
#define PEAK_N    2048
#define TURNS     30

static const struct architecture architecture = {.backbone = "mamba",
						 .embed_dim = 256,
						 .depth = 4,
						 .d_state = 16,
						 .d_conv = 4,
						 .expand = 2,
						 .dt_rank = 16,
						 .stride = 4};
static const struct token_config tokens = {
	.shape = {5, 80, 240, 20, false}, .byte_scale = 2 / 255.0F, .byte_offset = -1};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static float *random_floats(size_t n, struct rng *rng)
{
	float *v = malloc(n * sizeof(float));

	if (!v)
		exit(1);
	for (size_t i = 0; i < n; i++)
		v[i] = (float)(2 * rng_uniform(rng) - 1);
	return v;
}

struct bench {
	struct network net;
	struct network_weights weights;
	struct layout *layout;
	struct batch *batch;
	struct pass *pass;
	float *values;
	struct rng rng;
};

static void set_up(struct bench *b)
{
	size_t n_bytes = tokens.shape.packets * sample_row_bytes(&tokens.shape);

	b->rng = rng_stream(1, 0, 0);
	network_init(&b->net, &architecture, &tokens, N_CLASSES, false);
	if (layout_classifier(&architecture, &tokens, N_CLASSES, &b->layout) ||
	    batch_new(&tokens, architecture.stride, 1, &b->batch) ||
	    pass_new(&b->net, 1, b->net.L, &b->pass))
		exit(1);
	b->values = random_floats(b->layout->n_values, &b->rng);
	initialise(b->layout, b->values, &b->rng);
	network_bind_block(&b->weights, &b->net, b->layout, b->values);
	for (size_t i = 0; i < n_bytes; i++)
		b->batch->bytes[i] = (uint8_t)rng_below(&b->rng, 256);
	for (size_t i = 0; i < b->net.S; i++) {
		b->batch->sizes[i] = (float)(40 + rng_below(&b->rng, 1460));
		b->batch->iats[i] = (float)(0.5 + rng_uniform(&b->rng) / 2);
	}
	batch_place_all(b->batch, 0);
	b->batch->n = 1;
	linear_single_thread();
}

/* Multiplications and additions of a flow's matrix products. */
static double products(const struct bench *b)
{
	double D = architecture.embed_dim, E = D * architecture.expand, R = architecture.dt_rank,
	       N = architecture.d_state, L = (double)b->net.L;
	double token = D * 2 * E + E * (R + 2 * N) + R * E + E * D;

	return 2 * (architecture.depth * L * token +
		    (double)b->net.n_byte_tokens * architecture.stride * D + D * N_CLASSES);
}

static double pass_s(struct bench *b)
{
	float logits[N_CLASSES];
	double start_s = now_s();

	network_encode(b->pass, &b->weights, b->batch, 0, 1);
	network_classify(b->pass, &b->weights, logits);
	return now_s() - start_s;
}

static double sgemm_s(const float *a, const float *b, float *c)
{
	double start_s = now_s();

	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, PEAK_N, PEAK_N, PEAK_N, 1, a, PEAK_N,
		    b, PEAK_N, 0, c, PEAK_N);
	return now_s() - start_s;
}

static void less(double *best, double value)
{
	if (value < *best)
		*best = value;
}

/* Of a block, in its order. */
enum { NORM, IN_PROJ, CONV, X_PROJ, DT_PROJ, SCAN, OUT_PROJ, OPERATORS };
static const char *const names[] = {"norm",    "in_proj", "conv",    "x_proj",
				    "dt_proj", "scan",    "out_proj"};

struct buffers {
	float *residual, *u, *x, *z, *c, *dbc, *dt, *y, *h;
};

static void time_operators(double best[OPERATORS], const struct bench *b, const struct buffers *k)
{
	const struct block_weights *w = &b->weights.encoder.block[0];
	const struct block_shape *s = &b->net.encoder.block;
	size_t M = b->net.L, D = s->D, E = s->E, dbc = s->R + 2 * s->N;
	struct scan_inputs in = {k->c, k->z, k->dt, k->dbc + s->R, dbc, w->A_log, w->D, w->dt_bias};
	double at[OPERATORS + 1];

	at[NORM] = now_s();
	add_norm_forward(k->u, k->residual, k->h, w->norm, M, D, 0);
	at[IN_PROJ] = now_s();
	linear_forward(k->x, k->u, D, w->in_proj, M, D, E);
	linear_forward(k->z, k->u, D, w->in_proj + E * D, M, D, E);
	at[CONV] = now_s();
	conv_silu_forward(k->c, k->x, w->conv, w->conv_bias, 1, M, E, s->K);
	at[X_PROJ] = now_s();
	linear_forward(k->dbc, k->c, E, w->x_proj, M, E, dbc);
	at[DT_PROJ] = now_s();
	linear_forward(k->dt, k->dbc, dbc, w->dt_proj, M, s->R, E);
	at[SCAN] = now_s();
	scan_forward(k->y, NULL, &in, 1, M, E, s->N);
	at[OUT_PROJ] = now_s();
	linear_forward(k->h, k->y, E, w->out_proj, M, E, D);
	at[OPERATORS] = now_s();
	for (int i = 0; i < OPERATORS; i++)
		less(&best[i], at[i + 1] - at[i]);
}

static void print_operators(const struct bench *b, const double best[OPERATORS], double whole_s)
{
	double sum_s = 0;

	for (int i = 0; i < OPERATORS; i++) {
		double s = best[i] * b->net.encoder.depth;

		printf("  %-8s %6.2f ms  %2.0f%%\n", names[i], s * 1e3, 100 * s / whole_s);
		sum_s += s;
	}
	printf("  %-8s %6.2f ms  %2.0f%%\n", "others", (whole_s - sum_s) * 1e3,
	       100 * (whole_s - sum_s) / whole_s);
}

int main(void)
{
	struct bench b;
	struct buffers k;
	double best_pass_s = 1e9, best_sgemm_s = 1e9, best[OPERATORS];
	double peak, share;
	float *matrix[3];

	set_up(&b);
	for (int i = 0; i < 3; i++)
		matrix[i] = random_floats((size_t)PEAK_N * PEAK_N, &b.rng);
	for (size_t i = 0; i < sizeof(k) / sizeof(float *); i++)
		((float **)&k)[i] = random_floats(b.net.L * b.net.encoder.block.E, &b.rng);
	for (int i = 0; i < OPERATORS; i++)
		best[i] = 1e9;
	for (int i = 0; i < TURNS; i++) {
		less(&best_sgemm_s, sgemm_s(matrix[0], matrix[1], matrix[2]));
		for (int j = 0; j < 4; j++)
			less(&best_pass_s, pass_s(&b));
		for (int j = 0; j < 4; j++)
			time_operators(best, &b, &k);
	}
	peak = 2.0 * PEAK_N * PEAK_N * PEAK_N / best_sgemm_s;
	share = products(&b) / best_pass_s / peak;
	printf("a flow of %zu tokens: %.0f MFLOP in matrix products, %.2f ms; %s sgemm: %.1f "
	       "GFLOP/s\n",
	       b.net.L, products(&b) / 1e6, best_pass_s * 1e3, linear_library(), peak / 1e9);
	print_operators(&b, best, best_pass_s);
	printf("figure forward_share_of_peak %.3f share\n", share);
	return 0;
}
