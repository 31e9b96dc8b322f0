/* SPDX-License-Identifier: BSD-2-Clause */
/* See verify.h. The recorded inputs go straight into a batch: what is held is the engine. */
#include "model/verify.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "model/batch.h"
#include "model/decide.h"
#include "model/engine.h"
#include "model/safetensors.h"

#define MAX_SAMPLES 65536

struct vectors {
	const char *path;
	struct safetensors *file;
	const struct raw_tensor *bytes, *sizes, *iat, *logits;
	uint32_t n;
};

static void close_vectors(struct vectors *v)
{
	safetensors_close(v->file);
}

static void free_batch(struct batch **b)
{
	batch_free(*b);
}

static void free_floats(float **values)
{
	free(*values);
}

static void close_engine(struct engine **engine)
{
	engine_close(*engine);
}

static int find(const struct vectors *v, const char *name, enum dtype dtype, uint64_t columns,
		const struct raw_tensor **ret_tensor, struct error *e)
{
	const struct raw_tensor *t = safetensors_find(v->file, name);

	if (!t)
		return error_set(e, -EINVAL,
				 "%s: tensor %s is missing; vectors hold bytes, sizes, "
				 "iat and logits",
				 v->path, name);
	if (t->dtype != dtype || t->n_dims != 2 || t->shape[1] != columns)
		return error_set(e, -EINVAL,
				 "%s: tensor %s: must be %s of shape [samples, %" PRIu64
				 "] for this model",
				 v->path, name, dtype_name(dtype), columns);
	*ret_tensor = t;
	return 0;
}

static int open_vectors(struct vectors *v, const struct model *m, struct error *e)
{
	const struct sample_shape *shape = &m->tokens.shape;
	int r = safetensors_open(v->path, &v->file, e);

	if (!r)
		r = find(v, "bytes", DTYPE_U8, shape->packets * sample_row_bytes(shape), &v->bytes,
			 e);
	if (!r)
		r = find(v, "sizes", DTYPE_F32, shape->seq_len, &v->sizes, e);
	if (!r)
		r = find(v, "iat", DTYPE_F32, shape->seq_len, &v->iat, e);
	if (!r)
		r = find(v, "logits", DTYPE_F32, m->n_classes, &v->logits, e);
	if (r)
		return r;
	v->n = (uint32_t)v->logits->shape[0];
	if (v->logits->shape[0] < 1 || v->logits->shape[0] > MAX_SAMPLES ||
	    v->bytes->shape[0] != v->n || v->sizes->shape[0] != v->n || v->iat->shape[0] != v->n)
		return error_set(e, -EINVAL,
				 "%s: bytes, sizes, iat and logits must hold the same number of "
				 "samples, 1 to %d",
				 v->path, MAX_SAMPLES);
	return 0;
}

static void fill_batch(struct batch *b, const struct vectors *v)
{
	memcpy(b->bytes, v->bytes->data, v->bytes->n_values);
	raw_tensor_to_float(v->sizes, b->sizes);
	raw_tensor_to_float(v->iat, b->iats);
	b->n = v->n;
}

/* A difference that is not a number is the largest there is. */
static void compare(const float *ours, const float *theirs, uint32_t n_classes,
		    struct verify_result *result)
{
	double worst = 0;

	for (uint32_t s = 0; s < result->n_samples; s++, ours += n_classes, theirs += n_classes) {
		for (uint32_t c = 0; c < n_classes; c++) {
			double deviation = fabs((double)ours[c] - theirs[c]);

			result->largest_logit =
				fmax(result->largest_logit, fabs((double)theirs[c]));
			if (isnan(deviation))
				deviation = INFINITY;
			if (deviation <= worst)
				continue;
			worst = deviation;
			result->worst_sample = s;
			result->worst_class = c;
		}
		result->n_other_class +=
			decide_nearest(ours, n_classes) != decide_nearest(theirs, n_classes);
	}
	if (worst > 0)
		result->logits_deviation = worst / result->largest_logit;
}

int model_verify_vectors(struct model *m, const char *io_path, struct verify_result *ret_result,
			 struct error *e)
{
	cleanup(close_vectors) struct vectors v = {.path = io_path};
	cleanup(free_batch) struct batch *batch = NULL;
	cleanup(free_floats) float *ours = NULL;
	cleanup(free_floats) float *theirs = NULL;
	cleanup(close_engine) struct engine *engine = NULL;
	int r;

	if (m->tokens.packed)
		return error_set(e, -EINVAL,
				 "%s: vectors hold whole sequences; %s runs packed ones", io_path,
				 m->path);
	r = open_vectors(&v, m, e);
	if (r)
		return r;
	ours = malloc(v.logits->n_values * sizeof(float));
	theirs = malloc(v.logits->n_values * sizeof(float));
	if (!ours || !theirs || batch_new(&m->tokens, m->architecture.stride, v.n, &batch))
		return error_set(e, -ENOMEM, "%s: no memory for %u samples", io_path, v.n);
	r = engine_open("auto", m, &engine, e);
	if (r)
		return r;
	fill_batch(batch, &v);
	r = engine_run(engine, batch, ours, e);
	if (r)
		return r;
	raw_tensor_to_float(v.logits, theirs);
	*ret_result = (struct verify_result){.n_samples = v.n};
	compare(ours, theirs, m->n_classes, ret_result);
	return 0;
}
