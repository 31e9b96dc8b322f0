/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See cpu_engine.h. Layers in order, no arithmetic of its own.
 *
 * A batch is run in passes of as many flows as make PASS_TOKENS tokens, at least one: matrix
 * products are efficient from a few hundred rows on, and larger passes gain nothing (512, 1100 and
 * 4096 tokens run the shipped model at one speed, within noise). So memory does not grow with the
 * batch.
 */
#include "model/cpu_engine.h"
#include <errno.h>
#include <stdlib.h>
#include "model/ops.h"

#define PASS_TOKENS  512
#define ARENA_ALIGN  64
#define ARENA_FLOATS (ARENA_ALIGN / sizeof(float))

struct block_weights {
	const float *norm, *in_proj, *conv, *conv_bias, *x_proj, *dt_proj, *dt_bias, *A_log, *D,
		*out_proj;
};

struct embed_weights {
	const float *byte_cls, *size_cls, *iat_cls;
	const float *byte_indicator, *size_indicator, *iat_indicator;
	const float *position, *stride, *stride_bias;
};

struct cpu_engine {
	const struct model *model;
	size_t D, E, N, K, R, S, L; /* letters of ops.h; S sizes, L tokens of a flow */
	uint32_t pass_flows;
	struct embed_weights embed;
	struct block_weights block[MODEL_MAX_DEPTH];
	const float *norm_f, *head, *head_bias;
	tap_fn tap;
	void *tap_ctx;
	float *arena;
	/* M = pass_flows * L */
	float *h, *residual, *u;      /* (M, D): block output, residual stream, normalised */
	float *x, *z, *conv_out, *dt; /* (M, E) */
	float *dbc;                   /* (M, R + 2N): dt before its projection, B, C */
	float *pooled;                /* (pass_flows, D) */
	float *frequency;             /* (ceil(D / 2)) */
};

static const float *weight(const struct model *m, const char *name)
{
	return model_tensor(m, name)->data; /* model_load has seen to it that it is there */
}

static void find_weights(struct cpu_engine *cpu)
{
	const struct model *m = cpu->model;
	const struct {
		const char *name;
		const float **place;
	} list[] = {
		{"byte_cls_token", &cpu->embed.byte_cls},
		{"size_cls_token", &cpu->embed.size_cls},
		{"iat_cls_token", &cpu->embed.iat_cls},
		{"byte_indicator", &cpu->embed.byte_indicator},
		{"size_indicator", &cpu->embed.size_indicator},
		{"iat_indicator", &cpu->embed.iat_indicator},
		{"pos_embed", &cpu->embed.position},
		{"byte_embed.proj.weight", &cpu->embed.stride},
		{"byte_embed.proj.bias", &cpu->embed.stride_bias},
		{"norm_f.weight", &cpu->norm_f},
		{"head.weight", &cpu->head},
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		*list[i].place = weight(m, list[i].name);
	if (m->architecture.head_bias)
		cpu->head_bias = weight(m, "head.bias");
}

static void find_block_weights(struct cpu_engine *cpu, uint32_t index)
{
	struct block_weights *w = &cpu->block[index];
	const struct {
		const char *name;
		const float **place;
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
	};
	char name[64];

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		snprintf(name, sizeof(name), "encoder_blocks.%u.%s", index, list[i].name);
		*list[i].place = weight(cpu->model, name);
	}
}

/* One block for all buffers, each on a cache line of its own. Bounded by the bounds of
 * model_file.h. */
