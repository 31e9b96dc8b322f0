/* SPDX-License-Identifier: BSD-2-Clause */
/* See model_write.h. */
#include "model/model_write.h"
#include <errno.h>
#include <float.h>
#include <stdlib.h>
#include <string.h>
#include "model/model_json.h"
#include "model/model_metadata.h"
#include "model/safetensors_write.h"

static void free_model(struct model **m)
{
	model_unref(*m);
}

static void free_text(char **text)
{
	free(*text);
}

void model_default_calibration(struct calibration *c)
{
	*c = (struct calibration){.temperature = 1, .score = OOD_ENERGY, .ood_threshold = FLT_MAX};
	for (uint32_t i = 0; i < MODEL_MAX_CLASSES; i++)
		c->threshold[i] = 0.5F;
}

/* A text that is no JSON object would silently not be written. */
static int check_object(const char *path, const char *key, const char *text, struct error *e)
{
	json_t *json = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
	bool good = !text || json_is_object(json);

	json_decref(json);
	return good ? 0 : error_set(e, -EINVAL, "%s: %s: is no JSON object", path, key);
}

/* Metadata that reads back. */
static int make_metadata(const char *path, const struct model *m, char **ret_text, struct error *e)
{
	cleanup(free_model) struct model *again = calloc(1, sizeof(*again));
	cleanup(free_text) char *text = NULL;
	int r = check_object(path, "training", m->training_json, e);

	if (!r)
		r = check_object(path, "figures", m->figures_json, e);
	if (r)
		return r;
	text = model_metadata_text(m);
	if (!text || !again || !(again->path = strdup(path)))
		return error_set(e, -ENOMEM, "%s: no memory for its metadata", path);
	r = model_read_metadata(again, text, e);
	if (!r)
		*ret_text = take_ptr(text);
	return r;
}

int model_write_tensors(const char *path, const struct model *m, const struct raw_tensor *tensors,
			size_t n_tensors, struct error *e)
{
	cleanup(free_text) char *text = NULL;
	int r = make_metadata(path, m, &text, e);

	if (r)
		return r;
	return safetensors_write(path, tensors, n_tensors,
				 &(struct safetensors_string){"netmamba", text}, 1, e);
}
