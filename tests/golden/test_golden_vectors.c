/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CPU engine against vectors of an independent PyTorch implementation of the network: logits,
 * the pooled CLS tokens, and, where recorded, what is between the layers.
 *
 * The paper-sized vectors (7.5 MB) are not in the tree: NM_GOLDEN_DIR names a folder with
 * base.weights.safetensors and base.io.safetensors.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "model/cpu_engine.h"
#include "model/verify.h"
#include "tests/golden/vectors.h"

/* float32 against float32, sums in another order; seen: 1e-5 and less. */
#define TAP_TOLERANCE 1e-4

struct taps {
	const struct safetensors *vectors;
	size_t n_compared;
	double worst;
};

static void path_in(char *path, size_t size, const char *dir, const char *name, const char *kind)
{
	snprintf(path, size, "%s/%s.%s.safetensors", dir, name, kind);
}

/* Largest difference relative to the largest magnitude wanted. */
static double deviation(const float *have, const float *want, size_t n)
{
	double largest = 0, worst = 0;

	for (size_t i = 0; i < n; i++) {
		largest = fmax(largest, fabs((double)want[i]));
		worst = fmax(worst, fabs((double)have[i] - want[i]));
	}
	return worst / largest;
}

static void compare_tensor(struct taps *taps, const char *name, const float *have)
{
	const struct raw_tensor *t = safetensors_find(taps->vectors, name);
	float *want;
	double d;

	if (!t)
		return;
	want = need_floats(taps->vectors, name);
	d = deviation(have, want, t->n_values);
	if (!(d <= TAP_TOLERANCE))
		fail_msg("%s deviates by %g of its largest magnitude; at most %g", name, d,
			 TAP_TOLERANCE);
	taps->worst = fmax(taps->worst, d);
	taps->n_compared++;
	free(want);
}

/* Recorded taps are of sample 0 alone: the passes behind the first are not looked at. */
static void on_tap(void *ctx, const char *name, uint32_t block, const float *values,
		   uint32_t first_flow, uint32_t n_flows)
{
	struct taps *taps = ctx;
	char tensor[64];

	(void)n_flows;
	if (first_flow > 0 || strcmp(name, "pooled") == 0)
		return;
	if (strcmp(name, "out") == 0 || strcmp(name, "residual") == 0)
		snprintf(tensor, sizeof(tensor), "tap.block%u.%s", block, name);
	else
		snprintf(tensor, sizeof(tensor), "tap.%s", name);
	compare_tensor(taps, tensor, values);
}

struct pooled {
	float *values;
	size_t D;
};

static void keep_pooled(void *ctx, const char *name, uint32_t block, const float *values,
			uint32_t first_flow, uint32_t n_flows)
{
	struct pooled *p = ctx;

	(void)block;
	if (strcmp(name, "pooled") == 0)
		memcpy(p->values + first_flow * p->D, values, n_flows * p->D * sizeof(float));
}

static struct batch *fill_batch(const struct model *m, const struct safetensors *st)
{
	const struct raw_tensor *bytes = need_tensor(st, "bytes");
	float *sizes = need_floats(st, "sizes"), *iats = need_floats(st, "iat");
	struct batch *b = NULL;

	assert_int_equal(batch_new(&m->tokens, m->architecture.stride, bytes->shape[0], &b), 0);
	b->n = b->capacity;
	memcpy(b->bytes, bytes->data, bytes->n_values);
	memcpy(b->sizes, sizes, need_tensor(st, "sizes")->n_values * sizeof(float));
	memcpy(b->iats, iats, need_tensor(st, "iat")->n_values * sizeof(float));
	free(sizes);
	free(iats);
	return b;
}

static void check_logits(const char *dir, const char *name)
{
	char weights[256], io[256];
	struct verify_result result;
	struct error e = {0};
	struct model *m;

	path_in(weights, sizeof(weights), dir, name, "weights");
	path_in(io, sizeof(io), dir, name, "io");
	m = open_model(weights);
	if (model_verify_vectors(m, io, &result, &e))
		fail_msg("%s", e.text);
	print_message("%s: logits deviate by %.2g of their largest magnitude\n", name,
		      result.logits_deviation);
	assert_int_equal(result.n_samples, 8);
	assert_int_equal(result.n_other_class, 0);
	assert_true(result.logits_deviation <= VERIFY_TOLERANCE);
	model_unref(m);
}

/* n_taps: how many recorded tensors there must be. */
static void check_inside(const char *dir, const char *name, size_t n_taps)
{
	char weights[256], io[256];
	struct safetensors *st;
	struct taps taps = {0};
	struct pooled pooled;
	struct cpu_engine *cpu = NULL;
	struct error e = {0};
	struct model *m;
	struct batch *b;
	float *logits;

	path_in(weights, sizeof(weights), dir, name, "weights");
	path_in(io, sizeof(io), dir, name, "io");
	m = open_model(weights);
	taps.vectors = st = open_vectors(io);
	b = fill_batch(m, st);
	logits = calloc(b->n * m->n_classes, sizeof(*logits));
	pooled.D = m->architecture.embed_dim;
	pooled.values = calloc(b->n * pooled.D, sizeof(float));
	if (!logits || !pooled.values || cpu_engine_new(m, &cpu, &e))
		fail_msg("no engine: %s", e.text);
	cpu_engine_tap(cpu, on_tap, &taps);
	cpu_engine_run(cpu, b, logits);
	cpu_engine_tap(cpu, keep_pooled, &pooled);
	cpu_engine_run(cpu, b, logits);
	compare_tensor(&taps, "cls_token", pooled.values);
	print_message("%s: %zu intermediates deviate by %.2g at most\n", name, taps.n_compared,
		      taps.worst);
	assert_int_equal(taps.n_compared, n_taps);
	free(pooled.values);
	free(logits);
	cpu_engine_free(cpu);
	batch_free(b);
	safetensors_close(st);
	model_unref(m);
}

static void tiny_logits_match(void **state)
{
	(void)state;
	check_logits(GOLDEN_DIR, "tiny");
	check_logits(GOLDEN_DIR, "tiny-bi");
}

static void tiny_intermediates_match_layer_by_layer(void **state)
{
	(void)state;
	check_inside(GOLDEN_DIR, "tiny", 7);
	check_inside(GOLDEN_DIR, "tiny-bi", 7);
}

static void paper_sized_logits_match(void **state)
{
	const char *dir = getenv("NM_GOLDEN_DIR");

	(void)state;
	if (!dir) {
		print_message("skipped: NM_GOLDEN_DIR does not name the folder of base.*\n");
		skip();
	}
	check_logits(dir, "base");
	check_inside(dir, "base", 1);
}

static void shipped_model_gives_its_recorded_logits(void **state)
{
	struct model *m = open_model(SHIPPED_MODEL);
	struct verify_result result;
	struct error e = {0};

	(void)state;
	if (model_verify_vectors(m, GOLDEN_DIR "/bootstrap.io.safetensors", &result, &e))
		fail_msg("%s", e.text);
	print_message("shipped model: logits deviate by %.2g of their largest magnitude\n",
		      result.logits_deviation);
	assert_int_equal(result.n_samples, 5);
	assert_true(result.logits_deviation <= VERIFY_TOLERANCE);
	model_unref(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tiny_logits_match),
		cmocka_unit_test(tiny_intermediates_match_layer_by_layer),
		cmocka_unit_test(paper_sized_logits_match),
		cmocka_unit_test(shipped_model_gives_its_recorded_logits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
