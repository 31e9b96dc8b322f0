/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening models and vectors in tests: a failure ends the test with the error's text. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "model/model_file.h"
#include "model/safetensors.h"

#define GOLDEN_DIR    "tests/golden"
#define SHIPPED_MODEL "model/weights/bootstrap.safetensors"

static inline struct model *open_model(const char *path)
{
	struct error e = {0};
	struct model *m = NULL;

	if (model_load(path, &m, &e))
		fail_msg("%s", e.text);
	return m;
}

static inline struct safetensors *open_vectors(const char *path)
{
	struct error e = {0};
	struct safetensors *st = NULL;

	if (safetensors_open(path, &st, &e))
		fail_msg("%s", e.text);
	return st;
}

static inline const struct raw_tensor *need_tensor(const struct safetensors *st, const char *name)
{
	const struct raw_tensor *t = safetensors_find(st, name);

	if (!t)
		fail_msg("no tensor %s", name);
	return t;
}

/* The caller frees it. */
static inline float *need_floats(const struct safetensors *st, const char *name)
{
	const struct raw_tensor *t = need_tensor(st, name);
	float *values = malloc(t->n_values * sizeof(float));

	assert_non_null(values);
	assert_int_equal(t->dtype, DTYPE_F32);
	raw_tensor_to_float(t, values);
	return values;
}
