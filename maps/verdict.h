/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * `verdicts`: hash, flow_key -> verdict. The agent inserts, replaces and sweeps; the kernel
 * adds to the counters and sets VERDICT_TOLD. Not LRU: a flood must not evict a block. Full:
 * counted and told by the agent. `endpoints`: LRU hash, endpoint_key -> endpoint_verdict. Writer:
 * agent. Asked for the first packet of a flow (its remote end) when CONTROL_ENDPOINTS is set.
 * `class_names`: array, class id -> name (NUL padded). Writer: agent. Lives as long as the verdicts
 * that use the ids, so that a new model or a restarted agent never reads an old id as another
 * class.
 *
 * Class id 0 is `unknown`. Ids are given out by name in order of first use and never change while
 * the pins live; they are not the model's class indices.
 */
#pragma once
#include "maps/flow_key.h"

#define MAX_CLASSES    128
#define CLASS_UNKNOWN  0
#define CLASS_NAME_LEN 32

/* flags */
#define VERDICT_PROVISIONAL 0x01 /* early, or on few packets: records go on */
#define VERDICT_PROTECTED   0x02 /* safety net: only a policy entry with POLICY_FORCE acts */
#define VERDICT_TOLD        0x04 /* set by the kernel: the agent has been told of the first hit */

/* A verdict that drops or limits is not lifted by a SYN before it is so old: 2 MSL (RFC 9293). */
#define VERDICT_OUTLIVES_SYN_NS 60000000000ULL

struct verdict {
	__u16 class_id;
	__u16 zone_id;
	__u16 confidence;     /* 0..65535 for 0..1 */
	__u16 packets_judged; /* packets seen when judged */
	__u32 flags;
	__u32 model_id;   /* which load of a model gave it, from 1 */
	__u64 judged_ns;  /* CLOCK_MONOTONIC */
	__u64 expires_ns; /* CLOCK_MONOTONIC, 0 = when idle only; the agent sweeps */
	/* Written by the kernel, since this verdict: */
	__u64 packets;
	__u64 bytes;
	__u64 dropped_packets; /* by a block or a meter; in watch mode: would have been */
	__u64 dropped_bytes;
};
_Static_assert(sizeof(struct verdict) == 64, "verdict is a contract: one cache line");

struct endpoint_key {
	__u8 addr[16];
	__be16 port_be;
	__u8 proto;
	__u8 pad[5];
};
_Static_assert(sizeof(struct endpoint_key) == 24, "endpoint_key is a contract");

struct endpoint_verdict {
	__u16 class_id;
	__u16 confidence;
	__u32 pad;
	__u64 expires_ns; /* CLOCK_MONOTONIC; the kernel ignores what has expired */
};
_Static_assert(sizeof(struct endpoint_verdict) == 16, "endpoint_verdict is a contract");
