/* SPDX-License-Identifier: BSD-2-Clause */
/* See model_file.h. Metadata first: it says which tensors there must be, and of what shape. */
#include "model/model_file.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "model/layout.h"
#include "model/model_metadata.h"
#include "model/safetensors.h"

struct model_storage {
	atomic_uint references;
	struct safetensors *file;
	float *converted; /* values of tensors that could not be used in place */
};

static void free_model(struct model **m)
{
	model_unref(*m);
}

struct model *model_ref(struct model *m)
{
	atomic_fetch_add(&m->storage->references, 1);
	return m;
}

void model_unref(struct model *m)
{
	if (!m)
		return;
	if (m->storage && atomic_fetch_sub(&m->storage->references, 1) > 1)
		return;
	if (m->storage) {
		safetensors_close(m->storage->file);
		free(m->storage->converted);
	}
	free(m->storage);
	free(m->tensors);
	free(m->training_json);
	free(m->figures_json);
	free(m->path);
	free(m);
}

uint32_t model_byte_tokens(const struct model *m)
{
	return layout_byte_tokens(&m->architecture, &m->tokens);
}

uint32_t model_sequence_length(const struct model *m)
{
	return layout_sequence_length(&m->architecture, &m->tokens);
}

static int compare_tensor(const void *a, const void *b)
{
	return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

const struct tensor *model_tensor(const struct model *m, const char *name)
{
	struct tensor key = {.name = name};

	return bsearch(&key, m->tensors, m->n_tensors, sizeof(key), compare_tensor);
}

int model_class_index(const struct model *m, const char *name)
{
	for (uint32_t i = 0; i < m->n_classes; i++)
		if (strcmp(m->class_name[i], name) == 0)
			return (int)i;
	return -1;
}

static bool is_weight(const struct raw_tensor *raw)
{
	return raw->dtype == DTYPE_F32 || raw->dtype == DTYPE_F16 || raw->dtype == DTYPE_BF16 ||
	       raw->dtype == DTYPE_I8;
}

static bool usable_in_place(const struct raw_tensor *raw)
{
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && raw->dtype == DTYPE_F32 &&
	       (uintptr_t)raw->data % sizeof(float) == 0;
}

static int check_finite(const struct model *m, const struct tensor *t, struct error *e)
{
	for (uint64_t i = 0; i < t->n_values; i++)
		if (!isfinite(t->data[i]))
			return error_set(e, -EINVAL,
					 "%s: tensor %s: value %" PRIu64 " is not finite", m->path,
					 t->name, i);
	return 0;
}

/* Whole numbers become weights by their row's scale. */
static int scale_rows(const struct model *m, const struct raw_tensor *raw, float *values,
		      struct error *e)
{
	char name[256];
	const struct raw_tensor *scales;
	uint64_t rows = raw->n_dims ? raw->shape[0] : 0;

	snprintf(name, sizeof(name), "%s.scale", raw->name);
	scales = safetensors_find(m->storage->file, name);
	if (!scales || !is_weight(scales) || scales->dtype == DTYPE_I8 || scales->n_dims != 1 ||
	    scales->shape[0] != rows)
		return error_set(e, -EINVAL,
				 "%s: tensor %s is I8: a tensor %.80s.scale with one number for "
				 "each of its %" PRIu64 " rows must be there",
				 m->path, raw->name, raw->name, rows);
	for (uint64_t row = 0; row < rows; row++) {
		struct raw_tensor one = *scales;
		float scale;

		one.data += row * dtype_bytes(one.dtype);
		one.n_values = 1;
		raw_tensor_to_float(&one, &scale);
		for (uint64_t i = 0; i < raw->n_values / rows; i++)
			*values++ *= scale;
	}
	return 0;
}

static int take_tensor(const struct model *m, const struct raw_tensor *raw, struct tensor *t,
		       float **place, struct error *e)
{
	int r = 0;

	*t = (struct tensor){.name = raw->name,
			     .n_dims = raw->n_dims,
			     .n_values = raw->n_values,
			     .data = (const void *)raw->data};
	memcpy(t->shape, raw->shape, sizeof(t->shape));
	if (!usable_in_place(raw)) {
		raw_tensor_to_float(raw, *place);
		if (raw->dtype == DTYPE_I8)
			r = scale_rows(m, raw, *place, e);
		t->data = *place;
		*place += t->n_values;
	}
	return r ? r : check_finite(m, t, e);
}

/* All tensors that may be weights; sorted, because raw ones are. */
static int take_tensors(struct model *m, struct error *e)
{
	size_t n;
	const struct raw_tensor *raw = safetensors_tensors(m->storage->file, &n);
	uint64_t n_converted = 0;
	float *place;
	int r = 0;

	for (size_t i = 0; i < n; i++)
		if (is_weight(&raw[i]) && !usable_in_place(&raw[i]))
			n_converted += raw[i].n_values;
	m->tensors = calloc(n + 1, sizeof(*m->tensors));
	place = m->storage->converted = malloc((n_converted + 1) * sizeof(float));
	if (!m->tensors || !place)
		return error_set(e, -ENOMEM, "%s: no memory for its tensors", m->path);
	for (size_t i = 0; !r && i < n; i++)
		if (is_weight(&raw[i]))
			r = take_tensor(m, &raw[i], &m->tensors[m->n_tensors++], &place, e);
	return r;
}

static void format_shape(char *text, size_t size, const uint64_t *shape, uint32_t n_dims)
{
	size_t used = snprintf(text, size, "[");

	for (uint32_t i = 0; i < n_dims && used < size; i++)
		used += snprintf(text + used, size - used, "%s%" PRIu64, i ? ", " : "", shape[i]);
	if (used < size)
		snprintf(text + used, size - used, "]");
}

static int need(struct model *m, const struct parameter *p, struct error *e)
{
	const struct tensor *t = model_tensor(m, p->name);
	char want[48], have[96];

	format_shape(want, sizeof(want), p->shape, p->n_dims);
	if (!t)
		return error_set(
			e, -EINVAL,
			"%s: tensor %s is missing; the architecture asks for it with shape %s",
			m->path, p->name, want);
	format_shape(have, sizeof(have), t->shape, t->n_dims);
	if (t->n_dims != p->n_dims ||
	    memcmp(t->shape, p->shape, p->n_dims * sizeof(*p->shape)) != 0)
		return error_set(e, -EINVAL,
				 "%s: tensor %s has shape %s; the architecture asks for %s",
				 m->path, p->name, have, want);
	m->n_parameters += t->n_values;
	return 0;
}

static void free_layout(struct layout **l)
{
	layout_free(*l);
}

static int need_tensors(struct model *m, struct error *e)
{
	cleanup(free_layout) struct layout *l = NULL;
	int r = layout_classifier(&m->architecture, &m->tokens, m->n_classes, &l);

	if (r)
		return error_set(e, r, "%s: no memory for the list of its tensors", m->path);
	for (size_t i = 0; !r && i < l->n; i++)
		r = need(m, &l->list[i], e);
	return r;
}

static void hash_file(struct model *m)
{
	uint8_t digest[crypto_hash_sha256_BYTES];
	size_t size;
	const uint8_t *bytes = safetensors_bytes(m->storage->file, &size);

	crypto_hash_sha256(digest, bytes, size);
	sodium_bin2hex(m->sha256, sizeof(m->sha256), digest, sizeof(digest));
}

int model_load(const char *path, struct model **ret_model, struct error *e)
{
	cleanup(free_model) struct model *m = calloc(1, sizeof(*m));
	const char *metadata;
	int r;

	if (!m || !(m->path = strdup(path)) || !(m->storage = calloc(1, sizeof(*m->storage))))
		return error_set(e, -ENOMEM, "%s: no memory", path);
	atomic_init(&m->storage->references, 1);
	r = safetensors_open(path, &m->storage->file, e);
	if (r)
		return r;
	metadata = safetensors_metadata(m->storage->file, "netmamba");
	if (!metadata)
		return error_set(e, -EINVAL,
				 "%s: __metadata__ has no key netmamba: a checkpoint needs its "
				 "architecture, tokens and classes written there",
				 path);
	r = model_read_metadata(m, metadata, e);
	if (!r)
		r = take_tensors(m, e);
	if (!r)
		r = need_tensors(m, e);
	if (r)
		return r;
	hash_file(m);
	*ret_model = take_ptr(m);
	return 0;
}
