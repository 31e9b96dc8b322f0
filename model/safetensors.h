/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reader of plain safetensors files: 8-byte little-endian header length, JSON header, raw data.
 *
 * The file is copied into private memory, not mapped: a model that is overwritten in place must
 * neither change nor kill (SIGBUS) a running agent. Every offset is checked before open returns 0:
 * within the file, of the size that type and shape ask for, in order, without holes or overlap, as
 * the format demands. Values are not looked at. Errors begin with the path.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "model/error.h"

#define SAFETENSORS_MAX_FILE    (1ULL << 30)
#define SAFETENSORS_MAX_HEADER  (1ULL << 20)
#define SAFETENSORS_MAX_TENSORS 4096
#define SAFETENSORS_MAX_DIMS    8

enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_I8, DTYPE_U8, DTYPE_I64 };

struct raw_tensor {
	const char *name;
	enum dtype dtype;
	uint32_t n_dims;
	uint64_t shape[SAFETENSORS_MAX_DIMS];
	uint64_t n_values;
	const uint8_t *data; /* n_values, little endian, any alignment */
};

struct safetensors;

int safetensors_open(const char *path, struct safetensors **ret_file, struct error *e);
void safetensors_close(struct safetensors *st); /* accepts NULL */

/* Sorted by name; live as long as st. */
const struct raw_tensor *safetensors_tensors(const struct safetensors *st, size_t *ret_n);
/* NULL when there is none of that name. */
const struct raw_tensor *safetensors_find(const struct safetensors *st, const char *name);
/* A string of `__metadata__`, NULL when absent. */
const char *safetensors_metadata(const struct safetensors *st, const char *key);
/* The whole file as read. */
const uint8_t *safetensors_bytes(const struct safetensors *st, size_t *ret_size);

const char *dtype_name(enum dtype dtype); /* "F32" */
size_t dtype_bytes(enum dtype dtype);
/* Values of an F32, F16, BF16 or I8 tensor as float32 into out (n_values). */
void raw_tensor_to_float(const struct raw_tensor *t, float *out);
