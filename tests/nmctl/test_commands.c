/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line: prefixes, ambiguity, options, arity; each error in its exact words. */
#include "tests/nmctl/run_nmctl.h"

static void assert_usage(const char *line, const char *error)
{
	struct result r = run(line);

	assert_string_equal(r.error, error);
	assert_int_equal(r.status, STATUS_USAGE);
	assert_string_equal(r.out, "");
	result_free(&r);
}

static void assert_finds(const char *line, const char *noun, const char *verb, size_t n_words)
{
	struct nmctl ctl = {0};
	char words[256], *rest = words, *word;

	snprintf(words, sizeof(words), "%s", line);
	while ((word = strsep(&rest, " ")))
		ctl.words[ctl.n_words++] = word;
	if (commands_find(&ctl))
		fail_msg("%s: %s", line, ctl.error.text);
	assert_string_equal(ctl.command->noun, noun);
	assert_string_equal(ctl.command->verb ? ctl.command->verb : "", verb);
	assert_int_equal(ctl.n_words, n_words);
}

static void an_unambiguous_prefix_is_the_command(void **state)
{
	(void)state;
	assert_finds("stat", "status", "", 0);
	assert_finds("fl", "flows", "", 0);
}

static void verbs_may_be_shortened_too(void **state)
{
	(void)state;
	assert_finds("pol sh", "policy", "show", 0);
	assert_finds("po b class=tor", "policy", "block", 1);
	assert_finds("m ver FILE", "model", "verify", 1);
}

static void a_noun_alone_is_its_first_verb(void **state)
{
	(void)state;
	assert_finds("policy", "policy", "show", 0);
	assert_finds("model", "model", "show", 0);
}

static void an_ambiguous_word_names_what_it_could_be(void **state)
{
	(void)state;
	assert_usage("policy a", "ambiguous policy command \"a\": allow or apply or arm");
	assert_usage("policy r 3", "ambiguous policy command \"r\": remove or rollback");
}

static void a_mistyped_word_gets_a_suggestion(void **state)
{
	(void)state;
	assert_usage("polcy", "unknown command \"polcy\"; did you mean \"policy\"?");
	assert_usage("policy blcok", "unknown policy command \"blcok\"; did you mean \"block\"?");
	assert_usage("flows --folow", "unknown option \"folow\"; did you mean \"follow\"?");
	assert_usage("model xyzzy", "unknown model command \"xyzzy\"; use show, verify, load");
}

static void an_empty_word_is_no_prefix(void **state)
{
	const char *argv[] = {""};
	struct nmctl ctl = {.out = stdout};

	(void)state;
	assert_int_equal(nmctl_run(&ctl, 1, argv), STATUS_USAGE);
	assert_contains(ctl.error.text, "unknown command \"\"");
}

static void wrong_options_are_told(void **state)
{
	(void)state;
	assert_usage("status -x", "unknown option -x; see nmctl --help");
	assert_usage("status --socket", "option --socket needs a value: --socket PATH");
	assert_usage("flows --follow=yes", "option --follow takes no value");
	assert_usage("status -o yaml", "unknown output format \"yaml\"; use table, json");
	assert_usage("status --s x", "ambiguous option \"s\": socket or since");
}

static void an_option_of_another_command_is_refused(void **state)
{
	(void)state;
	assert_usage("status --follow", "status takes no --follow");
	assert_usage("policy show --vectors x", "policy show takes no --vectors");
}

static void too_few_or_too_many_words_are_told(void **state)
{
	(void)state;
	assert_usage("explain", "explain needs FLOW");
	assert_usage("policy remove", "policy remove needs ID");
	assert_usage("policy remove 1 2", "policy remove: too many words, from \"2\"");
	assert_usage("status now", "status: too many words, from \"now\"");
	assert_usage("", "which command? `nmctl help` lists them");
}

