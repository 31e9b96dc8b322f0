/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include "agent/nmd/policy_state.h"
#include "tests/nmd/tree.h"

#define NOW 1800000000

static char dir[64], policy_dir[80];
static struct policy_state *ps;
static struct policy_change change;
static struct error e;
static char installed[4096]; /* the policy that is in force, as text */
static int install_result;
static unsigned n_installs;

/* In place of the kernel: the real one is asked in the live tests. */
static int install(void *ctx, const struct policy *p, char notes[POLICY_NOTES], struct error *why)
{
	char *text = policy_format(p);

	(void)ctx;
	n_installs++;
	notes[0] = '\0';
	if (install_result) {
		free(text);
		return error_set(why, install_result, "the compiler says no");
	}
	snprintf(installed, sizeof(installed), "%s", text);
	free(text);
	return 0;
}

static int open_at(int64_t now_s)
{
	struct policy_state_config config = {.dir = policy_dir, .install = install};

	return policy_state_new(&config, now_s, &ps, &e);
}

static void reopen(int64_t now_s)
{
	policy_state_free(ps);
	ps = NULL;
	installed[0] = '\0';
	if (open_at(now_s))
		fail_msg("%s", e.text);
}

static int begin(void **state)
{
	(void)state;
	tree_make(dir);
	snprintf(policy_dir, sizeof(policy_dir), "%s/policy", dir);
	memset(&e, 0, sizeof(e));
	install_result = 0;
	return open_at(NOW);
}

static int end(void **state)
{
	(void)state;
	policy_state_free(ps);
	ps = NULL;
	tree_remove(dir);
	return 0;
}

static int add_at(int64_t now_s, const char *text)
{
	char copy[128], *save = NULL;
	const char *words[8];
	struct policy_rule rule;
	size_t n = 0;

	snprintf(copy, sizeof(copy), "%s", text);
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		words[n++] = word;
	if (policy_rule_parse(words, n, &rule, &e))
		fail_msg("%s", e.text);
	return policy_state_add(ps, now_s, "tester", &rule, &change, &e);
}

static void add(const char *text)
{
	if (add_at(NOW, text))
		fail_msg("%s", e.text);
}

static void apply(const char *text, uint32_t confirm_s)
{
	struct policy *p;

	if (policy_parse("test", text, strlen(text), &p, &e) ||
	    policy_state_apply(ps, NOW, "tester", p, confirm_s, &change, &e))
		fail_msg("%s", e.text);
	policy_free(p);
}

static struct policy_pointer pointer(void)
{
	struct policy_pointer now;

	policy_state_pointer(ps, &now);
	return now;
}

static void assert_in_force(const char *line)
{
	if (!strstr(installed, line))
		fail_msg("\"%s\" is not in force, but: %s", line, installed);
}

static void assert_not_in_force(const char *line)
{
	if (strstr(installed, line))
		fail_msg("\"%s\" is in force: %s", line, installed);
}

static void it_begins_empty_and_watching(void **state)
{
	(void)state;
	assert_string_equal(installed, "default watch\n");
	assert_int_equal(pointer().version, 0);
}

static void each_change_is_a_version_in_force_and_on_disk(void **state)
{
	struct policy_version *versions;
	uint32_t n;

	(void)state;
	add("block class=tor");
	add("limit class=p2p rate=1mbit");
	assert_int_equal(change.version, 2);
	assert_in_force("block class=tor\n");
	assert_int_equal(policy_files_list(policy_dir, &versions, &n, &e), 0);
	assert_int_equal(n, 2);
	assert_string_equal(versions[0].summary, "block class=tor");
	assert_string_equal(versions[1].by, "tester");
	assert_int_equal(versions[1].time_s, NOW);
	free(versions);
}

static void a_restart_finds_policy_version_and_rule_ids(void **state)
{
	(void)state;
	add("block class=tor");
	add("block class=p2p");
	add("block class=voip");
	assert_int_equal(policy_state_remove(ps, NOW, "tester", 2, &change, &e), 0);
	reopen(NOW + 5);
	assert_int_equal(pointer().version, 4);
	assert_int_equal(policy_state_current(ps)->n_rules, 2);
	assert_int_equal(policy_state_current(ps)->rules[1].id, 3);
	assert_not_in_force("p2p");
	add("block class=mail");
	assert_int_equal(change.rule_id, 4);
	assert_int_equal(change.version, 5);
}

