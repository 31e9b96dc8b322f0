/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The threads of a training run: each has a worker of the task and a gradient block; the first is
 * the caller's own. Work is cut into as many parts as there are threads, by number, so that what is
 * summed in which order does not depend on who is faster. Private to train.c.
 */
#pragma once
#include "model/train.h"

struct train_workers;

int train_workers_new(const struct train_task *task, uint32_t n_threads,
		      struct train_workers **ret_workers);
void train_workers_free(struct train_workers *w); /* accepts NULL */
/* The batch's gradient (layout.n_values), which lives until the next call and may be changed. */
float *train_workers_gradient(struct train_workers *w, const struct train_batch *batch,
			      const float *weights, double *ret_loss);
void train_workers_validate(struct train_workers *w, const float *weights);
