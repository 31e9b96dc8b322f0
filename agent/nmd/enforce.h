/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A decision becomes a verdict in the kernel and an event for people.
 *
 * A final judgement is always written, as its class or as `unknown`. An early one is written only
 * when the model is sure of a class: it acts at once if the policy acts on that class, and stays
 * provisional, so that the flow is judged again with more packets; an unsure early one changes
 * nothing. A flow that began anew while its predecessor waited for the model does not inherit the
 * predecessor's verdict.
 *
 * Loop thread only.
 */
#pragma once
#include "agent/nmd/batcher.h"
#include "agent/nmd/breaker.h"
#include "agent/nmd/classes.h"
#include "agent/nmd/kernel.h"
#include "agent/nmd/log.h"
#include "agent/nmd/protect.h"
#include "agent/nmd/sink.h"
#include "agent/nmd/zones.h"

/* Bits 16.. of verdict.flags are the agent's own notes; the kernel reads only the lower ones. */
#define VERDICT_SOURCE_HIGHER 0x10000 /* the flow's source is the higher end of its key */

struct enforce_counters {
	uint64_t judged_total, verdicts_written, verdicts_full, verdicts_failed;
	uint64_t endpoints_failed;
	uint64_t verdicts_replaced_by_start, judged_stale, hits;
	uint64_t flows[MAX_CLASSES]; /* each flow once, by what is enforced */
};

#define ENFORCE_STARTS 4096

struct enforce {
	/* Borrowed, set by the owner before the first call. */
	struct kernel *kernel;
	struct classes *classes;
	struct zones *zones;
	struct protect *protect;
	struct breaker *breaker;
	struct sinks *sinks;
	const struct policy_program *program; /* what the kernel has */
	bool watch;                           /* the mode in force */
	bool endpoints;
	uint32_t again_below; /* as the assembler's */
	void (*on_trip)(void *ctx);
	void *ctx;

	struct enforce_counters counters;
	struct log_limit full_limit, hit_limit;
	/* When flows began of late, by the key's hash: to know a judgement that came too late. */
	struct {
		uint64_t hash, time_ns;
	} starts[ENFORCE_STARTS];
};

/* What the policy does to a flow of this class and zone now. */
struct enforce_outlook {
	uint8_t action;   /* ACTION_*, by the policy alone */
	uint32_t rule_id; /* 0 = the default */
	bool held;        /* zone never or the safety net keeps it from acting */
	bool force;
};
/* hooks_seen: bit per HOOK_*, 0 = both; the harsher action of those is told. */
void enforce_outlook(const struct enforce *e, uint32_t zone_id, uint32_t class_id,
		     uint8_t hooks_seen, bool protected_flow, struct enforce_outlook *ret_outlook);
const char *enforce_action_name(uint8_t action);

/* For batcher_new; ctx is the struct enforce. */
void enforce_judged(void *ctx, const struct judged_flow *judged);
/* A record with RECORD_FLOW_START: an older verdict on the same ports is not this flow's. */
void enforce_flow_start(struct enforce *e, const struct packet_record *record);
/* The kernel acted on a verdict for the first time. */
void enforce_hit(struct enforce *e, const struct packet_record *record);
/* Gives live verdicts the zones and the protection that hold now. Returns how many changed or a
 * negative errno. */
int enforce_rezone(struct enforce *e, const struct policy_program *program);
