/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket of a running nmd. */
#include <sys/un.h>
#include "tests/nmd/live_nmd.h"

static int dial(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, socket_path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Everything until the other end closes. */
static char *hear_all(int fd)
{
	size_t len = 0, size = 1 << 16;
	char *text = malloc(size);
	ssize_t n;

	while ((n = read(fd, text + len, size - len - 1)) > 0) {
		len += n;
		if (size - len < 4096)
			text = realloc(text, size *= 2);
		assert_non_null(text);
	}
	text[len] = '\0';
	close(fd);
	return text;
}

static unsigned lines_with(const char *text, const char *start)
{
	unsigned n = 0;

	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		n += !strncmp(line, start, strlen(start));
	}
	return n;
}

/* ---- claims ---- */

static void status_has_every_member_of_the_contract(void **state)
{
	static const char *const members[] = {
		"version",    "pid",   "uptime_s", "mode",  "breaker", "model",
		"interfaces", "flows", "counters", "agent", "policy",  "heartbeat_age_ms",
		"fail_open_s"};
	json_t *done;

	NEEDS_NMD;
	done = must("status", NULL);
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (!json_object_get(done, members[i]))
			fail_msg("status has no \"%s\"", members[i]);
	assert_int_equal(number(done, "pid"), nmd);
	assert_int_equal(number(json_object_get(done, "agent"), "store_rows"), STORED);
	json_decref(done);
}

static void wrong_words_are_usage_errors_that_say_what_is_right(void **state)
{
	NEEDS_NMD;
	must_fail("frobnicate", NULL, true, "use status, classes, flows");
	must_fail("policy", NULL, true, "say which: show block");
	must_fail("policy block class=", NULL, true, "class");
	must_fail("policy apply", NULL, true, "no policy file was sent");
	must_fail("policy rollback one", NULL, true, "wants one number");
	must_fail("flows colour=red", NULL, true, "unknown word \"colour=red\"");
	must_fail("flows since=soon", NULL, true, "since=soon");
	must_fail("flows limit=-1", NULL, true, "not a number");
	must_fail("model load relative.safetensors", NULL, true, "absolute path");
	must_fail("explain nothex", NULL, false, "hex digits");
}

static void each_line_of_several_is_answered_in_turn(void **state)
{
	char *text;
	int fd;

	NEEDS_NMD;
	fd = dial();
	say(fd, "{\"v\":1,\"words\":[\"policy\",\"show\"]}\n{\"v\":1,\"words\":[\"no\"]}\n"
		"{\"v\":1,\"words\":[\"flows\",\"limit=5\"]}\n{\"v\":1,\"words\":[\"classes\"]}\n");
	shutdown(fd, SHUT_WR);
	text = hear_all(fd);
	assert_int_equal(lines_with(text, "{\"done\""), 3);
	assert_int_equal(lines_with(text, "{\"error\""), 1);
	assert_int_equal(lines_with(text, "{\"row\""), 5 + 27);
	free(text);
}

static void a_line_that_is_no_request_ends_the_connection_only(void **state)
{
	char *text;
	int fd;

	NEEDS_NMD;
	fd = dial();
	say(fd, "rubbish\n{\"v\":1,\"words\":[\"status\"]}\n");
	text = hear_all(fd);
	assert_int_equal(lines_with(text, "{\"error\""), 1);
	assert_int_equal(lines_with(text, "{\"done\""), 0);
	free(text);
	json_decref(must("status", NULL));
}

static void a_long_answer_waits_for_a_slow_reader_and_hinders_nobody(void **state)
{
	char *text;
	int fd;

	NEEDS_NMD;
	fd = dial();
	say(fd, "{\"v\":1,\"words\":[\"flows\",\"limit=100000\"]}\n");
	for (int i = 0; i < 20; i++)
		json_decref(must("status", NULL));
	shutdown(fd, SHUT_WR);
	text = hear_all(fd);
	assert_int_equal(lines_with(text, "{\"row\""), STORED);
	assert_int_equal(lines_with(text, "{\"done\""), 1);
	assert_non_null(strstr(text, "\"flow_id\":\"0000000000000001\""));
	free(text);
}

static void a_reader_that_leaves_in_the_middle_is_forgotten(void **state)
{
	NEEDS_NMD;
	for (int i = 0; i < 100; i++) {
		int fd = dial();

		say(fd, "{\"v\":1,\"words\":[\"flows\",\"limit=100000\"]}\n");
		close(fd);
	}
	json_decref(must("status", NULL));
}

static void a_follower_that_leaves_gives_its_place_back(void **state)
{
	int fds[20];

	NEEDS_NMD;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 20; i++) {
			fds[i] = dial();
			say(fds[i], "{\"v\":1,\"words\":[\"flows\",\"follow\",\"class=none\"]}\n");
		}
		for (int i = 0; i < 100 && ask("status", NULL, NULL, NULL); i++)
			usleep(20000);
		json_decref(must("status", NULL));
		for (int i = 0; i < 20; i++)
			close(fds[i]);
	}
}

static long resident_kb(void)
{
	char path[64], line[128];
	long kb = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", nmd);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		sscanf(line, "VmRSS: %ld", &kb);
	fclose(file);
	return kb;
}

