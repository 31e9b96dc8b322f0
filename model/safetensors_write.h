/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writer of what safetensors.h reads. The file is written beside its place under a temporary name,
 * synced and renamed: whoever looks sees the old file or the whole new one, also after a crash, and
 * an error (a full disk) leaves the old one. Errors begin with the path.
 */
#pragma once
#include <stddef.h>
#include "model/error.h"
#include "model/safetensors.h"

struct safetensors_string {
	const char *key, *value;
};

/* Tensors in the order given; n_values must be what shape asks for. Refuses what safetensors_open
 * would refuse for its size, and a path that is there and no regular file. */
int safetensors_write(const char *path, const struct raw_tensor *tensors, size_t n_tensors,
		      const struct safetensors_string *strings, size_t n_strings, struct error *e);

/* The way back of raw_tensor_to_float for F32, F16 and BF16: out (n values of that type), rounded
 * to the nearest, ties to even. Beyond 65504 F16 becomes infinite. */
void floats_to_dtype(enum dtype dtype, const float *in, size_t n, void *out);
