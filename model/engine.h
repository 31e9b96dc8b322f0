/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine interface: a batch of token inputs in, logits out. engine.c picks the CPU engine or (a
 * later issue) the CUDA plug-in. An engine is used by one thread at a time; several engines may
 * share one model. engine_open keeps a reference to the model. The first engine_open also ends the
 * threads that OpenBLAS started when it was loaded: a program that drops capabilities, which each
 * thread has of its own, opens an engine first.
 */
#pragma once
#include "model/batch.h"
#include "model/error.h"
#include "model/model_file.h"

struct engine;

/* name: "cpu" or "auto". */
int engine_open(const char *name, struct model *m, struct engine **ret_engine, struct error *e);
void engine_close(struct engine *engine);             /* accepts NULL */
const char *engine_name(const struct engine *engine); /* such as "cpu (float32, OpenBLAS)" */

/* logits: (batch->n, n_classes), caller's. */
int engine_run(struct engine *engine, const struct batch *batch, float *logits, struct error *e);