/* 20,000 answers are some 80 MB. */
static void who_asks_and_does_not_read_is_not_answered_on_and_on(void **state)
{
	static const char request[] = "{\"v\":1,\"words\":[\"classes\"]}\n";
	const struct timeval patience = {.tv_sec = 1};
	long before;
	int fd;

	NEEDS_NMD;
	before = resident_kb();
	fd = dial();
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	for (int i = 0; i < 20000; i++)
		if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
			break;
	json_decref(must("status", NULL));
	assert_true(resident_kb() - before < 16384);
	close(fd);
}

static void many_requests_in_one_breath_are_all_answered(void **state)
{
	static const char request[] = "{\"v\":1,\"words\":[\"classes\"]}\n";
	char *text;
	int fd;

	NEEDS_NMD;
	fd = dial();
	for (int i = 0; i < 500; i++)
		say(fd, request);
	shutdown(fd, SHUT_WR);
	text = hear_all(fd);
	assert_int_equal(lines_with(text, "{\"done\""), 500);
	free(text);
}

static void more_clients_than_places_are_told_so(void **state)
{
	int fds[33];
	char *text;

	NEEDS_NMD;
	for (int i = 0; i < 33; i++)
		fds[i] = dial();
	text = hear_all(fds[32]);
	assert_non_null(strstr(text, "too many clients"));
	free(text);
	for (int i = 0; i < 32; i++)
		close(fds[i]);
	/* The agent may see a new caller before it sees that the others went. */
	for (int i = 0; i < 100 && ask("status", NULL, NULL, NULL); i++)
		usleep(20000);
	json_decref(must("status", NULL));
}

static void the_policy_verbs_change_what_is_shown(void **state)
{
	json_t *done;
	unsigned rows = 0;
	int64_t version;

	NEEDS_NMD;
	done = must("policy block class=tor confirm=60s", NULL);
	assert_int_equal(number(done, "id"), 1);
	assert_int_equal(number(done, "confirm_in_s"), 60);
	version = number(done, "version");
	json_decref(done);
	must_fail("policy block class=p2p", NULL, false, "policy confirm");
	json_decref(must("policy confirm", NULL));
	must_fail("policy block class=toor", NULL, false, "did you mean tor?");
	must_fail("policy block class=ssh", NULL, false, "force");
	done = must("policy apply", "default allow\nblock class=tor\nblock class=p2p\n");
	assert_int_equal(number(done, "version"), version + 1);
	assert_int_equal(number(done, "rules"), 2);
	assert_non_null(
		strstr(json_string_value(json_object_get(done, "diff")), "+ block class=p2p"));
	json_decref(done);
	must_fail("policy apply confirm=2h", "block class=tor\n", true, "at most 1h");
	must_fail("policy apply", "block class=tor\nblok class=p2p\n", false, ":2:");
	must_fail("policy check", "block class=nonsense\n", false, "nonsense");
	done = must("policy diff", "default watch\n");
	assert_non_null(
		strstr(json_string_value(json_object_get(done, "diff")), "- block class=tor"));
	json_decref(done);
	assert_int_equal(ask("policy show", NULL, &rows, &done), 0);
	assert_int_equal(rows, 2);
	json_decref(done);
	json_decref(must("policy remove 1", NULL));
	must_fail("policy remove 1", NULL, false, "no rule 1");
	json_decref(must("policy rollback", NULL));
	rows = 0;
	assert_int_equal(ask("policy history", NULL, &rows, &done), 0);
	assert_int_equal(rows, 4);
	json_decref(done);
}

static void a_refused_model_changes_nothing(void **state)
{
	json_t *before, *after;

	NEEDS_NMD;
	before = must("model show", NULL);
	must_fail("model load /etc/passwd", NULL, false, "/etc/passwd");
	must_fail("model load /nonexistent", NULL, false, "/nonexistent");
	after = must("model show", NULL);
	assert_true(json_equal(before, after));
	json_decref(before);
	json_decref(after);
}

static void explain_speaks_in_sentences(void **state)
{
	json_t *done;

	NEEDS_NMD;
	done = must("explain 0000000000000007", NULL);
	assert_true(json_array_size(json_object_get(done, "why")) >= 2);
	assert_true(json_is_null(json_object_get(done, "verdict")));
	assert_true(json_is_object(json_object_get(done, "event")));
	json_decref(done);
	must_fail("explain ffff", NULL, false, "not in the store");
	must_fail("explain 00", NULL, false, "several begin so");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_has_every_member_of_the_contract),
		cmocka_unit_test(wrong_words_are_usage_errors_that_say_what_is_right),
		cmocka_unit_test(each_line_of_several_is_answered_in_turn),
		cmocka_unit_test(a_line_that_is_no_request_ends_the_connection_only),
		cmocka_unit_test(a_long_answer_waits_for_a_slow_reader_and_hinders_nobody),
		cmocka_unit_test(a_reader_that_leaves_in_the_middle_is_forgotten),
		cmocka_unit_test(a_follower_that_leaves_gives_its_place_back),
		cmocka_unit_test(who_asks_and_does_not_read_is_not_answered_on_and_on),
		cmocka_unit_test(many_requests_in_one_breath_are_all_answered),
		cmocka_unit_test(more_clients_than_places_are_told_so),
		cmocka_unit_test(the_policy_verbs_change_what_is_shown),
		cmocka_unit_test(a_refused_model_changes_nothing),
		cmocka_unit_test(explain_speaks_in_sentences),
	};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
