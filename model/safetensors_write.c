/* SPDX-License-Identifier: BSD-2-Clause */
/* See safetensors_write.h. */
#include "model/safetensors_write.h"
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "model/whole_file.h"

static void free_json(json_t **json)
{
	json_decref(*json);
}

static void free_text(char **text)
{
	free(*text);
}

static int set_strings(json_t *header, const struct safetensors_string *strings, size_t n)
{
	json_t *metadata = json_object();
	int r = 0;

	for (size_t i = 0; i < n; i++)
		r |= json_object_set_new(metadata, strings[i].key, json_string(strings[i].value));
	return r | json_object_set_new(header, "__metadata__", metadata);
}

static int set_entry(json_t *header, const struct raw_tensor *t, uint64_t begin, uint64_t end)
{
	json_t *shape = json_array();
	int r = 0;

	for (uint32_t i = 0; i < t->n_dims; i++)
		r |= json_array_append_new(shape, json_integer(t->shape[i]));
	r |= json_object_set_new(header, t->name,
				 json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype_name(t->dtype),
					   "shape", shape, "data_offsets", (json_int_t)begin,
					   (json_int_t)end));
	return r;
}

/* The header, blanks behind it so that data begins at a multiple of 8. */
static int make_header(const char *path, const struct raw_tensor *tensors, size_t n_tensors,
		       const struct safetensors_string *strings, size_t n_strings,
		       char **ret_header, struct error *e)
{
	cleanup(free_json) json_t *json = json_object();
	cleanup(free_text) char *text = NULL;
	uint64_t end = 0;
	size_t length, padded;
	int r = n_strings ? set_strings(json, strings, n_strings) : 0;

	for (size_t i = 0; i < n_tensors; i++) {
		uint64_t begin = end;

		end += tensors[i].n_values * dtype_bytes(tensors[i].dtype);
		r |= set_entry(json, &tensors[i], begin, end);
	}
	if (!r)
		text = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (!text)
		return error_set(e, -ENOMEM,
				 "%s: no memory for its header, or text that is no "
				 "UTF-8",
				 path);
	length = strlen(text);
	padded = (length + 7) / 8 * 8;
	if (n_tensors + 1 > SAFETENSORS_MAX_TENSORS || padded > SAFETENSORS_MAX_HEADER ||
	    8 + padded + end > SAFETENSORS_MAX_FILE)
		return error_set(e, -EFBIG,
				 "%s: %zu tensors, a header of %zu bytes and %" PRIu64
				 " bytes of data are more than could be read again",
				 path, n_tensors, padded, end);
	*ret_header = malloc(padded + 1);
	if (!*ret_header)
		return error_set(e, -ENOMEM, "%s: no memory for its header", path);
	memset(*ret_header, ' ', padded);
	memcpy(*ret_header, text, length);
	(*ret_header)[padded] = '\0';
	return 0;
}

static int write_content(struct whole_file *file, const char *header,
			 const struct raw_tensor *tensors, size_t n_tensors)
{
	size_t length = strlen(header);
	uint8_t start[8];
	int r;

	for (int i = 0; i < 8; i++)
		start[i] = (uint8_t)((uint64_t)length >> (8 * i));
	r = whole_file_add(file, start, sizeof(start));
	if (!r)
		r = whole_file_add(file, header, length);
	for (size_t i = 0; !r && i < n_tensors; i++)
		r = whole_file_add(file, tensors[i].data,
				   tensors[i].n_values * dtype_bytes(tensors[i].dtype));
	return r;
}

int safetensors_write(const char *path, const struct raw_tensor *tensors, size_t n_tensors,
		      const struct safetensors_string *strings, size_t n_strings, struct error *e)
{
	cleanup(free_text) char *header = NULL;
	struct whole_file file;
	int r = make_header(path, tensors, n_tensors, strings, n_strings, &header, e);

	if (!r)
		r = whole_file_create(&file, path, 0666, e);
	if (r)
		return r;
	return whole_file_end(&file, write_content(&file, header, tensors, n_tensors), e);
}

static uint32_t bits_of_float(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

/* bits >> shift, to the nearest, ties to even. */
static uint32_t shift_round(uint32_t bits, unsigned shift)
{
	uint32_t half = 1U << (shift - 1), rest = bits & ((1U << shift) - 1);
	uint32_t down = bits >> shift;

	return down + (rest > half || (rest == half && (down & 1)));
}

/* A carry out of the fraction goes into the exponent, which is what rounding up asks for. */
static uint16_t half_of_float(float value)
{
	uint32_t bits = bits_of_float(value), sign = bits >> 16 & 0x8000;
	uint32_t magnitude = bits & 0x7fffffff;
	uint32_t exponent = magnitude >> 23;

	if (magnitude > 0x7f800000)
		return sign | 0x7e00;
	if (exponent >= 143) /* 2^16 and more, infinity */
		return sign | 0x7c00;
	if (exponent >= 113) /* 2^-14 and more: normal */
		return sign | shift_round(magnitude - (112U << 23), 13);
	if (exponent < 102) /* less than half of the smallest */
		return sign;
	return sign | shift_round((magnitude & 0x7fffff) | 0x800000, 126 - exponent);
}

static uint16_t brain_of_float(float value)
{
	uint32_t bits = bits_of_float(value);

	if ((bits & 0x7fffffff) > 0x7f800000)
		return bits >> 16 | 0x40;
	return shift_round(bits, 16);
}

void floats_to_dtype(enum dtype dtype, const float *in, size_t n, void *out)
{
	uint8_t *at = out;

	for (size_t i = 0; i < n; i++, at += dtype_bytes(dtype)) {
		uint32_t bits = dtype == DTYPE_F16    ? half_of_float(in[i])
				: dtype == DTYPE_BF16 ? brain_of_float(in[i])
						      : bits_of_float(in[i]);

		for (size_t b = 0; b < dtype_bytes(dtype); b++)
			at[b] = (uint8_t)(bits >> (8 * b));
	}
}
