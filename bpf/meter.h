/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * GCRA (ITU-T I.371) over bytes, without a lock, in both worlds.
 *
 * The whole state is one time: when the bytes let through so far would have ended, sent at exactly
 * the rate. A packet conforms while that time is at most a burst ahead of now; it is then moved on
 * by the packet's own time. Idle time gives no credit beyond the burst, since the time never lies
 * behind now. Cheaper than a token bucket, whose tokens and time of filling would want a lock.
 */
#pragma once
#include <stdbool.h>
#include "bpf/parse.h"
#include "maps/policy.h"

#define METER_TRIES 4 /* CPUs that collide; the last resort loses no byte either */

static __always_inline bool meter_conforms(struct meter *m, __u64 now_ns, __u32 bytes)
{
	__u64 cost_ns = (bytes * m->ps_per_byte + 500) / 1000;
	__u64 seen, base;

	UNROLLED
	for (int i = 0; i < METER_TRIES; i++) {
		seen = *(volatile __u64 *)&m->tat_ns;
		base = seen > now_ns ? seen : now_ns;
		if (base - now_ns > m->burst_ns)
			return false;
		if (__sync_val_compare_and_swap(&m->tat_ns, seen, base + cost_ns) == seen)
			return true;
	}
	__sync_fetch_and_add(&m->tat_ns, cost_ns);
	return true;
}
