/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pre-trained encoder as a file: safetensors with the official names and, under `netmamba`, what
 * it was made for: {"format": 1, "architecture": ..., "tokens": ..., "training": ...}, as in a
 * model file, which may stand in for it.
 */
#pragma once
#include "agent/nmtrain/settings.h"
#include "model/layout.h"

/* Takes architecture and tokens from the file, and its checksum. */
int pretrained_settings(const char *path, struct train_settings *s, char ret_sha256[static 65],
			struct error *e);

/* Fills all of values (layout->n_values) but the head. -EINVAL when the file was made for other
 * settings, lacks a tensor, or holds one of another shape or one that is not finite. */
int pretrained_load(const char *path, const struct train_settings *s, const struct layout *layout,
		    float *values, struct error *e);

/* training: borrowed. */
int pretrained_write(const char *path, const struct train_settings *s, json_t *training,
		     const struct layout *layout, const float *values, struct error *e);
