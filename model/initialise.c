/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See initialise.h. The official code's initialiser (segm_init_weights) with these changes:
 *
 * - It draws dt_proj like any linear map and zeroes its bias, and so loses Mamba's own start,
 *   which spreads the steps of the scan over two decades. Kept here.
 * - It draws all linear maps with deviation 0.02: half of Glorot's at a width of 256, a quarter
 *   at 64. Here the variance follows from the size, and what adds to the residual stream is less
 *   by the root of the depth, as in GPT-2.
 * - A new head is close to nothing always, not only on a pre-trained encoder.
 * - Byte tables, which it has not, begin with tokens as large as those of sizes and times.
 */
#include "model/initialise.h"
#include <assert.h>
#include <math.h>
#include <string.h>

#define SMALL  0.02 /* deviation of positions, CLS and indicators */
#define HEAD   2e-5
#define DT_MIN 1e-3
#define DT_MAX 1e-1

static void fill(float *values, size_t n, double value)
{
	for (size_t i = 0; i < n; i++)
		values[i] = (float)value;
}

static void fill_normal(float *values, size_t n, double deviation, struct rng *rng)
{
	for (size_t i = 0; i < n; i++)
		values[i] = (float)(deviation * rng_normal(rng));
}

static void fill_uniform(float *values, size_t n, double bound, struct rng *rng)
{
	for (size_t i = 0; i < n; i++)
		values[i] = (float)(bound * (2 * rng_uniform(rng) - 1));
}

static size_t fan_in(const struct parameter *p)
{
	return p->n_values / p->shape[0];
}

static void small(const struct parameter *p, uint32_t depth, float *values, struct rng *rng)
{
	(void)depth;
	fill_normal(values, p->n_values, SMALL, rng);
}

static void ones(const struct parameter *p, uint32_t depth, float *values, struct rng *rng)
{
	(void)depth, (void)rng;
	fill(values, p->n_values, 1);
}

static void zeroes(const struct parameter *p, uint32_t depth, float *values, struct rng *rng)
{
	(void)depth, (void)rng;
	fill(values, p->n_values, 0);
}

static void glorot(const struct parameter *p, uint32_t depth, float *values, struct rng *rng)
{
	(void)depth;
	fill_uniform(values, p->n_values, sqrt(6.0 / (double)(fan_in(p) + p->shape[0])), rng);
}

static void to_residual(const struct parameter *p, uint32_t depth, float *values, struct rng *rng)
{
	double bound = sqrt(6.0 / (double)(fan_in(p) + p->shape[0]) / depth);

	fill_uniform(values, p->n_values, bound, rng);
}

static void convolution(const struct parameter *p, uint32_t depth, float *values, struct rng *rng)
{
	(void)depth;
	fill_normal(values, p->n_values, 1 / sqrt((double)fan_in(p)), rng);
}

/* A token is the sum of `stride` rows; a sinusoid's elements have a mean square of one half. */
static void byte_table(const struct parameter *p, uint32_t depth, float *values, struct rng *rng)
{
	(void)depth;
	fill_normal(values, p->n_values, sqrt(0.5 / (double)p->shape[0]), rng);
}

/* (E, N): each channel's N states decay at rates 1 .. N (S4D-real, arXiv 2206.11893). */
static void decay_rates(const struct parameter *p, uint32_t depth, float *values, struct rng *rng)
{
	(void)depth, (void)rng;
	for (size_t i = 0; i < p->n_values; i++)
		values[i] = (float)log(1.0 + (double)(i % fan_in(p)));
}

static void dt_weight(const struct parameter *p, uint32_t depth, float *values, struct rng *rng)
{
	(void)depth;
	fill_uniform(values, p->n_values, 1 / sqrt((double)fan_in(p)), rng);
}

/* softplus(bias) is log-uniform on DT_MIN .. DT_MAX; its inverse is y + log(1 - e^-y). */
static void dt_bias(const struct parameter *p, uint32_t depth, float *values, struct rng *rng)
{
	(void)depth;
	for (size_t i = 0; i < p->n_values; i++) {
		double dt = DT_MIN * pow(DT_MAX / DT_MIN, rng_uniform(rng));

		values[i] = (float)(dt + log(-expm1(-dt)));
	}
}

static void head(const struct parameter *p, uint32_t depth, float *values, struct rng *rng)
{
	(void)depth;
	fill_normal(values, p->n_values, HEAD, rng);
}

/* By the end of the name; the first that fits. */
static const struct rule {
	const char *ending;
	void (*fill)(const struct parameter *p, uint32_t depth, float *values, struct rng *rng);
} rules[] = {
	{"dt_proj.bias", dt_bias},
	{"dt_proj.weight", dt_weight},
	{"A_log", decay_rates},
	{"mixer.D", ones},
	{"conv1d.weight", convolution},
	{"byte_embed.proj.weight", convolution},
	{"byte_embed.table", byte_table},
	{"out_proj.weight", to_residual},
	{"fc2.weight", to_residual},
	{"norm.weight", ones},
	{"norm2.weight", ones},
	{"norm_f.weight", ones},
	{"head.weight", head},
	{"pos_embed", small},
	{"_token", small},
	{"_indicator", small},
	{"bias", zeroes},
	{"weight", glorot},
};

static bool ends_with(const char *name, const char *ending)
{
	size_t n = strlen(name), n_ending = strlen(ending);

	return n >= n_ending && !strcmp(name + n - n_ending, ending);
}

void initialise(const struct layout *layout, float *values, struct rng *rng)
{
	uint32_t depth = layout->n_layers - 2;

	for (size_t i = 0; i < layout->n; i++) {
		const struct parameter *p = &layout->list[i];
		size_t r = 0;

		while (!ends_with(p->name, rules[r].ending)) {
			r++;
			assert(r < sizeof(rules) / sizeof(rules[0]));
		}
		rules[r].fill(p, depth, values + p->offset, rng);
	}
}

void initialise_head(const struct layout *layout, float *values, struct rng *rng)
{
	const struct parameter *weight = layout_find(layout, "head.weight");
	const struct parameter *bias = layout_find(layout, "head.bias");

	if (weight)
		fill_normal(values + weight->offset, weight->n_values, HEAD, rng);
	if (bias)
		fill(values + bias->offset, bias->n_values, 0);
}
