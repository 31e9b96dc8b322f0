/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The training loop: batches, threads, optimiser, schedule, averages, the best so far. It knows
 * neither networks nor losses: a task computes gradients of samples by number.
 *
 * A run is fixed by seed, configuration, data and number of threads: the order of an epoch comes
 * from (seed, epoch), a worker's share of a batch from its number, and sums run in the workers'
 * order. So a run that goes on from a saved state ends with the same weights as one that never
 * stopped, at any step.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "model/adamw.h"
#include "model/error.h"
#include "model/layout.h"
#include "model/schedule.h"

/* A batch, as a task sees it. */
struct train_batch {
	uint64_t seed, step;
	uint32_t epoch;
	const uint32_t *index; /* samples of the whole batch, n of them */
	uint32_t n;
	double denominator; /* what begin returned */
};

struct train_score {
	double score; /* larger is better */
	double loss, accuracy;
};

struct train_task {
	void *ctx;
	const struct layout *layout;
	uint32_t n_samples, n_validation; /* n_validation 0: no validation */
	/* A worker's own buffers; called once a thread, freed by worker_free. */
	int (*worker_new)(void *ctx, void **ret_worker);
	void (*worker_free)(void *worker);
	/* Before the parts of a batch are computed: what their losses are divided by. */
	double (*begin)(void *ctx, const struct train_batch *batch);
	/* Samples index[first .. first + n): adds their share of the gradient of the batch's mean
	 * loss, and returns their share of that loss. */
	double (*gradient)(void *worker, const struct train_batch *batch, uint32_t first,
			   uint32_t n, const float *weights, float *gradient);
	/* Validation samples first .. first + n - 1, kept in ctx for score. */
	void (*validate)(void *worker, uint32_t first, uint32_t n, const float *weights);
	struct train_score (*score)(void *ctx);
};

struct train_config {
	uint64_t seed;
	uint32_t threads, batch;
	uint64_t total_steps;
	struct schedule schedule; /* in epochs */
	struct adamw_config adamw;
	double clip_norm;     /* 0: no clipping */
	double average_decay; /* of the weights that are validated and kept; 0: those themselves */
	uint32_t validate_every; /* epochs; the last is always validated */
	uint32_t patience;       /* validations without a better score; 0: no limit */
};

/* All that a checkpoint holds. Blocks of layout.n_values floats. */
struct train_state {
	float *weights, *m, *v, *average, *best; /* average NULL without averaging */
	uint64_t step;
	uint32_t stale; /* validations since the best */
	bool has_best;
	struct train_score best_score;
	uint32_t best_epoch;
	double epoch_loss; /* sum over this epoch's batches so far, for its mean */
};

struct train_report {
	uint64_t step, total_steps;
	uint32_t epoch, n_epochs;
	bool epoch_end, validated, best;
	double loss;          /* of the batch; of the epoch at its end */
	double learning_rate; /* of the last layer */
	double gradient_norm;
	struct train_score score; /* when validated */
	uint64_t n_samples;       /* since the call */
};

struct train_hooks {
	void *ctx;
	/* After each step. Nonzero stops the run at this step, which is no error. */
	int (*on_step)(void *ctx, const struct train_report *report);
	/* After an epoch (after its validation), and when on_step stops the run: the moment to save
	 * the state. A negative errno ends the run. */
	int (*on_save)(void *ctx, const struct train_state *state, struct error *e);
};

int train_state_new(const struct layout *layout, bool averaged, struct train_state **ret_state);
void train_state_free(struct train_state *s); /* accepts NULL */

uint32_t train_steps_per_epoch(const struct train_config *config, uint32_t n_samples);

/* From state->step to the end. The result is state->best, or weights (average) without validation:
 * train_result. A loss or gradient that is not finite ends the run with -ERANGE. */
int train_run(const struct train_task *task, const struct train_config *config,
	      struct train_state *state, const struct train_hooks *hooks, struct error *e);
const float *train_result(const struct train_state *s);
