/* SPDX-License-Identifier: BSD-2-Clause */
/* A policy as a list: adding, removing, ids, writing, comparing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "agent/policy/policy.h"

static struct policy *read_policy(const char *text)
{
	struct policy *p;
	struct error e = {0};

	if (policy_parse("t.policy", text, strlen(text), &p, &e) != 0)
		fail_msg("%s", e.text);
	return p;
}

/* Adds a line's rule; returns the id. */
static int add(struct policy *p, const char *line)
{
	struct policy *one = read_policy(line);
	int id = policy_add(p, &one->rules[0], NULL);

	policy_free(one);
	return id;
}

static void assert_written(const struct policy *p, const char *expected)
{
	char *text = policy_format(p);

	assert_string_equal(text, expected);
	free(text);
}

static void a_written_policy_reads_back_the_same(void **state)
{
	static const char text[] =
		"default allow\n"
		"block class=tor\n"
		"limit class=p2p net=10.0.0.0/8 dir=in rate=2mbit burst=256kb for=1h force\n"
		"limit rate=1500kbit burst=18750b\n"
		"watch class=unknown\n"
		"block class=dns-tunnel net=2001:db8::/32 dir=out for=90s\n"
		"allow net=192.0.2.7 until=2026-11-24T23:00:00Z\n"
		"block net=0.0.0.0/0 for=7d\n"
		"block net=::/0\n"
		"block net=2001:db8::7\n"
		"block net=2001:db8:0:1::/112\n";
	struct policy *p = read_policy(text);

	(void)state;
	assert_written(p, text);
	policy_free(p);
}

static void a_rule_that_runs_out_is_written_with_its_end(void **state)
{
	struct policy *p = read_policy("block class=tor for=1h\n");
	char line[64];

	(void)state;
	p->rules[0].expires_at = 1795561200;
	assert_written(p, "default watch\nblock class=tor until=2026-11-24T23:00:00Z\n");
	/* To the operator it is still what was typed. */
	policy_rule_format(&p->rules[0], line, sizeof(line));
	assert_string_equal(line, "block class=tor for=1h");
	policy_free(p);
	p = read_policy("block class=tor until=2026-11-24T23:00:00Z\n");
	policy_rule_format(&p->rules[0], line, sizeof(line));
	assert_string_equal(line, "block class=tor until=2026-11-24T23:00:00Z");
	policy_free(p);
}

static void a_rule_too_long_for_its_buffer_is_cut_and_its_length_told(void **state)
{
	struct policy *p = read_policy("block class=dns-tunnel net=10.0.0.0/8\n");
	char line[12] = "xxxxxxxxxxx";

	(void)state;
	assert_int_equal(policy_rule_format(&p->rules[0], line, 10), 37);
	assert_string_equal(line, "block cla");
	assert_int_equal(policy_rule_format(&p->rules[0], NULL, 0), 37);
	policy_free(p);
}

static void ids_are_given_in_order_and_stay_while_the_rule_stays(void **state)
{
	struct policy *p = policy_new();

	(void)state;
	assert_int_equal(add(p, "block class=tor"), 1);
	assert_int_equal(add(p, "block class=tls"), 2);
	assert_int_equal(add(p, "block class=tor net=10.0.0.0/8"), 3);
	assert_int_equal(add(p, "block class=tor dir=in"), 4);
	assert_int_equal(policy_remove(p, 2, NULL), 0);
	assert_int_equal(add(p, "watch class=quic"), 5);
	assert_int_equal(p->n_rules, 4);
	policy_free(p);
}

static void an_equal_subject_is_replaced_and_becomes_the_later_line(void **state)
{
	struct policy *p = policy_new();

	(void)state;
	add(p, "block class=tor");
	add(p, "watch class=tor dir=in");
	assert_int_equal(add(p, "limit class=tor rate=1mbit burst=16kb"), 1);
	assert_written(p, "default watch\n"
			  "watch class=tor dir=in\n"
			  "limit class=tor rate=1mbit burst=16kb\n");
	policy_free(p);
}

