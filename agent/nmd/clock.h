/* SPDX-License-Identifier: BSD-2-Clause */
/* The two clocks: records, verdicts and heartbeats live on the monotonic one, people on the other.
 */
#pragma once
#include <stdint.h>
#include <time.h>

#define NS_PER_S  1000000000ull
#define NS_PER_MS 1000000ull

static inline uint64_t clock_now_ns(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

static inline uint64_t clock_monotonic_ns(void)
{
	return clock_now_ns(CLOCK_MONOTONIC);
}

static inline int64_t clock_wall_s(void)
{
	return (int64_t)(clock_now_ns(CLOCK_REALTIME) / NS_PER_S);
}

/* The wall clock of a moment that the kernel gave on the monotonic clock. */
static inline int64_t clock_wall_of(uint64_t monotonic_ns)
{
	int64_t offset =
		(int64_t)clock_now_ns(CLOCK_REALTIME) - (int64_t)clock_now_ns(CLOCK_MONOTONIC);

	return (int64_t)monotonic_ns + offset;
}
