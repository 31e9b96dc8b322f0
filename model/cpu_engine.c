/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See cpu_engine.h. A batch is run in passes of as many flows as make PASS_TOKENS tokens, at least
 * one: matrix products are efficient from a few hundred rows on, and larger passes gain nothing
 * (512, 1100 and 4096 tokens run the shipped model at one speed, within noise). So memory does not
 * grow with the batch.
 */
#include "model/cpu_engine.h"
#include <errno.h>
#include <stdlib.h>
#include "model/ops.h"

#define PASS_TOKENS 512
#define PASS_FLOWS  64

struct cpu_engine {
	struct network net;
	struct network_weights weights;
	struct pass *pass;
};

/* The network does not write through its weights. */
static float *find_tensor(void *ctx, const char *name)
{
	const struct tensor *t = model_tensor(ctx, name);

	return t ? (float *)t->data : NULL;
}

int cpu_engine_new(const struct model *m, struct cpu_engine **ret_engine, struct error *e)
{
	struct cpu_engine *cpu = calloc(1, sizeof(*cpu));

	if (!cpu)
		return error_set(e, -ENOMEM, "%s: no memory for an engine", m->path);
	network_init(&cpu->net, &m->architecture, &m->tokens, m->n_classes, false);
	network_bind(&cpu->weights, &cpu->net, find_tensor, (void *)m);
	if (pass_new(&cpu->net, PASS_FLOWS, PASS_TOKENS, &cpu->pass)) {
		cpu_engine_free(cpu);
		return error_set(e, -ENOMEM, "%s: no memory for an engine", m->path);
	}
	linear_single_thread();
	*ret_engine = cpu;
	return 0;
}

void cpu_engine_free(struct cpu_engine *cpu)
{
	if (!cpu)
		return;
	pass_free(cpu->pass);
	free(cpu);
}

void cpu_engine_tap(struct cpu_engine *cpu, tap_fn tap, void *ctx)
{
	cpu->pass->tap = tap;
	cpu->pass->tap_ctx = ctx;
}

void cpu_engine_run(struct cpu_engine *cpu, const struct batch *batch, float *logits)
{
	uint32_t n;

	for (uint32_t first = 0; first < batch->n; first += n) {
		n = pass_fit(cpu->pass, batch, first, batch->n);
		network_encode(cpu->pass, &cpu->weights, batch, first, n);
		network_classify(cpu->pass, &cpu->weights,
				 logits + (size_t)first * cpu->net.n_classes);
	}
}
