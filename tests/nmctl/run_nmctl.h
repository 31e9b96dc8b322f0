/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs a command line in this process, with an agent played by a thread: it takes one connection,
 * keeps the request's line, sends the reply that the test wrote, and closes.
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "agent/nmctl/nmctl.h"

struct agent {
	char dir[32], path[64];
	int listen_fd;
	const char *reply;
	size_t reply_len;
	char request[8192];
	pthread_t thread;
};

struct result {
	enum status status;
	char *out;
	char error[256];
};

static inline void *agent_thread(void *arg)
{
	struct agent *a = arg;
	int fd = accept(a->listen_fd, NULL, NULL);
	size_t len = 0;
	ssize_t n;

	while (fd >= 0 && len + 1 < sizeof(a->request) && !memchr(a->request, '\n', len)) {
		n = recv(fd, a->request + len, sizeof(a->request) - 1 - len, 0);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	/* The command may have gone after the first hostile line. */
	for (size_t sent = 0; fd >= 0 && sent < a->reply_len; sent += (size_t)n) {
		n = send(fd, a->reply + sent, a->reply_len - sent, MSG_NOSIGNAL);
		if (n <= 0)
			break;
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

static inline void agent_start(struct agent *a, const char *reply, size_t reply_len)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	*a = (struct agent){
		.dir = "/tmp/nmctl-test-XXXXXX", .reply = reply, .reply_len = reply_len};
	assert_non_null(mkdtemp(a->dir));
	snprintf(a->path, sizeof(a->path), "%s/nmd.sock", a->dir);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", a->path);
	a->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(a->listen_fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(a->listen_fd, 1), 0);
	assert_int_equal(pthread_create(&a->thread, NULL, agent_thread, a), 0);
}

/* Also when nobody connected. */
static inline void agent_stop(struct agent *a)
{
	shutdown(a->listen_fd, SHUT_RDWR);
	pthread_join(a->thread, NULL);
	close(a->listen_fd);
	unlink(a->path);
	rmdir(a->dir);
}

#define MAX_ARGV 32

/* line is split at spaces; socket NULL: a path where nothing listens. */
static inline struct result run_at(const char *socket_path, const char *line)
{
	char words[1024], *rest = words, *word;
	const char *argv[MAX_ARGV];
	struct nmctl ctl = {0};
	struct result r = {0};
	size_t size;
	int argc = 0;

	snprintf(words, sizeof(words), "%s", line);
	while ((word = strsep(&rest, " ")))
		if (*word && argc < MAX_ARGV)
			argv[argc++] = word;
	ctl.options.socket_path = socket_path ? socket_path : "/nonexistent/nmd.sock";
	ctl.out = open_memstream(&r.out, &size);
	assert_non_null(ctl.out);
	r.status = nmctl_run(&ctl, argc, argv);
	fclose(ctl.out);
	memcpy(r.error, ctl.error.text, sizeof(r.error));
	return r;
}

static inline struct result run(const char *line)
{
	return run_at(NULL, line);
}

/* Runs line against an agent that answers with reply; ret_request: its words as JSON, or NULL. */
static inline struct result run_with(const char *line, const char *reply, json_t **ret_request)
{
	struct agent agent;
	struct result r;

	agent_start(&agent, reply, strlen(reply));
	r = run_at(agent.path, line);
	agent_stop(&agent);
	if (ret_request)
		*ret_request = json_loads(agent.request, 0, NULL);
	return r;
}

static inline void result_free(struct result *r)
{
	free(r->out);
}

static inline void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("expected \"%s\" in:\n%s", part, text);
}

static inline void assert_lacks(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("did not expect \"%s\" in:\n%s", part, text);
}
