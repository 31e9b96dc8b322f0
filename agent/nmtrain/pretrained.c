/* SPDX-License-Identifier: BSD-2-Clause */
/* See pretrained.h. */
#include "agent/nmtrain/pretrained.h"
#include <errno.h>
#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "model/safetensors.h"
#include "model/safetensors_write.h"

#define METADATA_KEY "netmamba"
#define FORMAT       1

static void close_file(struct safetensors **file)
{
	safetensors_close(*file);
}

static void drop(json_t **json)
{
	json_decref(*json);
}

/* Only the two sections: how it was trained is no matter here. */
static int read_settings(const struct safetensors *file, const char *path, struct train_settings *s,
			 struct error *e)
{
	const char *text = safetensors_metadata(file, METADATA_KEY);
	cleanup(drop) json_t *root = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
	json_t *architecture = json_object_get(root, "architecture");
	json_t *tokens = json_object_get(root, "tokens");
	cleanup(drop) json_t *sections = NULL;
	struct error why = {0};

	if (!json_is_object(architecture) || !json_is_object(tokens))
		return error_set(e, -EINVAL,
				 "%.120s: says nothing of its architecture and tokens; it is no "
				 "model of nmtrain",
				 path);
	sections = json_pack("{s:O, s:O}", "architecture", architecture, "tokens", tokens);
	if (!sections)
		return error_set(e, -ENOMEM, "%.120s: no memory", path);
	if (settings_from_json(s, sections, &why))
		return error_set(e, why.code, "%.80s: %.160s", path, why.text);
	return 0;
}

int pretrained_settings(const char *path, struct train_settings *s, char ret_sha256[static 65],
			struct error *e)
{
	cleanup(close_file) struct safetensors *file = NULL;
	uint8_t digest[crypto_hash_sha256_BYTES];
	int rc = safetensors_open(path, &file, e);
	const uint8_t *bytes;
	size_t size;

	if (!rc)
		rc = read_settings(file, path, s, e);
	if (rc)
		return rc;
	bytes = safetensors_bytes(file, &size);
	crypto_hash_sha256(digest, bytes, size);
	sodium_bin2hex(ret_sha256, 65, digest, sizeof(digest));
	return 0;
}

static int check_settings(const struct safetensors *file, const char *path,
			  const struct train_settings *s, struct error *e)
{
	struct train_settings theirs = *s;
	char key[96];
	int rc = read_settings(file, path, &theirs, e);

	if (!rc && settings_difference(&theirs, s, key, sizeof(key)))
		rc = error_set(e, -EINVAL,
			       "%.100s: was trained with another %s; leave that setting out", path,
			       key);
	return rc;
}

static bool same_shape(const struct raw_tensor *t, const struct parameter *p)
{
	return t->n_dims == p->n_dims && !memcmp(t->shape, p->shape, p->n_dims * sizeof(*p->shape));
}

static int load_parameter(const struct safetensors *file, const char *path,
			  const struct parameter *p, float *values, struct error *e)
{
	const struct raw_tensor *t = safetensors_find(file, p->name);

	if (!t || !same_shape(t, p) || t->dtype > DTYPE_BF16)
		return error_set(e, -EINVAL, "%.100s: %s %s", path, p->name,
				 t ? "is of another shape or type" : "is missing");
	raw_tensor_to_float(t, values + p->offset);
	for (size_t i = 0; i < p->n_values; i++)
		if (!isfinite(values[p->offset + i]))
			return error_set(e, -EINVAL, "%.100s: %s: value %zu is not finite", path,
					 p->name, i);
	return 0;
}

int pretrained_load(const char *path, const struct train_settings *s, const struct layout *layout,
		    float *values, struct error *e)
{
	cleanup(close_file) struct safetensors *file = NULL;
	int rc = safetensors_open(path, &file, e);

	if (!rc)
		rc = check_settings(file, path, s, e);
	for (size_t i = 0; !rc && i < layout->n; i++)
		if (strncmp(layout->list[i].name, "head.", 5))
			rc = load_parameter(file, path, &layout->list[i], values, e);
	return rc;
}

static char *metadata_text(const struct train_settings *s, json_t *training)
{
	cleanup(drop) json_t *settings = settings_to_json(s);
	cleanup(drop) json_t *root =
		json_pack("{s:i, s:O, s:O, s:O}", "format", FORMAT, "architecture",
			  json_object_get(settings, "architecture"), "tokens",
			  json_object_get(settings, "tokens"), "training", training);
	json_t *tokens = json_object_get(root, "tokens");

	if (json_object_set_new(tokens, "byte_scale", json_real(s->tokens.byte_scale)) ||
	    json_object_set_new(tokens, "byte_offset", json_real(s->tokens.byte_offset)))
		return NULL;
	return json_dumps(root, JSON_COMPACT);
}

int pretrained_write(const char *path, const struct train_settings *s, json_t *training,
		     const struct layout *layout, const float *values, struct error *e)
{
	struct raw_tensor *tensors = calloc(layout->n + 1, sizeof(*tensors));
	char *text = metadata_text(s, training);
	int rc;

	for (size_t i = 0; tensors && i < layout->n; i++) {
		const struct parameter *p = &layout->list[i];

		tensors[i] = (struct raw_tensor){.name = p->name,
						 .dtype = DTYPE_F32,
						 .n_dims = p->n_dims,
						 .n_values = p->n_values,
						 .data = (const void *)(values + p->offset)};
		memcpy(tensors[i].shape, p->shape, sizeof(p->shape));
	}
	if (!tensors || !text)
		rc = error_set(e, -ENOMEM, "%.120s: no memory to write it", path);
	else
		rc = safetensors_write(path, tensors, layout->n,
				       &(struct safetensors_string){METADATA_KEY, text}, 1, e);
	free(tensors);
	free(text);
	return rc;
}