static int allocate(struct cpu_engine *cpu)
{
	size_t M = cpu->pass_flows * cpu->L;
	const struct {
		float **place;
		size_t n;
	} list[] = {
		{&cpu->h, M * cpu->D},
		{&cpu->residual, M * cpu->D},
		{&cpu->u, M * cpu->D},
		{&cpu->x, M * cpu->E},
		{&cpu->z, M * cpu->E},
		{&cpu->conv_out, M * cpu->E},
		{&cpu->dt, M * cpu->E},
		{&cpu->dbc, M * (cpu->R + 2 * cpu->N)},
		{&cpu->pooled, cpu->pass_flows * cpu->D},
		{&cpu->frequency, (cpu->D + 1) / 2},
	};
	size_t n_lists = sizeof(list) / sizeof(list[0]), total = 0;

	for (size_t i = 0; i < n_lists; i++)
		total += (list[i].n + ARENA_FLOATS - 1) / ARENA_FLOATS * ARENA_FLOATS;
	cpu->arena = aligned_alloc(ARENA_ALIGN, total * sizeof(float));
	if (!cpu->arena)
		return -ENOMEM;
	total = 0;
	for (size_t i = 0; i < n_lists; i++) {
		*list[i].place = cpu->arena + total;
		total += (list[i].n + ARENA_FLOATS - 1) / ARENA_FLOATS * ARENA_FLOATS;
	}
	return 0;
}

int cpu_engine_new(const struct model *m, struct cpu_engine **ret_engine, struct error *e)
{
	const struct architecture *a = &m->architecture;
	struct cpu_engine *cpu = calloc(1, sizeof(*cpu));

	if (!cpu)
		return error_set(e, -ENOMEM, "%s: no memory for an engine", m->path);
	cpu->model = m;
	cpu->D = a->embed_dim;
	cpu->E = (size_t)a->expand * a->embed_dim;
	cpu->N = a->d_state;
	cpu->K = a->d_conv;
	cpu->R = a->dt_rank;
	cpu->S = m->tokens.shape.seq_len;
	cpu->L = model_sequence_length(m);
	cpu->pass_flows = cpu->L < PASS_TOKENS ? PASS_TOKENS / cpu->L : 1;
	if (allocate(cpu)) {
		cpu_engine_free(cpu);
		return error_set(e, -ENOMEM, "%s: no memory for an engine", m->path);
	}
	find_weights(cpu);
	for (uint32_t i = 0; i < a->depth; i++)
		find_block_weights(cpu, i);
	sinusoid_frequency(cpu->frequency, cpu->D);
	linear_single_thread();
	*ret_engine = cpu;
	return 0;
}

void cpu_engine_free(struct cpu_engine *cpu)
{
	if (!cpu)
		return;
	free(cpu->arena);
	free(cpu);
}

void cpu_engine_tap(struct cpu_engine *cpu, tap_fn tap, void *ctx)
{
	cpu->tap = tap;
	cpu->tap_ctx = ctx;
}

/* Sizes, size CLS, iats, iat CLS, bytes, byte CLS of B flows from first on, into h (B, L, D). */
static void embed(struct cpu_engine *cpu, const struct batch *batch, uint32_t first, uint32_t B)
{
	const struct embed_weights *w = &cpu->embed;
	size_t D = cpu->D, S = cpu->S, stride = cpu->model->architecture.stride;
	size_t n_bytes = model_byte_tokens(cpu->model), flow = cpu->L * D;
	float *sizes = cpu->h, *iats = sizes + (S + 1) * D, *bytes = iats + (S + 1) * D;
	const float *position = w->position;

	sinusoid_forward(sizes, flow, batch->sizes + first * S, cpu->frequency, B, S, D);
	sinusoid_forward(iats, flow, batch->iats + first * S, cpu->frequency, B, S, D);
	for (uint32_t b = 0; b < B; b++)
		linear_forward(bytes + b * flow, batch->bytes + (first + b) * n_bytes * stride,
			       stride, w->stride, n_bytes, stride, D);
	set_token_forward(sizes + S * D, flow, w->size_cls, B, D);
	set_token_forward(iats + S * D, flow, w->iat_cls, B, D);
	set_token_forward(bytes + n_bytes * D, flow, w->byte_cls, B, D);
	add_position_forward(sizes, flow, NULL, w->size_indicator, position, B, S + 1, D);
	position += (S + 1) * D;
	add_position_forward(iats, flow, NULL, w->iat_indicator, position, B, S + 1, D);
	position += (S + 1) * D;
	add_position_forward(bytes, flow, w->stride_bias, w->byte_indicator, position, B, n_bytes,
			     D);
	add_position_forward(bytes + n_bytes * D, flow, NULL, w->byte_indicator,
			     position + n_bytes * D, B, 1, D);
}

