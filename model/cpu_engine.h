/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The float32 CPU engine: batches through network.h in passes of bounded size.
 * Private to engine.c; tests look inside through taps. One thread at a time.
 */
#pragma once
#include <stdint.h>
#include "model/batch.h"
#include "model/error.h"
#include "model/model_file.h"
#include "model/network.h"

struct cpu_engine;

/* Borrows m. All memory is taken here: one arena for the tokens of one pass. */
int cpu_engine_new(const struct model *m, struct cpu_engine **ret_engine, struct error *e);
void cpu_engine_free(struct cpu_engine *cpu); /* accepts NULL */
void cpu_engine_run(struct cpu_engine *cpu, const struct batch *batch, float *logits);

/* See tap_fn of network.h. */
void cpu_engine_tap(struct cpu_engine *cpu, tap_fn tap, void *ctx);
