/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A task for the training loop that is no network: least squares over made-up samples. With it
 * come hooks that write down what the loop tells, and runs of the loop on both.
 */
#pragma once
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "model/rng.h"
#include "model/train.h"

#define N_VALUES     6
#define N_SAMPLES    10
#define N_VALIDATION 5
#define MAX_STEPS    64
#define MAX_THREADS  4

static struct parameter parameters[] = {
	{.name = "w", .n_values = 4, .decayed = true, .layer = 0},
	{.name = "bias", .offset = 4, .n_values = 2, .layer = 1},
};
static const struct layout layout = {
	.list = parameters, .n = 2, .n_values = N_VALUES, .n_layers = 2};

/* The task, and a diary of what the loop asked of it. */
struct squares {
	float in[N_SAMPLES + N_VALIDATION][N_VALUES], out[N_SAMPLES + N_VALIDATION];
	double validation_error[N_VALIDATION];
	uint32_t order[MAX_STEPS * N_SAMPLES], n_order;
	uint32_t batch_size[MAX_STEPS];
	uint32_t n_begun;
	uint32_t n_workers, worker_limit; /* worker_limit 0: none */
	double loss_of_step[MAX_STEPS];   /* 0: as computed */
	float gradient_of_step[MAX_STEPS];
	const double *scores; /* NULL: as computed */
	uint32_t n_scored;
};

static inline double off(const struct squares *q, uint32_t i, const float *weights)
{
	double sum = -q->out[i];

	for (size_t k = 0; k < N_VALUES; k++)
		sum += (double)q->in[i][k] * weights[k];
	return sum;
}

static inline int worker_new(void *ctx, void **ret_worker)
{
	struct squares *q = ctx;

	if (q->worker_limit && q->n_workers == q->worker_limit)
		return -ENOMEM;
	q->n_workers++;
	*ret_worker = q;
	return 0;
}

static inline void worker_free(void *worker)
{
	struct squares *q = worker;

	q->n_workers--;
}

static inline double begin(void *ctx, const struct train_batch *batch)
{
	struct squares *q = ctx;

	assert_true(batch->n > 0 && q->n_begun < MAX_STEPS);
	for (uint32_t i = 0; i < batch->n; i++)
		q->order[q->n_order++] = batch->index[i];
	q->batch_size[q->n_begun++] = batch->n;
	return batch->n;
}

static inline double gradient(void *worker, const struct train_batch *batch, uint32_t first,
			      uint32_t n, const float *weights, float *gradient_values)
{
	const struct squares *q = worker;
	double loss = 0;

	for (uint32_t i = first; i < first + n; i++) {
		uint32_t sample = batch->index[i];
		double error = off(q, sample, weights);

		loss += error * error / batch->denominator;
		for (size_t k = 0; k < N_VALUES; k++)
			gradient_values[k] +=
				(float)(2 * error / batch->denominator) * q->in[sample][k];
	}
	gradient_values[0] += q->gradient_of_step[batch->step];
	return loss + q->loss_of_step[batch->step];
}

static inline void validate(void *worker, uint32_t first, uint32_t n, const float *weights)
{
	struct squares *q = worker;

	for (uint32_t i = first; i < first + n; i++) {
		double error = off(q, N_SAMPLES + i, weights);

		q->validation_error[i] += error * error;
	}
}

static inline struct train_score score(void *ctx)
{
	struct squares *q = ctx;
	struct train_score s = {0};

	for (uint32_t i = 0; i < N_VALIDATION; i++) {
		assert_true(q->validation_error[i] > 0); /* every sample, or this would be stale */
		s.loss += q->validation_error[i] / N_VALIDATION;
		q->validation_error[i] = 0;
	}
	s.score = q->scores ? q->scores[q->n_scored] : -s.loss;
	q->n_scored++;
	return s;
}

static inline struct train_task task_of(struct squares *q)
{
	return (struct train_task){.ctx = q,
				   .layout = &layout,
				   .n_samples = N_SAMPLES,
				   .n_validation = N_VALIDATION,
				   .worker_new = worker_new,
				   .worker_free = worker_free,
				   .begin = begin,
				   .gradient = gradient,
				   .validate = validate,
				   .score = score};
}

