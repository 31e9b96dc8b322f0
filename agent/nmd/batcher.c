/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One queue, one thread, one list of results.
 *
 * The thread clocks itself: while the engine runs, flows gather, so batches grow with the load and
 * a lone flow waits batch_ms at most. Every queued flow names the judge (engine, model, batch) that
 * was current when it came; a batch takes flows of one judge. A swap only exchanges the current
 * judge; the old one goes when its last flow is judged.
 */
#include "agent/nmd/batcher.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "agent/nmd/clock.h"

#define OVER_SHARE 4 /* what is over may fill a quarter of the queue */

struct judge {
	struct model *model;
	struct engine *engine;
	struct batch *batch;
	float *logits;
	uint32_t model_id;
	uint32_t users; /* queued flows and the place as current judge; under the lock */
};

struct item {
	struct item *next;
	struct judge *judge;
	struct flow_sample *sample; /* freed when judged */
	struct judged_flow judged;
};

struct item_list {
	struct item *first, **last;
	uint32_t n;
};

struct batcher {
	struct batcher_config config;
	batcher_judged_fn on_judged;
	void *ctx;
	int result_fd;
	pthread_t thread;
	bool started;
	struct item **taken; /* the thread's: the batch it runs */

	pthread_mutex_t lock; /* of all that follows */
	pthread_cond_t wake;  /* the queue grew, or the end */
	pthread_cond_t idle;  /* everything queued is judged */
	struct item_list queue, results;
	uint32_t n_over;  /* flows in the queue that are over */
	uint32_t running; /* flows in the engine */
	struct judge *current;
	bool stop;
	struct batcher_counters counters;
	char last_error[256];
};

static void list_init(struct item_list *list)
{
	list->first = NULL;
	list->last = &list->first;
	list->n = 0;
}

static void list_push(struct item_list *list, struct item *item)
{
	item->next = NULL;
	*list->last = item;
	list->last = &item->next;
	list->n++;
}

static struct item *list_pop(struct item_list *list)
{
	struct item *item = list->first;

	if (!item)
		return NULL;
	list->first = item->next;
	if (!list->first)
		list->last = &list->first;
	list->n--;
	return item;
}

static void judge_free(struct judge *j)
{
	if (!j)
		return;
	engine_close(j->engine);
	batch_free(j->batch);
	model_unref(j->model);
	free(j->logits);
	free(j);
}

static void judge_freep(struct judge **j)
{
	judge_free(*j);
}

static int judge_new(const struct batcher_config *config, struct model *m, uint32_t model_id,
		     struct judge **ret_judge, struct error *e)
{
	cleanup(judge_freep) struct judge *j = calloc(1, sizeof(*j));
	int rc;

	if (!j)
		return error_set(e, -ENOMEM, "out of memory");
	j->model = model_ref(m);
	j->model_id = model_id;
	j->users = 1;
	rc = engine_open(config->engine, m, &j->engine, e);
	if (rc)
		return rc;
	rc = batch_new(&m->tokens, m->architecture.stride, config->batch_flows, &j->batch);
	if (!rc && !(j->logits = calloc((size_t)config->batch_flows * m->n_classes, sizeof(float))))
		rc = -ENOMEM;
	if (rc)
		return error_set(e, rc, "a batch of %u flows: %s", config->batch_flows,
				 strerror(-rc));
	*ret_judge = take_ptr(j);
	return 0;
}

/* Under the lock. Returns the judge when nobody uses it any more: the caller frees it outside. */
static struct judge *judge_put(struct judge *j)
{
	return --j->users ? NULL : j;
}

static void item_free(struct item *item)
{
	flow_sample_free(item->sample);
	free(item);
}

/* Ended or silent: when it is judged does not matter much. */
static bool is_over(enum ready_reason why)
{
	return why == READY_END || why == READY_IDLE || why == READY_EVICTED;
}

/* Under the lock. */
static struct item *take_item(struct batcher *b)
{
	struct item *item = list_pop(&b->queue);

	b->n_over -= is_over(item->judged.why);
	return item;
}

/* ---- the inference thread ---- */

/* Under the lock: waits until a batch is due, and takes flows of one judge. */
static uint32_t take_batch(struct batcher *b, struct item **ret_items)
{
	struct judge *judge;
	uint32_t n = 0;

	while (!b->stop && b->queue.n < b->config.batch_flows) {
		struct timespec until;
		uint64_t due;

		if (!b->queue.n) {
			pthread_cond_wait(&b->wake, &b->lock);
			continue;
		}
		due = b->queue.first->judged.queued_ns + b->config.wait_ns;
		if (clock_monotonic_ns() >= due)
			break;
		until.tv_sec = due / NS_PER_S;
		until.tv_nsec = due % NS_PER_S;
		pthread_cond_timedwait(&b->wake, &b->lock, &until);
	}
	if (b->stop)
		return 0;
	judge = b->queue.first->judge;
	while (n < b->config.batch_flows && b->queue.first && b->queue.first->judge == judge)
		ret_items[n++] = take_item(b);
	return n;
}

