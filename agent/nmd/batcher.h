/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The batcher: ready flows to decisions, on one inference thread.
 *
 * batcher_add copies the sample into a bounded queue (full: dropped and counted). The thread takes
 * up to batch_flows of it when so many are there or when the oldest has waited batch_ms, makes
 * tokens, runs the engine and decides. Decisions come back in the order of the flows: result_fd
 * becomes readable, batcher_collect hands them to on_judged in the caller's thread.
 *
 * Flows that are over (ended, silent, evicted) may fill a quarter of the queue: a scan is thousands
 * of flows that go silent after one packet, and must not keep those from a judgement that go on.
 *
 * A model is swapped between batches: flows queued before the swap are judged by the old model,
 * whatever its shape, and none is lost. All functions belong to the loop thread.
 */
#pragma once
#include <stdint.h>
#include "agent/flow/assembler.h"
#include "model/decide.h"
#include "model/engine.h"

struct judged_flow {
	struct flow_info info;
	enum ready_reason why;
	struct decision decision;
	const struct model *model; /* the one that judged */
	uint32_t model_id;
	uint64_t queued_ns; /* CLOCK_MONOTONIC when it was added */
	uint16_t n_packets; /* in the sample */
};
/* judged is borrowed during the call. */
typedef void (*batcher_judged_fn)(void *ctx, const struct judged_flow *judged);

struct batcher_config {
	const char *engine;
	uint32_t batch_flows, queue_flows;
	uint64_t wait_ns;
};

struct batcher_counters {
	uint64_t queued, dropped, failed, judged, batches;
	uint64_t waiting; /* now */
};

struct batcher;
/* Keeps references to the model. */
int batcher_new(const struct batcher_config *config, struct model *m, uint32_t model_id,
		batcher_judged_fn on_judged, void *ctx, struct batcher **ret_batcher,
		struct error *e);
void batcher_free(struct batcher *b); /* accepts NULL; what is queued is dropped */

/* 0, -ENOBUFS when the queue is full, -ENOMEM, -EINVAL when the sample is not of the model's shape;
 * all counted. */
int batcher_add(struct batcher *b, const struct flow_info *info, const struct flow_sample *sample,
		enum ready_reason why);
int batcher_result_fd(const struct batcher *b);
void batcher_collect(struct batcher *b);
/* Waits until everything queued is judged, and collects it: for tests. */
void batcher_drain(struct batcher *b);

/* A swap in two steps, so that what can fail comes before what cannot: a judge is a model with its
 * engine; batcher_judge_use takes it, and flows added from then on are its. */
struct judge;
int batcher_judge_new(struct batcher *b, struct model *m, uint32_t model_id,
		      struct judge **ret_judge, struct error *e);
void batcher_judge_free(struct judge *judge); /* accepts NULL */
void batcher_judge_use(struct batcher *b, struct judge *judge);

/* The engine's name, borrowed until the next swap. */
const char *batcher_engine_name(const struct batcher *b);
void batcher_counters(struct batcher *b, struct batcher_counters *ret_counters);
/* The text of the engine's last failure, "" when there was none. */
void batcher_last_error(struct batcher *b, char *ret_text, size_t size);