static void a_network_of_another_length_is_another_subject(void **state)
{
	struct policy *p = policy_new();

	(void)state;
	assert_int_equal(add(p, "block net=10.0.0.0/8"), 1);
	assert_int_equal(add(p, "allow net=10.0.0.0/16"), 2);
	policy_free(p);
}

/* As a damaged or edited file may have it. */
static void no_id_is_given_twice_whatever_the_next_one_is_said_to_be(void **state)
{
	struct policy *p = policy_new();

	(void)state;
	add(p, "block class=tor");
	p->next_id = 1;
	assert_int_equal(add(p, "block class=tls"), 2);
	policy_free(p);
}

static void removing_what_is_not_there_is_told(void **state)
{
	struct policy *p = policy_new();
	struct error e;

	(void)state;
	assert_int_equal(policy_remove(p, 7, &e), -ENOENT);
	assert_string_equal(e.text, "no rule 7; `nmctl policy show` lists them");
	policy_free(p);
}

static void ids_stay_below_the_counters_rows_however_often_rules_change(void **state)
{
	struct policy *p = policy_new();
	int kept = add(p, "block class=tor");

	(void)state;
	for (int i = 0; i < 3 * MAX_RULES; i++) {
		int id = add(p, "block class=tls");

		assert_in_range(id, 1, MAX_RULES - 1);
		assert_int_not_equal(id, kept);
		assert_int_equal(policy_remove(p, (uint32_t)id, NULL), 0);
	}
	policy_free(p);
}

static void a_full_policy_takes_no_rule_but_a_replacement(void **state)
{
	struct policy *p = policy_new();
	bool seen[MAX_RULES] = {false};
	struct policy_rule rule = {
		.verb = POLICY_BLOCK, .dir = POLICY_DIR_BOTH, .has_net = true, .prefix_len = 128};
	struct error e;

	(void)state;
	for (int i = 1; i < MAX_RULES; i++) {
		int id;

		rule.net[15] = (uint8_t)i;
		rule.net[14] = (uint8_t)(i >> 8);
		id = policy_add(p, &rule, NULL);
		assert_in_range(id, 1, MAX_RULES - 1);
		assert_false(seen[id]);
		seen[id] = true;
	}
	rule.verb = POLICY_WATCH;
	assert_int_equal(policy_add(p, &rule, NULL), MAX_RULES - 1);
	rule.net[0] = 1;
	assert_int_equal(policy_add(p, &rule, &e), -E2BIG);
	assert_string_equal(e.text, "too many rules; at most 1023");
	policy_free(p);
}

static void a_copy_lives_alone(void **state)
{
	struct policy *p = read_policy("block class=tor\n"), *copy;

	(void)state;
	assert_int_equal(policy_copy(p, &copy), 0);
	policy_free(p);
	add(copy, "block class=tls");
	assert_written(copy, "default watch\nblock class=tor\nblock class=tls\n");
	policy_free(copy);
}

static void a_new_policy_keeps_the_ids_of_rules_that_stay(void **state)
{
	struct policy *from = read_policy("block class=tor\nblock class=tls\nblock class=p2p\n");
	struct policy *to = read_policy("watch class=quic\nlimit class=p2p rate=1mbit\n"
					"block class=tor\nblock class=tls dir=in\n");

	(void)state;
	policy_keep_ids(to, from);
	assert_int_equal(to->rules[0].id, 4);
	assert_int_equal(to->rules[1].id, 3);
	assert_int_equal(to->rules[2].id, 1);
	assert_int_equal(to->rules[3].id, 5);
	assert_int_equal(add(to, "block class=mail"), 6);
	policy_free(from);
	policy_free(to);
}

/* Its counters would go on as another rule's. */
static void an_id_that_was_given_is_not_given_again_at_once(void **state)
{
	struct policy *from = read_policy("block class=tor\n");
	struct policy *to = read_policy("block class=tls\n");

	(void)state;
	from->next_id = 9;
	policy_keep_ids(to, from);
	assert_int_equal(to->rules[0].id, 9);
	assert_int_equal(policy_remove(to, 9, NULL), 0);
	assert_int_equal(add(to, "block class=quic"), 10);
	policy_free(to);
	to = read_policy("block class=tls\n");
	from->next_id = MAX_RULES; /* all were given once */
	policy_keep_ids(to, from);
	assert_int_equal(to->rules[0].id, 2);
	policy_free(from);
	policy_free(to);
}

