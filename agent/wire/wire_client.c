/* SPDX-License-Identifier: BSD-2-Clause */
/* The client's end of the control socket: one request, rows, one end. Blocking. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "agent/wire/wire.h"

/* The slowest answer is that of `model load`, some seconds. */
#define REPLY_TIMEOUT_MS 60000

struct client {
	int fd;
	int timeout_ms; /* -1 = for ever */
	char *buffer;   /* WIRE_MAX_LINE */
	size_t len;     /* bytes in it */
	size_t taken;   /* of these, bytes of the line that was given out */
};

static void client_fini(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c->buffer);
}

static void free_text(char **text)
{
	free(*text);
}

static void drop_json(json_t **json)
{
	json_decref(*json);
}

static int connect_error(const char *path, int err, struct error *e)
{
	switch (err) {
	case ENOENT:
	case ECONNREFUSED:
		return error_set(e, -err,
				 "%.120s: no nmd listens here; is it running? "
				 "(--socket names another place)",
				 path);
	case EACCES:
	case EPERM:
		return error_set(e, -err, "%.120s: permission denied; be root or in group netmamba",
				 path);
	default:
		return error_set(e, -err, "%.120s: %s", path, strerror(err));
	}
}

static int client_connect(struct client *c, const char *path, struct error *e)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(addr.sun_path))
		return error_set(e, -ENAMETOOLONG, "%.120s: a socket's path has at most %zu bytes",
				 path, sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return error_set(e, -errno, "socket: %s", strerror(errno));
	if (connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		return connect_error(path, errno, e);
	return 0;
}

/* 0 when the socket is ready for events. */
static int client_wait(const struct client *c, short events, struct error *e)
{
	struct pollfd p = {.fd = c->fd, .events = events};
	int n;

	do
		n = poll(&p, 1, c->timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_set(e, -errno, "poll: %s", strerror(errno));
	if (n == 0)
		return error_set(e, -ETIMEDOUT, "nmd did not answer within %d s",
				 c->timeout_ms / 1000);
	return 0;
}

static int client_send(struct client *c, const char *line, struct error *e)
{
	size_t left = strlen(line);

	while (left > 0) {
		ssize_t n;
		int err = client_wait(c, POLLOUT, e);

		if (err)
			return err;
		n = send(c->fd, line, left, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		/* A daemon that refuses a client says why and closes: its words wait to be read. */
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return 0;
		if (n < 0)
			return error_set(e, -errno, "send to nmd: %s", strerror(errno));
		line += n;
		left -= (size_t)n;
	}
	return 0;
}

static int client_fill(struct client *c, struct error *e)
{
	ssize_t n;
	int err;

	if (c->len == WIRE_MAX_LINE)
		return error_set(e, -EPROTO, "nmd sent a line of more than %d bytes",
				 WIRE_MAX_LINE);
	err = client_wait(c, POLLIN, e);
	if (err)
		return err;
	n = recv(c->fd, c->buffer + c->len, WIRE_MAX_LINE - c->len, MSG_DONTWAIT);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0)
		return error_set(e, -ECONNRESET,
				 "nmd closed the connection before it had answered");
	c->len += (size_t)n;
	return 0;
}

/* The line lives until the next call. */
static int client_read_line(struct client *c, const char **ret_line, size_t *ret_len,
			    struct error *e)
{
	size_t searched = 0;

	memmove(c->buffer, c->buffer + c->taken, c->len - c->taken);
	c->len -= c->taken;
	c->taken = 0;
	for (;;) {
		const char *newline = memchr(c->buffer + searched, '\n', c->len - searched);
		int err;

		if (newline) {
			*ret_line = c->buffer;
			*ret_len = (size_t)(newline - c->buffer);
			c->taken = *ret_len + 1;
			return 0;
		}
		searched = c->len;
		err = client_fill(c, e);
		if (err)
			return err;
	}
}

enum reply { REPLY_ROW, REPLY_DONE, REPLY_QUIT };

/* Returns an enum reply or a negative errno. */
static int read_reply(json_t *reply, wire_row_fn on_row, void *ctx, json_t **ret_done,
		      struct error *e)
{
	json_t *row = json_object_get(reply, "row");
	json_t *done = json_object_get(reply, "done");
	json_t *said = json_object_get(reply, "error");

	if (json_is_string(said))
		return error_set(
			e, json_is_true(json_object_get(reply, "usage")) ? -EINVAL : -EREMOTEIO,
			"%s", json_string_value(said));
	if (json_is_object(done)) {
		*ret_done = json_incref(done);
		return REPLY_DONE;
	}
	if (!json_is_object(row))
		return error_set(e, -EPROTO,
				 "nmd sent neither a row nor an end; does nmctl belong "
				 "to this nmd?");
	return on_row && on_row(ctx, row) != 0 ? REPLY_QUIT : REPLY_ROW;
}

static int converse(struct client *c, wire_row_fn on_row, void *ctx, json_t **ret_done,
		    struct error *e)
{
	for (;;) {
		cleanup(drop_json) json_t *reply = NULL;
		json_error_t why;
		const char *line;
		size_t len;
		int got = client_read_line(c, &line, &len, e);

		if (got)
			return got;
		reply = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
		if (!reply)
			return error_set(e, -EPROTO, "nmd sent no JSON: byte %d: %.120s",
					 why.position, why.text);
		got = read_reply(reply, on_row, ctx, ret_done, e);
		if (got != REPLY_ROW)
			return got < 0 ? got : 0;
	}
}

/* Why wire_request_line gave nothing. */
static int request_error(const char *const *words, size_t n_words, const char *text,
			 struct error *e)
{
	for (size_t i = 0; i < n_words; i++) {
		cleanup(drop_json) json_t *word = json_string(words[i]);

		if (!word)
			return error_set(e, -EINVAL, "word %zu is not UTF-8 text", i + 1);
	}
	if (text) {
		cleanup(drop_json) json_t *whole = json_string(text);

		if (!whole)
			return error_set(e, -EINVAL, "the file is not UTF-8 text");
		if (strlen(text) > WIRE_MAX_LINE / 8) /* a byte may take six */
			return error_set(e, -E2BIG, "the file is too long to send to nmd");
	}
	return error_set(e, -ENOMEM, "no memory for the request");
}

/* A listing that follows may be silent for as long as nothing happens. */
static int timeout_for(const char *const *words, size_t n_words)
{
	for (size_t i = 0; i < n_words; i++)
		if (strcmp(words[i], "follow") == 0)
			return -1;
	return REPLY_TIMEOUT_MS;
}

int wire_call(const char *socket_path, const char *const *words, size_t n_words, const char *text,
	      wire_row_fn on_row, void *ctx, json_t **ret_done, struct error *e)
{
	cleanup(free_text) char *request = wire_request_line(words, n_words, text);
	cleanup(client_fini) struct client c = {.fd = -1};
	cleanup(drop_json) json_t *done = NULL;
	int err;

	if (!request)
		return request_error(words, n_words, text, e);
	c.timeout_ms = timeout_for(words, n_words);
	c.buffer = malloc(WIRE_MAX_LINE);
	if (!c.buffer)
		return error_set(e, -ENOMEM, "no memory for replies");
	err = client_connect(&c, socket_path, e);
	if (!err)
		err = client_send(&c, request, e);
	if (!err)
		err = converse(&c, on_row, ctx, &done, e);
	if (!err && ret_done)
		*ret_done = take_ptr(done);
	return err;
}
