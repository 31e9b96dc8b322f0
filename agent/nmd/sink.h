/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where flow events go: the log, the store, followers of the control socket, later Redis and
 * syslog. A sink takes an event at once or drops it and counts; it never waits.
 */
#pragma once
#include "agent/event/event.h"

struct sink {
	void (*event)(void *ctx, const struct flow_event *event);
	void *ctx;
};

#define SINKS_MAX 8

struct sinks {
	struct sink sink[SINKS_MAX];
	unsigned n;
};

static inline void sinks_add(struct sinks *s, void (*fn)(void *ctx, const struct flow_event *event),
			     void *ctx)
{
	if (s->n < SINKS_MAX)
		s->sink[s->n++] = (struct sink){fn, ctx};
}

static inline void sinks_emit(const struct sinks *s, const struct flow_event *event)
{
	for (unsigned i = 0; i < s->n; i++)
		s->sink[i].event(s->sink[i].ctx, event);
}
