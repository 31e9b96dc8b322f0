/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Verdict and policy to action, reason and counters. Clocks are read only when there is something
 * to act on: a flow that passes costs its two look-ups and no more.
 */
#pragma once
#include "bpf/meter.h"
#include "bpf/send.h"

static __always_inline const struct control *control_get(void)
{
	__u32 zero = 0;
	const struct control *c = bpf_map_lookup_elem(&control, &zero);

	return c && c->schema_version == SCHEMA_VERSION ? c : NULL;
}

static __always_inline bool reason_drops(enum reason reason)
{
	return reason == REASON_DROPPED || reason == REASON_LIMITED ||
	       reason == REASON_ENDPOINT_DROPPED;
}

static __always_inline bool reason_would(enum reason reason)
{
	return reason == REASON_WOULD_DROP || reason == REASON_WOULD_LIMIT;
}

static __always_inline enum reason enforce_limit(const struct policy_action *a,
						 const struct packet *p, __u64 now_ns, bool watch)
{
	__u32 id = a->meter_id;
	struct meter *m = bpf_map_lookup_elem(&meters, &id);

	if (!m || meter_conforms(m, now_ns, p->wire_bytes))
		return REASON_WITHIN_RATE;
	return watch ? REASON_WOULD_LIMIT : REASON_LIMITED;
}

static __always_inline bool action_acts(const struct policy_action *a)
{
	return a->action == ACTION_DROP || a->action == ACTION_LIMIT;
}

/* What the action means for this packet now. */
static __always_inline enum reason enforce_action(const struct policy_action *a, __u32 zone_id,
						  bool protect, struct at at,
						  const struct packet *p)
{
	const struct control *c;
	__u64 now;

	if (!action_acts(a) || zone_id == ZONE_NEVER)
		return REASON_PASSED;
	if (protect && !(a->flags & POLICY_FORCE))
		return REASON_PROTECTED;
	c = control_get();
	if (!c)
		return REASON_NO_CONTROL;
	now = a->action == ACTION_LIMIT ? packet_time(at) : packet_time_coarse(at);
	if (c->fail_open_ns && now > c->heartbeat_ns + c->fail_open_ns)
		return REASON_FAIL_OPEN;
	if (a->action == ACTION_LIMIT)
		return enforce_limit(a, p, now, c->mode != MODE_ENFORCE);
	return c->mode == MODE_ENFORCE ? REASON_DROPPED : REASON_WOULD_DROP;
}

static __always_inline __u32 outcome_of(enum reason reason)
{
	if (reason_would(reason))
		return OUTCOME_WOULD;
	if (reason == REASON_LIMITED)
		return OUTCOME_LIMITED;
	return reason_drops(reason) ? OUTCOME_DROPPED : OUTCOME_PASSED;
}

static __always_inline void count_decided(enum reason reason, __u32 class_id, __u32 rule_id,
					  __u64 bytes)
{
	count(reason, bytes);
	count_row(CLASS_ROW(class_id, outcome_of(reason)), bytes);
	if ((reason_drops(reason) || reason_would(reason)) && rule_id < MAX_RULES)
		count_row(RULE_ROW(rule_id), bytes);
}

/* What the agent wrote, bounded: an id that does not exist is the unknown class's. */
static __always_inline __u32 class_bounded(__u16 class_id)
{
	return class_id < MAX_CLASSES ? class_id : CLASS_UNKNOWN;
}

static __always_inline const struct policy_entry *policy_entry_of(__u32 zone_id, __u32 class_id)
{
	__u32 index = policy_index(zone_id, class_id);

	return bpf_map_lookup_elem(&policy, &index);
}

static __always_inline const struct policy_action *policy_of(__u32 zone_id, __u32 class_id,
							     __u8 hook)
{
	const struct policy_entry *entry = policy_entry_of(zone_id, class_id);

	return entry ? &entry->by_hook[hook] : NULL;
}

