/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two open hash tables, the last walk's and this one's, keyed by a 64-bit hash of the flow key
 * alone: should two keys ever share it, one verdict lives a while longer.
 */
#include "agent/nmd/sweep.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmd/clock.h"
#include "bpf/flow_table.h"

/* An open TCP connection may be silent for hours, and when it goes on it has no handshake left to
 * be judged by: its verdict is kept so many times longer. */
#define TCP_PATIENCE 24

#define ROOM_AGE_NS (5 * NS_PER_S)

struct seen {
	uint64_t hash; /* 0 = empty */
	uint32_t packets;
	uint32_t moved_s; /* when the counters were last seen to move */
};

struct sweep {
	struct seen *before, *now;
	uint32_t mask;
	uint64_t live, removed;
};

int sweep_new(uint32_t max_verdicts, struct sweep **ret_sweep)
{
	struct sweep *s = calloc(1, sizeof(*s));
	uint32_t slots = 2;

	if (!s)
		return -ENOMEM;
	while (slots < max_verdicts * 2)
		slots *= 2;
	s->mask = slots - 1;
	s->before = calloc(slots, sizeof(*s->before));
	s->now = calloc(slots, sizeof(*s->now));
	if (!s->before || !s->now) {
		sweep_free(s);
		return -ENOMEM;
	}
	*ret_sweep = s;
	return 0;
}

void sweep_free(struct sweep *s)
{
	if (!s)
		return;
	free(s->before);
	free(s->now);
	free(s);
}

static uint64_t hash_of(const struct flow_key *key)
{
	uint64_t hash = flow_hash(key, 0);

	return hash ? hash : 1;
}

/* The entry, or the empty slot for it; NULL in a full table. */
static struct seen *lookup(struct seen *table, uint32_t mask, uint64_t hash)
{
	for (uint32_t i = 0; i <= mask; i++) {
		struct seen *seen = &table[(hash + i) & mask];

		if (!seen->hash || seen->hash == hash)
			return seen;
	}
	return NULL;
}

struct walk {
	struct sweep *sweep;
	struct kernel *kernel;
	uint64_t now_ns, idle_ns;
	int removed;
};

static uint64_t idle_s(const struct walk *w, const struct flow_key *key, const struct verdict *v)
{
	bool open_tcp = key->proto == IPPROTO_TCP && !v->expires_ns;

	return w->idle_ns / NS_PER_S * (open_tcp ? TCP_PATIENCE : 1);
}

static int look_at(void *ctx, const struct flow_key *key, const struct verdict *v)
{
	struct walk *w = ctx;
	struct sweep *s = w->sweep;
	uint64_t hash = hash_of(key);
	uint32_t now_s = (uint32_t)(w->now_ns / NS_PER_S), moved_s = now_s;
	struct seen *before = lookup(s->before, s->mask, hash), *seen;
	bool moved = true;

	if (before && before->hash == hash && before->packets == (uint32_t)v->packets) {
		moved = false;
		moved_s = before->moved_s;
	}
	if ((!moved && now_s - moved_s >= idle_s(w, key, v)) ||
	    (!moved && v->expires_ns && v->expires_ns < w->now_ns)) {
		if (!kernel_verdict_delete(w->kernel, key))
			w->removed++;
		return 0;
	}
	seen = lookup(s->now, s->mask, hash);
	if (seen)
		*seen = (struct seen){hash, (uint32_t)v->packets, moved_s};
	s->live++;
	return 0;
}

int sweep_run(struct sweep *s, struct kernel *k, uint64_t now_ns, uint64_t idle_ns)
{
	struct walk w = {s, k, now_ns, idle_ns, 0};
	struct seen *kept = s->before;
	int rc;

	s->live = 0;
	memset(s->now, 0, ((size_t)s->mask + 1) * sizeof(*s->now));
	rc = kernel_verdict_walk(k, look_at, &w);
	s->before = s->now;
	s->now = kept;
	s->removed += w.removed;
	return rc ? rc : w.removed;
}

/* Nothing has come of such a flow since it was judged: a scan, or a flood of single packets. */
static int look_for_room(void *ctx, const struct flow_key *key, const struct verdict *v)
{
	struct walk *w = ctx;

	if (!v->packets && w->now_ns > v->judged_ns && w->now_ns - v->judged_ns >= w->idle_ns &&
	    !kernel_verdict_delete(w->kernel, key))
		w->removed++;
	else
		w->sweep->live++;
	return 0;
}

int sweep_make_room(struct sweep *s, struct kernel *k, uint64_t now_ns)
{
	struct walk w = {s, k, now_ns, ROOM_AGE_NS, 0};
	int rc;

	s->live = 0;
	rc = kernel_verdict_walk(k, look_for_room, &w);
	s->removed += w.removed;
	return rc ? rc : w.removed;
}

uint64_t sweep_live(const struct sweep *s)
{
	return s->live;
}

uint64_t sweep_removed(const struct sweep *s)
{
	return s->removed;
}
