/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sweep: verdicts of flows that fell silent are removed. The kernel keeps no time in a verdict,
 * it only counts; so each walk compares the counters with those of the walk before. A verdict goes
 * when its counters have not moved for idle_ns, or when it is past expires_ns and they have not
 * moved since the last walk. A TCP connection that nobody closed is given 24 times idle_ns.
 *
 * Memory: 16 bytes a verdict, twice. Loop thread only.
 */
#pragma once
#include <stdint.h>
#include "agent/nmd/kernel.h"

struct sweep;

int sweep_new(uint32_t max_verdicts, struct sweep **ret_sweep);
void sweep_free(struct sweep *s); /* accepts NULL */
/* One walk. Returns how many verdicts were removed, or a negative errno. */
int sweep_run(struct sweep *s, struct kernel *k, uint64_t now_ns, uint64_t idle_ns);
/* When the map runs full: verdicts of which nothing came go after five seconds already, so that a
 * scan cannot keep verdicts from the flows that matter. A verdict that acts counts what it acts on,
 * and stays. Returns as sweep_run. */
int sweep_make_room(struct sweep *s, struct kernel *k, uint64_t now_ns);
uint64_t sweep_live(const struct sweep *s);    /* verdicts after the last walk */
uint64_t sweep_removed(const struct sweep *s); /* in all */
