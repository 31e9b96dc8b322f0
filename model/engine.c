/* SPDX-License-Identifier: BSD-2-Clause */
/* Picks the engine. Today there is one, so "auto" is "cpu". */
#include "model/engine.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "model/cpu_engine.h"
#include "model/ops.h"

struct engine {
	struct model *model;
	char name[64];
	struct cpu_engine *cpu;
};

int engine_open(const char *name, struct model *m, struct engine **ret_engine, struct error *e)
{
	struct engine *engine;
	int r;

	if (strcmp(name, "cpu") != 0 && strcmp(name, "auto") != 0)
		return error_set(e, -EINVAL, "engine \"%s\" is not known; use cpu or auto", name);
	engine = calloc(1, sizeof(*engine));
	if (!engine)
		return error_set(e, -ENOMEM, "no memory for an engine");
	r = cpu_engine_new(m, &engine->cpu, e);
	if (r) {
		free(engine);
		return r;
	}
	engine->model = model_ref(m);
	snprintf(engine->name, sizeof(engine->name), "cpu (float32, OpenBLAS %s)",
		 linear_library());
	*ret_engine = engine;
	return 0;
}

void engine_close(struct engine *engine)
{
	if (!engine)
		return;
	cpu_engine_free(engine->cpu);
	model_unref(engine->model);
	free(engine);
}

const char *engine_name(const struct engine *engine)
{
	return engine->name;
}

int engine_run(struct engine *engine, const struct batch *batch, float *logits, struct error *e)
{
	const struct sample_shape *want = &engine->model->tokens.shape;

	if (!sample_shape_equal(&batch->shape, want))
		return error_set(
			e, -EINVAL,
			"the batch was made for another model: %u packets of %u + %u bytes "
			"and %u sizes; %s has %u of %u + %u and %u",
			batch->shape.packets, batch->shape.header_bytes, batch->shape.payload_bytes,
			batch->shape.seq_len, engine->model->path, want->packets,
			want->header_bytes, want->payload_bytes, want->seq_len);
	cpu_engine_run(engine->cpu, batch, logits);
	return 0;
}
