/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One line an event. The log gets at most LINES_PER_S of them, since a journal under a flood helps
 * nobody; the file gets all.
 */
#include "agent/nmd/sink_log.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/nmd/clock.h"
#include "agent/nmd/log.h"

#define LINES_PER_S 50

struct sink_log {
	char *json_path;
	FILE *json;
	struct log_limit limit;
	uint64_t dropped;
};

/* Never waits: a pipe without a reader is an error, a full one loses lines, counted. */
static FILE *open_json(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "a");

	if (fd >= 0 && !file)
		close(fd);
	return file;
}

int sink_log_new(const char *json_path, struct sink_log **ret_sink, struct error *e)
{
	struct sink_log *s = calloc(1, sizeof(*s));

	if (!s)
		return error_set(e, -ENOMEM, "out of memory");
	if (*json_path) {
		s->json_path = strdup(json_path);
		s->json = open_json(json_path);
		if (!s->json || !s->json_path) {
			error_set(e, -EIO, "json_log: %s: cannot be opened: %m", json_path);
			sink_log_free(s);
			return -EIO;
		}
	}
	*ret_sink = s;
	return 0;
}

void sink_log_free(struct sink_log *s)
{
	if (!s)
		return;
	if (s->json)
		fclose(s->json);
	free(s->json_path);
	free(s);
}

void sink_log_reopen(struct sink_log *s)
{
	FILE *file;

	if (!s->json_path)
		return;
	file = open_json(s->json_path);
	if (!file) {
		log_error("json_log: %s: cannot be opened again: %m", s->json_path);
		return;
	}
	if (s->json)
		fclose(s->json);
	s->json = file;
}

uint64_t sink_log_dropped(const struct sink_log *s)
{
	return s->dropped;
}

static void write_json(struct sink_log *s, const struct flow_event *event)
{
	json_t *json = event_to_json(event, false);
	char *line = json ? json_dumps(json, EVENT_JSON_FLAGS) : NULL;

	if (!line || fprintf(s->json, "%s\n", line) < 0 || fflush(s->json))
		s->dropped++;
	free(line);
	json_decref(json);
}

void sink_log_event(void *ctx, const struct flow_event *event)
{
	struct sink_log *s = ctx;
	char from[EVENT_ENDPOINT], to[EVENT_ENDPOINT], proto[8];
	uint64_t held;

	if (s->json)
		write_json(s, event);
	if (!log_enabled(LOG_LEVEL_INFO) || event->provisional)
		return;
	if (!log_limit_pass(&s->limit, LINES_PER_S, clock_monotonic_ns(), &held))
		return;
	if (held)
		log_info("flows: %" PRIu64 " more were not logged", held);
	event_endpoint(event, 0, from);
	event_endpoint(event, 1, to);
	log_info("flow %016" PRIx64 " %s %s -> %s class=%s%s confidence=%.2f action=%s",
		 event->flow_id, event_proto_name(event->key.proto, proto), from, to,
		 event->class_name, event->by == DECIDED_CLASS ? "" : " (unknown)",
		 event->confidence, event->action);
}
