/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A flow's result waits for two things: its judgement (a batch runs when it is full, or at the end)
 * and its end, when its totals are known. Results stand in a list in order of the flows' starts,
 * and the head goes out when it has both.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include "agent/nmctl/classifier.h"

#define BATCH_FLOWS 64
/* UDP and ICMP have no end: so long a silence is one, as the agent's verdicts live by default. */
#define FLOW_IDLE_NS 300000000000ULL

struct result {
	struct flow_event event;
	int class_index;
	bool judged, done;
	bool overdue; /* no longer in the list: too many that began later wait */
	TAILQ_ENTRY(result) next;
};

TAILQ_HEAD(result_list, result);

struct classifier {
	struct model *model;
	struct engine *engine;
	classified_fn on_flow;
	void *ctx;
	bool timed;
	struct classifier_stats stats;
	struct batch *batch;
	float *logits;
	struct result *in_batch[BATCH_FLOWS];
	struct result_list waiting;
	uint32_t n_waiting;
	int status; /* the first failure in a callback */
	struct error error;
};

static uint64_t clock_ns(const struct classifier *c)
{
	struct timespec now;

	if (!c->timed)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static void fail(struct classifier *c, int status, const char *what)
{
	if (!c->status)
		c->status = error_set(&c->error, status, "%s: %s", what, strerror(-status));
}

int classifier_new(struct model *m, struct engine *engine, bool timed, classified_fn on_flow,
		   void *ctx, struct classifier **ret_classifier, struct error *e)
{
	struct classifier *c = calloc(1, sizeof(*c));

	if (!c)
		return error_set(e, -ENOMEM, "no memory for the classifier");
	c->model = m;
	c->engine = engine;
	c->timed = timed;
	c->on_flow = on_flow;
	c->ctx = ctx;
	TAILQ_INIT(&c->waiting);
	c->logits = calloc(BATCH_FLOWS * m->n_classes, sizeof(float));
	if (!c->logits || batch_new(&m->tokens, m->architecture.stride, BATCH_FLOWS, &c->batch)) {
		classifier_free(c);
		return error_set(e, -ENOMEM, "no memory for a batch of %d flows", BATCH_FLOWS);
	}
	*ret_classifier = c;
	return 0;
}

void classifier_free(struct classifier *c)
{
	struct result *r;

	if (!c)
		return;
	while ((r = TAILQ_FIRST(&c->waiting))) {
		TAILQ_REMOVE(&c->waiting, r, next);
		free(r);
	}
	batch_free(c->batch);
	free(c->logits);
	free(c);
}

const struct classifier_stats *classifier_stats(const struct classifier *c)
{
	return &c->stats;
}

static void send_out(struct classifier *c, struct result *r)
{
	uint64_t start_ns = clock_ns(c);
	int status = c->status ? 0 : c->on_flow(c->ctx, &r->event, r->class_index);

	if (status)
		fail(c, status, "writing a flow");
	c->stats.output_ns += clock_ns(c) - start_ns;
	c->stats.flows++;
	free(r);
}

static void unlink_head(struct classifier *c, struct result *head)
{
	TAILQ_REMOVE(&c->waiting, head, next);
	c->n_waiting--;
}

static void result_moved(struct classifier *c, struct result *r)
{
	struct result *head;

	if (r->overdue) {
		if (r->judged && r->done)
			send_out(c, r);
		return;
	}
	while ((head = TAILQ_FIRST(&c->waiting)) && head->judged && head->done) {
		unlink_head(c, head);
		send_out(c, head);
	}
}

static void run_batch(struct classifier *c)
{
	uint64_t start_ns = clock_ns(c);
	uint32_t n = c->batch->n;
	struct decision d;
	int status = n ? engine_run(c->engine, c->batch, c->logits, &c->error) : 0;

	if (status && !c->status)
		c->status = status;
	c->stats.engine_ns += clock_ns(c) - start_ns;
	for (uint32_t i = 0; i < n; i++) {
		struct result *r = c->in_batch[i];

		if (!status) {
			decide(c->model, c->logits + i * c->model->n_classes, &d);
			r->class_index = d.class_index;
			strcpy(r->event.class_name, c->model->class_name[d.class_index]);
			r->event.confidence = d.confidence;
			r->event.ood_score = d.ood_score;
			r->event.unknown = d.unknown;
			r->event.by = d.by;
		}
		r->judged = true;
		result_moved(c, r);
	}
	batch_reset(c->batch);
}

/* The longest-lived of too many: its place in the order is given up. */
static void let_go(struct classifier *c)
{
	struct result *head = TAILQ_FIRST(&c->waiting);

	unlink_head(c, head);
	head->overdue = true;
	result_moved(c, head);
	if (!TAILQ_EMPTY(&c->waiting))
		result_moved(c, TAILQ_FIRST(&c->waiting));
}

static void on_start(void *ctx, struct flow_info *info)
{
	struct classifier *c = ctx;
	struct result *r = calloc(1, sizeof(*r));

	info->user = r;
	if (!r) {
		fail(c, -ENOMEM, "a flow's result");
		return;
	}
	TAILQ_INSERT_TAIL(&c->waiting, r, next);
	if (++c->n_waiting > CLASSIFIER_FLOWS)
		let_go(c);
}

static void on_ready(void *ctx, const struct flow_info *info, const struct flow_sample *sample,
		     enum ready_reason why)
{
	struct classifier *c = ctx;
	struct result *r = info->user;
	uint64_t start_ns = clock_ns(c);
	int status;

	if (!r)
		return;
	r->event.ready = ready_reason_name(why);
	status = batch_add(c->batch, &c->model->tokens, sample);
	c->stats.tokens_ns += clock_ns(c) - start_ns;
	if (status) {
		fail(c, status, "tokens of a flow");
		r->judged = true;
		return;
	}
	c->in_batch[c->batch->n - 1] = r;
	if (c->batch->n == BATCH_FLOWS)
		run_batch(c);
}

static void on_done(void *ctx, const struct flow_info *info)
{
	struct classifier *c = ctx;
	struct result *r = info->user;

	if (!r)
		return;
	r->event.key = info->key;
	r->event.source_direction = info->first_direction;
	r->event.directions_seen = info->directions_seen;
	r->event.packets = info->packets;
	r->event.bytes = info->bytes;
	r->event.start_ns = (int64_t)info->first_ns;
	r->event.time_ns = (int64_t)info->last_ns;
	r->done = true;
	result_moved(c, r);
}

int classifier_read(struct classifier *c, const char *path, struct error *e)
{
	struct offline_config config = {
		.shape = c->model->tokens.shape,
		.max_flows = CLASSIFIER_FLOWS / 2,
		.flow_idle_ns = FLOW_IDLE_NS,
		.on_ready = on_ready,
		.on_start = on_start,
		.on_done = on_done,
		.ctx = c,
		.timed = c->timed,
	};
	uint64_t start_ns = clock_ns(c);
	int status;

	c->status = 0;
	status = offline_read(path, &config, &c->stats.offline, e);
	run_batch(c);
	c->stats.total_ns += clock_ns(c) - start_ns;
	if (c->status)
		return error_set(e, c->status, "%.100s: %.140s", path, c->error.text);
	return status;
}
