/* SPDX-License-Identifier: BSD-2-Clause */
/* The JSON lines file: what it may be, and that the loop never waits for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/nmd/sink_log.h"

static char folder[] = "/tmp/nm-sink-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/events", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

static void emit(struct sink_log *s, unsigned n)
{
	struct flow_event event = {.class_name = "tor", .action = "watch", .ready = "full"};

	for (unsigned i = 0; i < n; i++)
		sink_log_event(s, &event);
}

static void each_event_is_one_line_of_the_file(void **state)
{
	struct sink_log *s;
	char text[8192];
	FILE *file;
	int lines = 0;

	(void)state;
	assert_int_equal(sink_log_new(path, &s, NULL), 0);
	emit(s, 3);
	sink_log_free(s);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(text, sizeof(text), file)) {
		assert_int_equal(text[0], '{');
		lines++;
	}
	fclose(file);
	assert_int_equal(lines, 3);
	unlink(path);
}

static void a_pipe_that_nobody_reads_is_an_error_at_once(void **state)
{
	struct error e = {0};
	struct sink_log *s = NULL;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_not_equal(sink_log_new(path, &s, &e), 0);
	assert_non_null(strstr(e.text, "json_log"));
	assert_null(s);
	unlink(path);
}

static void a_pipe_whose_reader_sleeps_loses_lines_and_counts_them(void **state)
{
	struct sink_log *s;
	int reader;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	reader = open(path, O_RDONLY | O_NONBLOCK);
	assert_true(reader >= 0);
	assert_int_equal(sink_log_new(path, &s, NULL), 0);
	emit(s, 1000);
	assert_true(sink_log_dropped(s) > 0);
	sink_log_free(s);
	close(reader);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_event_is_one_line_of_the_file),
		cmocka_unit_test(a_pipe_that_nobody_reads_is_an_error_at_once),
		cmocka_unit_test(a_pipe_whose_reader_sleeps_loses_lines_and_counts_them),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
