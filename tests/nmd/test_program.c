/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of the program: its lock, a hangup, what outlives a kill and a stop, detaching. */
#include "maps/control.h"
#include "tests/nmd/live_nmd.h"

static void a_second_agent_and_a_detach_are_refused_while_one_runs(void **state)
{
	NEEDS_NMD;
	assert_int_equal(wait_status(spawn(NULL)), 1);
	assert_true(log_says("is locked"));
	assert_int_equal(wait_status(spawn((const char *[]){"--detach", NULL})), 1);
	json_decref(must("status", NULL));
}

static void nobody_else_can_hold_the_lock(void **state)
{
	char path[96];
	struct stat st;

	NEEDS_NMD;
	snprintf(path, sizeof(path), "%s/run/nmd.pid", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_hangup_reads_the_settings_again(void **state)
{
	json_t *done;

	NEEDS_NMD;
	kill(nmd, SIGHUP);
	done = must("status", NULL);
	assert_string_equal(json_string_value(json_object_get(done, "mode")), "enforce");
	json_decref(done);
	assert_true(log_says("settings read again"));
}

static void a_rule_for_bittorrent_means_p2p_also_after_a_restart(void **state)
{
	unsigned before = 0, after = 0;

	NEEDS_NMD;
	json_decref(must("policy block class=bittorrent", NULL));
	assert_int_equal(ask("classes", NULL, &before, NULL), 0);
	stop(SIGTERM, 0);
	start();
	assert_int_equal(ask("classes", NULL, &after, NULL), 0);
	assert_int_equal(after, before);
}

static void note_tripped_breaker(void)
{
	struct control control;
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/run/bpf/maps/control", dir);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &(__u32){0}, &control), 0);
	control.flags |= CONTROL_TRIPPED;
	assert_int_equal(bpf_map_update_elem(fd, &(__u32){0}, &control, BPF_ANY), 0);
	close(fd);
}

static void assert_breaker(bool tripped)
{
	json_t *status = must("status", NULL);
	json_t *breaker = json_object_get(status, "breaker");

	assert_int_equal(json_is_true(json_object_get(breaker, "tripped")), tripped);
	assert_string_equal(json_string_value(json_object_get(status, "mode")),
			    tripped ? "watch" : "enforce");
	json_decref(status);
}

static void a_breaker_that_tripped_is_armed_by_a_person_only(void **state)
{
	NEEDS_NMD;
	assert_breaker(false);
	stop(SIGTERM, 0);
	note_tripped_breaker();
	start();
	assert_breaker(true);
	json_decref(must("policy arm", NULL));
	assert_breaker(false);
	stop(SIGTERM, 0);
	start();
	assert_breaker(false);
}

static json_t *policy_status(void)
{
	json_t *status = must("status", NULL);
	json_t *policy = json_incref(json_object_get(status, "policy"));

	assert_int_equal(number(json_object_get(status, "agent"), "store_rows"), STORED);
	json_decref(status);
	return policy;
}

static void policy_and_events_survive_a_kill_and_a_stop(void **state)
{
	static const struct {
		int signal_number, status;
	} ends[] = {{SIGKILL, 128 + SIGKILL}, {SIGTERM, 0}, {SIGINT, 0}};
	json_t *before, *after;

	NEEDS_NMD;
	before = policy_status();
	for (size_t i = 0; i < 3; i++) {
		stop(ends[i].signal_number, ends[i].status);
		start();
		after = policy_status();
		assert_true(json_equal(before, after));
		json_decref(after);
	}
	json_decref(before);
	assert_true(log_says("maps of a former run taken over"));
}

static void a_detach_leaves_nothing_behind(void **state)
{
	char path[96];

	NEEDS_NMD;
	stop(SIGTERM, 0);
	assert_int_equal(wait_status(spawn((const char *[]){"--detach", NULL})), 0);
	snprintf(path, sizeof(path), "%s/run/bpf/verdicts", dir);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(socket_path, F_OK), -1);
	assert_int_equal(wait_status(spawn((const char *[]){"--detach", NULL})), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_second_agent_and_a_detach_are_refused_while_one_runs),
		cmocka_unit_test(nobody_else_can_hold_the_lock),
		cmocka_unit_test(a_hangup_reads_the_settings_again),
		cmocka_unit_test(a_rule_for_bittorrent_means_p2p_also_after_a_restart),
		cmocka_unit_test(a_breaker_that_tripped_is_armed_by_a_person_only),
		cmocka_unit_test(policy_and_events_survive_a_kill_and_a_stop),
		cmocka_unit_test(a_detach_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
