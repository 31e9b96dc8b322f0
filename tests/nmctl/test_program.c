/* SPDX-License-Identifier: BSD-2-Clause */
/* The built program: exit statuses, and what goes to which stream. BUILD names its folder. */
#include <sys/wait.h>
#include "tests/nmctl/run_nmctl.h"

static char program[256];

static int find_program(void **state)
{
	const char *build = getenv("BUILD");

	(void)state;
	snprintf(program, sizeof(program), "%s/nmctl", build ? build : "build");
	return 0;
}

/* The exit status; what it printed, after the redirections, in text. */
static int run_redirected(const char *arguments, const char *redirections, char *text, size_t size)
{
	char line[512];
	size_t len;
	FILE *pipe;
	int state;

	if (access(program, X_OK)) {
		print_message("skipped: no %s; make it, or name its folder with BUILD\n", program);
		skip();
	}
	snprintf(line, sizeof(line), "NETMAMBA_SOCKET=/nonexistent/nmd.sock %s %s %s", program,
		 arguments, redirections);
	pipe = popen(line, "r");
	assert_non_null(pipe);
	len = fread(text, 1, size - 1, pipe);
	text[len] = 0;
	state = pclose(pipe);
	assert_true(WIFEXITED(state));
	return WEXITSTATUS(state);
}

/* keep: 1 what it printed, 2 what it complained. */
static int run_program(const char *arguments, int keep, char *text, size_t size)
{
	return run_redirected(arguments, keep == 1 ? "2>/dev/null" : "2>&1 >/dev/null", text, size);
}

static void help_is_printed_and_done(void **state)
{
	char text[16384];

	(void)state;
	assert_int_equal(run_program("help", 1, text, sizeof(text)), 0);
	assert_contains(text, "usage: nmctl COMMAND");
	assert_int_equal(run_program("--version", 1, text, sizeof(text)), 0);
	assert_string_equal(text, "nmctl " NM_VERSION "\n");
}

static void wrong_usage_is_2_with_the_usage_on_standard_error(void **state)
{
	char text[4096];

	(void)state;
	assert_int_equal(run_program("polcy", 2, text, sizeof(text)), 2);
	assert_string_equal(text, "nmctl: unknown command \"polcy\"; did you mean \"policy\"?\n");
	assert_int_equal(run_program("explain", 2, text, sizeof(text)), 2);
	assert_string_equal(text,
			    "nmctl: explain needs FLOW\nusage: nmctl explain FLOW [options]\n");
	assert_int_equal(run_program("explain", 1, text, sizeof(text)), 2);
	assert_string_equal(text, "");
}

static void no_agent_is_1_and_names_the_socket_of_the_environment(void **state)
{
	char text[4096];

	(void)state;
	assert_int_equal(run_program("status", 2, text, sizeof(text)), 1);
	assert_contains(text,
			"nmctl: nmd is not running: nothing listens at /nonexistent/nmd.sock");
	assert_int_equal(run_program("status --socket /elsewhere", 2, text, sizeof(text)), 1);
	assert_contains(text, "nothing listens at /elsewhere");
}

static void a_policy_may_come_from_standard_input(void **state)
{
	char text[4096];

	(void)state;
	assert_int_equal(run_program("policy check - </dev/null", 1, text, sizeof(text)), 0);
	assert_contains(text, "-: 0 rules, no error");
}

static void a_full_disk_is_a_failure(void **state)
{
	char text[4096];

	(void)state;
	if (access("/dev/full", W_OK)) {
		print_message("skipped: no /dev/full\n");
		skip();
	}
	assert_int_equal(run_redirected("help", "2>&1 >/dev/full", text, sizeof(text)), 1);
	assert_string_equal(text, "nmctl: writing the output failed\n");
}

static void an_escape_in_a_typed_word_does_not_reach_the_terminal(void **state)
{
	char text[4096];

	(void)state;
	assert_int_equal(run_program("\"$(printf '\\033[2Jx')\"", 2, text, sizeof(text)), 2);
	assert_lacks(text, "\033");
	assert_contains(text, "\\x1b[2Jx");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(help_is_printed_and_done),
		cmocka_unit_test(wrong_usage_is_2_with_the_usage_on_standard_error),
		cmocka_unit_test(no_agent_is_1_and_names_the_socket_of_the_environment),
		cmocka_unit_test(a_policy_may_come_from_standard_input),
		cmocka_unit_test(a_full_disk_is_a_failure),
		cmocka_unit_test(an_escape_in_a_typed_word_does_not_reach_the_terminal),
	};

	return cmocka_run_group_tests(tests, find_program, NULL);
}
