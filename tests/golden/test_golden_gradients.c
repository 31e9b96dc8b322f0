/* SPDX-License-Identifier: BSD-2-Clause */
/* Losses, gradients and optimiser steps of fine-tuning against an independent implementation's. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "model/adamw.h"
#include "model/loss.h"
#include "model/network.h"
#include "model/ops.h"
#include "tests/golden/vectors.h"

#define BATCH              8
#define N_CLASSES          5
#define GRADIENT_TOLERANCE 1e-3 /* ||a - b|| / ||b||, each parameter */
#define LOSS_TOLERANCE     1e-5
#define ADAMW_TOLERANCE    1e-3 /* relative, each loss */

struct fixture {
	struct model *model;
	struct safetensors *expected;
	struct network net;
	struct layout *layout;
	struct batch *batch;
	struct pass *pass;
	float *values, *gradient;
	uint32_t label[BATCH];
	uint64_t counts[N_CLASSES];
};

static void fill_batch(struct fixture *f)
{
	struct safetensors *io = open_vectors("tests/golden/tiny.io.safetensors");
	const struct raw_tensor *bytes = need_tensor(io, "bytes");

	memcpy(f->batch->bytes, bytes->data, bytes->n_values);
	raw_tensor_to_float(need_tensor(io, "sizes"), f->batch->sizes);
	raw_tensor_to_float(need_tensor(io, "iat"), f->batch->iats);
	f->batch->n = BATCH;
	safetensors_close(io);
}

static void take_weights(struct fixture *f)
{
	for (size_t i = 0; i < f->layout->n; i++) {
		const struct parameter *p = &f->layout->list[i];

		memcpy(f->values + p->offset, model_tensor(f->model, p->name)->data,
		       p->n_values * sizeof(float));
	}
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct raw_tensor *targets;
	float *counts;

	assert_non_null(f);
	f->model = open_model("tests/golden/tiny.weights.safetensors");
	f->expected = open_vectors("tests/golden/tiny.finetune.safetensors");
	network_init(&f->net, &f->model->architecture, &f->model->tokens, N_CLASSES, true);
	assert_int_equal(layout_classifier(&f->model->architecture, &f->model->tokens, N_CLASSES,
					   &f->layout),
			 0);
	assert_int_equal(
		batch_new(&f->model->tokens, f->model->architecture.stride, BATCH, &f->batch), 0);
	assert_int_equal(pass_new(&f->net, BATCH, BATCH * f->net.L, &f->pass), 0);
	f->values = calloc(f->layout->n_values, sizeof(float));
	f->gradient = calloc(f->layout->n_values, sizeof(float));
	assert_true(f->values && f->gradient);
	fill_batch(f);
	take_weights(f);
	targets = need_tensor(f->expected, "targets");
	for (size_t i = 0; i < BATCH; i++)
		f->label[i] = targets->data[i * sizeof(int64_t)];
	counts = need_floats(f->expected, "class_counts");
	for (size_t c = 0; c < N_CLASSES; c++)
		f->counts[c] = (uint64_t)counts[c];
	free(counts);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	pass_free(f->pass);
	batch_free(f->batch);
	layout_free(f->layout);
	safetensors_close(f->expected);
	model_unref(f->model);
	free(f->values);
	free(f->gradient);
	free(f);
	return 0;
}

/* Loss and gradient of the whole batch, in passes of `part` flows. */
static double compute(struct fixture *f, const struct loss *loss, uint32_t part)
{
	struct network_weights w, d;
	float logits[BATCH * N_CLASSES], d_logits[BATCH * N_CLASSES];
	double denominator = loss_weight_sum(loss, f->label, BATCH), sum = 0;

	network_bind_block(&w, &f->net, f->layout, f->values);
	network_bind_block(&d, &f->net, f->layout, f->gradient);
	memset(f->gradient, 0, f->layout->n_values * sizeof(float));
	for (uint32_t first = 0; first < BATCH; first += part) {
		network_encode(f->pass, &w, f->batch, first, part);
		network_classify(f->pass, &w, logits);
		sum += loss_gradient(loss, logits, f->label + first, part, denominator, d_logits);
		network_classify_backward(f->pass, &w, &d, d_logits);
	}
	return sum;
}

static struct loss loss_of(const struct fixture *f, enum loss_kind kind, bool balanced)
{
	struct loss_config config = loss_default_config();
	struct loss loss;

