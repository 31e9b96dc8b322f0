/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The embedded store: the last store_rows flow events in SQLite, one row a flow (a later judgement
 * of a flow replaces the earlier one). It is history for people, not state the agent depends on: a
 * damaged file is moved aside, a full disk is counted, and the agent goes on. Loop thread only.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "agent/event/event.h"

struct store;

/* max_rows 0: nothing is kept, queries find nothing. So it is, with a count and a complaint, as
 * long as the file cannot be opened; only want of memory is an error. */
int store_open(const char *path, uint64_t max_rows, struct store **ret_store, struct error *e);
void store_close(struct store *s); /* accepts NULL; commits */

/* For struct sink; ctx is the struct store. */
void store_event(void *ctx, const struct flow_event *event);
/* Commits what is waiting and removes what is over max_rows: once a second. */
void store_tick(struct store *s);

struct store_filter {
	int64_t since_ns;       /* wall clock; 0 = all */
	const char *class_name; /* as decided: "unknown" for what was treated so; NULL = all */
	const char *proto, *action;
	bool has_net;
	uint8_t net[16]; /* v4-mapped; either end */
	uint8_t prefix_len;
};

/* id: of the row. Nonzero ends the query. */
typedef int (*store_row_fn)(void *ctx, int64_t id, const char *json);

/* ret_id: where the last `limit` matching rows begin; INT64_MAX when nothing matches. */
int store_start_of(struct store *s, const struct store_filter *filter, uint64_t limit,
		   int64_t *ret_id, struct error *e);
/* Matching rows from id first on, at most n, in order. Returns how many or a negative errno. */
int store_query(struct store *s, const struct store_filter *filter, int64_t first, uint64_t n,
		store_row_fn fn, void *ctx, struct error *e);
/* The event of the flow whose id starts with so: -ENOENT, -ENOTUNIQ, -EINVAL with the text. */
int store_find(struct store *s, const char *prefix, json_t **ret_event, struct error *e);
bool store_matches(const struct store_filter *filter, const struct flow_event *event);

struct store_counters {
	uint64_t rows, written, dropped;
};
void store_counters(const struct store *s, struct store_counters *ret_counters);
