/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See safetensors.h. The order of the checks is the order of trust: size of the file, length of the
 * header, JSON, each entry alone, then all entries together (they must tile the data exactly, so
 * that neither overlap nor a hole can hide anything).
 */
#include "model/safetensors.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_NAME 200

struct safetensors {
	uint8_t *bytes;
	size_t size;
	json_t *header;
	struct raw_tensor *tensors;
	size_t n_tensors;
};

static const struct {
	const char *name;
	size_t bytes;
} dtypes[] = {
	[DTYPE_F32] = {"F32", 4}, [DTYPE_F16] = {"F16", 2}, [DTYPE_BF16] = {"BF16", 2},
	[DTYPE_I8] = {"I8", 1},   [DTYPE_U8] = {"U8", 1},   [DTYPE_I64] = {"I64", 8},
};
#define N_DTYPES (sizeof(dtypes) / sizeof(dtypes[0]))

size_t dtype_bytes(enum dtype dtype)
{
	return dtypes[dtype].bytes;
}

const char *dtype_name(enum dtype dtype)
{
	return dtypes[dtype].name;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static void free_file(struct safetensors **st)
{
	safetensors_close(*st);
}

/* JSON errors quote the file: keep terminals safe from it. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			return false;
	return true;
}

/* O_NONBLOCK: a path that names a pipe must not hang us before fstat can refuse it. */
static int open_regular(const char *path, size_t *ret_size, struct error *e)
{
	cleanup(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat status;
	int owned;

	if (fd < 0)
		return error_set(e, -errno, "%s: cannot open: %s", path, strerror(errno));
	if (fstat(fd, &status) < 0)
		return error_set(e, -errno, "%s: cannot stat: %s", path, strerror(errno));
	if (!S_ISREG(status.st_mode))
		return error_set(e, -EINVAL, "%s: not a regular file", path);
	if (status.st_size < 10)
		return error_set(e, -EINVAL,
				 "%s: %" PRIu64 " bytes are too few for a safetensors file", path,
				 (uint64_t)status.st_size);
	if ((uint64_t)status.st_size > SAFETENSORS_MAX_FILE)
		return error_set(e, -EFBIG, "%s: %" PRIu64 " bytes; at most %llu are read", path,
				 (uint64_t)status.st_size, SAFETENSORS_MAX_FILE);
	*ret_size = status.st_size;
	owned = fd;
	fd = -1;
	return owned;
}

static int read_file(struct safetensors *st, const char *path, struct error *e)
{
	cleanup(close_fd) int fd = open_regular(path, &st->size, e);
	size_t have = 0;

	if (fd < 0)
		return fd;
	st->bytes = malloc(st->size);
	if (!st->bytes)
		return error_set(e, -ENOMEM, "%s: no memory for %zu bytes", path, st->size);
	while (have < st->size) {
		ssize_t n = read(fd, st->bytes + have, st->size - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(e, -errno, "%s: cannot read: %s", path, strerror(errno));
		if (n == 0)
			return error_set(e, -EIO, "%s: became shorter while it was read", path);
		have += n;
	}
	return 0;
}

static int parse_header(struct safetensors *st, const char *path, uint64_t *ret_length,
			struct error *e)
{
	uint64_t length = 0;
	json_error_t json_error;

	for (int i = 0; i < 8; i++)
		length |= (uint64_t)st->bytes[i] << (8 * i);
	if (length < 2 || length > SAFETENSORS_MAX_HEADER || length > st->size - 8)
		return error_set(e, -EINVAL,
				 "%s: header length %" PRIu64 "; must be 2 to %llu and within the "
				 "file's %zu bytes",
				 path, length, SAFETENSORS_MAX_HEADER, st->size);
	st->header = json_loadb((const char *)st->bytes + 8, length, JSON_REJECT_DUPLICATES,
				&json_error);
	if (!st->header) {
		make_printable(json_error.text);
		return error_set(e, -EINVAL, "%s: header is not JSON: byte %d: %.120s", path,
				 8 + json_error.position, json_error.text);
	}
	if (!json_is_object(st->header))
		return error_set(e, -EINVAL, "%s: header: must be a JSON object", path);
	*ret_length = length;
	return 0;
}

static int check_metadata(const struct safetensors *st, const char *path, struct error *e)
{
	json_t *metadata = json_object_get(st->header, "__metadata__");
	const char *key;
	json_t *value;

	if (!metadata)
		return 0;
	if (!json_is_object(metadata))
		return error_set(e, -EINVAL, "%s: __metadata__: must be an object of strings",
				 path);
	json_object_foreach (metadata, key, value) {
		if (!json_is_string(value))
			return error_set(e, -EINVAL,
					 "%s: __metadata__: every value must be a string", path);
	}
	return 0;
}

static int read_dtype(const json_t *entry, const char *path, struct raw_tensor *t, struct error *e)
{
	const char *name = json_string_value(json_object_get(entry, "dtype"));

	for (size_t i = 0; name && i < N_DTYPES; i++) {
		if (strcmp(name, dtypes[i].name) == 0) {
			t->dtype = (enum dtype)i;
			return 0;
		}
	}
	return error_set(e, -EINVAL,
			 "%s: tensor %s: dtype is none of F32, F16, BF16, I8 (weights), U8, I64 "
			 "(vectors)",
			 path, t->name);
}

static int read_shape(const json_t *entry, const char *path, struct raw_tensor *t, struct error *e)
{
	json_t *shape = json_object_get(entry, "shape");
	uint64_t n_values = 1;

	if (!json_is_array(shape) || json_array_size(shape) > SAFETENSORS_MAX_DIMS)
		return error_set(e, -EINVAL,
				 "%s: tensor %s: shape: must be an array of at most %d sizes", path,
				 t->name, SAFETENSORS_MAX_DIMS);
	t->n_dims = json_array_size(shape);
	for (uint32_t i = 0; i < t->n_dims; i++) {
		json_t *dim = json_array_get(shape, i);

		if (!json_is_integer(dim) || json_integer_value(dim) < 0)
			return error_set(e, -EINVAL,
					 "%s: tensor %s: shape[%u]: must be a whole number, 0 or "
					 "more",
					 path, t->name, i);
		t->shape[i] = json_integer_value(dim);
		if (__builtin_mul_overflow(n_values, t->shape[i], &n_values) ||
		    n_values > SAFETENSORS_MAX_FILE)
			return error_set(e, -EINVAL, "%s: tensor %s: shape: larger than any file",
					 path, t->name);
	}
	t->n_values = n_values;
	return 0;
}

/* data: the bytes behind the header. */
static int read_offsets(const json_t *entry, const char *path, const uint8_t *data,
			uint64_t data_size, struct raw_tensor *t, struct error *e)
{
	json_t *offsets = json_object_get(entry, "data_offsets");
	json_t *first = json_array_get(offsets, 0), *second = json_array_get(offsets, 1);
	uint64_t begin, end, size = t->n_values * dtype_bytes(t->dtype);

	if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(second) ||
	    json_integer_value(first) < 0 || json_integer_value(second) < 0)
		return error_set(e, -EINVAL,
				 "%s: tensor %s: data_offsets: must be two whole numbers", path,
				 t->name);
	begin = json_integer_value(first);
	end = json_integer_value(second);
	if (begin > end || end > data_size)
		return error_set(e, -EINVAL,
				 "%s: tensor %s: data_offsets [%" PRIu64 ", %" PRIu64
				 "]: must be in order and within the data's %" PRIu64 " bytes",
				 path, t->name, begin, end, data_size);
	if (end - begin != size)
		return error_set(e, -EINVAL,
				 "%s: tensor %s: data_offsets hold %" PRIu64
				 " bytes; shape and dtype ask for %" PRIu64,
				 path, t->name, end - begin, size);
	t->data = data + begin;
	return 0;
}

static int read_entry(const char *path, const char *name, const json_t *entry, const uint8_t *data,
		      uint64_t data_size, struct raw_tensor *t, struct error *e)
{
	int r;

	if (strlen(name) > MAX_NAME || !is_printable(name))
		return error_set(e, -EINVAL,
				 "%s: a tensor's name is longer than %d bytes or not plain ASCII",
				 path, MAX_NAME);
	t->name = name;
	if (!json_is_object(entry))
		return error_set(e, -EINVAL, "%s: tensor %s: must be an object", path, name);
	r = read_dtype(entry, path, t, e);
	if (!r)
		r = read_shape(entry, path, t, e);
	if (!r)
		r = read_offsets(entry, path, data, data_size, t, e);
	return r;
}

static int compare_place(const void *a, const void *b)
{
	const struct raw_tensor *x = a, *y = b;

	if (x->data != y->data)
		return x->data < y->data ? -1 : 1;
	return (x->n_values > y->n_values) - (x->n_values < y->n_values);
}

static int compare_name(const void *a, const void *b)
{
	return strcmp(((const struct raw_tensor *)a)->name, ((const struct raw_tensor *)b)->name);
}

static int check_tiling(struct safetensors *st, const char *path, const uint8_t *data,
			struct error *e)
{
	const uint8_t *place = data;

	qsort(st->tensors, st->n_tensors, sizeof(*st->tensors), compare_place);
	for (size_t i = 0; i < st->n_tensors; i++) {
		const struct raw_tensor *t = &st->tensors[i];

		if (t->data != place)
			return error_set(e, -EINVAL,
					 "%s: tensor %s: begins at data byte %td, but %td is next: "
					 "tensors must follow one another without overlap or hole",
					 path, t->name, t->data - data, place - data);
		place += t->n_values * dtype_bytes(t->dtype);
	}
	if (place != st->bytes + st->size)
		return error_set(e, -EINVAL, "%s: %td bytes behind the last tensor", path,
				 st->bytes + st->size - place);
	return 0;
}

static int read_tensors(struct safetensors *st, const char *path, uint64_t header_length,
			struct error *e)
{
	const uint8_t *data = st->bytes + 8 + header_length;
	size_t n = json_object_size(st->header);
	const char *name;
	json_t *entry;
	int r;

	if (n > SAFETENSORS_MAX_TENSORS)
		return error_set(e, -E2BIG, "%s: %zu tensors; at most %d are read", path, n,
				 SAFETENSORS_MAX_TENSORS);
	st->tensors = calloc(n + 1, sizeof(*st->tensors));
	if (!st->tensors)
		return error_set(e, -ENOMEM, "%s: no memory for %zu tensors", path, n);
	json_object_foreach (st->header, name, entry) {
		if (strcmp(name, "__metadata__") == 0)
			continue;
		r = read_entry(path, name, entry, data, st->bytes + st->size - data,
			       &st->tensors[st->n_tensors], e);
		if (r)
			return r;
		st->n_tensors++;
	}
	r = check_tiling(st, path, data, e);
	qsort(st->tensors, st->n_tensors, sizeof(*st->tensors), compare_name);
	return r;
}

int safetensors_open(const char *path, struct safetensors **ret_file, struct error *e)
{
	cleanup(free_file) struct safetensors *st = calloc(1, sizeof(*st));
	uint64_t header_length = 0;
	int r;

	if (!st)
		return error_set(e, -ENOMEM, "%s: no memory", path);
	r = read_file(st, path, e);
	if (!r)
		r = parse_header(st, path, &header_length, e);
	if (!r)
		r = check_metadata(st, path, e);
	if (!r)
		r = read_tensors(st, path, header_length, e);
	if (!r)
		*ret_file = take_ptr(st);
	return r;
}

void safetensors_close(struct safetensors *st)
{
	if (!st)
		return;
	json_decref(st->header);
	free(st->tensors);
	free(st->bytes);
	free(st);
}

const struct raw_tensor *safetensors_tensors(const struct safetensors *st, size_t *ret_n)
{
	*ret_n = st->n_tensors;
	return st->tensors;
}

const struct raw_tensor *safetensors_find(const struct safetensors *st, const char *name)
{
	struct raw_tensor key = {.name = name};

	return bsearch(&key, st->tensors, st->n_tensors, sizeof(key), compare_name);
}

const char *safetensors_metadata(const struct safetensors *st, const char *key)
{
	return json_string_value(json_object_get(json_object_get(st->header, "__metadata__"), key));
}

const uint8_t *safetensors_bytes(const struct safetensors *st, size_t *ret_size)
{
	*ret_size = st->size;
	return st->bytes;
}

static float float_of_bits(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* IEEE 754 binary16. */
static float float_of_half(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16;
	uint32_t exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;

	if (exponent == 0) /* zero and subnormal: fraction * 2^-24 */
		return float_of_bits(sign | 0x3f800000) * (float)fraction * 0x1p-24f;
	if (exponent == 0x1f)
		return float_of_bits(sign | 0x7f800000 | fraction << 13);
	return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

void raw_tensor_to_float(const struct raw_tensor *t, float *out)
{
	for (uint64_t i = 0; i < t->n_values; i++) {
		const uint8_t *p = t->data + i * dtype_bytes(t->dtype);
		uint16_t low = t->dtype == DTYPE_I8 ? 0 : p[0] | p[1] << 8;

		switch (t->dtype) {
		case DTYPE_F16:
			out[i] = float_of_half(low);
			break;
		case DTYPE_BF16:
			out[i] = float_of_bits((uint32_t)low << 16);
			break;
		case DTYPE_I8:
			out[i] = (int8_t)p[0];
			break;
		default:
			out[i] = float_of_bits(low | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
		}
	}
}
