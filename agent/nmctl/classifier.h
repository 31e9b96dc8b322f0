/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Captures to judged flows: agent/flow/offline.h, tokens, batch, engine, decide. Each flow comes
 * once, with the class of its first packets and totals over the whole capture, in order of the
 * flows' first packets.
 *
 * Memory is bounded on captures of any size: CLASSIFIER_FLOWS flows are followed at a time, and as
 * many may wait for one that began before them; a flow that outlasts those comes when it ends.
 * Single threaded.
 */
#pragma once
#include "agent/event/event.h"
#include "agent/flow/offline.h"
#include "model/engine.h"
#include "model/model_file.h"

#define CLASSIFIER_FLOWS 65536

struct classifier;

/* Live-only members of the event are empty. Nonzero ends with that status after this capture. */
typedef int (*classified_fn)(void *ctx, const struct flow_event *event, int class_index);

struct classifier_stats {
	struct offline_stats offline;
	uint64_t flows; /* judged */
	/* With timed: the whole, and of that; reading is offline.read_ns, the rest is extraction
	 * and assembly. */
	uint64_t total_ns, tokens_ns, engine_ns, output_ns;
};

/* Borrows the model and the engine. */
int classifier_new(struct model *m, struct engine *engine, bool timed, classified_fn on_flow,
		   void *ctx, struct classifier **ret_classifier, struct error *e);
void classifier_free(struct classifier *c); /* accepts NULL */

/* One capture ("-": standard input), all of its flows. On a broken one the flows of what was
 * readable have come before the error. */
int classifier_read(struct classifier *c, const char *path, struct error *e);
const struct classifier_stats *classifier_stats(const struct classifier *c);
