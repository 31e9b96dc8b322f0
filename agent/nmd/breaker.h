/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The lock-out guard. A model gone wrong, or the wrong model, would have most of the host's traffic
 * dropped; then the host goes back to watch mode until a person arms it again
 * (`nmctl policy arm`).
 *
 * Window: the last BREAKER_WINDOW judged flows that are no older than five minutes. It trips when
 * it holds at least min_flows flows and more than `share` of them would be dropped. A flow counts
 * once. The price is that somebody who can make this host see a flood of flows of a blocked class
 * can trip it: losing enforcement was held to be the smaller evil than losing the host; setting
 * breaker=off decides otherwise. Pure: the caller gives the time.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define BREAKER_WINDOW    1000
#define BREAKER_MAX_AGE_S 300

struct breaker {
	bool enabled;
	double share;
	uint32_t min_flows;
	bool tripped;
	char reason[128];
	uint32_t n, next, n_dropped; /* of the ring below */
	struct {
		uint64_t time_ns;
		bool dropped;
	} window[BREAKER_WINDOW];
};

void breaker_configure(struct breaker *b, bool enabled, double share, uint64_t min_flows);
/* True when this flow trips it. */
bool breaker_add(struct breaker *b, uint64_t now_ns, bool would_drop);
/* A restart arms nothing. */
void breaker_stay_tripped(struct breaker *b);
/* Armed again, with an empty window. */
void breaker_arm(struct breaker *b);