/* h = Mixer(RMSNorm(residual += h)) */
static void run_block(struct cpu_engine *cpu, uint32_t index, uint32_t B)
{
	const struct block_weights *w = &cpu->block[index];
	size_t D = cpu->D, E = cpu->E, N = cpu->N, R = cpu->R, M = B * cpu->L;
	struct scan_inputs scan = {
		.x = cpu->conv_out,
		.z = cpu->z,
		.dt = cpu->dt,
		.bc = cpu->dbc + R,
		.bc_stride = R + 2 * N,
		.A_log = w->A_log,
		.D = w->D,
		.dt_bias = w->dt_bias,
	};

	add_norm_forward(cpu->u, cpu->residual, cpu->h, w->norm, M, D, index == 0);
	linear_forward(cpu->x, cpu->u, D, w->in_proj, M, D, E);
	linear_forward(cpu->z, cpu->u, D, w->in_proj + E * D, M, D, E);
	conv_silu_forward(cpu->conv_out, cpu->x, w->conv, w->conv_bias, B, cpu->L, E, cpu->K);
	linear_forward(cpu->dbc, cpu->conv_out, E, w->x_proj, M, E, R + 2 * N);
	linear_forward(cpu->dt, cpu->dbc, R + 2 * N, w->dt_proj, M, R, E);
	scan_forward(cpu->x, &scan, B, cpu->L, E, N);
	linear_forward(cpu->h, cpu->x, E, w->out_proj, M, E, D);
}

static void tell(const struct cpu_engine *cpu, const char *name, uint32_t block,
		 const float *values, uint32_t first, uint32_t B)
{
	if (cpu->tap)
		cpu->tap(cpu->tap_ctx, name, block, values, first, B);
}

static void run_pass(struct cpu_engine *cpu, const struct batch *batch, uint32_t first, uint32_t B,
		     float *logits)
{
	size_t S = cpu->S, D = cpu->D, n_classes = cpu->model->n_classes;
	const size_t cls[] = {S, 2 * S + 1, cpu->L - 1};

	embed(cpu, batch, first, B);
	tell(cpu, "tokens", 0, cpu->h, first, B);
	for (uint32_t i = 0; i < cpu->model->architecture.depth; i++) {
		run_block(cpu, i, B);
		tell(cpu, "out", i, cpu->h, first, B);
		tell(cpu, "residual", i, cpu->residual, first, B);
	}
	add_norm_forward(cpu->u, cpu->residual, cpu->h, cpu->norm_f, B * cpu->L, D, 0);
	tell(cpu, "norm_f", 0, cpu->u, first, B);
	pool_forward(cpu->pooled, cpu->u, cls, 3, B, cpu->L, D);
	tell(cpu, "pooled", 0, cpu->pooled, first, B);
	linear_forward(logits, cpu->pooled, D, cpu->head, B, D, n_classes);
	if (cpu->head_bias)
		add_bias_forward(logits, cpu->head_bias, B, n_classes);
}

void cpu_engine_run(struct cpu_engine *cpu, const struct batch *batch, float *logits)
{
	uint32_t B;

	for (uint32_t first = 0; first < batch->n; first += B) {
		B = batch->n - first < cpu->pass_flows ? batch->n - first : cpu->pass_flows;
		run_pass(cpu, batch, first, B, logits + (size_t)first * cpu->model->n_classes);
	}
}
