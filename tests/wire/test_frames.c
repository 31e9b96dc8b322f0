/* SPDX-License-Identifier: BSD-2-Clause */
/* One line of the control socket, written and read; hostile lines are refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "agent/wire/wire.h"

static void assert_refused(const char *line, size_t len, int code, const char *said)
{
	struct wire_request r;
	struct error e = {0};

	memset(&r, 0xaa, sizeof(r));
	assert_int_equal(wire_request_parse(line, len, &r, &e), code);
	if (!strstr(e.text, said))
		assert_string_equal(e.text, said);
	assert_int_equal(r.n_words, (size_t)0xaaaaaaaaaaaaaaaa);
}

static void a_request_comes_back_as_it_was_sent(void **state)
{
	const char *words[] = {"policy", "apply", "confirm=60s"};
	const char *text = "default allow\n# \"T\xc3\xbcr\"\nblock class=tor\n";
	char *line = wire_request_line(words, 3, text);
	struct wire_request r;

	(void)state;
	assert_non_null(line);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	assert_int_equal(wire_request_parse(line, strlen(line) - 1, &r, NULL), 0);
	assert_int_equal(r.n_words, 3);
	for (int i = 0; i < 3; i++)
		assert_string_equal(r.words[i], words[i]);
	assert_string_equal(r.text, text);
	assert_int_equal(r.text_len, strlen(text));
	wire_request_fini(&r);
	free(line);
}

static void a_request_may_have_no_text(void **state)
{
	const char *words[] = {"status"};
	char *line = wire_request_line(words, 1, NULL);
	struct wire_request r;

	(void)state;
	assert_string_equal(line, "{\"v\":1,\"words\":[\"status\"]}\n");
	assert_int_equal(wire_request_parse(line, strlen(line) - 1, &r, NULL), 0);
	assert_null(r.text);
	assert_int_equal(r.text_len, 0);
	wire_request_fini(&r);
	wire_request_fini(&r);
	free(line);
}

static void replies_are_one_line_each(void **state)
{
	char *row = wire_row_line(json_pack("{s:s, s:f}", "class", "tor", "confidence", 0.98));
	char *done = wire_done_line(json_object());
	char *error = wire_error_line("two\nlines", true);

	(void)state;
	assert_string_equal(row, "{\"row\":{\"class\":\"tor\",\"confidence\":0.98}}\n");
	assert_string_equal(done, "{\"done\":{}}\n");
	assert_string_equal(error, "{\"error\":\"two\\nlines\",\"usage\":true}\n");
	free(row);
	free(done);
	free(error);
}

static void an_error_that_is_no_text_is_still_an_error(void **state)
{
	char *error = wire_error_line("class=\xff", false);

	(void)state;
	assert_string_equal(error, "{\"error\":\"an error that cannot be written as UTF-8\","
				   "\"usage\":false}\n");
	free(error);
	assert_null(wire_row_line(NULL));
}

static void what_is_no_request_is_refused(void **state)
{
	static const struct {
		const char *line;
		int code;
		const char *said;
	} lines[] = {
		{"", -EPROTO, "request: byte 0: "},
		{"status", -EPROTO, "request: byte "},
		{"[\"status\"]", -EPROTO, "request: not a JSON object"},
		{"{}", -EPROTO, "request: no version \"v\""},
		{"{\"v\":\"1\",\"words\":[\"status\"]}", -EPROTO, "request: no version \"v\""},
		{"{\"v\":2,\"words\":[\"status\"]}", -EPROTONOSUPPORT,
		 "request: version 2; nmd speaks 1: use the nmctl that came with it"},
		{"{\"v\":1}", -EPROTO, "request: \"words\" is not a list of words"},
		{"{\"v\":1,\"words\":[]}", -EPROTO, "request: \"words\" is not a list of words"},
		{"{\"v\":1,\"words\":\"status\"}", -EPROTO,
		 "request: \"words\" is not a list of words"},
		{"{\"v\":1,\"words\":[\"flows\",7]}", -EPROTO, "request: word 2 is not a string"},
		{"{\"v\":1,\"words\":[null]}", -EPROTO, "request: word 1 is not a string"},
		{"{\"v\":1,\"words\":[\"policy\"],\"text\":7}", -EPROTO,
		 "request: \"text\" is not a string"},
		{"{\"v\":1,\"v\":1,\"words\":[\"status\"]}", -EPROTO, "duplicate"},
		{"{\"v\":1,\"words\":[\"status\"]} {}", -EPROTO, "end of file expected"},
		{"{\"v\":1,\"words\":[\"status\"", -EPROTO, "request: byte "},
		{"{\"v\":1,\"words\":[\"a\\u0000b\"]}", -EPROTO, "\\u0000"},
		{"{\"v\":1,\"words\":[\"\xff\"]}", -EPROTO, "request: byte "},
		{"{\"v\":99999999999999999999,\"words\":[\"status\"]}", -EPROTO, "too big"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_refused(lines[i].line, strlen(lines[i].line), lines[i].code, lines[i].said);
}

static void a_nul_byte_in_the_line_is_refused(void **state)
{
	static const char line[] = "{\"v\":1,\"words\":[\"sta\0tus\"]}";

	(void)state;
	assert_refused(line, sizeof(line) - 1, -EPROTO, "request: byte ");
}

static void deep_nesting_is_refused(void **state)
{
	size_t depth = 100000;
	char *line = malloc(depth + 16);
	int len = sprintf(line, "{\"v\":");

	(void)state;
	memset(line + len, '[', depth);
	assert_refused(line, (size_t)len + depth, -EPROTO, "maximum parsing depth");
	free(line);
}

static void more_words_or_bytes_than_the_limit_are_refused(void **state)
{
	const char *words[WIRE_MAX_WORDS + 1];
	char *text = malloc(WIRE_MAX_LINE), *line;
	struct wire_request r;

	(void)state;
	for (size_t i = 0; i <= WIRE_MAX_WORDS; i++)
		words[i] = "w";
	line = wire_request_line(words, WIRE_MAX_WORDS + 1, NULL);
	assert_refused(line, strlen(line) - 1, -E2BIG, "request: more than 64 words");
	free(line);
	line = wire_request_line(words, WIRE_MAX_WORDS, NULL);
	assert_int_equal(wire_request_parse(line, strlen(line) - 1, &r, NULL), 0);
	wire_request_fini(&r);
	free(line);
	memset(text, ' ', WIRE_MAX_LINE);
	assert_refused(text, WIRE_MAX_LINE, -E2BIG, "request: longer than 1048576 bytes");
	text[WIRE_MAX_LINE - 1] = '\0';
	assert_null(wire_request_line(words, 1, text));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_comes_back_as_it_was_sent),
		cmocka_unit_test(a_request_may_have_no_text),
		cmocka_unit_test(replies_are_one_line_each),
		cmocka_unit_test(an_error_that_is_no_text_is_still_an_error),
		cmocka_unit_test(what_is_no_request_is_refused),
		cmocka_unit_test(a_nul_byte_in_the_line_is_refused),
		cmocka_unit_test(deep_nesting_is_refused),
		cmocka_unit_test(more_words_or_bytes_than_the_limit_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
