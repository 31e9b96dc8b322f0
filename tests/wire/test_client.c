/* SPDX-License-Identifier: BSD-2-Clause */
/* The client against a daemon that says what the test wants, whole or in pieces, or dies. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/wire/wire.h"

#define ROW(n) "{\"row\":{\"n\":" #n "}}\n"

struct daemon {
	char dir[32], path[64];
	int listener;
	pthread_t thread;
	const char *says;
	size_t says_len, piece; /* bytes a write; 0 = all at once */
	bool deaf;              /* does not read the request */
	char heard[4096];
};

static void hear(struct daemon *d, int fd)
{
	size_t len = 0;

	while (len < sizeof(d->heard) - 1 && !strchr(d->heard, '\n')) {
		ssize_t n = read(fd, d->heard + len, sizeof(d->heard) - 1 - len);

		if (n <= 0)
			break;
		len += (size_t)n;
	}
}

static void *serve(void *ctx)
{
	struct daemon *d = ctx;
	int fd = accept(d->listener, NULL, NULL);
	size_t piece = d->piece ? d->piece : d->says_len;

	if (!d->deaf)
		hear(d, fd);
	for (size_t at = 0; at < d->says_len; at += piece) {
		size_t len = d->says_len - at < piece ? d->says_len - at : piece;

		if (send(fd, d->says + at, len, MSG_NOSIGNAL) < 0)
			break;
	}
	close(fd);
	return NULL;
}

static void daemon_begin(struct daemon *d)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	strcpy(d->dir, "/tmp/wire-test-XXXXXX");
	assert_non_null(mkdtemp(d->dir));
	snprintf(d->path, sizeof(d->path), "%s/s", d->dir);
	strcpy(addr.sun_path, d->path);
	d->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(d->listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(d->listener, 1), 0);
	assert_int_equal(pthread_create(&d->thread, NULL, serve, d), 0);
}

static void daemon_end(struct daemon *d)
{
	pthread_join(d->thread, NULL);
	close(d->listener);
	unlink(d->path);
	rmdir(d->dir);
}

struct rows {
	int n, sum, stop_after;
};

static int on_row(void *ctx, const json_t *row)
{
	struct rows *rows = ctx;

	rows->n++;
	rows->sum += (int)json_integer_value(json_object_get(row, "n"));
	return rows->n == rows->stop_after;
}

/* Calls a daemon that says `says`, piece by piece. */
static int call(const char *says, size_t len, size_t piece, struct rows *rows, json_t **ret_done,
		struct error *e)
{
	const char *words[] = {"classes"};
	struct daemon d = {.says = says, .says_len = len, .piece = piece};
	int err;

	daemon_begin(&d);
	err = wire_call(d.path, words, 1, NULL, on_row, rows, ret_done, e);
	daemon_end(&d);
	assert_string_equal(d.heard, "{\"v\":1,\"words\":[\"classes\"]}\n");
	return err;
}

static void assert_fails(const char *says, size_t len, int code, const char *said)
{
	struct rows rows = {0};
	json_t *done = NULL;
	struct error e = {0};

	assert_int_equal(call(says, len, 0, &rows, &done, &e), code);
	if (strncmp(e.text, said, strlen(said)) != 0)
		assert_string_equal(e.text, said);
	assert_null(done);
}

static void rows_come_in_order_and_then_the_end(void **state)
{
	static const char says[] = ROW(1) ROW(2) ROW(40) "{\"done\":{\"id\":7}}\n" ROW(1000);
	size_t pieces[] = {0, 1, 2, 7, 19};

	(void)state;
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct rows rows = {0};
		json_t *done = NULL;
		struct error e = {0};

		assert_int_equal(call(says, sizeof(says) - 1, pieces[i], &rows, &done, &e), 0);
		assert_int_equal(rows.n, 3);
		assert_int_equal(rows.sum, 43);
		assert_int_equal(json_integer_value(json_object_get(done, "id")), 7);
		json_decref(done);
	}
}