static void options_may_stand_anywhere_and_in_each_form(void **state)
{
	static const char *const lines[] = {"-o json status", "status -ojson",
					    "status --output=json", "status --out json",
					    "--socket /x -o j status"};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct nmctl ctl = {0};
		char words[64], *rest = words, *word;
		const char *argv[8];
		int argc = 0;

		snprintf(words, sizeof(words), "%s", lines[i]);
		while ((word = strsep(&rest, " ")))
			argv[argc++] = word;
		assert_int_equal(options_parse(&ctl, argc, argv), 0);
		assert_int_equal(ctl.options.format, OUTPUT_JSON);
		assert_int_equal(ctl.n_words, 1);
		assert_string_equal(ctl.words[0], "status");
	}
}

static void two_dashes_end_the_options(void **state)
{
	const char *argv[] = {"policy", "check", "--", "-o"};
	struct nmctl ctl = {0};

	(void)state;
	assert_int_equal(options_parse(&ctl, 4, argv), 0);
	assert_int_equal(ctl.n_words, 3);
	assert_string_equal(ctl.words[2], "-o");
}

static void help_names_every_command(void **state)
{
	struct result r = run("help");
	size_t n;
	const struct command *table = commands_table(&n);

	(void)state;
	assert_int_equal(r.status, STATUS_DONE);
	for (size_t i = 0; i < n; i++) {
		char left[64];

		snprintf(left, sizeof(left), "  %s%s%s", table[i].noun, table[i].verb ? " " : "",
			 table[i].verb ? table[i].verb : "");
		assert_contains(r.out, left);
		assert_contains(r.out, table[i].help);
	}
	result_free(&r);
}

static void help_fits_a_terminal_of_100_columns(void **state)
{
	size_t n;
	const struct command *table = commands_table(&n);

	(void)state;
	for (size_t i = 0; i < n; i++) {
		char line[128];
		struct result r;

		snprintf(line, sizeof(line), "help %s %s", table[i].noun,
			 table[i].verb ? table[i].verb : "");
		r = run(line);
		assert_int_equal(r.status, STATUS_DONE);
		for (char *l = strtok(r.out, "\n"); l; l = strtok(NULL, "\n"))
			if (strlen(l) > 100 && strncmp(l, "usage:", 6))
				fail_msg("%s: %zu columns: %s", line, strlen(l), l);
		result_free(&r);
	}
}

static void help_of_a_command_is_printed_even_without_its_words(void **state)
{
	struct result r = run("policy block --help"), noun = run("policy --help");

	(void)state;
	assert_int_equal(r.status, STATUS_DONE);
	assert_contains(r.out, "usage: nmctl policy block ");
	assert_contains(r.out, "--socket");
	assert_int_equal(noun.status, STATUS_DONE);
	assert_contains(noun.out, "policy rollback");
	assert_lacks(noun.out, "model load");
	result_free(&r);
	result_free(&noun);
}

static void rows_of_a_noun_stand_together(void **state)
{
	size_t n;
	const struct command *table = commands_table(&n);

	(void)state;
	for (size_t i = 1; i < n; i++)
		for (size_t k = 0; k + 1 < i; k++)
			if (!strcmp(table[k].noun, table[i].noun))
				assert_string_equal(table[i - 1].noun, table[i].noun);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unambiguous_prefix_is_the_command),
		cmocka_unit_test(verbs_may_be_shortened_too),
		cmocka_unit_test(a_noun_alone_is_its_first_verb),
		cmocka_unit_test(an_ambiguous_word_names_what_it_could_be),
		cmocka_unit_test(a_mistyped_word_gets_a_suggestion),
		cmocka_unit_test(an_empty_word_is_no_prefix),
		cmocka_unit_test(wrong_options_are_told),
		cmocka_unit_test(an_option_of_another_command_is_refused),
		cmocka_unit_test(too_few_or_too_many_words_are_told),
		cmocka_unit_test(options_may_stand_anywhere_and_in_each_form),
		cmocka_unit_test(two_dashes_end_the_options),
		cmocka_unit_test(help_names_every_command),
		cmocka_unit_test(help_fits_a_terminal_of_100_columns),
		cmocka_unit_test(help_of_a_command_is_printed_even_without_its_words),
		cmocka_unit_test(rows_of_a_noun_stand_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
