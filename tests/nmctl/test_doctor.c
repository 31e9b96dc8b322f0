/* SPDX-License-Identifier: BSD-2-Clause */
/* The doctor on this very host: its sentences are whole, agree with each other and with the exit
 * status, and it leaves nothing behind. */
#include <dirent.h>
#include "tests/nmctl/run_nmctl.h"

/* Rows of `doctor -o json` as an array. */
static json_t *examine(const char *line, struct result *ret_result)
{
	json_t *list = json_array();
	struct result r = run(line);
	char *rest = r.out, *text;

	while ((text = strsep(&rest, "\n"))) {
		json_t *row = *text ? json_loads(text, 0, NULL) : NULL;

		assert_true(row || !*text);
		if (row)
			json_array_append_new(list, row);
	}
	*ret_result = r;
	return list;
}

static const char *state_of(const json_t *list, const char *check)
{
	json_t *row;
	size_t i;

	json_array_foreach (list, i, row)
		if (!strcmp(output_string(row, "check", ""), check))
			return output_string(row, "state", "");
	fail_msg("no row for %s", check);
	return "";
}

static void every_check_says_a_state_and_a_sentence(void **state)
{
	static const char *const expected[] = {
		"kernel",       "capabilities", "bpf load", "ring buffer", "jit",
		"unprivileged", "btf",          "bpffs",    "egress",      "dispatcher",
		"interface",    "memory lock",  "clock",    "cpu",         "cuda",
		"model",        "settings",     "group",    "daemon"};
	struct result r;
	json_t *list = examine("doctor -o json", &r), *row;
	size_t i;

	(void)state;
	for (size_t k = 0; k < sizeof(expected) / sizeof(expected[0]); k++)
		state_of(list, expected[k]);
	json_array_foreach (list, i, row) {
		const char *health = output_string(row, "state", "");

		assert_true(!strcmp(health, "ok") || !strcmp(health, "warn") ||
			    !strcmp(health, "missing"));
		assert_true(strlen(output_string(row, "text", "")) > 1);
		assert_true(json_is_boolean(output_member(row, "stops")));
	}
	json_decref(list);
	result_free(&r);
}

static void the_exit_status_is_whether_nmd_can_run(void **state)
{
	struct result r;
	json_t *list = examine("doctor -o json", &r), *row;
	size_t i, stops = 0;

	(void)state;
	json_array_foreach (list, i, row) {
		stops += output_true(row, "stops");
		assert_false(output_true(row, "stops") &&
			     !strcmp(output_string(row, "state", ""), "ok"));
	}
	assert_int_equal(r.status, stops ? STATUS_FAILED : STATUS_DONE);
	json_decref(list);
	result_free(&r);
}

static void answers_do_not_contradict_each_other(void **state)
{
	struct result r;
	json_t *list = examine("doctor -o json", &r);

	(void)state;
	/* Who may load programs may make maps and has the capability that it takes. */
	if (!strcmp(state_of(list, "bpf load"), "ok")) {
		assert_string_equal(state_of(list, "ring buffer"), "ok");
		assert_string_equal(state_of(list, "egress"), "ok");
	} else {
		assert_string_not_equal(state_of(list, "dispatcher"), "ok");
	}
	if (!strcmp(state_of(list, "dispatcher"), "ok"))
		assert_string_equal(state_of(list, "btf"), "ok");
	assert_string_equal(state_of(list, "daemon"), "missing");
	json_decref(list);
	result_free(&r);
}

static void what_stops_nmd_is_told_and_counted(void **state)
{
	struct result r = run("doctor --model /nonexistent.safetensors --config /nonexistent.conf");

	(void)state;
	assert_int_equal(r.status, STATUS_FAILED);
	assert_contains(r.error, "nmd cannot run here");
	assert_contains(r.out, "/nonexistent.safetensors");
	assert_contains(r.out, "no /nonexistent.conf: nmd --config would refuse to start");
	result_free(&r);
}

static unsigned count_mounts(void)
{
	FILE *file = fopen("/proc/self/mounts", "r");
	unsigned n = 0;
	char line[4096];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		n++;
	fclose(file);
	return n;
}

static unsigned count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void it_leaves_no_mount_and_no_descriptor(void **state)
{
	unsigned mounts = count_mounts(), descriptors = count_descriptors();
	struct result r = run("doctor");

	(void)state;
	assert_int_equal(count_mounts(), mounts);
	assert_int_equal(count_descriptors(), descriptors);
	result_free(&r);
}

static void a_stale_heartbeat_is_a_warning(void **state)
{
	struct result r = run_with("doctor -o json",
				   "{\"done\":{\"version\":\"1\",\"mode\":\"enforce\","
				   "\"heartbeat_age_ms\":45000,\"fail_open_s\":30}}\n",
				   NULL);

	(void)state;
	assert_contains(r.out, "{\"check\":\"daemon\",\"state\":\"warn\"");
	assert_contains(r.out, "heartbeat is 45s old");
	result_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_check_says_a_state_and_a_sentence),
		cmocka_unit_test(the_exit_status_is_whether_nmd_can_run),
		cmocka_unit_test(answers_do_not_contradict_each_other),
		cmocka_unit_test(what_stops_nmd_is_told_and_counted),
		cmocka_unit_test(it_leaves_no_mount_and_no_descriptor),
		cmocka_unit_test(a_stale_heartbeat_is_a_warning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
