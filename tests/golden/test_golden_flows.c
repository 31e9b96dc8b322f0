/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The whole way of the input, capture to tokens, against vectors that were made by another program
 * from the same five real flows: bytes (debiased) and sizes must be equal, not close. It is what
 * the shipped model was trained on.
 */
#include <errno.h>
#include <math.h>
#include <string.h>
#include "agent/flow/offline.h"
#include "model/batch.h"
#include "model/engine.h"
#include "model/tokens.h"
#include "model/verify.h"
#include "tests/golden/vectors.h"

/* A model that loads must be one that the kernel can serve. */
_Static_assert(MODEL_MAX_HEADER_BYTES == RECORD_MAX_HEADER, "bounds of model and record agree");
_Static_assert(MODEL_MAX_PAYLOAD_BYTES == RECORD_MAX_PAYLOAD, "bounds of model and record agree");
_Static_assert(MODEL_MAX_CLASSES < MAX_CLASSES, "class id 0 is `unknown`");

static const char *const captures[] = {
	GOLDEN_DIR "/tor.pcap", GOLDEN_DIR "/tls.pcap",     GOLDEN_DIR "/dns.pcap",
	GOLDEN_DIR "/p2p.pcap", GOLDEN_DIR "/openvpn.pcap",
};
/* The other program took differences of epoch seconds in double: good to 2.4e-7 s, and the slope
 * of t -> 1 / (1 + 1 / (1 + t)) is 1/4 at most; plus float32's rounding. */
#define TIME_TOLERANCE 1.5e-7F
#define N_FLOWS        (sizeof(captures) / sizeof(captures[0]))

struct fixture {
	struct model *model;
	struct safetensors *vectors;
	struct flow_sample *sample[N_FLOWS];
	size_t n_samples;
};

static struct fixture fixture;

static void keep_first(void *ctx, const struct flow_info *info, const struct flow_sample *sample,
		       enum ready_reason why)
{
	struct fixture *f = ctx;
	struct flow_sample *copy = flow_sample_new(&sample->shape);

	(void)info;
	(void)why;
	assert_non_null(copy);
	assert_true(f->n_samples < N_FLOWS);
	memcpy(copy->packets, sample->packets, sample->n_packets * sizeof(*sample->packets));
	memcpy(copy->bytes, sample->bytes,
	       sample->shape.packets * sample_row_bytes(&sample->shape));
	copy->n_packets = sample->n_packets;
	f->sample[f->n_samples++] = copy;
}

static int set_up(void **state)
{
	struct offline_config config = {.max_flows = 16, .on_ready = keep_first, .ctx = &fixture};
	struct error e = {0};

	fixture.model = open_model(SHIPPED_MODEL);
	fixture.vectors = open_vectors(GOLDEN_DIR "/bootstrap.io.safetensors");
	config.shape = fixture.model->tokens.shape;
	for (size_t i = 0; i < N_FLOWS; i++) {
		if (offline_read(captures[i], &config, NULL, &e))
			fail_msg("%s", e.text);
		assert_int_equal(fixture.n_samples, i + 1);
	}
	*state = &fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < f->n_samples; i++)
		flow_sample_free(f->sample[i]);
	safetensors_close(f->vectors);
	model_unref(f->model);
	return 0;
}

static void bytes_of_real_flows_are_those_of_the_training_program(void **state)
{
	struct fixture *f = *state;
	const struct raw_tensor *want = need_tensor(f->vectors, "bytes");
	size_t n = want->shape[1];
	uint8_t have[2048];

	assert_true(n <= sizeof(have));
	for (size_t i = 0; i < N_FLOWS; i++) {
		tokens_bytes(have, &f->model->tokens, f->sample[i]);
		assert_memory_equal(have, want->data + i * n, n);
	}
}

static void sizes_and_times_of_real_flows_are_those_of_the_training_program(void **state)
{
	struct fixture *f = *state;
	size_t S = f->model->tokens.shape.seq_len;
	float *sizes = need_floats(f->vectors, "sizes"), *iats = need_floats(f->vectors, "iat");
	float have[256];

	for (size_t i = 0; i < N_FLOWS; i++) {
		tokens_sizes(have, f->sample[i]);
		for (size_t k = 0; k < S; k++)
			if (have[k] != sizes[i * S + k])
				fail_msg("%s size %zu: want %g, got %g", captures[i], k,
					 (double)sizes[i * S + k], (double)have[k]);
		tokens_iats(have, &f->model->tokens, f->sample[i]);
		for (size_t k = 0; k < S; k++)
			if (fabsf(have[k] - iats[i * S + k]) > TIME_TOLERANCE)
				fail_msg("%s time %zu: want %.9g, got %.9g", captures[i], k,
					 (double)iats[i * S + k], (double)have[k]);
	}
	free(sizes);
	free(iats);
}

static void real_flows_get_the_training_programs_logits(void **state)
{
	struct fixture *f = *state;
	uint32_t n_classes = f->model->n_classes;
	float *want = need_floats(f->vectors, "logits"), *have;
	struct batch *batch = NULL;
	struct engine *engine = NULL;
	struct error e = {0};
	float largest = 0;

	have = calloc(N_FLOWS * n_classes, sizeof(*have));
	assert_non_null(have);
	assert_int_equal(
		batch_new(&f->model->tokens, f->model->architecture.stride, N_FLOWS, &batch), 0);
	for (size_t i = 0; i < N_FLOWS; i++)
		assert_int_equal(batch_add(batch, &f->model->tokens, f->sample[i]), 0);
	assert_int_equal(batch_add(batch, &f->model->tokens, f->sample[0]), -ENOSPC);
	if (engine_open("cpu", f->model, &engine, &e) || engine_run(engine, batch, have, &e))
		fail_msg("%s", e.text);
	for (size_t i = 0; i < N_FLOWS * n_classes; i++)
		largest = fmaxf(largest, fabsf(want[i]));
	for (size_t i = 0; i < N_FLOWS * n_classes; i++)
		assert_true(fabsf(have[i] - want[i]) <= (float)VERIFY_TOLERANCE * largest);
	engine_close(engine);
	batch_free(batch);
	free(have);
	free(want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_of_real_flows_are_those_of_the_training_program),
		cmocka_unit_test(sizes_and_times_of_real_flows_are_those_of_the_training_program),
		cmocka_unit_test(real_flows_get_the_training_programs_logits),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
