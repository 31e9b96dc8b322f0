/* SPDX-License-Identifier: BSD-2-Clause */
/* The lock-out guard: a sliding window over judged flows. */
#include "agent/nmd/breaker.h"
#include <stdio.h>

#define MAX_AGE_NS (BREAKER_MAX_AGE_S * 1000000000ull)

void breaker_configure(struct breaker *b, bool enabled, double share, uint64_t min_flows)
{
	b->enabled = enabled;
	b->share = share;
	b->min_flows = min_flows < BREAKER_WINDOW ? (uint32_t)min_flows : BREAKER_WINDOW;
}

static uint32_t oldest(const struct breaker *b)
{
	return (b->next + BREAKER_WINDOW - b->n) % BREAKER_WINDOW;
}

static void forget_oldest(struct breaker *b)
{
	b->n_dropped -= b->window[oldest(b)].dropped;
	b->n--;
}

bool breaker_add(struct breaker *b, uint64_t now_ns, bool would_drop)
{
	while (b->n == BREAKER_WINDOW ||
	       (b->n && now_ns - b->window[oldest(b)].time_ns > MAX_AGE_NS))
		forget_oldest(b);
	b->window[b->next].time_ns = now_ns;
	b->window[b->next].dropped = would_drop;
	b->next = (b->next + 1) % BREAKER_WINDOW;
	b->n++;
	b->n_dropped += would_drop;
	if (!b->enabled || b->tripped || b->n < b->min_flows || b->n_dropped <= b->share * b->n)
		return false;
	b->tripped = true;
	snprintf(b->reason, sizeof(b->reason),
		 "%u of the last %u judged flows would be dropped, more than %.0f%%", b->n_dropped,
		 b->n, b->share * 100);
	return true;
}

void breaker_stay_tripped(struct breaker *b)
{
	b->tripped = true;
	snprintf(b->reason, sizeof(b->reason), "it had tripped before nmd was started again");
}

void breaker_arm(struct breaker *b)
{
	b->tripped = false;
	b->reason[0] = '\0';
	b->n = b->next = b->n_dropped = 0;
}