	config.kind = kind;
	config.balanced = balanced;
	loss_init(&loss, &config, f->counts, N_CLASSES);
	return loss;
}

static double relative_distance(const float *have, const float *want, size_t n)
{
	double difference = 0, norm = 0;

	for (size_t i = 0; i < n; i++) {
		difference += ((double)have[i] - want[i]) * ((double)have[i] - want[i]);
		norm += (double)want[i] * want[i];
	}
	return sqrt(difference / norm);
}

static void check(struct fixture *f, const char *name, enum loss_kind kind, bool balanced,
		  uint32_t part)
{
	struct loss loss = loss_of(f, kind, balanced);
	double have = compute(f, &loss, part), worst = 0;
	char tensor[128];
	float *want;

	snprintf(tensor, sizeof(tensor), "%s.loss", name);
	want = need_floats(f->expected, tensor);
	if (fabs(have - (double)want[0]) > LOSS_TOLERANCE * fabs((double)want[0]))
		fail_msg("%s: want %.8g, got %.8g", tensor, (double)want[0], have);
	free(want);
	for (size_t i = 0; i < f->layout->n; i++) {
		const struct parameter *p = &f->layout->list[i];
		double distance;

		snprintf(tensor, sizeof(tensor), "%s.grad.%s", name, p->name);
		want = need_floats(f->expected, tensor);
		distance = relative_distance(f->gradient + p->offset, want, p->n_values);
		if (!(distance <= GRADIENT_TOLERANCE))
			fail_msg("%s is off by %.2g", tensor, distance);
		worst = fmax(worst, distance);
		free(want);
	}
	print_message("%s: %zu gradients, the worst off by %.2g\n", name, f->layout->n, worst);
}

static void smoothed_cross_entropy_has_the_recorded_gradients(void **state)
{
	check(*state, "ce_smooth", LOSS_CROSS_ENTROPY, false, BATCH);
}

static void ldam_has_the_recorded_gradients(void **state)
{
	check(*state, "ldam", LOSS_LDAM, false, BATCH);
}

static void balanced_ldam_has_the_recorded_gradients(void **state)
{
	check(*state, "ldam_balanced", LOSS_LDAM, true, BATCH);
}

static void a_batch_in_parts_has_the_gradients_of_the_whole(void **state)
{
	check(*state, "ldam_balanced", LOSS_LDAM, true, 2);
}

static void ten_steps_of_adamw_end_at_the_recorded_weights(void **state)
{
	struct fixture *f = *state;
	struct safetensors *adamw = open_vectors("tests/golden/tiny.adamw.safetensors");
	float *losses = need_floats(adamw, "losses"), *want;
	float *m = calloc(f->layout->n_values, sizeof(float));
	float *v = calloc(f->layout->n_values, sizeof(float));
	struct loss loss = loss_of(f, LOSS_LDAM, true);
	struct adamw_config config = adamw_finetune_config();
	char tensor[96];

	config.layer_decay = 1;
	for (uint64_t step = 0; step <= 10; step++) {
		double have = compute(f, &loss, BATCH), gold = (double)losses[step];

		if (fabs(have - gold) > ADAMW_TOLERANCE * fabs(gold))
			fail_msg("step %d: want %.8g, got %.8g", (int)step, gold, have);
		if (step < 10)
			adamw_step(&config, f->layout, 1e-3, step + 1, f->values, m, v,
				   f->gradient);
	}
	for (size_t i = 0; i < f->layout->n; i++) {
		const struct parameter *p = &f->layout->list[i];

		snprintf(tensor, sizeof(tensor), "after.%s", p->name);
		want = need_floats(adamw, tensor);
		if (!(relative_distance(f->values + p->offset, want, p->n_values) <=
		      ADAMW_TOLERANCE))
			fail_msg("%s is off by %.2g", tensor,
				 relative_distance(f->values + p->offset, want, p->n_values));
		free(want);
	}
	take_weights(f);
	free(m);
	free(v);
	free(losses);
	safetensors_close(adamw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(smoothed_cross_entropy_has_the_recorded_gradients),
		cmocka_unit_test(ldam_has_the_recorded_gradients),
		cmocka_unit_test(balanced_ldam_has_the_recorded_gradients),
		cmocka_unit_test(a_batch_in_parts_has_the_gradients_of_the_whole),
		cmocka_unit_test(ten_steps_of_adamw_end_at_the_recorded_weights),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