static void the_daemon_s_own_words_are_the_error(void **state)
{
	static const char failed[] = "{\"error\":\"no rule 7\",\"usage\":false}\n";
	static const char usage[] = "{\"error\":\"unknown verb\",\"usage\":true}\n";

	(void)state;
	assert_fails(failed, sizeof(failed) - 1, -EREMOTEIO, "no rule 7");
	assert_fails(usage, sizeof(usage) - 1, -EINVAL, "unknown verb");
}

static void a_caller_that_has_enough_ends_quietly(void **state)
{
	static const char says[] = ROW(1) ROW(2) ROW(3);
	struct rows rows = {.stop_after = 2};
	json_t *done = (json_t *)&rows;
	struct error e = {0};

	(void)state;
	assert_int_equal(call(says, sizeof(says) - 1, 0, &rows, &done, &e), 0);
	assert_int_equal(rows.n, 2);
	assert_null(done);
}

static void a_daemon_that_dies_is_told(void **state)
{
	static const char half[] = ROW(1) "{\"done\":{";

	(void)state;
	assert_fails("", 0, -ECONNRESET, "nmd closed the connection before it had answered");
	assert_fails(half, sizeof(half) - 1, -ECONNRESET,
		     "nmd closed the connection before it had answered");
}

static void garbage_is_refused(void **state)
{
	static const char nul[] = "{\"done\":\0{}}\n", not_utf8[] = "{\"error\":\"\xff\"}\n";

	(void)state;
	assert_fails("HTTP/1.1 400\r\n", 14, -EPROTO, "nmd sent no JSON: byte ");
	assert_fails("\n", 1, -EPROTO, "nmd sent no JSON: byte ");
	assert_fails("[]\n", 3, -EPROTO, "nmd sent neither a row nor an end");
	assert_fails("7\n", 2, -EPROTO, "nmd sent no");
	assert_fails("{\"done\":7}\n", 11, -EPROTO, "nmd sent neither a row nor an end");
	assert_fails("{\"row\":[]}\n", 11, -EPROTO, "nmd sent neither a row nor an end");
	assert_fails(nul, sizeof(nul) - 1, -EPROTO, "nmd sent no JSON: byte ");
	assert_fails(not_utf8, sizeof(not_utf8) - 1, -EPROTO, "nmd sent no JSON: byte ");
}

static void deep_nesting_from_the_daemon_is_refused(void **state)
{
	char *line = malloc(200001);

	(void)state;
	memset(line, '[', 200000);
	line[200000] = '\n';
	assert_fails(line, 200001, -EPROTO, "nmd sent no JSON: byte ");
	free(line);
}

static void a_line_without_end_is_refused(void **state)
{
	char *line = malloc(2 * WIRE_MAX_LINE);

	(void)state;
	memset(line, 'x', 2 * WIRE_MAX_LINE);
	assert_fails(line, 2 * WIRE_MAX_LINE, -EPROTO,
		     "nmd sent a line of more than 1048576 bytes");
	free(line);
}

static void a_line_of_exactly_the_limit_is_taken(void **state)
{
	static const char head[] = "{\"done\":{\"x\":\"", tail[] = "\"}}\n";
	char *line = malloc(WIRE_MAX_LINE);
	struct rows rows = {0};
	json_t *done = NULL;
	struct error e = {0};

	(void)state;
	memset(line, 'x', WIRE_MAX_LINE);
	memcpy(line, head, strlen(head));
	memcpy(line + WIRE_MAX_LINE - strlen(tail), tail, strlen(tail));
	if (call(line, WIRE_MAX_LINE, 4096, &rows, &done, &e) != 0)
		fail_msg("%s", e.text);
	json_decref(done);
	free(line);
}

