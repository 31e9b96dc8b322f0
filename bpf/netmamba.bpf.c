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

/* True: drop. */
static __always_inline bool packet_way(struct packet *p, __u16 outer_vlan)
{
	const struct control *c;
	struct packet_view v;
	struct verdict *verdict;
	enum parse_result parsed;
	enum reason reason;
	bool opening = false;

	parsed = parse_ethernet(p->data, p->end, p->info.frame_len, outer_vlan, &v);
	if (config.parse_only)
		return false;
	if (parsed != PARSE_FLOW && parsed != PARSE_LATER_FRAGMENT) {
		count(parse_reason(parsed), 0);
		return false;
	}
	p->wire_bytes = v.ip_len_bytes + (__u64)(p->info.gso_segments - 1) * v.header_len;
	if (v.place != FRAGMENT_NONE && !track_fragment(p, &v)) {
		count(REASON_FRAGMENT_UNKNOWN, p->wire_bytes);
		return false;
	}

	verdict = bpf_map_lookup_elem(&verdicts, &v.key);
	opening = verdict && packet_opens(&v);
	if (verdict && !opening) {
		reason = enforce_verdict(p, &v, verdict);
		if (reason_drops(reason) || !(verdict->flags & VERDICT_PROVISIONAL))
			return reason_drops(reason);
	}

	c = control_get();
	if (!c) {
		if (!verdict || opening)
			count(REASON_NO_CONTROL, p->wire_bytes);
		return false;
	}
	reason = track_packet(p, &v, c, opening);
	if (reason == REASON_UNDECIDED && (!verdict || opening))
		count(REASON_UNDECIDED, p->wire_bytes);
	return reason_drops(reason);
}

SEC("xdp")
int nm_ingress(struct xdp_md *ctx)
{
	struct packet p = {
		.ctx = ctx,
		.data = (const __u8 *)(long)ctx->data,
		.end = (const __u8 *)(long)ctx->data_end,
		.info = {.ifindex = ctx->ingress_ifindex, .hook = HOOK_INGRESS, .gso_segments = 1},
	};

	p.info.frame_len = p.end - p.data;
	if (config.xdp_load_bytes)
		p.info.frame_len = bpf_xdp_get_buff_len(ctx);
	return packet_way(&p, 0) ? XDP_DROP : XDP_PASS;
}

SEC("tc")
int nm_egress(struct __sk_buff *ctx)
{
	struct packet p = {
		.ctx = ctx,
		.info = {.frame_len = ctx->len,
			 .ifindex = ctx->ifindex,
			 .hook = HOOK_EGRESS,
			 .gso_segments = 1},
	};

	if (ctx->data + PARSE_LINEAR > ctx->data_end && ctx->len > ctx->data_end - ctx->data)
		bpf_skb_pull_data(ctx, ctx->len < PARSE_LINEAR ? ctx->len : PARSE_LINEAR);
	p.data = (const __u8 *)(long)ctx->data;
	p.end = (const __u8 *)(long)ctx->data_end;
	if (ctx->gso_size && ctx->gso_segs > 1) {
		p.info.gso_segments = ctx->gso_segs;
		p.info.gso_size_bytes = ctx->gso_size;
	}
	return packet_way(&p, ctx->vlan_present ? ctx->vlan_tci & 0x0fff : 0) ? TC_DROP : TC_NEXT;
}

char LICENSE[] SEC("license")
= "Dual BSD/GPL";
