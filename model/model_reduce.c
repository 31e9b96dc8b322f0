/* SPDX-License-Identifier: BSD-2-Clause */
/* See model_write.h: weights in fewer bits. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model/model_write.h"
#include "model/safetensors_write.h"

#define LARGEST_INT8 127
#define F16_OVERFLOW 65520 /* what is below is rounded to 65504 at the most */

/* The file in the making: values of all tensors in one buffer, twice a tensor for the scales. */
struct reduced {
	struct raw_tensor *list;
	char (*scale_name)[80];
	uint8_t *bytes;
	size_t n, used;
};

static void reduced_fini(struct reduced *r)
{
	free(r->list);
	free(r->scale_name);
	free(r->bytes);
}

static bool is_matrix(const struct parameter *p)
{
	size_t n = strlen(p->name);

	return p->n_dims == 2 && n > 7 && strcmp(p->name + n - 7, ".weight") == 0;
}

static enum dtype dtype_of(const struct parameter *p, enum weight_type type)
{
	switch (type) {
	case WEIGHTS_F16:
		return DTYPE_F16;
	case WEIGHTS_BF16:
		return DTYPE_BF16;
	case WEIGHTS_INT8:
		if (is_matrix(p))
			return DTYPE_I8;
		return p->layer == 0 ? DTYPE_F16 : DTYPE_F32;
	default:
		return DTYPE_F32;
	}
}

static struct raw_tensor *add(struct reduced *r, const char *name, enum dtype dtype,
			      const uint64_t *shape, uint32_t n_dims, uint64_t n_values)
{
	struct raw_tensor *t = &r->list[r->n++];

	*t = (struct raw_tensor){.name = name,
				 .dtype = dtype,
				 .n_dims = n_dims,
				 .n_values = n_values,
				 .data = r->bytes + r->used};
	memcpy(t->shape, shape, n_dims * sizeof(*shape));
	r->used += n_values * dtype_bytes(dtype);
	return t;
}

/* Symmetric: 0 stays 0. A row so small that its scale would have no reciprocal becomes 0. */
static float reduce_row(int8_t *out, const float *in, size_t n)
{
	float largest = 0, scale;

	for (size_t i = 0; i < n; i++)
		largest = fmaxf(largest, fabsf(in[i]));
	scale = largest / LARGEST_INT8;
	if (!isnormal(scale))
		scale = 0;
	for (size_t i = 0; i < n; i++)
		out[i] = scale > 0 ? (int8_t)lrintf(in[i] / scale) : 0;
	return scale;
}

static void add_rows(struct reduced *r, const struct parameter *p, const float *values)
{
	uint64_t rows = p->shape[0], columns = p->shape[1];
	char *name = r->scale_name[r->n];
	int8_t *whole = (int8_t *)r->bytes + r->used;
	uint8_t *scales;

	add(r, p->name, DTYPE_I8, p->shape, p->n_dims, p->n_values);
	snprintf(name, sizeof(r->scale_name[0]), "%s.scale", p->name);
	scales = r->bytes + r->used;
	add(r, name, DTYPE_F32, &rows, 1, rows);
	for (uint64_t i = 0; i < rows; i++) {
		float scale = reduce_row(whole + i * columns, values + i * columns, columns);

		floats_to_dtype(DTYPE_F32, &scale, 1, scales + i * sizeof(scale));
	}
}

static int add_parameter(struct reduced *r, const char *path, const struct parameter *p,
			 enum dtype dtype, const float *values, struct error *e)
{
	uint8_t *out = r->bytes + r->used;

	for (size_t i = 0; i < p->n_values; i++) {
		if (!isfinite(values[i]))
			return error_set(e, -ERANGE, "%s: %s: value %zu is not finite", path,
					 p->name, i);
		if (dtype == DTYPE_F16 && fabsf(values[i]) >= F16_OVERFLOW)
			return error_set(e, -ERANGE,
					 "%s: %s: value %zu is %g, which F16 cannot hold; use "
					 "bf16 or f32",
					 path, p->name, i, values[i]);
	}
	if (dtype == DTYPE_I8) {
		add_rows(r, p, values);
	} else {
		add(r, p->name, dtype, p->shape, p->n_dims, p->n_values);
		floats_to_dtype(dtype, values, p->n_values, out);
	}
	return 0;
}

/* Wider types first, so that every tensor begins at a multiple of its value's size. */
static int compare_width(const void *a, const void *b)
{
	const struct raw_tensor *x = a, *y = b;
	size_t w = dtype_bytes(x->dtype), v = dtype_bytes(y->dtype);

	return w != v ? (w < v) - (w > v) : strcmp(x->name, y->name);
}

int model_write_as(const char *path, const struct model *m, const struct layout *layout,
		   const float *values, enum weight_type type, struct error *e)
{
	cleanup(reduced_fini) struct reduced reduced = {
		.list = calloc(2 * layout->n, sizeof(*reduced.list)),
		.scale_name = calloc(2 * layout->n, sizeof(*reduced.scale_name)),
		/* At most 5 a value: rows of one, with their scale. */
		.bytes = malloc(2 * layout->n_values * sizeof(float)),
	};
	int r = 0;

	if (!reduced.list || !reduced.scale_name || !reduced.bytes)
		return error_set(e, -ENOMEM, "%s: no memory", path);
	for (size_t i = 0; !r && i < layout->n; i++)
		r = add_parameter(&reduced, path, &layout->list[i],
				  dtype_of(&layout->list[i], type), values + layout->list[i].offset,
				  e);
	if (r)
		return r;
	qsort(reduced.list, reduced.n, sizeof(*reduced.list), compare_width);
	return model_write_tensors(path, m, reduced.list, reduced.n, e);
}

int model_write(const char *path, const struct model *m, const struct layout *layout,
		const float *values, struct error *e)
{
	return model_write_as(path, m, layout, values, WEIGHTS_F32, e);
}
