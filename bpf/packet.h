/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A packet as both hooks see it, and what the hooks do differently: its bytes, the clock of a
 * replay, reading past the linear part. `hook` is a constant after inlining, so each program keeps
 * only its own branch.
 *
 * struct packet holds no pointers, so that it can be handed to a global function. The verifier
 * looks at such a function once, for any argument, instead of once for each way that leads there:
 * with everything inlined it gave up after a million instructions.
 */
#pragma once
#include "bpf/extract.h"
#include "bpf/maps.bpf.h"

struct packet {
	struct packet_view view;
	struct packet_info info;
	__u64 wire_bytes; /* IP bytes on the wire: each segment has its own headers */
};

/* Which program runs, and for what. Passed by value, so that `hook` stays a constant. */
struct at {
	void *ctx;
	__u8 hook;
};

struct span {
	const __u8 *data, *end; /* the linear part */
};

static __always_inline struct span packet_span(struct at at)
{
	const struct __sk_buff *skb = at.ctx;
	const struct xdp_md *xdp = at.ctx;

	if (at.hook == HOOK_EGRESS)
		return (struct span){(const __u8 *)(long)skb->data,
				     (const __u8 *)(long)skb->data_end};
	return (struct span){(const __u8 *)(long)xdp->data, (const __u8 *)(long)xdp->data_end};
}

static __always_inline void count_row(__u32 row, __u64 bytes)
{
	struct counter *c = bpf_map_lookup_elem(&counters, &row);

	if (c) {
		c->packets++;
		c->bytes += bytes;
	}
}

/* PACKET reasons count bytes too. */
static __always_inline void count(enum reason reason, __u64 bytes)
{
	count_row(reason, bytes);
}

static __always_inline void note(enum reason reason)
{
	count_row(reason, 0);
}

static __always_inline __u64 replay_time(struct at at)
{
	const struct replay_prefix *prefix;
	const struct xdp_md *xdp = at.ctx;

	if (at.hook == HOOK_EGRESS)
		return ((const struct __sk_buff *)at.ctx)->tstamp;
	prefix = (const void *)(long)xdp->data_meta;
	if ((const void *)(prefix + 1) > (const void *)(long)xdp->data)
		return 0;
	return prefix->time_ns;
}

static __always_inline __u64 packet_time(struct at at)
{
	return config.replay ? replay_time(at) : bpf_ktime_get_ns();
}

/* To 4 ms, at half the cost: good enough for a deadline of seconds. */
static __always_inline __u64 packet_time_coarse(struct at at)
{
	return config.replay ? replay_time(at) : bpf_ktime_get_coarse_ns();
}

/* Bytes that the linear part does not hold. */
static __always_inline long packet_load(struct at at, __u32 offset, void *to, __u32 len)
{
	if (at.hook == HOOK_EGRESS)
		return bpf_skb_load_bytes(at.ctx, offset, to, len);
	if (config.xdp_load_bytes)
		return bpf_xdp_load_bytes(at.ctx, offset, to, len);
	return -1;
}

/* A global function may read all of it, so all of it must have been written. */
static __always_inline void packet_complete(struct packet *p)
{
	if (p->view.place == FRAGMENT_NONE)
		__builtin_memset(&p->view.fragment, 0, sizeof(p->view.fragment));
}
