/* SPDX-License-Identifier: BSD-2-Clause */
/* See import_shapes.h. */
#include "agent/nmtrain/import_shapes.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "model/model_file.h"
#include "model/model_metadata.h"

/* One size of a tensor's shape, 0 when there is no such tensor. */
static json_int_t size_of(const struct safetensors *state, const char *name, uint32_t dim)
{
	const struct raw_tensor *t = safetensors_find(state, name);

	return t && dim < t->n_dims ? (json_int_t)t->shape[dim] : 0;
}

static bool has(const struct safetensors *state, const char *name)
{
	return safetensors_find(state, name) != NULL;
}

static json_int_t count_blocks(const struct safetensors *state)
{
	json_int_t n = 0;
	char name[64];

	do
		snprintf(name, sizeof(name), "encoder_blocks.%lld.norm.weight", (long long)n);
	while (has(state, name) && ++n <= MODEL_MAX_DEPTH);
	return n;
}

int import_architecture(const struct safetensors *state, const char *path,
			json_t **ret_architecture, struct error *e)
{
	json_int_t D = size_of(state, "pos_embed", 2), N, K, E, F;
	bool table = has(state, "byte_embed.table");
	bool attention = has(state, "encoder_blocks.0.mlp.fc2.weight");
	json_t *json;

	if (!D || !has(state, "encoder_blocks.0.norm.weight"))
		return error_set(e, -EINVAL,
				 "%s: has no pos_embed or no encoder_blocks.0.norm.weight: it is "
				 "not the state of a NetMamba+ network",
				 path);
	E = size_of(state, "encoder_blocks.0.mixer.A_log", 0);
	N = size_of(state, "encoder_blocks.0.mixer.A_log", 1);
	K = size_of(state, "encoder_blocks.0.mixer.conv1d.weight", 2);
	F = size_of(state, "encoder_blocks.0.mlp.fc2.weight", 1);
	json = json_pack("{s:s, s:I, s:I, s:I, s:I, s:b}", "backbone", backbone_names[attention],
			 "embed_dim", D, "depth", count_blocks(state), "expand",
			 (attention ? F : E) / D, "stride",
			 table ? size_of(state, "byte_embed.table", 0)
			       : size_of(state, "byte_embed.proj.weight", 2),
			 "head_bias", (int)has(state, "head.bias"));
	if (!attention) {
		json_object_set_new(json, "d_state", json_integer(N));
		json_object_set_new(json, "d_conv", json_integer(K));
	}
	json_object_set_new(json, "byte_embedding", json_string(byte_embedding_names[table]));
	json_object_set_new(
		json, "value_embedding",
		json_string(value_embedding_names[has(state, "size_embed.proj.weight")]));
	*ret_architecture = json;
	return json ? 0 : error_set(e, -ENOMEM, "%s: no memory", path);
}

uint32_t import_classes(const struct safetensors *state)
{
	json_int_t n = size_of(state, "head.weight", 0);

	return n > 0 && n <= UINT32_MAX ? (uint32_t)n : 0;
}

bool import_is_decoder(const char *name)
{
	static const char *const begins[] = {"byte_decoder", "size_decoder", "iat_decoder",
					     "decoder_norm_f", "byte_mask_token"};

	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++)
		if (strncmp(name, begins[i], strlen(begins[i])) == 0)
			return true;
	return false;
}
