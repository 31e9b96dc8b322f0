/* SPDX-License-Identifier: BSD-2-Clause */
/* The verbs of the noun model. */
#include <errno.h>
#include "agent/nmd/control_verbs.h"
#include "agent/nmd/log.h"
#include "model/model_json.h"

int control_model_show(struct control_call *call, struct error *e)
{
	const struct agent *a = call->agent;
	json_t *json;

	if (call->n_words)
		return control_usage(call, e, "model show: takes no \"%.40s\"", call->words[0]);
	json = model_to_json(a->model);
	if (json) {
		json_object_set_new(json, "id", json_integer(a->model_id));
		json_object_set_new(json, "engine", json_string(batcher_engine_name(a->batcher)));
	}
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
	if (rc == -EACCES) {
		struct error why = *e;

		error_set(e, rc,
			  "%.150s; nmd has no more rights than the file's others: make it readable",
			  why.text);
	}
	if (rc) {
		log_warning("model %.200s: not loaded: %s", call->words[0], e->text);
		return rc;
	}
	control_done(call, json_pack("{s:I, s:s, s:s, s:I}", "id", (json_int_t)a->model_id, "path",
				     a->model->path, "sha256", a->model->sha256, "classes",
				     (json_int_t)a->model->n_classes));
	return 0;
}
