/* SPDX-License-Identifier: BSD-2-Clause */
/* See predict.h. Each thread has an engine, a batch and two samples of its own, and takes the next
 * batch of flows from a common counter. */
#include "agent/nmtrain/predict.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmtrain/nmtrain.h"
#include "model/batch.h"
#include "model/engine.h"
#include "model/sample_edit.h"

#define BATCH_FLOWS 64

struct worker {
	struct predictor *predictor;
	pthread_t thread;
	struct engine *engine;
	struct batch *batch;
	struct flow_sample *wide, *narrow;
	int status;
	struct error error;
};

/* What one call of predictor_run is about. */
struct job {
	const uint32_t *flow;
	size_t n;
	uint16_t packets;
	float *logits;
	atomic_size_t next; /* flows taken by workers */
	atomic_bool stopped;
};

struct predictor {
	struct model *model;
	const struct dataset *set;
	struct job job;
	uint32_t n_workers;
	struct worker worker[];
};

static int check_shape(const struct model *m, const struct dataset *set, struct error *e)
{
	const struct sample_shape *want = &m->tokens.shape, *have = &set->shape;

	if (want->packets <= have->packets && want->header_bytes <= have->header_bytes &&
	    want->payload_bytes <= have->payload_bytes && want->seq_len <= have->seq_len &&
	    (have->bidirectional || !want->bidirectional))
		return 0;
	return error_set(e, -EINVAL,
			 "the set holds %u packets of %u + %u bytes and %u sizes of %s a flow; "
			 "%.80s wants %u of %u + %u and %u: build a wider set",
			 have->packets, have->header_bytes, have->payload_bytes, have->seq_len,
			 have->bidirectional ? "both directions" : "one direction", m->path,
			 want->packets, want->header_bytes, want->payload_bytes, want->seq_len);
}

static int worker_open(struct worker *w, struct predictor *p, struct error *e)
{
	const struct model *m = p->model;
	int r;

	w->predictor = p;
	w->wide = flow_sample_new(&p->set->shape);
	w->narrow = flow_sample_new(&m->tokens.shape);
	r = batch_new(&m->tokens, m->architecture.stride, BATCH_FLOWS, &w->batch);
	if (!w->wide || !w->narrow || r)
		return error_set(e, -ENOMEM, "no memory for a batch of %d flows", BATCH_FLOWS);
	return engine_open("auto", p->model, &w->engine, e);
}

int predictor_new(struct model *m, const struct dataset *set, uint32_t n_threads,
		  struct predictor **ret_predictor, struct error *e)
{
	struct predictor *p;
	int r = check_shape(m, set, e);

	if (r)
		return r;
	if (n_threads < 1 || n_threads > PREDICT_MAX_THREADS)
		return error_set(e, -EINVAL, "%u threads; must be 1 to %d", n_threads,
				 PREDICT_MAX_THREADS);
	p = calloc(1, sizeof(*p) + n_threads * sizeof(p->worker[0]));
	if (!p)
		return error_set(e, -ENOMEM, "no memory for %u threads", n_threads);
	p->model = model_ref(m);
	p->set = set;
	p->n_workers = n_threads;
	for (uint32_t i = 0; i < n_threads && !r; i++)
		r = worker_open(&p->worker[i], p, e);
	if (r) {
		predictor_free(p);
		return r;
	}
	*ret_predictor = p;
	return 0;
}

void predictor_free(struct predictor *p)
{
	if (!p)
		return;
	for (uint32_t i = 0; i < p->n_workers; i++) {
		engine_close(p->worker[i].engine);
		batch_free(p->worker[i].batch);
		flow_sample_free(p->worker[i].wide);
		flow_sample_free(p->worker[i].narrow);
	}
	model_unref(p->model);
	free(p);
}

static int add_flow(struct worker *w, uint32_t flow)
{
	const struct predictor *p = w->predictor;
	int r = sample_copy(w->wide, p->set->flow[flow].sample);

	/* Cut before narrowing: packets of both directions pass while a flow is watched. */
	if (!r && p->job.packets)
		sample_cut(w->wide, p->job.packets);
	if (!r)
		r = sample_narrow(w->narrow, w->wide);
	return r ? r : batch_add(w->batch, &p->model->tokens, w->narrow);
}

static int run_batch(struct worker *w, size_t first)
{
	struct job *job = &w->predictor->job;
	size_t n = job->n - first < BATCH_FLOWS ? job->n - first : BATCH_FLOWS;

	batch_reset(w->batch);
	for (size_t i = 0; i < n; i++) {
		int r = add_flow(w, job->flow[first + i]);

		if (r)
			return error_set(&w->error, r, "flow %u of the set: %s",
					 job->flow[first + i], strerror(-r));
	}
	return engine_run(w->engine, w->batch, job->logits + first * w->predictor->model->n_classes,
			  &w->error);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct job *job = &w->predictor->job;
	size_t first;

	while (!w->status && !atomic_load(&job->stopped) &&
	       (first = atomic_fetch_add(&job->next, BATCH_FLOWS)) < job->n) {
		if (nmtrain_interrupted())
			w->status = error_set(&w->error, -EINTR, "interrupted");
		else
			w->status = run_batch(w, first);
	}
	if (w->status)
		atomic_store(&job->stopped, true);
	return NULL;
}

int predictor_run(struct predictor *p, const uint32_t *flow, size_t n, uint16_t packets,
		  float *logits, struct error *e)
{
	uint32_t started;
	int r = 0;

	p->job = (struct job){.flow = flow, .n = n, .packets = packets, .logits = logits};
	for (uint32_t i = 0; i < p->n_workers; i++)
		p->worker[i].status = 0;
	/* The first is this thread's own; where no more can be had, the rest is its work too. */
	for (started = 1; started < p->n_workers; started++)
		if (pthread_create(&p->worker[started].thread, NULL, work, &p->worker[started]))
			break;
	work(&p->worker[0]);
	for (uint32_t i = 1; i < started; i++)
		pthread_join(p->worker[i].thread, NULL);
	for (uint32_t i = 0; i < p->n_workers && !r; i++)
		if (p->worker[i].status)
			r = error_set(e, p->worker[i].status, "%s", p->worker[i].error.text);
	return r;
}
