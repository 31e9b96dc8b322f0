/* SPDX-License-Identifier: BSD-2-Clause */
/* The way back of model_metadata.c: what was read, in the file's own names. */
#include "model/model_json.h"
#include "model/model_metadata.h"

static json_t *architecture_json(const struct architecture *a)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "backbone", a->backbone,
			 "embed_dim", (json_int_t)a->embed_dim, "depth", (json_int_t)a->depth,
			 "d_state", (json_int_t)a->d_state, "d_conv", (json_int_t)a->d_conv,
			 "expand", (json_int_t)a->expand, "stride", (json_int_t)a->stride,
			 "head_bias", (int)a->head_bias);
}

static json_t *tokens_json(const struct token_config *t)
{
	json_t *debias = json_array();

	for (unsigned i = 0; i < DEBIAS_BITS; i++)
		if (t->debias & (1u << i))
			json_array_append_new(debias, json_string(debias_names[i]));
	return json_pack("{s:s, s:i, s:i, s:i, s:i, s:b, s:f, s:f, s:o}", "direction",
			 t->shape.bidirectional ? "bi" : "uni", "packets", (int)t->shape.packets,
			 "header_bytes", (int)t->shape.header_bytes, "payload_bytes",
			 (int)t->shape.payload_bytes, "seq_len", (int)t->shape.seq_len, "packed",
			 (int)t->packed, "byte_scale", (double)t->byte_scale, "byte_offset",
			 (double)t->byte_offset, "debias", debias);
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

json_t *model_to_json(const struct model *m)
{
	json_t *json =
		json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:o}", "path", m->path, "sha256",
			  m->sha256, "parameters", (json_int_t)m->n_parameters, "architecture",
			  architecture_json(&m->architecture), "tokens", tokens_json(&m->tokens),
			  "classes", classes_json(m), "calibration", calibration_json(m));

	if (json && m->training_json)
		json_object_set_new(json, "training", json_loads(m->training_json, 0, NULL));
	if (json && m->figures_json)
		json_object_set_new(json, "figures", json_loads(m->figures_json, 0, NULL));
	return json;
}
