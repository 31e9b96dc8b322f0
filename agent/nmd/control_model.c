/* SPDX-License-Identifier: BSD-2-Clause */
/* The verbs of the noun model. The members of `show` are named as in the model file. */
#include <errno.h>
#include "agent/nmd/control_verbs.h"
#include "agent/nmd/log.h"

static const char *const score_names[] = {
	[OOD_ENERGY] = "energy",
	[OOD_MAX_LOGIT] = "max_logit",
	[OOD_MAX_PROBABILITY] = "max_probability",
	[OOD_ENTROPY] = "entropy",
};

static const char *const debias_names[] = {"ip_addr",   "ports",       "ip_id",          "ttl",
					   "checksums", "tcp_seq_ack", "tcp_timestamps", "tls_sni"};

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

	for (unsigned i = 0; i < sizeof(debias_names) / sizeof(debias_names[0]); i++)
		if (t->debias & (1u << i))
			json_array_append_new(debias, json_string(debias_names[i]));
	return json_pack("{s:s, s:i, s:i, s:i, s:i, s:f, s:f, s:o}", "direction",
			 t->shape.bidirectional ? "bi" : "uni", "packets", (int)t->shape.packets,
			 "header_bytes", (int)t->shape.header_bytes, "payload_bytes",
			 (int)t->shape.payload_bytes, "seq_len", (int)t->shape.seq_len,
			 "byte_scale", (double)t->byte_scale, "byte_offset", (double)t->byte_offset,
			 "debias", debias);
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
			 score_names[c->score], "threshold", (double)c->ood_threshold);
}

static json_t *classes_json(const struct model *m)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < m->n_classes; i++)
		json_array_append_new(list, json_string(m->class_name[i]));
	return list;
}

int control_model_show(struct control_call *call, struct error *e)
{
	const struct agent *a = call->agent;
	const struct model *m = a->model;
	json_t *json;

	if (call->n_words)
		return control_usage(call, e, "model show: takes no \"%.40s\"", call->words[0]);
	json = json_pack("{s:s, s:s, s:I, s:I, s:s, s:o, s:o, s:o, s:o}", "path", m->path, "sha256",
			 m->sha256, "id", (json_int_t)a->model_id, "parameters",
			 (json_int_t)m->n_parameters, "engine", batcher_engine_name(a->batcher),
			 "architecture", architecture_json(&m->architecture), "tokens",
			 tokens_json(&m->tokens), "classes", classes_json(m), "calibration",
			 calibration_json(m));
	if (json && m->training_json)
		json_object_set_new(json, "training", json_loads(m->training_json, 0, NULL));
	if (json && m->figures_json)
		json_object_set_new(json, "figures", json_loads(m->figures_json, 0, NULL));
	control_done(call, json);
	return 0;
}

int control_model_load(struct control_call *call, struct error *e)
{
	struct agent *a = call->agent;
	int rc;

	if (call->n_words != 1 || call->words[0][0] != '/')
		return control_usage(call, e,
				     "model load: wants the absolute path of a model file");
	rc = agent_model_swap(a, call->words[0], e);
	if (rc) {
		log_warning("model %.200s: not loaded: %s", call->words[0], e->text);
		return rc;
	}
	control_done(call, json_pack("{s:I, s:s, s:s, s:I}", "id", (json_int_t)a->model_id, "path",
				     a->model->path, "sha256", a->model->sha256, "classes",
				     (json_int_t)a->model->n_classes));
	return 0;
}
