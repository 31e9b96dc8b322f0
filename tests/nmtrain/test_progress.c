/* SPDX-License-Identifier: BSD-2-Clause */
/* The progress line, written to memory with a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "agent/nmtrain/progress.h"

#define S  1000000000ULL
#define MS 1000000ULL

static FILE *file;
static char text[8192];
static struct progress p;
static struct progress_state s;

static int begin(void **state)
{
	(void)state;
	file = tmpfile();
	s = (struct progress_state){.unit = "epoch", .at = 1, .of = 10, .loss = 2.5};
	progress_init(&p, file, 0, 100 * S);
	return file ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	return fclose(file);
}

static void use_terminal(int width)
{
	p.terminal = true;
	p.width = width;
}

static const char *written(void)
{
	size_t n;

	fflush(file);
	rewind(file);
	n = fread(text, 1, sizeof(text) - 1, file);
	text[n] = '\0';
	return text;
}

static unsigned count(const char *in, char c)
{
	unsigned n = 0;

	while (*in)
		n += *in++ == c;
	return n;
}

/* What a terminal shows in the end. */
static const char *shown(void)
{
	static char line[512];
	const char *all = written();
	size_t at = 0, len = 0;

	for (; *all; all++) {
		if (*all == '\r') {
			at = 0;
			continue;
		}
		assert_true(at < sizeof(line) - 1);
		line[at++] = *all;
		len = at > len ? at : len;
	}
	line[len] = '\0';
	return line;
}

static void a_file_is_no_terminal(void **state)
{
	(void)state;
	assert_false(p.terminal);
}

static void off_a_terminal_each_epoch_is_a_plain_line(void **state)
{
	(void)state;
	s.done = 0.05;
	progress_show(&p, &s, 101 * S);
	assert_string_equal(written(), "");
	s.done = 0.1;
	s.milestone = true;
	s.score_name = "f1";
	s.score = 0.25;
	s.n_flows = 400;
	progress_show(&p, &s, 102 * S);
	progress_end(&p);
	assert_string_equal(written(),
			    "epoch 1/10  10%  loss 2.5000  f1 0.2500  0:18 left  200 flows/s\n");
}

static void a_long_epoch_says_something_every_ten_seconds(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 35; i++) {
		s.done = 0.001 * i;
		progress_show(&p, &s, (100 + i) * S);
	}
	assert_int_equal(count(written(), '\n'), 3);
}

static void the_end_is_always_said(void **state)
{
	(void)state;
	progress_show(&p, &s, 100 * S);
	s.done = 1;
	progress_show(&p, &s, 100 * S + MS);
	assert_non_null(strstr(written(), "100%"));
}

static void a_terminal_gets_at_most_ten_lines_a_second(void **state)
{
	(void)state;
	use_terminal(80);
	for (unsigned i = 0; i < 1000; i++) {
		s.done = 0.0001 * i;
		s.milestone = true;
		progress_show(&p, &s, 100 * S + i * MS);
	}
	assert_int_equal(count(written(), '\r'), 10);
	assert_int_equal(count(text, '\n'), 0);
}

static void the_line_has_a_bar_of_what_is_done(void **state)
{
	(void)state;
	use_terminal(100);
	s.at = 5;
	s.done = 0.5;
	s.n_flows = 50;
	progress_show(&p, &s, 110 * S);
	assert_string_equal(shown(),
			    "epoch 5/10 [############............]  50%  loss 2.5000  0:10 "
			    "left  5.0 flows/s");
}

static void no_line_is_wider_than_the_terminal(void **state)
{
	(void)state;
	for (int width = 1; width <= 300; width++) {
		assert_int_equal(end(NULL), 0);
		assert_int_equal(begin(NULL), 0);
		use_terminal(width);
		s.score_name = "f1";
		s.n_flows = 123456;
		s.at = 10;
		s.done = 0.9;
		progress_show(&p, &s, 200 * S);
		assert_true(strlen(shown()) < (size_t)width || !*shown());
		assert_int_equal(p.drawn, (int)strlen(shown()));
	}
}

static void the_bar_gives_way_before_the_words_do(void **state)
{
	(void)state;
	use_terminal(40);
	s.at = 5;
	s.done = 0.5;
	progress_show(&p, &s, 110 * S);
	assert_string_equal(shown(), "epoch 5/10  50%  loss 2.5000  0:10 left");
}

static void a_shorter_line_leaves_nothing_of_the_longer_one(void **state)
{
	(void)state;
	use_terminal(100);
	s.done = 0.1;
	s.loss = 12345.5;
	progress_show(&p, &s, 110 * S);
	s.loss = 1;
	progress_show(&p, &s, 111 * S);
	assert_null(strstr(shown(), "fts"));
	assert_int_equal(strspn(shown() + p.drawn, " "), strlen(shown()) - (size_t)p.drawn);
	assert_true(strlen(shown()) > (size_t)p.drawn);
}

static void the_last_line_stays_on_the_terminal(void **state)
{
	(void)state;
	use_terminal(80);
	progress_end(&p);
	assert_string_equal(written(), "");
	progress_show(&p, &s, 101 * S);
	progress_end(&p);
	progress_end(&p);
	assert_int_equal(count(written(), '\n'), 1);
	assert_int_equal(text[strlen(text) - 1], '\n');
}

static void time_left_counts_only_what_this_run_did(void **state)
{
	(void)state;
	progress_init(&p, file, 0.8, 100 * S);
	s.done = 0.9;
	s.milestone = true;
	progress_show(&p, &s, 160 * S);
	assert_non_null(strstr(written(), "  1:00 left"));
}

static void long_times_are_told_in_hours_and_days(void **state)
{
	(void)state;
	s.milestone = true;
	s.done = 0.5;
	progress_show(&p, &s, (100 + 3723) * S);
	assert_non_null(strstr(written(), "  1:02:03 left"));
	s.done = 0.1;
	progress_show(&p, &s, (100 + 9600 * 3) * S);
	assert_non_null(strstr(written(), "  3 d 0 h left"));
}

static void nothing_is_told_of_what_is_not_known(void **state)
{
	(void)state;
	s.milestone = true;
	progress_show(&p, &s, 100 * S);
	assert_string_equal(written(), "epoch 1/10   0%  loss 2.5000\n");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		CASE(a_file_is_no_terminal),
		CASE(off_a_terminal_each_epoch_is_a_plain_line),
		CASE(a_long_epoch_says_something_every_ten_seconds),
		CASE(the_end_is_always_said),
		CASE(a_terminal_gets_at_most_ten_lines_a_second),
		CASE(the_line_has_a_bar_of_what_is_done),
		CASE(no_line_is_wider_than_the_terminal),
		CASE(the_bar_gives_way_before_the_words_do),
		CASE(a_shorter_line_leaves_nothing_of_the_longer_one),
		CASE(the_last_line_stays_on_the_terminal),
		CASE(time_left_counts_only_what_this_run_did),
		CASE(long_times_are_told_in_hours_and_days),
		CASE(nothing_is_told_of_what_is_not_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
