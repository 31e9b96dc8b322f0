/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The float32 CPU engine: the layers of golden formulas in order, on the operators of ops.h.
 * Private to engine.c; tests look inside through taps. One thread at a time.
 */
#pragma once
#include <stdint.h>
#include "model/batch.h"
#include "model/error.h"
#include "model/model_file.h"

struct cpu_engine;

/* Borrows m. All memory is taken here: one arena for the tokens of one pass. */
int cpu_engine_new(const struct model *m, struct cpu_engine **ret_engine, struct error *e);
void cpu_engine_free(struct cpu_engine *cpu); /* accepts NULL */
void cpu_engine_run(struct cpu_engine *cpu, const struct batch *batch, float *logits);

/*
 * Called during a run with intermediates of one pass, n_flows flows from first_flow on: "tokens",
 * "out" and "residual" of each block, "norm_f", each (n_flows, L, D), and "pooled" (n_flows, D).
 */
typedef void (*tap_fn)(void *ctx, const char *name, uint32_t block, const float *values,
		       uint32_t first_flow, uint32_t n_flows);
void cpu_engine_tap(struct cpu_engine *cpu, tap_fn tap, void *ctx);
