/* SPDX-License-Identifier: BSD-2-Clause */
/* Losses and their gradient against PyTorch's figures (tests/golden) and finite differences. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "model/loss.h"
#include "tests/golden/vectors.h"

#define N 8
#define C 5
#define D 64

struct golden {
	float *logits, *pooled;
	uint32_t labels[N];
	uint64_t counts[C];
	struct safetensors *finetune;
};

static const struct {
	const char *name;
	struct loss_config config;
} cases[] = {
	{"ce_smooth", {.kind = LOSS_CROSS_ENTROPY, .label_smoothing = 0.1F}},
	{"ldam", {.kind = LOSS_LDAM, .scale = 30, .max_margin = 0.5F, .label_smoothing = 0.1F}},
	{"ldam_balanced",
	 {.kind = LOSS_LDAM,
	  .scale = 30,
	  .max_margin = 0.5F,
	  .label_smoothing = 0.1F,
	  .balanced = true,
	  .beta = 0.999F}},
};
#define N_CASES (sizeof(cases) / sizeof(cases[0]))

static int open_golden(void **state)
{
	static struct golden g;
	struct safetensors *io = open_vectors(GOLDEN_DIR "/tiny.io.safetensors");
	const struct raw_tensor *targets;
	float *counts;

	g.finetune = open_vectors(GOLDEN_DIR "/tiny.finetune.safetensors");
	targets = need_tensor(g.finetune, "targets");
	counts = need_floats(g.finetune, "class_counts");
	g.logits = need_floats(io, "logits");
	g.pooled = need_floats(io, "cls_token");
	for (int i = 0; i < N; i++)
		g.labels[i] = targets->data[i * 8];
	for (int c = 0; c < C; c++)
		g.counts[c] = (uint64_t)counts[c];
	free(counts);
	safetensors_close(io);
	*state = &g;
	return 0;
}

static int close_golden(void **state)
{
	struct golden *g = *state;

	free(g->logits);
	free(g->pooled);
	safetensors_close(g->finetune);
	return 0;
}

static void losses_are_those_of_pytorch(void **state)
{
	const struct golden *g = *state;

	for (size_t i = 0; i < N_CASES; i++) {
		struct loss l;
		char name[64];
		float *want;
		double have;

		snprintf(name, sizeof(name), "%s.loss", cases[i].name);
		want = need_floats(g->finetune, name);
		loss_init(&l, &cases[i].config, g->counts, C);
		have = loss_gradient(&l, g->logits, g->labels, N, loss_weight_sum(&l, g->labels, N),
				     NULL);
		if (!(fabs(have - *want) < 2e-5 * *want))
			fail_msg("%s: %.7f, PyTorch %.7f", name, have, *want);
		free(want);
	}
}

/* d head.weight = d_logits^T pooled, where pooled is what the head read. */
static double head_deviation(const float *d_logits, const float *pooled, const float *want)
{
	double difference = 0, norm = 0;

	for (int c = 0; c < C; c++)
		for (int d = 0; d < D; d++) {
			double have = 0;

			for (int i = 0; i < N; i++)
				have += (double)d_logits[i * C + c] * pooled[i * D + d];
			difference += pow(have - want[c * D + d], 2);
			norm += pow(want[c * D + d], 2);
		}
	return sqrt(difference / norm);
}

static void gradients_of_the_head_are_those_of_pytorch(void **state)
{
	const struct golden *g = *state;

	for (size_t i = 0; i < N_CASES; i++) {
		struct loss l;
		char name[64];
		float d_logits[N * C], *want;
		double deviation;

		snprintf(name, sizeof(name), "%s.grad.head.weight", cases[i].name);
		want = need_floats(g->finetune, name);
		loss_init(&l, &cases[i].config, g->counts, C);
		loss_gradient(&l, g->logits, g->labels, N, loss_weight_sum(&l, g->labels, N),
			      d_logits);
		deviation = head_deviation(d_logits, g->pooled, want);
		if (!(deviation < 1e-4))
			fail_msg("%s deviates by %g", name, deviation);
		free(want);
	}
}

static void balanced_weights_are_those_of_pytorch(void **state)
{
	const struct golden *g = *state;
	float *want = need_floats(g->finetune, "class_weights");
	struct loss l;

	loss_init(&l, &cases[2].config, g->counts, C);
	for (int c = 0; c < C; c++)
		assert_true(fabsf(l.weight[c] - want[c]) < 1e-5F * C);
	free(want);
}

static void the_gradient_is_the_slope_of_the_loss(void **state)
{
	const struct golden *g = *state;
	struct loss l;
	float logits[N * C], d_logits[N * C];
	double denominator;

	loss_init(&l, &cases[2].config, g->counts, C);
	denominator = loss_weight_sum(&l, g->labels, N);
	memcpy(logits, g->logits, sizeof(logits));
	loss_gradient(&l, logits, g->labels, N, denominator, d_logits);
	for (int i = 0; i < N * C; i++) {
		float up = g->logits[i] + 0.001F, down = g->logits[i] - 0.001F;
		double above, below, slope;

		logits[i] = up;
		above = loss_gradient(&l, logits, g->labels, N, denominator, NULL);
		logits[i] = down;
		below = loss_gradient(&l, logits, g->labels, N, denominator, NULL);
		logits[i] = g->logits[i];
		slope = (above - below) / ((double)up - down);
		if (!(fabs(slope - d_logits[i]) < 1e-3 * (0.1 + fabs(slope))))
			fail_msg("logit %d: %g, slope %g", i, d_logits[i], slope);
	}
}

