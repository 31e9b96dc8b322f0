/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The two programs: nm_ingress (XDP) and nm_egress (TC), one way of a packet for both.
 *
 *   parse -> fragments -> decided? enforce -> else newcomer or flow: count, extract, pass
 *
 * Nothing newer than Linux 5.15 is needed; bpf_xdp_load_bytes (5.18) is behind config.
 */
#include "bpf/track.h"

#define TC_NEXT (-1) /* TC_ACT_UNSPEC, TCX_NEXT: let the programs behind this one decide */
#define TC_DROP 2    /* TC_ACT_SHOT */

/* What has to be linear for the parser: Ethernet, two tags, and headers as a model takes them. */
#define PARSE_LINEAR (14 + 8 + RECORD_MAX_HEADER)

static __always_inline enum reason parse_reason(enum parse_result result)
{
	switch (result) {
	case PARSE_NOT_IP:
		return REASON_NOT_IP;
	case PARSE_MALFORMED:
		return REASON_MALFORMED;
	default:
		return REASON_UNTRACKED;
	}
}

/* True: drop. A SYN on a decided flow opens a new conversation on old ports and skips the verdict,
 * unless that acts and is young; a provisional verdict acts, and what it lets pass goes on to be
 * recorded. */
static __always_inline bool decide(struct at at, struct packet *p)
{
	struct verdict *verdict = bpf_map_lookup_elem(&verdicts, &p->view.key);
	bool opening = verdict && packet_opens(&p->view) && !verdict_outlives_syn(at, verdict);
	bool counted = verdict && !opening;
	enum reason reason;

	if (counted) {
		reason = enforce_verdict(at, p, verdict);
		if (reason_drops(reason) || !(verdict->flags & VERDICT_PROVISIONAL))
			return reason_drops(reason);
	}
	reason = track(at, p, opening, counted);
	if (!counted && (reason == REASON_UNDECIDED || reason == REASON_NO_CONTROL))
		count(reason, p->wire_bytes);
	return reason_drops(reason);
}

/* The walk over IPv6 extension headers: rare, so it starts over, as a global function. */
static __always_inline enum parse_result parse_walk(struct at at, struct packet *p,
						    __u32 outer_vlan)
{
	struct span s = packet_span(at);

	return parse_ethernet(s.data, s.end, p->info.frame_len, outer_vlan, true, &p->view);
}

__attribute__((noinline)) int parse_ingress(struct xdp_md *ctx, struct packet *p)
{
	return p ? parse_walk((struct at){ctx, HOOK_INGRESS}, p, 0) : PARSE_MALFORMED;
}

__attribute__((noinline)) int parse_egress(struct __sk_buff *ctx, struct packet *p,
					   __u32 outer_vlan)
{
	return p ? parse_walk((struct at){ctx, HOOK_EGRESS}, p, outer_vlan) : PARSE_MALFORMED;
}

static __always_inline enum parse_result parse(struct at at, struct packet *p, __u16 outer_vlan)
{
	struct span s = packet_span(at);
	enum parse_result parsed =
		parse_ethernet(s.data, s.end, p->info.frame_len, outer_vlan, false, &p->view);

	if (parsed != PARSE_EXTENDED)
		return parsed;
	__builtin_memset(&p->view, 0, sizeof(p->view));
	p->wire_bytes = 0;
	return at.hook == HOOK_EGRESS ? parse_egress(at.ctx, p, outer_vlan)
				      : parse_ingress(at.ctx, p);
}

static __always_inline bool packet_way(struct at at, struct packet *p, __u16 outer_vlan)
{
	enum parse_result parsed = parse(at, p, outer_vlan);
	struct packet_view *v = &p->view;

	if (config.parse_only)
		return false;
	if (parsed != PARSE_FLOW && parsed != PARSE_LATER_FRAGMENT) {
		count(parse_reason(parsed), 0);
		return false;
	}
	p->wire_bytes = v->ip_len_bytes + (__u64)(p->info.gso_segments - 1) * v->header_len;
	if (v->place != FRAGMENT_NONE && !track_fragment(at, v)) {
		count(REASON_FRAGMENT_UNKNOWN, p->wire_bytes);
		return false;
	}
	return decide(at, p);
}

SEC("xdp")
int nm_ingress(struct xdp_md *ctx)
{
	struct packet p; /* the view is the parser's to fill: zeroing it costs 5 ns a packet */

	p.info = (struct packet_info){.hook = HOOK_INGRESS, .gso_segments = 1};
	p.info.ifindex = ctx->ingress_ifindex;
	p.info.frame_len = ctx->data_end - ctx->data;
	if (config.xdp_load_bytes)
		p.info.frame_len = bpf_xdp_get_buff_len(ctx);
	return packet_way((struct at){ctx, HOOK_INGRESS}, &p, 0) ? XDP_DROP : XDP_PASS;
}

SEC("tc")
int nm_egress(struct __sk_buff *ctx)
{
	__u32 linear = ctx->data_end - ctx->data;
	struct packet p;

	p.info = (struct packet_info){.hook = HOOK_EGRESS, .gso_segments = 1};
	p.info.ifindex = ctx->ifindex;
	p.info.frame_len = ctx->len;
	if (linear < PARSE_LINEAR && linear < ctx->len)
		bpf_skb_pull_data(ctx, ctx->len < PARSE_LINEAR ? ctx->len : PARSE_LINEAR);
	if (ctx->gso_size && ctx->gso_segs > 1) {
		p.info.gso_segments = ctx->gso_segs;
		p.info.gso_size_bytes = ctx->gso_size;
	}
	return packet_way((struct at){ctx, HOOK_EGRESS}, &p,
			  ctx->vlan_present ? ctx->vlan_tci & 0x0fff : 0)
		       ? TC_DROP
		       : TC_NEXT;
}

char LICENSE[] SEC("license")
= "Dual BSD/GPL";