static void a_policy_that_does_not_compile_changes_nothing(void **state)
{
	(void)state;
	add("block class=tor");
	install_result = -ENOENT;
	assert_int_equal(add_at(NOW, "block class=nonsense"), -ENOENT);
	assert_string_equal(e.text, "the compiler says no");
	install_result = 0;
	assert_int_equal(pointer().version, 1);
	assert_int_equal(policy_state_current(ps)->n_rules, 1);
	reopen(NOW);
	assert_int_equal(pointer().version, 1);
	assert_in_force("block class=tor");
}

static void an_unconfirmed_change_is_undone(void **state)
{
	(void)state;
	add("block class=tor");
	add("block class=p2p confirm=60s");
	assert_int_equal(change.confirm_s, 60);
	assert_in_force("p2p");
	assert_false(policy_state_tick(ps, NOW + 59));
	assert_in_force("p2p");
	assert_true(policy_state_tick(ps, NOW + 60));
	assert_not_in_force("p2p");
	assert_in_force("block class=tor");
	assert_int_equal(pointer().confirm_at_s, 0);
	assert_int_equal(pointer().version, 3);
}

static void a_confirmed_change_stays(void **state)
{
	uint32_t version;

	(void)state;
	add("block class=p2p confirm=60s");
	assert_int_equal(policy_state_confirm(ps, &version, &e), 0);
	assert_int_equal(version, 1);
	assert_false(policy_state_tick(ps, NOW + 600));
	reopen(NOW + 600);
	assert_in_force("p2p");
	assert_int_equal(policy_state_confirm(ps, &version, &e), -ENOENT);
}

static void a_change_whose_confirmation_ran_out_while_nobody_ran_never_acts_again(void **state)
{
	(void)state;
	add("block class=tor");
	apply("block class=p2p\n", 60);
	n_installs = 0;
	reopen(NOW + 61);
	assert_int_equal(n_installs, 1);
	assert_not_in_force("p2p");
	assert_in_force("block class=tor");
}

static void a_change_that_waits_goes_on_waiting_over_a_restart(void **state)
{
	(void)state;
	add("block class=p2p confirm=60s");
	reopen(NOW + 30);
	assert_in_force("p2p");
	assert_int_equal(pointer().confirm_at_s, NOW + 60);
	assert_true(policy_state_tick(ps, NOW + 60));
	assert_not_in_force("p2p");
}

static void while_a_change_waits_others_are_refused(void **state)
{
	(void)state;
	add("block class=p2p confirm=60s");
	assert_int_equal(add_at(NOW + 20, "block class=tor"), -EBUSY);
	assert_non_null(strstr(e.text, "40 s left"));
	assert_int_equal(policy_state_rollback(ps, NOW, "tester", -1, &change, &e), 0);
	assert_not_in_force("p2p");
	add("block class=tor");
}

static void pending_rules_are_told_from_the_others(void **state)
{
	const struct policy *p;

	(void)state;
	add("block class=tor");
	add("block class=p2p confirm=60s");
	p = policy_state_current(ps);
	assert_false(policy_state_rule_pending(ps, &p->rules[0]));
	assert_true(policy_state_rule_pending(ps, &p->rules[1]));
}

static void a_rule_with_for_ends_also_over_a_restart(void **state)
{
	(void)state;
	add("block class=tor for=1h");
	add("block class=p2p");
	reopen(NOW + 1800);
	assert_in_force("class=tor");
	assert_false(policy_state_tick(ps, NOW + 3599));
	assert_true(policy_state_tick(ps, NOW + 3600));
	assert_not_in_force("class=tor");
	assert_in_force("class=p2p");
	add("block class=tor for=1h");
	reopen(NOW + 3601);
	assert_not_in_force("class=tor");
}

static void a_rule_may_end_while_a_change_waits(void **state)
{
	(void)state;
	add("block class=tor for=30s");
	add("block class=p2p confirm=60s");
	assert_true(policy_state_tick(ps, NOW + 30));
	assert_not_in_force("class=tor");
	assert_in_force("class=p2p");
	assert_int_equal(pointer().confirm_at_s, NOW + 60);
	assert_true(policy_state_tick(ps, NOW + 60));
	assert_not_in_force("class=p2p");
	assert_not_in_force("class=tor");
}