static void parts_of_a_batch_add_up_to_the_whole(void **state)
{
	const struct golden *g = *state;
	struct loss l;
	float whole[N * C], parts[N * C];
	double denominator, loss, of_parts;

	loss_init(&l, &cases[2].config, g->counts, C);
	denominator = loss_weight_sum(&l, g->labels, N);
	loss = loss_gradient(&l, g->logits, g->labels, N, denominator, whole);
	of_parts = loss_gradient(&l, g->logits, g->labels, 3, denominator, parts);
	of_parts += loss_gradient(&l, g->logits + 3 * C, g->labels + 3, N - 3, denominator,
				  parts + 3 * C);
	assert_true(fabs(loss - of_parts) < 1e-12 * loss);
	assert_memory_equal(whole, parts, sizeof(whole));
}

static void the_rarest_class_has_the_largest_margin(void **state)
{
	static const uint64_t counts[] = {16, 1, 81};
	struct loss l;

	(void)state;
	loss_init(&l, &cases[1].config, counts, 3);
	assert_true(fabsf(l.margin[0] - 0.25F) < 1e-6F);
	assert_true(fabsf(l.margin[1] - 0.5F) < 1e-6F);
	assert_true(fabsf(l.margin[2] - 0.5F / 3) < 1e-6F);
}

static void a_class_without_samples_has_no_weight_and_no_margin(void **state)
{
	static const uint64_t counts[] = {10, 0, 1000};
	static const float logits[] = {0.5F, 100, -0.5F};
	static const uint32_t label = 0;
	struct loss l;
	float d_logits[3];
	double loss;

	(void)state;
	loss_init(&l, &cases[2].config, counts, 3);
	assert_true(l.weight[1] == 0 && l.margin[1] == 0);
	assert_true(fabsf(l.weight[0] + l.weight[2] - 2) < 1e-5F);
	loss = loss_gradient(&l, logits, &label, 1, loss_weight_sum(&l, &label, 1), d_logits);
	assert_true(isfinite(loss) && loss > 0);
	for (int c = 0; c < 3; c++)
		assert_true(isfinite(d_logits[c]));
}

static void a_batch_without_weight_has_neither_loss_nor_gradient(void **state)
{
	static const uint64_t counts[] = {10, 0};
	static const float logits[] = {3, -2};
	static const uint32_t label = 1;
	struct loss l;
	float d_logits[2] = {1, 1};

	(void)state;
	loss_init(&l, &cases[2].config, counts, 2);
	assert_true(loss_weight_sum(&l, &label, 1) == 0);
	assert_true(loss_gradient(&l, logits, &label, 1, 0, d_logits) == 0);
	assert_true(d_logits[0] == 0 && d_logits[1] == 0);
}

static void no_samples_at_all_give_no_nan(void **state)
{
	static const uint64_t counts[] = {0, 0};
	struct loss l;

	(void)state;
	loss_init(&l, &cases[2].config, counts, 2);
	assert_true(l.weight[0] == 0 && l.weight[1] == 0 && l.margin[0] == 0 && l.margin[1] == 0);
}

static void logits_of_any_size_are_stable(void **state)
{
	static const uint64_t counts[] = {10, 20};
	static const float logits[] = {30000, -30000};
	static const uint32_t labels[] = {0, 1};
	struct loss l;
	float d_logits[2];

	(void)state;
	loss_init(&l, &(struct loss_config){.kind = LOSS_CROSS_ENTROPY}, counts, 2);
	assert_true(loss_gradient(&l, logits, &labels[0], 1, 1, d_logits) == 0);
	assert_true(d_logits[0] == 0 && d_logits[1] == 0);
	assert_true(loss_gradient(&l, logits, &labels[1], 1, 1, d_logits) == 60000);
	assert_true(d_logits[0] == 1 && d_logits[1] == -1);
}

static void weights_without_beta_are_alike(void **state)
{
	static const uint64_t counts[] = {1, 1000, 7};
	struct loss_config config = cases[2].config;
	struct loss l;

	(void)state;
	config.beta = 0;
	loss_init(&l, &config, counts, 3);
	for (int c = 0; c < 3; c++)
		assert_true(l.weight[c] == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(losses_are_those_of_pytorch),
		cmocka_unit_test(gradients_of_the_head_are_those_of_pytorch),
		cmocka_unit_test(balanced_weights_are_those_of_pytorch),
		cmocka_unit_test(the_gradient_is_the_slope_of_the_loss),
		cmocka_unit_test(parts_of_a_batch_add_up_to_the_whole),
		cmocka_unit_test(the_rarest_class_has_the_largest_margin),
		cmocka_unit_test(a_class_without_samples_has_no_weight_and_no_margin),
		cmocka_unit_test(a_batch_without_weight_has_neither_loss_nor_gradient),
		cmocka_unit_test(no_samples_at_all_give_no_nan),
		cmocka_unit_test(logits_of_any_size_are_stable),
		cmocka_unit_test(weights_without_beta_are_alike),
	};

	return cmocka_run_group_tests(tests, open_golden, close_golden);
}