/* Outside the lock. */
static int run_batch(struct judge *judge, struct item **items, uint32_t n, struct error *e)
{
	int rc = 0;

	batch_reset(judge->batch);
	for (uint32_t i = 0; i < n && !rc; i++) {
		rc = batch_add(judge->batch, &judge->model->tokens, items[i]->sample);
		if (rc)
			error_set(e, rc, "tokens: %s", strerror(-rc));
	}
	if (!rc)
		rc = engine_run(judge->engine, judge->batch, judge->logits, e);
	for (uint32_t i = 0; i < n; i++) {
		flow_sample_free(take_ptr(items[i]->sample));
		if (!rc)
			decide(judge->model, judge->logits + (size_t)i * judge->model->n_classes,
			       &items[i]->judged.decision);
	}
	return rc;
}

/* Under the lock. */
static void give_results(struct batcher *b, struct item **items, uint32_t n, int rc,
			 const struct error *e)
{
	if (rc) {
		b->counters.failed += n;
		snprintf(b->last_error, sizeof(b->last_error), "%s", e->text);
	}
	b->counters.batches++;
	for (uint32_t i = 0; i < n; i++) {
		if (rc) {
			items[i]->judge->users--; /* the caller still holds one */
			item_free(items[i]);
		} else {
			list_push(&b->results, items[i]);
		}
	}
	b->running = 0;
	if (!b->queue.n)
		pthread_cond_broadcast(&b->idle);
}

static void *inference_thread(void *ctx)
{
	struct batcher *b = ctx;
	struct item **items = b->taken;
	uint32_t n;

	pthread_setname_np(pthread_self(), "nmd-inference");
	pthread_mutex_lock(&b->lock);
	while ((n = take_batch(b, items))) {
		struct judge *judge = items[0]->judge, *unused;
		struct error e = {0};
		int rc;

		judge->users++;
		b->running = n;
		pthread_mutex_unlock(&b->lock);
		rc = run_batch(judge, items, n, &e);
		pthread_mutex_lock(&b->lock);
		give_results(b, items, n, rc, &e);
		unused = judge_put(judge);
		pthread_mutex_unlock(&b->lock);
		judge_free(unused);
		eventfd_write(b->result_fd, 1);
		pthread_mutex_lock(&b->lock);
	}
	pthread_mutex_unlock(&b->lock);
	return NULL;
}

/* ---- the loop thread ---- */

static void batcher_freep(struct batcher **b)
{
	batcher_free(*b);
}

static int thread_start(struct batcher *b)
{
	pthread_condattr_t attr;
	int rc;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->wake, &attr);
	pthread_cond_init(&b->idle, NULL);
	pthread_condattr_destroy(&attr);
	rc = pthread_create(&b->thread, NULL, inference_thread, b);
	b->started = !rc;
	return -rc;
}

int batcher_new(const struct batcher_config *config, struct model *m, uint32_t model_id,
		batcher_judged_fn on_judged, void *ctx, struct batcher **ret_batcher,
		struct error *e)
{
	cleanup(batcher_freep) struct batcher *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		return error_set(e, -ENOMEM, "out of memory");
	b->config = *config;
	b->on_judged = on_judged;
	b->ctx = ctx;
	list_init(&b->queue);
	list_init(&b->results);
	b->result_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->result_fd < 0)
		return error_set(e, -errno, "eventfd: %m");
	b->taken = calloc(config->batch_flows, sizeof(*b->taken));
	if (!b->taken)
		return error_set(e, -ENOMEM, "out of memory");
	rc = judge_new(config, m, model_id, &b->current, e);
	if (rc)
		return rc;
	rc = thread_start(b);
	if (rc)
		return error_set(e, rc, "the inference thread: %s", strerror(-rc));
	*ret_batcher = take_ptr(b);
	return 0;
}

void batcher_free(struct batcher *b)
{
	struct item *item;

	if (!b)
		return;
	if (b->started) {
		pthread_mutex_lock(&b->lock);
		b->stop = true;
		pthread_cond_signal(&b->wake);
		pthread_mutex_unlock(&b->lock);
		pthread_join(b->thread, NULL);
		pthread_mutex_destroy(&b->lock);
		pthread_cond_destroy(&b->wake);
		pthread_cond_destroy(&b->idle);
	}
	while ((item = list_pop(&b->queue)) || (item = list_pop(&b->results))) {
		judge_free(judge_put(item->judge));
		item_free(item);
	}
	if (b->current)
		judge_free(judge_put(b->current));
	if (b->result_fd >= 0)
		close(b->result_fd);
	free(b->taken);
	free(b);
}

