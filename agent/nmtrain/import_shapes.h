/* SPDX-License-Identifier: BSD-2-Clause */
/* What the shapes of an official state dict's tensors tell of its network, and what they do not. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "model/error.h"
#include "model/safetensors.h"

/* `architecture` of a model file: all of it for mamba; attention's heads cannot be seen. Numbers
 * that are no network's are left to model_read_metadata to refuse. */
int import_architecture(const struct safetensors *state, const char *path,
			json_t **ret_architecture, struct error *e);
/* Rows of the head; 0 without one: the state of a pre-training. */
uint32_t import_classes(const struct safetensors *state);
/* Of the pre-training's decoders, which a classifier has no use for. */
bool import_is_decoder(const char *name);
