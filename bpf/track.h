/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A packet of a flow that has no verdict, or only a provisional one: newcomers, flows, fragments
 * (the kernel's tables for the arithmetic of bpf/flow_table.h), and the records that go up.
 */
#pragma once
#include "bpf/enforce.h"
#include "bpf/flow_table.h"

/* A later fragment takes its first one's ports; a first one leaves them. False: not known. */
static __always_inline bool track_fragment(struct packet *p, struct packet_view *v)
{
	const struct fragment_owner *owner;
	struct fragment_owner mine;
	__u64 now = packet_time(p);

	if (v->place == FRAGMENT_FIRST) {
		fragment_owner_fill(&mine, v, now);
		bpf_map_update_elem(&fragments, &v->fragment, &mine, BPF_ANY);
		return true;
	}
	owner = bpf_map_lookup_elem(&fragments, &v->fragment);
	if (!owner || !fragment_owner_fresh(owner, now))
		return false;
	parse_adopt_ports(v, owner);
	return true;
}

static __always_inline bool track_send(struct packet *p, const struct packet_view *v)
{
	__u32 zero = 0;
	struct pace *pc;

	if (p->info.index >= config.record_packets)
		return false;
	if (p->info.flags & RECORD_FLOW_START) {
		pc = bpf_map_lookup_elem(&pace, &zero);
		if (pc && !pace_newcomer(pc, p->info.now_ns, config.newcomers_per_ms)) {
			count(REASON_NEWCOMER_BUDGET, 0);
			return false;
		}
	}
	if (!send_record(p, v))
		return false;
	count(REASON_RECORD_SENT, 0);
	return true;
}

/* The flow has an entry: count, and send while the model wants more. */
static __always_inline void track_known(struct packet *p, const struct packet_view *v,
					struct flow_state *s)
{
	p->info.index = flow_count(s, v, p->info.gso_segments, p->wire_bytes, p->info.now_ns);
	if (track_send(p, v))
		s->records_sent++;
}

static __always_inline void track_create(struct packet *p, const struct packet_view *v,
					 __u32 first_print, __u32 generation)
{
	struct flow_state fresh, *s;

	flow_begin(&fresh, generation);
	if (first_print)
		flow_add_first(&fresh, first_print, v->key.proto);
	bpf_map_update_elem(&flows, &v->key, &fresh, BPF_NOEXIST);
	s = bpf_map_lookup_elem(&flows, &v->key);
	if (!s) {
		count(REASON_FLOW_TABLE_FULL, 0);
		return;
	}
	count(REASON_FLOW_CREATED, 0);
	track_known(p, v, s);
}

/*
 * opening: a SYN on a decided flow, which is a new conversation whatever the tables remember.
 * Returns the PACKET reason, which is counted already unless it is REASON_UNDECIDED.
 */
static __always_inline enum reason track_packet(struct packet *p, const struct packet_view *v,
						const struct control *c, bool opening)
{
	__u32 generation = c->generation, print, row_index, slot;
	enum reason reason = REASON_UNDECIDED;
	struct newcomer_row *row = NULL;
	struct flow_state *s;
	bool first = opening, seen = false;
	__u64 hash;

	p->info.now_ns = packet_time(p);
	s = bpf_map_lookup_elem(&flows, &v->key);
	if (s) {
		first = opening ||
			flow_restarts(s, v, p->info.now_ns, generation, config.flow_idle_ns);
	} else {
		hash = flow_hash(&v->key, generation);
		print = fingerprint_make(hash, v, p->info.now_ns);
		slot = hash & config.newcomer_mask;
		row_index = slot / NEWCOMERS_PER_ROW;
		slot %= NEWCOMERS_PER_ROW;
		row = bpf_map_lookup_elem(&newcomers, &row_index);
		if (!row)
			return reason;
		seen = !opening &&
		       fingerprint_matches(row->fingerprint[slot], print, v, config.flow_idle_ns);
		first = !seen;
	}
	if (first) {
		if (c->flags & CONTROL_ENDPOINTS) {
			reason = enforce_endpoint(p, v);
			if (reason_drops(reason))
				return reason;
		}
		p->info.flags = RECORD_FLOW_START;
	}
	if (s) {
		if (first) {
			count(REASON_FLOW_RESTARTED, 0);
			flow_begin(s, generation);
		}
		track_known(p, v, s);
	} else if (seen) {
		track_create(p, v, row->fingerprint[slot], generation);
	} else {
		count(REASON_NEWCOMER, 0);
		row->fingerprint[slot] = print;
		if (p->info.gso_segments > 1) /* a fingerprint cannot tell how many */
			track_create(p, v, 0, generation);
		else
			track_send(p, v);
	}
	return reason;
}
