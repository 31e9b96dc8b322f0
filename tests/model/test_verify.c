/* SPDX-License-Identifier: BSD-2-Clause */
/* The vector check itself: it finds what is wrong, and takes no vectors that do not fit. */
#include <errno.h>
#include <math.h>
#include "model/engine.h"
#include "model/verify.h"
#include "tests/model/model_builder.h"

static const struct built_shape shape = {2, 1, 2, 4, 2, 4, 2, 4, 4, 3, 3, 1, 0};

#define N_SAMPLES 2
#define N_BYTES   16 /* P (H + Y) */
#define S         3
#define N_CLASSES 3

struct vectors {
	float sizes[N_SAMPLES * S], iat[N_SAMPLES * S], logits[N_SAMPLES * N_CLASSES];
	uint8_t bytes[N_SAMPLES * N_BYTES];
};

static const char header[] =
	"{\"sizes\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
	"\"iat\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[24,48]},"
	"\"logits\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[48,72]},"
	"\"bytes\":{\"dtype\":\"U8\",\"shape\":[2,16],\"data_offsets\":[72,104]}}";

static struct model *some_model(void)
{
	char path[] = "/tmp/nm-model-XXXXXX";
	struct model *m = NULL;
	struct error e = {0};

	write_built_model(path, &shape, 9);
	if (model_load(path, &m, &e))
		fail_msg("%s", e.text);
	unlink(path);
	return m;
}

/* Vectors whose logits are the engine's own. */
static struct vectors right_vectors(struct model *m)
{
	struct vectors v;
	struct engine *engine = NULL;
	struct batch *b = NULL;

	assert_int_equal(engine_open("cpu", m, &engine, NULL), 0);
	assert_int_equal(batch_new(&m->tokens, m->architecture.stride, N_SAMPLES, &b), 0);
	for (size_t i = 0; i < N_SAMPLES * N_BYTES; i++) {
		v.bytes[i] = (uint8_t)(i * 37);
		b->bytes[i] = v.bytes[i];
	}
	for (size_t i = 0; i < N_SAMPLES * S; i++) {
		b->sizes[i] = v.sizes[i] = 100.0F * (float)i;
		b->iats[i] = v.iat[i] = 0.5F + 0.01F * (float)i;
	}
	b->n = N_SAMPLES;
	assert_int_equal(engine_run(engine, b, v.logits, NULL), 0);
	batch_free(b);
	engine_close(engine);
	return v;
}

static int verify(struct model *m, const char *find, const char *with, const struct vectors *v,
		  struct verify_result *result, struct error *e)
{
	char path[] = "/tmp/nm-vectors-XXXXXX";
	struct text t = {0};
	int r;

	text_add(&t, "%s", header);
	if (find)
		text_replace(&t, find, with);
	write_safetensors(path, &t, v, sizeof(*v));
	r = model_verify_vectors(m, path, result, e);
	unlink(path);
	text_free(&t);
	if (r)
		memmove(e->text, e->text + strlen(path) + 2, strlen(e->text + strlen(path) + 1));
	return r;
}

static void equal_logits_deviate_by_nothing(void **state)
{
	struct model *m = some_model();
	struct vectors v = right_vectors(m);
	struct verify_result result;
	struct error e = {0};

	(void)state;
	if (verify(m, NULL, NULL, &v, &result, &e))
		fail_msg("%s", e.text);
	assert_int_equal(result.n_samples, N_SAMPLES);
	assert_true(result.logits_deviation < 1e-6);
	assert_int_equal(result.n_other_class, 0);
	model_unref(m);
}

static void a_changed_logit_is_found_with_its_place_and_size(void **state)
{
	struct model *m = some_model();
	struct vectors v = right_vectors(m);
	struct verify_result result;
	struct error e = {0};

	(void)state;
	v.logits[N_CLASSES + 2] = 1000;
	if (verify(m, NULL, NULL, &v, &result, &e))
		fail_msg("%s", e.text);
	assert_int_equal(result.worst_sample, 1);
	assert_int_equal(result.worst_class, 2);
	assert_true(result.largest_logit == 1000);
	assert_true(fabs(result.logits_deviation - 1) < 0.05);
	v.logits[N_CLASSES + 2] = NAN;
	if (verify(m, NULL, NULL, &v, &result, &e))
		fail_msg("%s", e.text);
	assert_true(isinf(result.logits_deviation));
	model_unref(m);
}

static void vectors_that_do_not_fit_are_refused_with_what_would(void **state)
{
	static const struct {
		const char *find, *with, *error;
	} cases[] = {
		{"\"iat\"", "\"iats\"",
		 "tensor iat is missing; vectors hold bytes, sizes, iat and logits"},
		{"[2,16]", "[4,8]",
		 "tensor bytes: must be U8 of shape [samples, 16] for this model"},
		{"\"logits\":{\"dtype\":\"F32\",\"shape\":[2,3]",
		 "\"logits\":{\"dtype\":\"F32\",\"shape\":[3,2]",
		 "tensor logits: must be F32 of shape [samples, 3] for this model"},
		{"\"sizes\":{\"dtype\":\"F32\",\"shape\":[2,3]",
		 "\"sizes\":{\"dtype\":\"U8\",\"shape\":[8,3]",
		 "tensor sizes: must be F32 of shape [samples, 3] for this model"},
		{"\"shape\":[2,3],\"data_offsets\":[0,24]},\"iat\":{\"dtype\":\"F32\",\"shape\":[2,"
		 "3],\"data_offsets\":[24,48]}",
		 "\"shape\":[1,3],\"data_offsets\":[0,12]},\"iat\":{\"dtype\":\"F32\",\"shape\":[3,"
		 "3],\"data_offsets\":[12,48]}",
		 "bytes, sizes, iat and logits must hold the same number of samples, 1 to 65536"},
	};
	struct model *m = some_model();
	struct vectors v = right_vectors(m);
	struct verify_result result;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error e = {0};

		assert_int_equal(verify(m, cases[i].find, cases[i].with, &v, &result, &e), -EINVAL);
		assert_string_equal(e.text, cases[i].error);
	}
	model_unref(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_logits_deviate_by_nothing),
		cmocka_unit_test(a_changed_logit_is_found_with_its_place_and_size),
		cmocka_unit_test(vectors_that_do_not_fit_are_refused_with_what_would),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
