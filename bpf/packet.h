/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A packet as both hooks see it, and what the hooks do differently: the clock of a replay, reading
 * past the linear part, counting. `hook` is a constant after inlining, so each program keeps only
 * its own branch.
 */
#pragma once
#include "bpf/extract.h"
#include "bpf/maps.bpf.h"

struct packet {
	void *ctx;
	const __u8 *data, *end; /* the linear part */
	struct packet_info info;
	__u64 wire_bytes; /* IP bytes on the wire: each segment has its own headers */
};

static __always_inline void count_row(__u32 row, __u64 bytes)
{
	struct counter *c = bpf_map_lookup_elem(&counters, &row);

	if (c) {
		c->packets++;
		c->bytes += bytes;
	}
}

/* NOTE reasons count packets, PACKET reasons bytes too. */
static __always_inline void count(enum reason reason, __u64 bytes)
{
	count_row(reason, bytes);
}

static __always_inline __u64 replay_time(const struct packet *p)
{
	const struct replay_prefix *prefix;
	const struct xdp_md *xdp = p->ctx;

	if (p->info.hook == HOOK_EGRESS)
		return ((const struct __sk_buff *)p->ctx)->tstamp;
	prefix = (const void *)(long)xdp->data_meta;
	if ((const void *)(prefix + 1) > (const void *)(long)xdp->data)
		return 0;
	return prefix->time_ns;
}

static __always_inline __u64 packet_time(const struct packet *p)
{
	return config.replay ? replay_time(p) : bpf_ktime_get_ns();
}

/* To 4 ms, at half the cost: good enough for a deadline of seconds. */
static __always_inline __u64 packet_time_coarse(const struct packet *p)
{
	return config.replay ? replay_time(p) : bpf_ktime_get_coarse_ns();
}

/* Bytes that the linear part does not hold. */
static __always_inline long packet_load(const struct packet *p, __u32 offset, void *to, __u32 len)
{
	if (p->info.hook == HOOK_EGRESS)
		return bpf_skb_load_bytes(p->ctx, offset, to, len);
	if (config.xdp_load_bytes)
		return bpf_xdp_load_bytes(p->ctx, offset, to, len);
	return -1;
}
