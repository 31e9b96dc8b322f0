/* SPDX-License-Identifier: BSD-2-Clause */
/* See safetensors_write.h. */
#include "model/safetensors_write.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static int write_all(int fd, const void *bytes, size_t n)
{
	const char *at = bytes;

	while (n) {
		ssize_t done = write(fd, at, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		at += done;
		n -= done;
	}
	return 0;
}

static int write_content(int fd, const char *header, const struct raw_tensor *tensors,
			 size_t n_tensors)
{
	size_t length = strlen(header);
	uint8_t start[8];
	int r;

	for (int i = 0; i < 8; i++)
		start[i] = (uint8_t)((uint64_t)length >> (8 * i));
	r = write_all(fd, start, sizeof(start));
	if (!r)
		r = write_all(fd, header, length);
	for (size_t i = 0; !r && i < n_tensors; i++)
		r = write_all(fd, tensors[i].data,
			      tensors[i].n_values * dtype_bytes(tensors[i].dtype));
	return r;
}

/* A rename lasts only when its folder is synced too. */
static int sync_folder(const char *path)
{
	char copy[PATH_MAX];
	int fd, r;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return r;
}

/* The process's number in the name: two that write the same path never share a temporary file. */
static int create_beside(const char *path, char *temporary, size_t size, struct error *e)
{
	struct stat status;
	int fd;

	if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
		return error_set(e, -EINVAL, "%s: is there and no regular file", path);
	if ((size_t)snprintf(temporary, size, "%s.%d.tmp", path, (int)getpid()) >= size)
		return error_set(e, -ENAMETOOLONG, "%.100s...: the path is too long", path);
	unlink(temporary); /* of a process that had our number and died */
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return error_set(e, -errno, "%s: cannot create a file beside it: %s", path,
				 strerror(errno));
	return fd;
}

int safetensors_write(const char *path, const struct raw_tensor *tensors, size_t n_tensors,
		      const struct safetensors_string *strings, size_t n_strings, struct error *e)
{
	cleanup(free_text) char *header = NULL;
	char temporary[PATH_MAX];
	int fd, r;

	r = make_header(path, tensors, n_tensors, strings, n_strings, &header, e);
	if (r)
		return r;
	fd = create_beside(path, temporary, sizeof(temporary), e);
	if (fd < 0)
		return fd;
	r = write_content(fd, header, tensors, n_tensors);
	if (!r && fsync(fd) < 0)
		r = -errno;
	if (close(fd) < 0 && !r)
		r = -errno;
	if (!r && rename(temporary, path) < 0)
		r = -errno;
	if (r) {
		unlink(temporary);
		return error_set(e, r, "%s: cannot write: %s", path, strerror(-r));
	}
	r = sync_folder(path);
	return r ? error_set(e, r, "%s: cannot sync its folder: %s", path, strerror(-r)) : 0;
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