static void rollback_goes_to_the_version_before_or_to_the_one_named(void **state)
{
	(void)state;
	add("block class=tor");
	add("block class=p2p");
	assert_int_equal(policy_state_rollback(ps, NOW, "tester", -1, &change, &e), 0);
	assert_int_equal(change.version, 3);
	assert_not_in_force("p2p");
	assert_int_equal(policy_state_rollback(ps, NOW, "tester", 2, &change, &e), 0);
	assert_in_force("p2p");
	assert_int_equal(policy_state_rollback(ps, NOW, "tester", 0, &change, &e), 0);
	assert_string_equal(installed, "default watch\n");
	assert_int_equal(policy_state_rollback(ps, NOW, "tester", 77, &change, &e), -ENOENT);
	assert_int_equal(policy_state_rollback(ps, NOW, "tester", 5, &change, &e), -EINVAL);
}

static void going_back_brings_no_rule_back_whose_time_is_over(void **state)
{
	(void)state;
	add("block class=tor for=1m");
	add("block class=p2p");
	assert_int_equal(policy_state_rollback(ps, NOW + 61, "tester", 1, &change, &e), 0);
	assert_string_equal(installed, "default watch\n");
	add("block class=p2p");
	assert_int_equal(policy_state_rollback(ps, NOW + 59, "tester", 2, &change, &e), 0);
	assert_in_force("block class=tor");
	assert_in_force("block class=p2p");
}

static void rules_that_stay_keep_their_ids_through_apply(void **state)
{
	const struct policy *p;

	(void)state;
	add("block class=tor");
	add("block class=p2p");
	apply("default allow\nlimit class=voip rate=1mbit\nlimit class=p2p rate=1mbit\n", 0);
	p = policy_state_current(ps);
	assert_int_equal(p->rules[0].id, 3);
	assert_int_equal(p->rules[1].id, 2);
	assert_int_equal(p->default_verb, POLICY_ALLOW);
}

static void history_is_bounded_and_keeps_the_current_version(void **state)
{
	struct policy_version *versions;
	uint32_t n;

	(void)state;
	for (int i = 0; i < POLICY_HISTORY + 20; i++)
		add(i % 2 ? "block class=tor" : "block class=p2p");
	assert_int_equal(policy_files_list(policy_dir, &versions, &n, &e), 0);
	assert_int_equal(n, POLICY_HISTORY);
	assert_int_equal(versions[n - 1].version, POLICY_HISTORY + 20);
	free(versions);
}

static void damaged_files_are_an_error_that_names_them(void **state)
{
	static const char *const damages[] = {"",
					      "nonsense\n",
					      "# ids 7\n# next 2\nblock clas=tor\n",
					      "# ids 0\n# next 2\nblock class=tor\n",
					      "# ids 1 1\n# next 3\nblock class=a\nblock class=b\n",
					      "# next 2\nblock class=tor\n"};

	(void)state;
	add("block class=tor");
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		tree_write(policy_dir, "000001.policy", damages[i]);
		policy_state_free(ps);
		ps = NULL;
		assert_true(open_at(NOW) < 0);
		assert_non_null(strstr(e.text, "000001.policy"));
	}
	tree_write(policy_dir, "state", "current x\n");
	assert_int_equal(open_at(NOW), -EINVAL);
	assert_non_null(strstr(e.text, "/state: damaged"));
}

static void what_a_killed_write_left_behind_disturbs_nobody(void **state)
{
	(void)state;
	add("block class=tor");
	tree_write(policy_dir, "000002.policy.new", "half a fi");
	tree_write(policy_dir, "000002.policy", "# ids\n# next 1\n");
	tree_write(policy_dir, "state.new", "curr");
	reopen(NOW);
	assert_int_equal(pointer().version, 1);
	add("block class=p2p");
	assert_int_equal(change.version, 3);
}

static void a_version_that_was_never_written_whole_is_not_rolled_back_to(void **state)
{
	(void)state;
	add("block class=tor");
	tree_write(policy_dir, "000002.policy.new", "half a fi");
	reopen(NOW);
	add("block class=p2p");
	assert_int_equal(policy_state_rollback(ps, NOW, "tester", -1, &change, &e), 0);
	assert_not_in_force("block class=p2p");
	assert_in_force("block class=tor");
}

