/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A whole capture through the line up to flow samples: capture -> extractor -> assembler ->
 * on_ready. Used by `nmctl classify` and by the trainer, so that both see what the agent sees.
 *
 * Every packet makes a record, not only the first S, so that on_done has a flow's whole totals.
 * Flows end as the kernel ends them (a new SYN, long silence of other protocols) or with the
 * capture. Memory is bounded by max_flows, whatever the capture's size.
 */
#pragma once
#include <stdint.h>
#include "agent/flow/assembler.h"
#include "maps/config.h"
#include "maps/reason.h"
#include "model/error.h"

struct offline_config {
	struct sample_shape shape;
	uint32_t max_flows;    /* flows that are assembled at a time */
	uint64_t flow_idle_ns; /* after such a silence a flow without TCP begins anew; 0 = never */
	flow_ready_fn on_ready;
	void (*on_start)(void *ctx, struct flow_info *info); /* may be NULL, as in assembler.h */
	void (*on_done)(void *ctx, const struct flow_info *info);
	void *ctx;
	bool timed; /* fill read_ns and flow_ns: two clock readings a packet */
};

struct offline_stats {
	uint64_t packets;
	uint64_t reasons[REASON_ROWS]; /* packets by what the kernel would count */
	struct assembler_counters assembler;
	uint64_t read_ns, flow_ns; /* flow_ns includes the callbacks */
};

/* The programs' configuration for a shape: how many records of a flow go up, how many with bytes.
 * A shape that keeps one direction wants more of them, since the kernel counts both. -EINVAL when
 * the shape asks for more bytes than a record holds. */
int record_limits(const struct sample_shape *shape, struct nm_config *config, struct error *e);

/*
 * Reads path ("-" is standard input) to its end, then flushes: all callbacks have come when it
 * returns. On a broken capture what was readable has been handed out, and the error says where it
 * broke. stats (may be NULL) are added to.
 */
int offline_read(const char *path, const struct offline_config *config, struct offline_stats *stats,
		 struct error *e);
