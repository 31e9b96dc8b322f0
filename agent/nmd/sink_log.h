/* SPDX-License-Identifier: BSD-2-Clause */
/* Flow events as log lines, and as lines of JSON in a file. */
#pragma once
#include "agent/event/event.h"

struct sink_log;

/* json_path: "" for none. */
int sink_log_new(const char *json_path, struct sink_log **ret_sink, struct error *e);
void sink_log_free(struct sink_log *s); /* accepts NULL */
/* For struct sink; ctx is the struct sink_log. */
void sink_log_event(void *ctx, const struct flow_event *event);
/* The JSON file again by its name, after it was moved away (SIGHUP). */
void sink_log_reopen(struct sink_log *s);
uint64_t sink_log_dropped(const struct sink_log *s);