/* No file can be made where the folder is none any more. */
static void lose_disk(bool lost)
{
	char aside[96];

	snprintf(aside, sizeof(aside), "%s.aside", policy_dir);
	assert_int_equal(lost ? rename(policy_dir, aside) : rename(aside, policy_dir), 0);
}

static uint32_t newest_on_disk(void)
{
	struct policy_version *versions;
	uint32_t n, newest;

	assert_int_equal(policy_files_list(policy_dir, &versions, &n, &e), 0);
	newest = n ? versions[n - 1].version : 0;
	free(versions);
	return newest;
}

static void a_change_that_cannot_be_saved_is_not_in_force(void **state)
{
	char path[128];

	(void)state;
	add("block class=tor");
	lose_disk(true);
	assert_true(add_at(NOW, "block class=p2p") < 0);
	assert_not_in_force("p2p");
	lose_disk(false);
	/* Nor one whose version is written, but not that it is the current one. */
	snprintf(path, sizeof(path), "%s/state.new", policy_dir);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_true(add_at(NOW, "block class=p2p") < 0);
	assert_not_in_force("p2p");
	assert_in_force("block class=tor");
	assert_int_equal(newest_on_disk(), 1);
	assert_int_equal(pointer().version, 1);
}

static void several_things_may_end_while_nothing_can_be_saved(void **state)
{
	uint32_t version;

	(void)state;
	add("block class=voip for=30s");
	add("block class=tor for=1h");
	add("block class=p2p confirm=2m");
	lose_disk(true);
	assert_true(policy_state_tick(ps, NOW + 30));
	assert_not_in_force("voip");
	lose_disk(false);
	assert_int_equal(policy_state_confirm(ps, &version, &e), 0); /* saves what ended, too */
	reopen(NOW + 31);
	assert_in_force("p2p");
	assert_not_in_force("voip");
	add("block class=mail confirm=60s");
	lose_disk(true);
	assert_true(policy_state_tick(ps, NOW + 91));
	assert_true(policy_state_tick(ps, NOW + 3600));
	assert_not_in_force("tor");
	lose_disk(false);
}

static void what_a_waiting_change_goes_back_to_is_kept_however_many_rules_end(void **state)
{
	static char text[64 * (POLICY_HISTORY + 20)];

	(void)state;
	add("block class=tor");
	for (int i = 0; i < POLICY_HISTORY + 10; i++)
		sprintf(text + strlen(text), "block net=10.0.%d.0/24 for=%ds\n", i, i + 1);
	apply(text, 3600);
	for (int i = 0; i < POLICY_HISTORY + 10; i++)
		assert_true(policy_state_tick(ps, NOW + i + 1));
	reopen(NOW + 1000);
	assert_true(policy_state_tick(ps, NOW + 3600));
	assert_in_force("block class=tor");
}

static void a_rollback_of_a_waiting_change_takes_it_back_whatever_ended_meanwhile(void **state)
{
	(void)state;
	add("block class=tor for=30s");
	add("block class=p2p confirm=60s");
	assert_true(policy_state_tick(ps, NOW + 30));
	assert_int_equal(policy_state_rollback(ps, NOW + 31, "tester", -1, &change, &e), 0);
	assert_not_in_force("p2p");
	assert_int_equal(policy_state_rollback(ps, NOW, "tester", (1LL << 32) + 2, &change, &e),
			 -EINVAL);
}

static void rules_that_stay_keep_their_ids_through_a_rollback(void **state)
{
	(void)state;
	add("block class=tor");
	add("block class=p2p");
	assert_int_equal(policy_state_remove(ps, NOW, "tester", 2, &change, &e), 0);
	add("limit class=p2p rate=1mbit");
	assert_int_equal(change.rule_id, 3);
	assert_int_equal(policy_state_rollback(ps, NOW, "tester", 2, &change, &e), 0);
	assert_in_force("block class=p2p");
	assert_int_equal(policy_state_current(ps)->rules[1].id, 3);
}