static inline void make_squares(struct squares *q)
{
	struct rng rng = rng_stream(4, 0, 0);

	*q = (struct squares){0};
	for (size_t i = 0; i < N_SAMPLES + N_VALIDATION; i++) {
		q->out[i] = 0.1F * (float)rng_normal(&rng);
		for (size_t k = 0; k < N_VALUES; k++) {
			q->in[i][k] = (float)rng_normal(&rng);
			q->out[i] += (float)(k + 1) * q->in[i][k];
		}
	}
}

/* Three steps an epoch, of 4, 4 and 2 samples. */
static inline struct train_config config_of(uint32_t threads)
{
	return (struct train_config){
		.seed = 9,
		.threads = threads,
		.batch = 4,
		.total_steps = 24,
		.schedule = {.peak = 0.3, .minimum = 0.01, .warm_up = 2, .total = 8},
		.adamw = adamw_finetune_config(),
		.validate_every = 1};
}

/* What hooks saw, and when they stop. */
struct watch {
	struct train_state *state;
	struct train_report report[MAX_STEPS];
	struct train_state *saved;
	float weights[MAX_STEPS][N_VALUES]; /* after each step */
	uint32_t n, n_saved;
	uint64_t stop_after;
	int save_result;
};

static inline int on_step(void *ctx, const struct train_report *report)
{
	struct watch *w = ctx;

	memcpy(w->weights[w->n], w->state->weights, sizeof(w->weights[0]));
	w->report[w->n++] = *report;
	return report->step == w->stop_after;
}

static inline struct train_state *new_state(bool averaged)
{
	struct train_state *s = NULL;

	assert_int_equal(train_state_new(&layout, averaged, &s), 0);
	return s;
}

static inline struct train_state *copy_state(const struct train_state *from)
{
	struct train_state *to = new_state(from->average), fresh = *to;

	*to = *from;
	to->weights = fresh.weights;
	to->m = fresh.m;
	to->v = fresh.v;
	to->best = fresh.best;
	to->average = fresh.average;
	memcpy(to->weights, from->weights, N_VALUES * sizeof(float));
	memcpy(to->m, from->m, N_VALUES * sizeof(float));
	memcpy(to->v, from->v, N_VALUES * sizeof(float));
	memcpy(to->best, from->best, N_VALUES * sizeof(float));
	if (from->average)
		memcpy(to->average, from->average, N_VALUES * sizeof(float));
	return to;
}

static inline int on_save(void *ctx, const struct train_state *state, struct error *e)
{
	struct watch *w = ctx;

	(void)e;
	w->n_saved++;
	train_state_free(w->saved);
	w->saved = copy_state(state);
	return w->save_result;
}

static inline int go(struct squares *q, const struct train_config *config,
		     struct train_state *state, struct watch *w, struct error *e)
{
	struct train_task task = task_of(q);
	struct train_hooks hooks = {w, on_step, on_save};

	w->state = state;
	return train_run(&task, config, state, &hooks, e);
}

static inline void watch_fini(struct watch *w)
{
	train_state_free(w->saved);
}

/* A run to its end, from nothing. */
static inline struct train_state *run_whole(struct squares *q, const struct train_config *config,
					    struct watch *w)
{
	struct train_state *s = new_state(config->average_decay > 0);

	make_squares(q);
	*w = (struct watch){0};
	assert_int_equal(go(q, config, s, w, NULL), 0);
	return s;
}

static inline void expect_same(const struct train_state *a, const struct train_state *b)
{
	assert_memory_equal(a->weights, b->weights, N_VALUES * sizeof(float));
	assert_memory_equal(a->m, b->m, N_VALUES * sizeof(float));
	assert_memory_equal(a->v, b->v, N_VALUES * sizeof(float));
	assert_memory_equal(a->best, b->best, N_VALUES * sizeof(float));
	assert_int_equal(a->average != NULL, b->average != NULL);
	if (a->average)
		assert_memory_equal(a->average, b->average, N_VALUES * sizeof(float));
	assert_int_equal(a->step, b->step);
	assert_int_equal(a->stale, b->stale);
	assert_int_equal(a->has_best, b->has_best);
	assert_int_equal(a->best_epoch, b->best_epoch);
	assert_true(a->best_score.score == b->best_score.score);
	assert_true(a->epoch_loss == b->epoch_loss);
}
