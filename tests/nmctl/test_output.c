/* SPDX-License-Identifier: BSD-2-Clause */
/* The writer: JSON lines, tables, streams, cells, and what a hostile text may do (nothing). */
#include "agent/nmctl/human.h"
#include "tests/nmctl/run_nmctl.h"

static const struct column columns[] = {
	COLUMN("NAME", "name", UNIT_TEXT, .width = 6),
	COLUMN("BYTES", "size.bytes", UNIT_BYTES, .width = 8),
};

static char *write_rows(enum output_format format, bool stream, const char *const *rows, size_t n)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct output *o;

	assert_int_equal(output_new(out, format, stream, columns, 2, &o), 0);
	for (size_t i = 0; i < n; i++) {
		json_t *row = json_loads(rows[i], 0, NULL);

		assert_non_null(row);
		assert_int_equal(output_row(o, row), 0);
		json_decref(row);
	}
	assert_int_equal(output_end(o), 0);
	output_free(o);
	fclose(out);
	return text;
}

static const char *const rows[] = {
	"{\"name\":\"tor\",\"size\":{\"bytes\":1234567},\"more\":[1]}",
	"{\"name\":\"dns-tunnel\",\"size\":{\"bytes\":9}}",
};

static void json_is_one_whole_object_a_line(void **state)
{
	char *text = write_rows(OUTPUT_JSON, false, rows, 2);

	(void)state;
	assert_string_equal(text, "{\"name\":\"tor\",\"size\":{\"bytes\":1234567},\"more\":[1]}\n"
				  "{\"name\":\"dns-tunnel\",\"size\":{\"bytes\":9}}\n");
	free(text);
}

static void json_escapes_what_a_terminal_would_obey(void **state)
{
	static const char *const evil[] = {"{\"name\":\"a\\u001b[2Jb\\n\\u009bc\\u202e\"}"};
	char *text = write_rows(OUTPUT_JSON, false, evil, 1);

	(void)state;
	assert_string_equal(text, "{\"name\":\"a\\u001B[2Jb\\n\\u009Bc\\u202E\"}\n");
	free(text);
}

static void json_numbers_are_not_rounded_or_made_longer(void **state)
{
	static const char *const numbers[] = {"{\"a\":9007199254740993,\"b\":0.334,\"c\":1e-7}"};
	char *text = write_rows(OUTPUT_JSON, false, numbers, 1);

	(void)state;
	assert_string_equal(text, "{\"a\":9007199254740993,\"b\":0.334,\"c\":1e-7}\n");
	free(text);
}

static void a_table_aligns_numbers_right_and_text_left(void **state)
{
	char *text = write_rows(OUTPUT_TABLE, false, rows, 2);

	(void)state;
	assert_string_equal(text, "NAME         BYTES\n"
				  "tor        1.23 MB\n"
				  "dns-tunnel     9 B\n");
	free(text);
}

static void a_table_without_rows_prints_nothing(void **state)
{
	char *text = write_rows(OUTPUT_TABLE, false, NULL, 0);

	(void)state;
	assert_string_equal(text, "");
	free(text);
}

static void a_stream_keeps_its_widths_and_overlong_cells_whole(void **state)
{
	char *text = write_rows(OUTPUT_TABLE, true, rows, 2);

	(void)state;
	assert_string_equal(text, "NAME      BYTES\n"
				  "tor     1.23 MB\n"
				  "dns-tunnel      9 B\n");
	free(text);
}

static void no_control_character_reaches_a_table(void **state)
{
	static const char *const evil[] = {
		"{\"name\":\"\\u001b]0;x\\u0007\\r\\n\\t\\u009b\",\"size\":{\"bytes\":1}}"};
	char *text = write_rows(OUTPUT_TABLE, false, evil, 1);
	char *stream = write_rows(OUTPUT_TABLE, true, evil, 1);

	(void)state;
	assert_contains(text, "\\x1b]0;x\\x07\\x0d\\x0a\\x09\\xc2\\x9b");
	assert_contains(stream, "\\x1b]0;x\\x07\\x0d\\x0a\\x09\\xc2\\x9b");
	free(text);
	free(stream);
}

static void assert_cell(const char *row_text, const char *path, enum unit unit,
			const char *expected)
{
	const struct column column = COLUMN("YES", path, unit);
	json_t *row = json_loads(row_text, 0, NULL);
	char *cell = output_cell(row, &column);

	assert_string_equal(cell, expected);
	free(cell);
	json_decref(row);
}