static void a_refusal_is_read_though_the_request_was_never_taken(void **state)
{
	static const char says[] = "{\"error\":\"not in group netmamba\",\"usage\":false}\n";
	struct daemon d = {.says = says, .says_len = sizeof(says) - 1, .deaf = true};
	const char *words[] = {"policy", "apply"};
	char *text = malloc(400001);
	struct error e = {0};

	(void)state;
	memset(text, '#', 400000);
	text[400000] = '\0';
	daemon_begin(&d);
	assert_int_equal(wire_call(d.path, words, 2, text, NULL, NULL, NULL, &e), -EREMOTEIO);
	assert_string_equal(e.text, "not in group netmamba");
	daemon_end(&d);
	free(text);
}

static void an_absent_daemon_is_told_with_the_path(void **state)
{
	const char *words[] = {"status"};
	char far[200];
	struct error e;

	(void)state;
	assert_int_equal(wire_call("/nonexistent/s", words, 1, NULL, NULL, NULL, NULL, &e),
			 -ENOENT);
	assert_string_equal(e.text, "/nonexistent/s: no nmd listens here; is it running? "
				    "(--socket names another place)");
	memset(far, 'a', sizeof(far) - 1);
	far[sizeof(far) - 1] = '\0';
	assert_int_equal(wire_call(far, words, 1, NULL, NULL, NULL, NULL, &e), -ENAMETOOLONG);
	far[sizeof(((struct sockaddr_un *)NULL)->sun_path)] = '\0'; /* no room for the NUL */
	assert_int_equal(wire_call(far, words, 1, NULL, NULL, NULL, NULL, &e), -ENAMETOOLONG);
}

static void a_socket_that_a_dead_daemon_left_is_told_as_an_absent_one(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const char *words[] = {"status"};
	char dir[] = "/tmp/wire-test-XXXXXX", said[200];
	struct error e;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/s", dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	assert_int_equal(wire_call(addr.sun_path, words, 1, NULL, NULL, NULL, NULL, &e),
			 -ECONNREFUSED);
	snprintf(said, sizeof(said),
		 "%s: no nmd listens here; is it running? (--socket names another place)",
		 addr.sun_path);
	assert_string_equal(e.text, said);
	unlink(addr.sun_path);
	rmdir(dir);
}

static void what_cannot_be_sent_is_told_before_connecting(void **state)
{
	const char *bad[] = {"policy", "class=\xff"}, *words[] = {"policy", "apply"};
	char *text = malloc(WIRE_MAX_LINE + 1);
	struct error e;

	(void)state;
	assert_int_equal(wire_call("/nonexistent/s", bad, 2, NULL, NULL, NULL, NULL, &e), -EINVAL);
	assert_string_equal(e.text, "word 2 is not UTF-8 text");
	assert_int_equal(wire_call("/nonexistent/s", words, 2, "\xff", NULL, NULL, NULL, &e),
			 -EINVAL);
	assert_string_equal(e.text, "the file is not UTF-8 text");
	memset(text, 'a', WIRE_MAX_LINE);
	text[WIRE_MAX_LINE] = '\0';
	assert_int_equal(wire_call("/nonexistent/s", words, 2, text, NULL, NULL, NULL, &e), -E2BIG);
	assert_string_equal(e.text, "the file is too long to send to nmd");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_come_in_order_and_then_the_end),
		cmocka_unit_test(the_daemon_s_own_words_are_the_error),
		cmocka_unit_test(a_caller_that_has_enough_ends_quietly),
		cmocka_unit_test(a_daemon_that_dies_is_told),
		cmocka_unit_test(garbage_is_refused),
		cmocka_unit_test(deep_nesting_from_the_daemon_is_refused),
		cmocka_unit_test(a_line_without_end_is_refused),
		cmocka_unit_test(a_line_of_exactly_the_limit_is_taken),
		cmocka_unit_test(a_refusal_is_read_though_the_request_was_never_taken),
		cmocka_unit_test(an_absent_daemon_is_told_with_the_path),
		cmocka_unit_test(a_socket_that_a_dead_daemon_left_is_told_as_an_absent_one),
		cmocka_unit_test(what_cannot_be_sent_is_told_before_connecting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