static void full_policies_change_places_without_a_double_id(void **state)
{
	struct policy *from = policy_new(), *to = policy_new();
	bool seen[MAX_RULES] = {false};
	struct policy_rule rule = {
		.verb = POLICY_BLOCK, .dir = POLICY_DIR_BOTH, .has_net = true, .prefix_len = 128};

	(void)state;
	for (int i = 1; i < MAX_RULES; i++) {
		rule.net[15] = (uint8_t)i;
		rule.net[14] = (uint8_t)(i >> 8);
		rule.net[0] = 0;
		policy_add(from, &rule, NULL);
		rule.net[0] = i % 2; /* half of them stay */
		policy_add(to, &rule, NULL);
	}
	policy_keep_ids(to, from);
	for (uint32_t i = 0; i < to->n_rules; i++) {
		assert_in_range(to->rules[i].id, 1, MAX_RULES - 1);
		assert_false(seen[to->rules[i].id]);
		seen[to->rules[i].id] = true;
		if (to->rules[i].net[0] == 0)
			assert_int_equal(to->rules[i].id, from->rules[i].id);
	}
	policy_free(from);
	policy_free(to);
}

static void assert_diff(const char *from_text, const char *to_text, const char *expected)
{
	struct policy *from = read_policy(from_text), *to = read_policy(to_text);
	char *diff = policy_diff(from, to);

	assert_string_equal(diff, expected);
	free(diff);
	policy_free(from);
	policy_free(to);
}

static void a_difference_names_what_goes_and_what_comes(void **state)
{
	(void)state;
	assert_diff("block class=tor\nblock class=tls\n", "block class=tor\nblock class=tls\n", "");
	assert_diff("", "block class=tor\n", "+ block class=tor\n");
	assert_diff("block class=tor\n", "", "- block class=tor\n");
	assert_diff("block class=tor\nwatch class=tls\nblock class=p2p\n",
		    "default allow\nblock class=tor\nblock class=p2p force\n",
		    "- default watch\n+ default allow\n- watch class=tls\n- block class=p2p\n"
		    "+ block class=p2p force\n");
}

static void the_order_of_rules_is_part_of_the_difference(void **state)
{
	(void)state;
	assert_diff("block class=tor\nwatch class=tor dir=in\n",
		    "watch class=tor dir=in\nblock class=tor\n",
		    "- block class=tor\n+ block class=tor\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_written_policy_reads_back_the_same),
		cmocka_unit_test(a_rule_that_runs_out_is_written_with_its_end),
		cmocka_unit_test(a_rule_too_long_for_its_buffer_is_cut_and_its_length_told),
		cmocka_unit_test(ids_are_given_in_order_and_stay_while_the_rule_stays),
		cmocka_unit_test(an_equal_subject_is_replaced_and_becomes_the_later_line),
		cmocka_unit_test(a_network_of_another_length_is_another_subject),
		cmocka_unit_test(no_id_is_given_twice_whatever_the_next_one_is_said_to_be),
		cmocka_unit_test(removing_what_is_not_there_is_told),
		cmocka_unit_test(ids_stay_below_the_counters_rows_however_often_rules_change),
		cmocka_unit_test(a_full_policy_takes_no_rule_but_a_replacement),
		cmocka_unit_test(a_copy_lives_alone),
		cmocka_unit_test(a_new_policy_keeps_the_ids_of_rules_that_stay),
		cmocka_unit_test(an_id_that_was_given_is_not_given_again_at_once),
		cmocka_unit_test(full_policies_change_places_without_a_double_id),
		cmocka_unit_test(a_difference_names_what_goes_and_what_comes),
		cmocka_unit_test(the_order_of_rules_is_part_of_the_difference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