static void an_unconfirmed_change_is_undone_also_when_nothing_can_be_saved(void **state)
{
	(void)state;
	add("block class=tor");
	add("block class=p2p confirm=60s");
	lose_disk(true);
	assert_true(policy_state_tick(ps, NOW + 60));
	assert_not_in_force("block class=p2p");
	assert_in_force("block class=tor");
	assert_int_equal(pointer().confirm_at_s, 0);
	assert_int_not_equal(add_at(NOW + 61, "block class=voip"), 0);
	assert_not_in_force("block class=voip");
	lose_disk(false);
	policy_state_tick(ps, NOW + 62);
	assert_int_equal(newest_on_disk(), 3);
	reopen(NOW + 63);
	assert_int_equal(pointer().version, 3);
	assert_not_in_force("block class=p2p");
	assert_in_force("block class=tor");
}

static void a_rule_with_for_ends_also_when_nothing_can_be_saved(void **state)
{
	unsigned before;

	(void)state;
	add("block class=tor for=1h");
	lose_disk(true);
	assert_true(policy_state_tick(ps, NOW + 3600));
	assert_not_in_force("block class=tor");
	before = n_installs;
	assert_false(policy_state_tick(ps, NOW + 3601));
	assert_int_equal(n_installs, before);
	lose_disk(false);
	reopen(NOW + 3602);
	assert_not_in_force("block class=tor");
}

static void a_clock_that_is_set_back_lengthens_nothing(void **state)
{
	(void)state;
	add("block class=tor for=1h");
	add("block class=p2p confirm=60s");
	assert_false(policy_state_tick(ps, NOW + 30));
	assert_false(policy_state_tick(ps, NOW - 86400 + 30));
	assert_true(policy_state_tick(ps, NOW - 86400 + 60));
	assert_not_in_force("block class=p2p");
	assert_in_force("block class=tor");
	assert_true(policy_state_tick(ps, NOW - 86400 + 3600));
	assert_not_in_force("block class=tor");
}

static void a_clock_that_is_set_back_ends_a_length_in_time_and_moves_no_date(void **state)
{
	(void)state;
	add("block class=tor for=1h");
	add("block class=p2p until=2027-01-15T09:00:00Z"); /* NOW + 1h */
	assert_false(policy_state_tick(ps, NOW + 30));
	assert_false(policy_state_tick(ps, NOW - 86400 + 30));
	assert_true(policy_state_tick(ps, NOW - 86400 + 3600));
	assert_not_in_force("class=tor");
	assert_in_force("class=p2p");
	assert_false(policy_state_tick(ps, NOW + 3599));
	assert_true(policy_state_tick(ps, NOW + 3600));
	assert_not_in_force("class=p2p");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_begins_empty_and_watching),
		TEST(each_change_is_a_version_in_force_and_on_disk),
		TEST(a_restart_finds_policy_version_and_rule_ids),
		TEST(a_policy_that_does_not_compile_changes_nothing),
		TEST(an_unconfirmed_change_is_undone),
		TEST(a_confirmed_change_stays),
		TEST(a_change_whose_confirmation_ran_out_while_nobody_ran_never_acts_again),
		TEST(a_change_that_waits_goes_on_waiting_over_a_restart),
		TEST(while_a_change_waits_others_are_refused),
		TEST(pending_rules_are_told_from_the_others),
		TEST(a_rule_with_for_ends_also_over_a_restart),
		TEST(a_rule_may_end_while_a_change_waits),
		TEST(rollback_goes_to_the_version_before_or_to_the_one_named),
		TEST(going_back_brings_no_rule_back_whose_time_is_over),
		TEST(rules_that_stay_keep_their_ids_through_apply),
		TEST(history_is_bounded_and_keeps_the_current_version),
		TEST(damaged_files_are_an_error_that_names_them),
		TEST(what_a_killed_write_left_behind_disturbs_nobody),
		TEST(a_version_that_was_never_written_whole_is_not_rolled_back_to),
		TEST(a_change_that_cannot_be_saved_is_not_in_force),
		TEST(several_things_may_end_while_nothing_can_be_saved),
		TEST(what_a_waiting_change_goes_back_to_is_kept_however_many_rules_end),
		TEST(a_rollback_of_a_waiting_change_takes_it_back_whatever_ended_meanwhile),
		TEST(rules_that_stay_keep_their_ids_through_a_rollback),
		TEST(an_unconfirmed_change_is_undone_also_when_nothing_can_be_saved),
		TEST(a_rule_with_for_ends_also_when_nothing_can_be_saved),
		TEST(a_clock_that_is_set_back_lengthens_nothing),
		TEST(a_clock_that_is_set_back_ends_a_length_in_time_and_moves_no_date),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
