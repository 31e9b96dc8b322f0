/* SPDX-License-Identifier: BSD-2-Clause */
/* The way back of model_metadata.c: what was read, in the file's own names. */
#include "model/model_json.h"
#include <string.h>
#include "model/model_metadata.h"

/* Options beyond the paper only where they are on: programs that do not know them then read
 * every file that they can run. */
static void set_option(json_t *object, const char *key, const char *const words[2], bool on)
{
	if (on)
		json_object_set_new(object, key, json_string(words[1]));
}

static json_t *architecture_json(const struct architecture *a)
{
	bool attention = strcmp(a->backbone, backbone_names[1]) == 0;
	json_t *json = json_pack("{s:s, s:I, s:I}", "backbone", a->backbone, "embed_dim",
				 (json_int_t)a->embed_dim, "depth", (json_int_t)a->depth);

	if (attention) {
		json_object_set_new(json, "heads", json_integer(a->heads));
	} else {
		json_object_set_new(json, "d_state", json_integer(a->d_state));
		json_object_set_new(json, "d_conv", json_integer(a->d_conv));
	}
	json_object_set_new(json, "expand", json_integer(a->expand));
	json_object_set_new(json, "stride", json_integer(a->stride));
	json_object_set_new(json, "head_bias", json_boolean(a->head_bias));
	set_option(json, "byte_embedding", byte_embedding_names, a->byte_table);
	set_option(json, "value_embedding", value_embedding_names, a->project_values);
	return json;
}

static json_t *tokens_json(const struct token_config *t)
{
	json_t *debias = json_array(), *json;

	for (unsigned i = 0; i < DEBIAS_BITS; i++)
		if (t->debias & (1u << i))
			json_array_append_new(debias, json_string(debias_names[i]));
	json = json_pack("{s:s, s:i, s:i, s:i, s:i, s:b, s:f, s:f, s:o}", "direction",
			 direction_names[t->shape.bidirectional], "packets", (int)t->shape.packets,
			 "header_bytes", (int)t->shape.header_bytes, "payload_bytes",
			 (int)t->shape.payload_bytes, "seq_len", (int)t->shape.seq_len, "packed",
			 (int)t->packed, "byte_scale", (double)t->byte_scale, "byte_offset",
			 (double)t->byte_offset, "debias", debias);
	set_option(json, "iat_scale", iat_scale_names, t->iat_log);
	return json;
}

static json_t *calibration_json(const struct model *m)
{
	const struct calibration *c = &m->calibration;
	json_t *thresholds = json_array(), *watch_only = json_array();

	for (uint32_t i = 0; i < m->n_classes; i++) {
		json_array_append_new(thresholds, json_real(c->threshold[i]));
		if (c->watch_only[i])
			json_array_append_new(watch_only, json_string(m->class_name[i]));
	}
	return json_pack("{s:f, s:o, s:o, s:{s:s, s:f}}", "temperature", (double)c->temperature,
			 "thresholds", thresholds, "watch_only", watch_only, "unknown", "score",
			 ood_score_names[c->score], "threshold", (double)c->ood_threshold);
}

static json_t *classes_json(const struct model *m)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < m->n_classes; i++)
		json_array_append_new(list, json_string(m->class_name[i]));
	return list;
}

static void set_text(json_t *json, const char *key, const char *text)
{
	if (text)
		json_object_set_new(json, key, json_loads(text, 0, NULL));
}

json_t *model_to_json(const struct model *m)
{
	json_t *json =
		json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:o}", "path", m->path, "sha256",
			  m->sha256, "parameters", (json_int_t)m->n_parameters, "architecture",
			  architecture_json(&m->architecture), "tokens", tokens_json(&m->tokens),
			  "classes", classes_json(m), "calibration", calibration_json(m));

	set_text(json, "training", m->training_json);
	set_text(json, "figures", m->figures_json);
	return json;
}

char *model_metadata_text(const struct model *m)
{
	json_t *json =
		json_pack("{s:i, s:o, s:o, s:o, s:o}", "format", MODEL_FORMAT, "architecture",
			  architecture_json(&m->architecture), "tokens", tokens_json(&m->tokens),
			  "classes", classes_json(m), "calibration", calibration_json(m));
	char *text;

	set_text(json, "training", m->training_json);
	set_text(json, "figures", m->figures_json);
	text = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(json);
	return text;
}