/*
 * Whether a SYN changes nothing for this decided flow: for a while a verdict that acts outlives it,
 * or the far end of a blocked flow could lift the block by a SYN among its packets. Whoever uses
 * the five numbers again within that time is the same application; TIME_WAIT keeps others off.
 */
static __always_inline bool verdict_outlives_syn(struct at at, const struct verdict *verdict)
{
	const struct policy_entry *entry =
		policy_entry_of(verdict->zone_id, class_bounded(verdict->class_id));

	if (!entry || !(action_acts(&entry->by_hook[HOOK_INGRESS]) ||
			action_acts(&entry->by_hook[HOOK_EGRESS])))
		return false;
	return packet_time_coarse(at) < verdict->judged_ns + VERDICT_OUTLIVES_SYN_NS;
}

/* A packet of a decided flow: acts and counts. */
static __always_inline enum reason enforce_verdict(struct at at, struct packet *p,
						   struct verdict *verdict)
{
	__u32 class_id = class_bounded(verdict->class_id);
	__u32 zone_id = verdict->zone_id;
	const struct policy_action *a = policy_of(zone_id, class_id, at.hook);
	enum reason reason = REASON_PASSED;
	__u32 rule_id = 0;

	if (a) {
		reason = enforce_action(a, zone_id, verdict->flags & VERDICT_PROTECTED, at, p);
		rule_id = a->rule_id;
	}
	__sync_fetch_and_add(&verdict->packets, p->info.gso_segments);
	__sync_fetch_and_add(&verdict->bytes, p->wire_bytes);
	if (reason_drops(reason) || reason_would(reason)) {
		__sync_fetch_and_add(&verdict->dropped_packets, p->info.gso_segments);
		__sync_fetch_and_add(&verdict->dropped_bytes, p->wire_bytes);
	}
	count_decided(reason, class_id, rule_id, p->wire_bytes);
	if (reason_drops(reason))
		send_hit(at, p, verdict);
	return reason;
}

/* The zone of a flow's remote end. */
static __always_inline __u32 zone_of(const __u8 *addr)
{
	struct zone_key key = {.prefix_len = 128};
	__u32 *zone_id;

	__builtin_memcpy(key.addr, addr, sizeof(key.addr));
	zone_id = bpf_map_lookup_elem(&zones, &key);
	return zone_id ? *zone_id : ZONE_DEFAULT;
}

/* The first packet of a flow whose remote end is known. REASON_UNDECIDED: nothing to act on. */
static __always_inline enum reason enforce_endpoint(struct at at, const struct packet *p)
{
	const struct packet_view *v = &p->view;
	bool remote_is_lo = (v->direction == FLOW_DIR_FORWARD) == (at.hook == HOOK_INGRESS);
	struct endpoint_key key = {.proto = v->key.proto};
	const struct endpoint_verdict *known;
	const struct policy_action *a;
	enum reason reason;
	__u32 class_id, zone_id;

	__builtin_memcpy(key.addr, remote_is_lo ? v->key.addr_lo : v->key.addr_hi,
			 sizeof(key.addr));
	key.port_be = remote_is_lo ? v->key.port_lo_be : v->key.port_hi_be;
	known = bpf_map_lookup_elem(&endpoints, &key);
	if (!known || known->expires_ns < p->info.now_ns)
		return REASON_UNDECIDED;
	class_id = class_bounded(known->class_id);
	zone_id = zone_of(key.addr);
	a = policy_of(zone_id, class_id, at.hook);
	if (!a)
		return REASON_UNDECIDED;
	reason = enforce_action(a, zone_id, false, at, p);
	if (reason == REASON_PASSED || reason == REASON_NO_CONTROL)
		return REASON_UNDECIDED;
	if (reason == REASON_DROPPED)
		reason = REASON_ENDPOINT_DROPPED;
	count_decided(reason, class_id, a->rule_id, p->wire_bytes);
	return reason;
}