static struct item *item_new(const struct flow_info *info, const struct flow_sample *sample,
			     enum ready_reason why)
{
	struct item *item = calloc(1, sizeof(*item));

	if (!item)
		return NULL;
	item->sample = flow_sample_new(&sample->shape);
	if (!item->sample) {
		free(item);
		return NULL;
	}
	item->sample->n_packets = sample->n_packets;
	memcpy(item->sample->packets, sample->packets,
	       sample->n_packets * sizeof(sample->packets[0]));
	memcpy(item->sample->bytes, sample->bytes,
	       sample->shape.packets * sample_row_bytes(&sample->shape));
	item->judged.info = *info;
	item->judged.why = why;
	item->judged.n_packets = sample->n_packets;
	item->judged.queued_ns = clock_monotonic_ns();
	return item;
}

/* Under the lock. */
static bool has_room(const struct batcher *b, enum ready_reason why)
{
	uint32_t for_over = (b->config.queue_flows + OVER_SHARE - 1) / OVER_SHARE;

	return b->queue.n < b->config.queue_flows && (!is_over(why) || b->n_over < for_over);
}

int batcher_add(struct batcher *b, const struct flow_info *info, const struct flow_sample *sample,
		enum ready_reason why)
{
	struct item *item = NULL;
	int rc = 0;

	pthread_mutex_lock(&b->lock);
	if (!sample_shape_equal(&sample->shape, &b->current->model->tokens.shape))
		rc = -EINVAL;
	else if (!has_room(b, why))
		rc = -ENOBUFS;
	else if (!(item = item_new(info, sample, why)))
		rc = -ENOMEM;
	if (rc) {
		b->counters.dropped++;
	} else {
		item->judge = b->current;
		item->judge->users++;
		list_push(&b->queue, item);
		b->n_over += is_over(why);
		b->counters.queued++;
		pthread_cond_signal(&b->wake);
	}
	pthread_mutex_unlock(&b->lock);
	return rc;
}

int batcher_result_fd(const struct batcher *b)
{
	return b->result_fd;
}

void batcher_collect(struct batcher *b)
{
	struct item_list results;
	struct item *item;
	eventfd_t n;

	eventfd_read(b->result_fd, &n);
	pthread_mutex_lock(&b->lock);
	results = b->results;
	if (!results.first)
		results.last = &results.first;
	list_init(&b->results);
	b->counters.judged += results.n;
	pthread_mutex_unlock(&b->lock);
	while ((item = list_pop(&results))) {
		struct judge *unused;

		item->judged.model = item->judge->model;
		item->judged.model_id = item->judge->model_id;
		b->on_judged(b->ctx, &item->judged);
		pthread_mutex_lock(&b->lock);
		unused = judge_put(item->judge);
		pthread_mutex_unlock(&b->lock);
		judge_free(unused);
		item_free(item);
	}
}

void batcher_drain(struct batcher *b)
{
	pthread_mutex_lock(&b->lock);
	while (b->queue.n || b->running)
		pthread_cond_wait(&b->idle, &b->lock);
	pthread_mutex_unlock(&b->lock);
	batcher_collect(b);
}

int batcher_judge_new(struct batcher *b, struct model *m, uint32_t model_id,
		      struct judge **ret_judge, struct error *e)
{
	return judge_new(&b->config, m, model_id, ret_judge, e);
}

void batcher_judge_free(struct judge *judge)
{
	judge_free(judge);
}

void batcher_judge_use(struct batcher *b, struct judge *judge)
{
	struct judge *unused;

	pthread_mutex_lock(&b->lock);
	unused = judge_put(b->current);
	b->current = judge;
	pthread_mutex_unlock(&b->lock);
	judge_free(unused);
}

const char *batcher_engine_name(const struct batcher *b)
{
	return engine_name(b->current->engine);
}

void batcher_counters(struct batcher *b, struct batcher_counters *ret_counters)
{
	pthread_mutex_lock(&b->lock);
	*ret_counters = b->counters;
	ret_counters->waiting = b->queue.n + b->running;
	pthread_mutex_unlock(&b->lock);
}

void batcher_last_error(struct batcher *b, char *ret_text, size_t size)
{
	pthread_mutex_lock(&b->lock);
	snprintf(ret_text, size, "%s", b->last_error);
	pthread_mutex_unlock(&b->lock);
}
