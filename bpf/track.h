/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A packet of a flow that has no verdict, or only a provisional one: newcomers, flows, fragments
 * (the kernel's tables for the arithmetic of bpf/flow_table.h), and the records that go up.
 */
#pragma once
#include "bpf/enforce.h"
#include "bpf/flow_table.h"

/* A later fragment takes its first one's ports; a first one leaves them. False: not known. */
static __always_inline bool track_fragment(struct at at, struct packet_view *v)
{
	const struct fragment_owner *owner;
	struct fragment_owner mine;
	__u64 now = packet_time(at);

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

/* First packets' records, of new flows and of flows that begin anew, have a budget. */
static __always_inline bool track_send(struct at at, struct packet *p)
{
	__u32 zero = 0;
	struct pace *pc;

	if (p->info.index >= config.record_packets)
		return false;
	if (p->info.flags & RECORD_FLOW_START) {
		pc = bpf_map_lookup_elem(&pace, &zero);
		if (pc && !pace_newcomer(pc, p->info.now_ns, config.newcomers_per_ms)) {
			note(REASON_NEWCOMER_BUDGET);
			return false;
		}
	}
	if (!send_record(at, p))
		return false;
	note(REASON_RECORD_SENT);
	return true;
}

/* The flow has an entry: count, and send while the model wants more. */
static __always_inline void track_known(struct at at, struct packet *p, struct flow_state *s)
{
	p->info.index =
		flow_count(s, &p->view, p->info.gso_segments, p->wire_bytes, p->info.now_ns);
	if (track_send(at, p))
		s->records_sent++;
}

/* first_print: what the packet before left, 0 = there was none. */
static __always_inline void track_create(struct at at, struct packet *p, const struct flow_key *key,
					 __u32 first_print, __u32 generation)
{
	struct flow_state fresh, *s;

	flow_begin(&fresh, generation);
	if (first_print)
		flow_add_first(&fresh, first_print, p->view.key.proto);
	bpf_map_update_elem(&flows, key, &fresh, BPF_NOEXIST);
	s = bpf_map_lookup_elem(&flows, key);
	if (!s) {
		note(REASON_FLOW_TABLE_FULL);
		return;
	}
	note(REASON_FLOW_CREATED);
	track_known(at, p, s);
}

/*
 * The flow begins with this packet. A remote end that is known as of a blocked class is acted on
 * before the flow leaves any trace, so that its next packet is a first one too. counted: a
 * provisional verdict has acted and counted already.
 */
static __always_inline enum reason track_start(struct at at, struct packet *p,
					       const struct control *c, bool counted)
{
	p->info.flags = RECORD_FLOW_START;
	if (counted || !(c->flags & CONTROL_ENDPOINTS))
		return REASON_UNDECIDED;
	return enforce_endpoint(at, p);
}

/* No entry in `flows`: the first packet leaves its fingerprint, the second makes the entry. */
static __always_inline enum reason track_newcomer(struct at at, struct packet *p,
						  const struct flow_key *key,
						  const struct control *c, bool opening,
						  bool counted)
{
	__u64 hash = flow_hash(key, c->generation);
	__u32 print = fingerprint_make(hash, &p->view, p->info.now_ns);
	__u32 slot = hash & config.newcomer_mask, row_index = slot / NEWCOMERS_PER_ROW;
	struct newcomer_row *row = bpf_map_lookup_elem(&newcomers, &row_index);
	enum reason reason;
	__u32 *stored;

	if (!row)
		return REASON_UNDECIDED;
	stored = &row->fingerprint[slot % NEWCOMERS_PER_ROW];
	if (!opening && fingerprint_matches(*stored, print, &p->view, config.flow_idle_ns)) {
		track_create(at, p, key, *stored, c->generation);
		return REASON_UNDECIDED;
	}
	reason = track_start(at, p, c, counted);
	if (reason_drops(reason))
		return reason;
	note(REASON_NEWCOMER);
	*stored = print;
	if (p->info.gso_segments > 1) /* a fingerprint cannot tell how many */
		track_create(at, p, key, 0, c->generation);
	else
		track_send(at, p);
	return reason;
}

/*
 * opening: a SYN on a decided flow, which is a new conversation whatever the tables remember.
 * Returns the PACKET reason, which is counted already unless it is REASON_UNDECIDED.
 */
static __always_inline enum reason track_packet(struct at at, struct packet *p, bool opening,
						bool counted)
{
	const struct control *c = control_get();
	/* on the stack: before 6.2 a map takes no key from a global function's argument */
	struct flow_key key __attribute__((aligned(8)));
	enum reason reason = REASON_UNDECIDED;
	struct flow_state *s;

	if (!c)
		return REASON_NO_CONTROL;
	p->info.now_ns = packet_time(at);
	__builtin_memcpy(&key, &p->view.key, sizeof(key));
	s = bpf_map_lookup_elem(&flows, &key);
	if (!s)
		return track_newcomer(at, p, &key, c, opening, counted);
	if (opening || flow_restarts(s, &p->view, p->info.now_ns, c->generation, &config)) {
		reason = track_start(at, p, c, counted);
		if (reason_drops(reason))
			return reason;
		note(REASON_FLOW_RESTARTED);
		flow_begin(s, c->generation);
	}
	track_known(at, p, s);
	return reason;
}

/* Global functions, for the verifier's sake (bpf/packet.h). */
__attribute__((noinline)) int track_ingress(struct xdp_md *ctx, struct packet *p, int opening,
					    int counted)
{
	if (!p)
		return REASON_UNDECIDED;
	return track_packet((struct at){ctx, HOOK_INGRESS}, p, opening, counted);
}

__attribute__((noinline)) int track_egress(struct __sk_buff *ctx, struct packet *p, int opening,
					   int counted)
{
	if (!p)
		return REASON_UNDECIDED;
	return track_packet((struct at){ctx, HOOK_EGRESS}, p, opening, counted);
}

static __always_inline enum reason track(struct at at, struct packet *p, bool opening, bool counted)
{
	packet_complete(p);
	return at.hook == HOOK_EGRESS ? track_egress(at.ctx, p, opening, counted)
				      : track_ingress(at.ctx, p, opening, counted);
}
