/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A model's logits for flows of a set, on several threads. Flows are dealt in fixed batches, so the
 * result does not depend on the number of threads. Owner: the caller; predictor_free. Keeps a
 * reference to the model and borrows the set.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "agent/nmtrain/dataset.h"
#include "model/error.h"
#include "model/model_file.h"

#define PREDICT_MAX_THREADS 256

struct predictor;

/* -EINVAL when the set's samples hold less than the model wants. n_threads: 1 or more. */
int predictor_new(struct model *m, const struct dataset *set, uint32_t n_threads,
		  struct predictor **ret_predictor, struct error *e);
void predictor_free(struct predictor *p); /* accepts NULL */

/* logits (n, n_classes) of set->flow[flow[i]], of which only the first packets count when packets
 * is not 0. -EINTR when a signal came. */
int predictor_run(struct predictor *p, const uint32_t *flow, size_t n, uint16_t packets,
		  float *logits, struct error *e);
