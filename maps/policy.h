/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * `policy`: array, policy_index(zone, class) -> policy_entry. Writer: agent. An all-zero entry
 * watches: nothing is acted on before an operator says so. `meters`: array, meter id -> meter. The
 * agent sets rate and burst, the kernel moves tat_ns. One meter a limit rule: all flows and both
 * directions that the rule covers share it. Meter 0 is unused. `zones`: LPM trie, zone_key -> zone
 * id (__u32). Writer: agent. No match = ZONE_DEFAULT.
 */
#pragma once
#include <linux/types.h>
#include "maps/verdict.h"

#define MAX_ZONES  256
#define MAX_METERS 256
#define MAX_RULES  1024

#define ZONE_DEFAULT 0
#define ZONE_NEVER   1 /* never acted on, whatever the policy says */

/* action */
#define ACTION_WATCH 0 /* pass, and tell: the default */
#define ACTION_PASS  1 /* pass: an `allow` */
#define ACTION_DROP  2
#define ACTION_LIMIT 3

/* flags */
#define POLICY_FORCE 0x01 /* acts on protected flows too */

struct policy_action {
	__u8 action;
	__u8 flags;
	__u16 meter_id; /* for ACTION_LIMIT */
	__u32 rule_id;  /* the policy line that decided, 0 = the default; counted per rule */
};

struct policy_entry {
	struct policy_action by_hook[2]; /* [HOOK_INGRESS], [HOOK_EGRESS] */
};
_Static_assert(sizeof(struct policy_entry) == 16, "policy_entry is a contract");

static inline __attribute__((always_inline)) __u32 policy_index(__u32 zone_id, __u32 class_id)
{
	return zone_id * MAX_CLASSES + class_id;
}

/*
 * GCRA (ITU-T I.371) over bytes: a packet of n bytes conforms while tat - now <= burst; then
 * tat = max(tat, now) + n / rate. ps_per_byte keeps rates from 8 kbit/s to 100 Gbit/s exact enough:
 * 2 mbit/s = 250,000 bytes/s = 4,000,000 ps a byte.
 */
struct meter {
	__u64 tat_ns; /* theoretical arrival time, CLOCK_MONOTONIC; moved by compare-and-swap */
	__u64 ps_per_byte;
	__u64 burst_ns; /* time that a full burst takes at the rate */
	__u64 pad;
};
_Static_assert(sizeof(struct meter) == 32, "meter is a contract");

struct zone_key {
	__u32 prefix_len; /* bits of addr that count; IPv4 a.b.c.d/n is ::ffff:a.b.c.d/(96+n) */
	__u8 addr[16];
};
_Static_assert(sizeof(struct zone_key) == 20, "zone_key is a contract");