static void a_cell_has_its_units(void **state)
{
	(void)state;
	assert_cell("{\"n\":12345}", "n", UNIT_COUNT, "12.3k");
	assert_cell("{\"n\":12345}", "n", UNIT_TEXT, "12345");
	assert_cell("{\"n\":0.983}", "n", UNIT_PERCENT, "98.3%");
	assert_cell("{\"n\":-7.104}", "n", UNIT_SCORE, "-7.10");
	assert_cell("{\"n\":true}", "n", UNIT_YES, "yes");
	assert_cell("{\"n\":false}", "n", UNIT_YES, "");
	assert_cell("{\"a\":\"10.0.0.1\",\"p\":443}", "a,p", UNIT_ENDPOINT, "10.0.0.1:443");
	assert_cell("{\"a\":\"fe80::1\",\"p\":443}", "a,p", UNIT_ENDPOINT, "[fe80::1]:443");
	assert_cell("{\"a\":\"fe80::1\",\"p\":0}", "a,p", UNIT_ENDPOINT, "fe80::1");
	assert_cell("{\"class\":\"tor\",\"decided_by\":\"class\"}", "class", UNIT_CLASS, "tor");
	assert_cell("{\"class\":\"tor\",\"decided_by\":\"unknown\"}", "class", UNIT_CLASS, "tor?");
}

static void a_cell_of_a_strange_type_is_still_a_cell(void **state)
{
	(void)state;
	assert_cell("{}", "n", UNIT_COUNT, "-");
	assert_cell("{\"n\":null}", "n", UNIT_SECONDS, "-");
	assert_cell("{\"n\":[1,2]}", "n", UNIT_BYTES, "-");
	assert_cell("{\"n\":{\"m\":1}}", "n.m.k", UNIT_BYTES, "-");
	assert_cell("{\"n\":\"many\"}", "n", UNIT_BYTES, "many");
	assert_cell("{\"n\":\"yes\"}", "n", UNIT_YES, "");
	assert_cell("{\"n\":1e300}", "n", UNIT_TIME, "?");
	assert_cell("{\"a\":7,\"p\":\"x\"}", "a,p", UNIT_ENDPOINT, "-");
	assert_cell("{\"n\":\"2026-99-99T\"}", "n", UNIT_TIME, "2026-99-99T");
}

static void times_are_shown_as_local_time(void **state)
{
	(void)state;
	setenv("TZ", "UTC-2", 1);
	tzset();
	assert_cell("{\"t\":\"2026-11-24T22:05:11.123456Z\"}", "t", UNIT_TIME,
		    "2026-11-25 00:05:11");
	assert_cell("{\"t\":\"2026-11-24T22:05:11Z\"}", "t", UNIT_CLOCK, "00:05:11");
	assert_cell("{\"t\":1795557911}", "t", UNIT_TIME, "2026-11-25 00:05:11");
}

static void assert_human(char *(*write)(double, char *), double value, const char *expected)
{
	char buffer[HUMAN_TEXT];

	assert_string_equal(write(value, buffer), expected);
}

static void numbers_have_three_digits_and_a_prefix(void **state)
{
	(void)state;
	assert_human(human_count, 0, "0");
	assert_human(human_count, 9999, "9999");
	assert_human(human_count, 10000, "10k");
	assert_human(human_count, 999999, "1M");
	assert_human(human_count, 1.8446744073709552e19, "18.4E");
	assert_human(human_bytes, 999, "999 B");
	assert_human(human_bytes, 999.6, "1 kB");
	assert_human(human_bytes, 1500, "1.5 kB");
}

static void durations_have_two_parts(void **state)
{
	(void)state;
	assert_human(human_duration, 0, "0s");
	assert_human(human_duration, 0.212, "212ms");
	assert_human(human_duration, 59.6, "1m00s");
	assert_human(human_duration, 750, "12m30s");
	assert_human(human_duration, 11100, "3h05m");
	assert_human(human_duration, 187200, "2d04h");
	assert_human(human_duration, -5, "0s");
	assert_human(human_duration, 1e300, "forever");
	assert_human(human_duration, 0.0 / 0.0, "forever");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_is_one_whole_object_a_line),
		cmocka_unit_test(json_escapes_what_a_terminal_would_obey),
		cmocka_unit_test(json_numbers_are_not_rounded_or_made_longer),
		cmocka_unit_test(a_table_aligns_numbers_right_and_text_left),
		cmocka_unit_test(a_table_without_rows_prints_nothing),
		cmocka_unit_test(a_stream_keeps_its_widths_and_overlong_cells_whole),
		cmocka_unit_test(no_control_character_reaches_a_table),
		cmocka_unit_test(a_cell_has_its_units),
		cmocka_unit_test(a_cell_of_a_strange_type_is_still_a_cell),
		cmocka_unit_test(times_are_shown_as_local_time),
		cmocka_unit_test(numbers_have_three_digits_and_a_prefix),
		cmocka_unit_test(durations_have_two_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
