/* SPDX-License-Identifier: BSD-2-Clause */
/* See train_workers.h. The caller's thread is worker 0; the others wait at a barrier for a job. */
#include "model/train_workers.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "model/ops.h"

enum job { JOB_GRADIENT, JOB_VALIDATE, JOB_END };

struct worker {
	struct train_workers *all;
	uint32_t number;
	void *worker; /* the task's */
	float *gradient;
	double loss;
	pthread_t thread;
	bool started;
};

struct train_workers {
	const struct train_task *task;
	uint32_t n;
	struct worker *worker;
	pthread_barrier_t begin, end;
	bool has_barriers;
	pthread_mutex_t gate; /* closed until all threads are there */
	bool abandoned;
	/* the job, written between end and begin */
	enum job job;
	const struct train_batch *batch;
	const float *weights;
};

/* Part number of n things in n_parts: [ret_first, ret_first + returned). */
static uint32_t part(uint32_t n, uint32_t n_parts, uint32_t number, uint32_t *ret_first)
{
	uint32_t first = (uint32_t)((uint64_t)n * number / n_parts);

	*ret_first = first;
	return (uint32_t)((uint64_t)n * (number + 1) / n_parts) - first;
}

static void do_job(struct worker *me)
{
	const struct train_workers *w = me->all;
	const struct train_task *task = w->task;
	uint32_t first, n;

	if (w->job == JOB_GRADIENT) {
		n = part(w->batch->n, w->n, me->number, &first);
		memset(me->gradient, 0, task->layout->n_values * sizeof(float));
		me->loss =
			n ? task->gradient(me->worker, w->batch, first, n, w->weights, me->gradient)
			  : 0;
	} else {
		n = part(task->n_validation, w->n, me->number, &first);
		if (n)
			task->validate(me->worker, first, n, w->weights);
	}
}

static void *run_worker(void *arg)
{
	struct worker *me = arg;
	bool abandoned;

	pthread_mutex_lock(&me->all->gate);
	abandoned = me->all->abandoned;
	pthread_mutex_unlock(&me->all->gate);
	while (!abandoned) {
		pthread_barrier_wait(&me->all->begin);
		if (me->all->job == JOB_END)
			return NULL;
		do_job(me);
		pthread_barrier_wait(&me->all->end);
	}
	return NULL;
}

static void run_job(struct train_workers *w, enum job job)
{
	w->job = job;
	if (w->n > 1)
		pthread_barrier_wait(&w->begin);
	if (job == JOB_END)
		return;
	do_job(&w->worker[0]);
	if (w->n > 1)
		pthread_barrier_wait(&w->end);
}

/* All or none: a barrier waits for every one, so none is let through the gate before all are there.
 */
static int start(struct train_workers *w)
{
	int r = 0;

	if (pthread_barrier_init(&w->begin, NULL, w->n))
		return -ENOMEM;
	if (pthread_barrier_init(&w->end, NULL, w->n)) {
		pthread_barrier_destroy(&w->begin);
		return -ENOMEM;
	}
	w->has_barriers = true;
	pthread_mutex_lock(&w->gate);
	for (uint32_t i = 1; !r && i < w->n; i++) {
		r = -pthread_create(&w->worker[i].thread, NULL, run_worker, &w->worker[i]);
		w->worker[i].started = r == 0;
	}
	w->abandoned = r != 0;
	pthread_mutex_unlock(&w->gate);
	return r;
}

int train_workers_new(const struct train_task *task, uint32_t n_threads,
		      struct train_workers **ret_workers)
{
	struct train_workers *w = calloc(1, sizeof(*w));
	int r = 0;

	if (!w || !(w->worker = calloc(n_threads, sizeof(*w->worker)))) {
		free(w);
		return -ENOMEM;
	}
	w->task = task;
	w->n = n_threads;
	pthread_mutex_init(&w->gate, NULL);
	linear_single_thread(); /* the threads are ours */
	for (uint32_t i = 0; !r && i < n_threads; i++) {
		w->worker[i] = (struct worker){.all = w, .number = i};
		w->worker[i].gradient = malloc(task->layout->n_values * sizeof(float));
		r = w->worker[i].gradient ? task->worker_new(task->ctx, &w->worker[i].worker)
					  : -ENOMEM;
	}
	if (!r && n_threads > 1)
		r = start(w);
	if (r) {
		train_workers_free(w);
		return r;
	}
	*ret_workers = w;
	return 0;
}

void train_workers_free(struct train_workers *w)
{
	if (!w)
		return;
	if (w->n > 1 && w->worker[1].started && !w->abandoned)
		run_job(w, JOB_END);
	for (uint32_t i = 0; i < w->n; i++) {
		if (w->worker[i].started)
			pthread_join(w->worker[i].thread, NULL);
		if (w->worker[i].worker)
			w->task->worker_free(w->worker[i].worker);
		free(w->worker[i].gradient);
	}
	if (w->has_barriers) {
		pthread_barrier_destroy(&w->begin);
		pthread_barrier_destroy(&w->end);
	}
	pthread_mutex_destroy(&w->gate);
	free(w->worker);
	free(w);
}

float *train_workers_gradient(struct train_workers *w, const struct train_batch *batch,
			      const float *weights, double *ret_loss)
{
	size_t n_values = w->task->layout->n_values;
	float *sum = w->worker[0].gradient;
	double loss;

	w->batch = batch;
	w->weights = weights;
	run_job(w, JOB_GRADIENT);
	loss = w->worker[0].loss;
	for (uint32_t i = 1; i < w->n; i++) {
		loss += w->worker[i].loss;
		for (size_t k = 0; k < n_values; k++)
			sum[k] += w->worker[i].gradient[k];
	}
	*ret_loss = loss;
	return sum;
}

void train_workers_validate(struct train_workers *w, const float *weights)
{
	w->weights = weights;
	run_job(w, JOB_VALIDATE);
}
