/* SPDX-License-Identifier: BSD-2-Clause */
/* Rules to map entries: which rule decides which class in which zone, meters, the safety net. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "agent/policy/policy.h"
#include "maps/packet_record.h"
#include "tests/policy/classes.h"

static int compile(const char *text, struct policy_program **ret, struct error *e)
{
	struct policy *p;
	int err = policy_parse("t.policy", text, strlen(text), &p, e);

	if (err)
		return err;
	err = policy_compile(p, &shipped_classes, NULL, 0, ret, e);
	policy_free(p);
	return err;
}

static struct policy_program *compiled(const char *text)
{
	struct policy_program *program;
	struct error e = {0};

	if (compile(text, &program, &e) != 0)
		fail_msg("%s", e.text);
	return program;
}

static void assert_refused(const char *text, int code, const char *expected)
{
	struct policy_program *program;
	struct error e = {0};

	assert_int_equal(compile(text, &program, &e), code);
	assert_string_equal(e.text, expected);
}

/* What happens to a flow of class `class` whose other end is addr; NULL addr: no zone. */
static const struct policy_action *entry(const struct policy_program *program, const char *addr,
					 const char *class, int hook)
{
	uint8_t bytes[16], prefix_len;
	uint32_t zone = ZONE_DEFAULT;

	if (addr) {
		assert_int_equal(policy_prefix_parse(addr, bytes, &prefix_len, NULL), 0);
		zone = policy_zone_of(program, bytes, NULL);
	}
	return &program->entries[policy_index(zone, class_id(class))].by_hook[hook];
}

static uint32_t zone_of(const struct policy_program *program, const char *addr)
{
	uint8_t bytes[16], prefix_len;

	assert_int_equal(policy_prefix_parse(addr, bytes, &prefix_len, NULL), 0);
	return policy_zone_of(program, bytes, NULL);
}

#define RULE(addr, class)   entry(program, addr, class, HOOK_INGRESS)->rule_id
#define ACTION(addr, class) entry(program, addr, class, HOOK_INGRESS)->action

static void an_empty_policy_is_all_zero_but_for_never(void **state)
{
	struct policy_program *program = compiled("");
	static const struct policy_entry zero[MAX_CLASSES];

	(void)state;
	assert_memory_equal(program->entries, zero, sizeof(zero));
	assert_int_equal(program->entries[policy_index(ZONE_NEVER, 5)].by_hook[0].action,
			 ACTION_PASS);
	assert_int_equal(program->n_zones, 0);
	assert_int_equal(program->n_meters, 0);
	assert_string_equal(program->notes, "");
	policy_program_free(program);
}

static void a_blocked_class_is_dropped_and_no_other(void **state)
{
	struct policy_program *program = compiled("block class=tor\n");

	(void)state;
	for (uint32_t id = 0; id < MAX_CLASSES; id++) {
		const struct policy_action *a = program->entries[id].by_hook;
		int expected = id == class_id("tor") ? ACTION_DROP : ACTION_WATCH;

		assert_int_equal(a[HOOK_INGRESS].action, expected);
		assert_int_equal(a[HOOK_EGRESS].action, expected);
		assert_int_equal(a[HOOK_INGRESS].rule_id, expected == ACTION_DROP);
	}
	policy_program_free(program);
}

static void a_direction_is_one_hook(void **state)
{
	struct policy_program *program = compiled("block class=tor dir=in\n"
						  "block class=tls dir=out\n");

	(void)state;
	assert_int_equal(entry(program, NULL, "tor", HOOK_INGRESS)->action, ACTION_DROP);
	assert_int_equal(entry(program, NULL, "tor", HOOK_EGRESS)->action, ACTION_WATCH);
	assert_int_equal(entry(program, NULL, "tls", HOOK_INGRESS)->action, ACTION_WATCH);
	assert_int_equal(entry(program, NULL, "tls", HOOK_EGRESS)->action, ACTION_DROP);
	policy_program_free(program);
}

static void the_default_covers_what_no_rule_does(void **state)
{
	struct policy_program *program = compiled("default allow\nblock class=tor\n");

	(void)state;
	assert_int_equal(ACTION(NULL, "tls"), ACTION_PASS);
	assert_int_equal(ACTION(NULL, "unknown"), ACTION_PASS);
	assert_int_equal(RULE(NULL, "tls"), 0);
	assert_int_equal(ACTION(NULL, "tor"), ACTION_DROP);
	policy_program_free(program);
}

static void acting_on_every_class_leaves_unknown_alone(void **state)
{
	struct policy_program *program = compiled("block net=10.0.0.0/8\n"
						  "limit rate=1mbit\n"
						  "watch net=192.0.2.0/24\n");

	(void)state;
	assert_int_equal(ACTION("10.1.1.1", "tls"), ACTION_DROP);
	assert_int_equal(ACTION("10.1.1.1", "unknown"), ACTION_WATCH);
	assert_int_equal(RULE("10.1.1.1", "unknown"), 0);
	assert_int_equal(ACTION(NULL, "tls"), ACTION_LIMIT);
	assert_int_equal(ACTION(NULL, "unknown"), ACTION_WATCH);
	assert_int_equal(RULE("192.0.2.1", "unknown"), 3);
	policy_program_free(program);
}

static void a_named_unknown_is_acted_on_and_noted(void **state)
{
	struct policy_program *program = compiled("block class=unknown\n");

	(void)state;
	assert_int_equal(ACTION(NULL, "unknown"), ACTION_DROP);
	assert_string_equal(program->notes, "t.policy:1: block class=unknown: acts on every flow "
					    "that the model does not know\n");
	policy_program_free(program);
}

static void the_longest_prefix_decides_wherever_it_stands(void **state)
{
	struct policy_program *program = compiled("block class=tor net=10.1.2.0/24\n"
						  "allow class=tor net=10.1.0.0/16\n"
						  "limit class=tor net=10.0.0.0/8 rate=1mbit\n"
						  "watch class=tor\n");

	(void)state;
	assert_int_equal(ACTION("10.1.2.3", "tor"), ACTION_DROP);
	assert_int_equal(ACTION("10.1.3.3", "tor"), ACTION_PASS);
	assert_int_equal(ACTION("10.2.3.3", "tor"), ACTION_LIMIT);
	assert_int_equal(RULE("11.2.3.3", "tor"), 4);
	policy_program_free(program);
}

static void a_network_outranks_a_class(void **state)
{
	struct policy_program *program = compiled("limit net=10.0.0.0/8 rate=1mbit\n"
						  "block class=tor\n");

	(void)state;
	assert_int_equal(ACTION("10.1.1.1", "tor"), ACTION_LIMIT);
	assert_int_equal(ACTION("192.0.2.1", "tor"), ACTION_DROP);
	policy_program_free(program);
}

static void at_one_prefix_a_class_decides_before_none(void **state)
{
	struct policy_program *program = compiled("block class=tor net=10.0.0.0/8\n"
						  "limit net=10.0.0.0/8 rate=1mbit\n");

	(void)state;
	assert_int_equal(ACTION("10.1.1.1", "tor"), ACTION_DROP);
	assert_int_equal(ACTION("10.1.1.1", "tls"), ACTION_LIMIT);
	policy_program_free(program);
}

static void a_narrow_zone_keeps_what_only_wider_rules_say(void **state)
{
	struct policy_program *program = compiled("block class=tor net=10.0.0.0/8\n"
						  "block class=tls net=10.1.0.0/16\n"
						  "watch class=quic\n");

	(void)state;
	assert_int_equal(ACTION("10.1.1.1", "tls"), ACTION_DROP);
	assert_int_equal(RULE("10.1.1.1", "tor"), 1);
	assert_int_equal(RULE("10.1.1.1", "quic"), 3);
	policy_program_free(program);
}

static void at_equal_rank_the_later_line_decides(void **state)
{
	struct policy_program *program = compiled("block class=tor\nwatch class=tor dir=in\n");

	(void)state;
	assert_int_equal(entry(program, NULL, "tor", HOOK_INGRESS)->rule_id, 2);
	assert_int_equal(entry(program, NULL, "tor", HOOK_EGRESS)->rule_id, 1);
	policy_program_free(program);
	program = compiled("watch class=tor dir=in\nblock class=tor\n");
	assert_int_equal(entry(program, NULL, "tor", HOOK_INGRESS)->rule_id, 2);
	assert_string_equal(program->notes,
			    "t.policy:1: watch class=tor dir=in: decides nothing: other rules or "
			    "the setting never stand before it\n");
	policy_program_free(program);
}

static void an_allowed_network_is_never_acted_on(void **state)
{
	struct policy_program *program = compiled("allow net=10.0.0.0/8\n"
						  "block class=tor\n"
						  "block class=tor net=10.1.0.0/16 force\n");

	(void)state;
	assert_int_equal(zone_of(program, "10.2.0.1"), ZONE_NEVER);
	assert_int_equal(ACTION("10.2.0.1", "tor"), ACTION_PASS);
	/* A narrower rule is still heard. */
	assert_int_not_equal(zone_of(program, "10.1.0.1"), ZONE_NEVER);
	assert_int_equal(ACTION("10.1.0.1", "tor"), ACTION_DROP);
	assert_int_equal(ACTION("10.1.0.1", "tls"), ACTION_PASS);
	assert_string_equal(program->notes, "");
	policy_program_free(program);
}

static void an_allow_of_some_kind_only_does_not_exempt(void **state)
{
	struct policy_program *program = compiled("allow net=10.0.0.0/8 dir=in\n"
						  "allow class=tls net=192.0.2.0/24\n"
						  "allow net=198.51.100.0/24\n"
						  "block class=tor net=198.51.100.0/24\n"
						  "allow net=203.0.113.0/24\n"
						  "block class=tor net=203.0.113.0/24 dir=out\n");

	(void)state;
	assert_int_not_equal(zone_of(program, "10.0.0.1"), ZONE_NEVER);
	assert_int_not_equal(zone_of(program, "192.0.2.1"), ZONE_NEVER);
	/* By precedence, the rule with a class decides at the same prefix. */
	assert_int_equal(ACTION("198.51.100.1", "tor"), ACTION_DROP);
	assert_int_equal(ACTION("198.51.100.1", "tls"), ACTION_PASS);
	/* Also where it is of one direction only. */
	assert_int_equal(entry(program, "203.0.113.1", "tor", HOOK_EGRESS)->action, ACTION_DROP);
	policy_program_free(program);
}

static void networks_in_the_settings_stand_above_every_rule(void **state)
{
	static const char text[] = "block net=10.1.0.0/16 force\nblock net=10.0.0.0/8\n";
	const struct zone_key never[] = {
		{.prefix_len = 112, .addr = "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01"},
		{.prefix_len = 112, .addr = "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01"}};
	struct policy_program *program;
	struct policy *p;

	(void)state;
	assert_int_equal(policy_parse("t.policy", text, strlen(text), &p, NULL), 0);
	assert_int_equal(policy_compile(p, &shipped_classes, never, 2, &program, NULL), 0);
	assert_int_equal(zone_of(program, "10.1.2.3"), ZONE_NEVER);
	assert_int_equal(ACTION("10.2.2.3", "tor"), ACTION_DROP);
	assert_int_equal(program->n_zones, 2);
	assert_non_null(strstr(program->notes, "t.policy:1: block net=10.1.0.0/16 force: decides "
					       "nothing"));
	policy_program_free(program);
	policy_free(p);
}

/* Whoever may block a part of a network that the settings exempt has not exempted it. */
static void no_rule_reaches_into_a_network_of_the_settings(void **state)
{
	static const char text[] = "block net=10.1.2.0/24 force\n";
	const struct zone_key never = {.prefix_len = 112,
				       .addr = "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01"};
	struct policy_program *program;
	struct policy *p;

	(void)state;
	assert_int_equal(policy_parse("t.policy", text, strlen(text), &p, NULL), 0);
	assert_int_equal(policy_compile(p, &shipped_classes, &never, 1, &program, NULL), 0);
	assert_int_equal(zone_of(program, "10.1.2.3"), ZONE_NEVER);
	policy_program_free(program);
	policy_free(p);
}

static void a_rule_of_a_narrow_network_says_nothing_about_the_wider_one(void **state)
{
	struct policy_program *program = compiled("block class=tor net=10.0.0.0/16\n"
						  "block class=tls net=10.0.0.0/8\n");

	(void)state;
	assert_int_equal(ACTION("10.0.1.1", "tor"), ACTION_DROP);
	assert_int_equal(ACTION("10.1.0.1", "tor"), ACTION_WATCH);
	assert_int_equal(ACTION("10.1.0.1", "tls"), ACTION_DROP);
	policy_program_free(program);
}

static void two_rules_of_one_network_share_its_zone(void **state)
{
	struct policy_program *program = compiled("block class=tor net=10.0.0.0/8\n"
						  "block class=tls net=10.0.0.0/8\n");

	(void)state;
	assert_int_equal(program->n_zones, 1);
	policy_program_free(program);
}

static void every_address_of_both_families_is_one_prefix(void **state)
{
	struct policy_program *program = compiled("block class=tor net=::/0\n"
						  "allow class=tor net=0.0.0.0/0\n");

	(void)state;
	assert_int_equal(ACTION("2001:db8::1", "tor"), ACTION_DROP);
	assert_int_equal(ACTION("192.0.2.1", "tor"), ACTION_PASS);
	policy_program_free(program);
}

static void a_zone_is_found_with_its_prefix(void **state)
{
	struct policy_program *program = compiled("block class=tor net=10.1.2.0/23\n");
	uint8_t addr[16], prefix_len;

	(void)state;
	assert_int_equal(policy_prefix_parse("10.1.3.255", addr, &prefix_len, NULL), 0);
	assert_int_equal(policy_zone_of(program, addr, &prefix_len), 2);
	assert_int_equal(prefix_len, 119);
	assert_int_equal(zone_of(program, "10.1.1.255"), ZONE_DEFAULT);
	assert_int_equal(policy_prefix_parse("10.1.4.0", addr, &prefix_len, NULL), 0);
	assert_int_equal(policy_zone_of(program, addr, &prefix_len), ZONE_DEFAULT);
	assert_int_equal(prefix_len, 0);
	policy_program_free(program);
}

static void one_meter_serves_all_that_a_rule_covers(void **state)
{
	struct policy_program *program = compiled("limit class=tor rate=2mbit burst=50kb\n"
						  "limit net=10.0.0.0/8 rate=8kbit\n"
						  "block class=quic net=10.1.0.0/16\n");
	const struct policy_action *wide = entry(program, "10.2.0.1", "tls", HOOK_INGRESS);
	const struct policy_action *narrow = entry(program, "10.1.0.1", "http", HOOK_EGRESS);
	const struct policy_action *tor = entry(program, NULL, "tor", HOOK_INGRESS);

	(void)state;
	assert_int_equal(program->n_meters, 2);
	assert_int_equal(wide->meter_id, narrow->meter_id);
	assert_int_equal(program->meter_rule_id[wide->meter_id], 2);
	assert_int_equal(program->meter_rule_id[tor->meter_id], 1);
	assert_int_equal(program->meters[tor->meter_id].ps_per_byte, 4000000);
	assert_int_equal(program->meters[tor->meter_id].burst_ns, 200000000);
	assert_int_equal(program->meters[wide->meter_id].ps_per_byte, 1000000000);
	assert_int_equal(program->meters[0].ps_per_byte, 0);
	policy_program_free(program);
}

static void the_extremes_of_rate_and_burst_fit_a_meter(void **state)
{
	struct policy_program *program = compiled("limit class=tor rate=8kbit burst=1000mb\n"
						  "limit class=tls rate=100gbit burst=1500b\n");

	(void)state;
	assert_int_equal(program->meters[1].burst_ns, 1000000000000000ULL);
	assert_int_equal(program->meters[2].ps_per_byte, 80);
	assert_int_equal(program->meters[2].burst_ns, 120);
	policy_program_free(program);
}

static void bittorrent_means_p2p_where_the_model_has_no_other(void **state)
{
	static const char both[][CLASS_NAME_LEN] = {"unknown", "p2p", "bittorrent"};
	const struct policy_classes classes = {.n = 3, .name = both};
	struct policy_program *program = compiled("block class=bittorrent\n");
	struct policy *p;

	(void)state;
	assert_int_equal(ACTION(NULL, "p2p"), ACTION_DROP);
	policy_program_free(program);
	assert_int_equal(policy_parse("t", "block class=bittorrent", 22, &p, NULL), 0);
	assert_int_equal(policy_compile(p, &classes, NULL, 0, &program, NULL), 0);
	assert_int_equal(program->entries[1].by_hook[0].action, ACTION_WATCH);
	assert_int_equal(program->entries[2].by_hook[0].action, ACTION_DROP);
	policy_program_free(program);
	policy_free(p);
}

static void a_class_that_the_model_has_not_is_refused_with_those_it_has(void **state)
{
	static const char few[][CLASS_NAME_LEN] = {"unknown", "tor", "", "tls"};
	const struct policy_classes classes = {.n = 4, .name = few};
	struct policy_program *program;
	struct error e;
	struct policy *p;

	(void)state;
	assert_int_equal(policy_parse("t.policy", "\nblock class=torr", 17, &p, NULL), 0);
	assert_int_equal(policy_compile(p, &classes, NULL, 0, &program, &e), -ENOENT);
	assert_string_equal(e.text, "t.policy:2: class=torr: no such class; did you mean tor? "
				    "there are: unknown tor tls");
	p->name[0] = '\0';
	assert_int_equal(policy_compile(p, &classes, NULL, 0, &program, &e), -ENOENT);
	assert_memory_equal(e.text, "line 2: class=torr: ", 20);
	strcpy(p->rules[0].class_name, "mining");
	p->rules[0].line = 0;
	assert_int_equal(policy_compile(p, &classes, NULL, 0, &program, &e), -ENOENT);
	assert_string_equal(e.text, "class=mining: no such class; there are: unknown tor tls");
	policy_free(p);
}

static void a_list_of_classes_too_long_for_the_message_is_cut_visibly(void **state)
{
	struct policy_program *program;
	struct error e;

	(void)state;
	assert_int_equal(compile("block class=skype\n", &program, &e), -ENOENT);
	assert_non_null(strstr(e.text, "there are: unknown database dns"));
	assert_string_equal(e.text + strlen(e.text) - 4, " ...");
}

static void protected_classes_want_force(void **state)
{
	struct policy_program *program;

	(void)state;
	assert_refused("block class=ssh\n", -EPERM,
		       "t.policy:1: block class=ssh: the safety net protects ssh; add force to "
		       "act on it");
	assert_refused("limit class=dns net=10.0.0.0/8 rate=1mbit burst=16kb\n", -EPERM,
		       "t.policy:1: limit class=dns net=10.0.0.0/8 rate=1mbit burst=16kb: the "
		       "safety net protects dns; add force to act on it");
	program = compiled("block class=ssh force\nallow class=dns\n");
	assert_int_equal(entry(program, NULL, "ssh", HOOK_INGRESS)->flags, POLICY_FORCE);
	assert_int_equal(entry(program, NULL, "dns", HOOK_INGRESS)->flags, 0);
	policy_program_free(program);
}

static void watch_only_classes_want_force(void **state)
{
	static const char names[][CLASS_NAME_LEN] = {"unknown", "mining"};
	static const bool watch_only[] = {false, true};
	const struct policy_classes classes = {.n = 2, .name = names, .watch_only = watch_only};
	struct policy_program *program;
	struct error e;
	struct policy *p;

	(void)state;
	assert_int_equal(policy_parse("t.policy", "block class=mining", 18, &p, NULL), 0);
	assert_int_equal(policy_compile(p, &classes, NULL, 0, &program, &e), -EPERM);
	assert_string_equal(e.text, "t.policy:1: block class=mining: the model knows mining too "
				    "badly to act on it (watch only); add force to do so all the "
				    "same");
	p->rules[0].force = true;
	assert_int_equal(policy_compile(p, &classes, NULL, 0, &program, &e), 0);
	policy_program_free(program);
	p->rules[0].force = false;
	p->rules[0].verb = POLICY_WATCH;
	assert_int_equal(policy_compile(p, &classes, NULL, 0, &program, &e), 0);
	policy_program_free(program);
	policy_free(p);
}

static void a_rule_that_protected_ports_escape_is_noted(void **state)
{
	struct policy_program *program = compiled("block class=dns-tunnel\n"
						  "block class=encrypted-dns force\n"
						  "watch class=dns-tunnel net=10.0.0.0/8\n");

	(void)state;
	assert_string_equal(program->notes,
			    "t.policy:1: block class=dns-tunnel: flows on protected ports (ssh, "
			    "DNS, DHCP) pass all the same; force acts on them too\n");
	policy_program_free(program);
}

static void notes_beyond_their_room_are_counted(void **state)
{
	struct policy_program *program;
	char text[4096] = "";
	int said = 0;

	(void)state;
	for (int i = 0; i < 40; i++)
		sprintf(text + strlen(text), "block class=dns-tunnel net=10.0.%d.0/24\n", i);
	program = compiled(text);
	assert_true(strlen(program->notes) < sizeof(program->notes));
	for (const char *c = program->notes; (c = strchr(c, '\n')); c++)
		said++;
	snprintf(text, sizeof(text), "; force acts on them too\nand %d notes more\n",
		 40 - (said - 1));
	assert_string_equal(strrchr(program->notes, ';'), text);
	policy_program_free(program);
}

static void too_many_meters_or_networks_are_refused(void **state)
{
	struct policy_program *program;
	char *text = calloc(1, 65536);
	struct error e;

	(void)state;
	for (int i = 0; i < MAX_METERS - 1; i++)
		sprintf(text + strlen(text), "limit class=tor net=10.0.%d.0/24 rate=1mbit\n",
			i % 200 + 1);
	/* 255 lines, 200 networks: 55 were replaced */
	program = compiled(text);
	assert_int_equal(program->n_meters, 200);
	policy_program_free(program);
	for (int i = 0; i < MAX_METERS; i++)
		sprintf(text + strlen(text), "limit class=tls net=10.1.%d.0/24 rate=1mbit\n", i);
	assert_int_equal(compile(text, &program, &e), -E2BIG);
	assert_string_equal(e.text, "t.policy:311: more than 255 limit rules");
	text[0] = '\0';
	for (int i = 0; i < MAX_ZONES - 1; i++)
		sprintf(text + strlen(text), "block class=tor net=10.1.%d.0/24\n", i);
	assert_int_equal(compile(text, &program, &e), -E2BIG);
	assert_string_equal(e.text, "too many different networks; at most 254");
	*strrchr(text, 'b') = '\0';
	program = compiled(text);
	assert_int_equal(program->n_zones, 254);
	assert_int_equal(ACTION("10.1.253.1", "tor"), ACTION_DROP);
	assert_int_equal(ACTION("10.1.254.1", "tor"), ACTION_WATCH);
	policy_program_free(program);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_policy_is_all_zero_but_for_never),
		cmocka_unit_test(a_blocked_class_is_dropped_and_no_other),
		cmocka_unit_test(a_direction_is_one_hook),
		cmocka_unit_test(the_default_covers_what_no_rule_does),
		cmocka_unit_test(acting_on_every_class_leaves_unknown_alone),
		cmocka_unit_test(a_named_unknown_is_acted_on_and_noted),
		cmocka_unit_test(the_longest_prefix_decides_wherever_it_stands),
		cmocka_unit_test(a_network_outranks_a_class),
		cmocka_unit_test(at_one_prefix_a_class_decides_before_none),
		cmocka_unit_test(a_narrow_zone_keeps_what_only_wider_rules_say),
		cmocka_unit_test(at_equal_rank_the_later_line_decides),
		cmocka_unit_test(an_allowed_network_is_never_acted_on),
		cmocka_unit_test(an_allow_of_some_kind_only_does_not_exempt),
		cmocka_unit_test(networks_in_the_settings_stand_above_every_rule),
		cmocka_unit_test(no_rule_reaches_into_a_network_of_the_settings),
		cmocka_unit_test(a_rule_of_a_narrow_network_says_nothing_about_the_wider_one),
		cmocka_unit_test(two_rules_of_one_network_share_its_zone),
		cmocka_unit_test(every_address_of_both_families_is_one_prefix),
		cmocka_unit_test(a_zone_is_found_with_its_prefix),
		cmocka_unit_test(one_meter_serves_all_that_a_rule_covers),
		cmocka_unit_test(the_extremes_of_rate_and_burst_fit_a_meter),
		cmocka_unit_test(bittorrent_means_p2p_where_the_model_has_no_other),
		cmocka_unit_test(a_class_that_the_model_has_not_is_refused_with_those_it_has),
		cmocka_unit_test(a_list_of_classes_too_long_for_the_message_is_cut_visibly),
		cmocka_unit_test(protected_classes_want_force),
		cmocka_unit_test(watch_only_classes_want_force),
		cmocka_unit_test(a_rule_that_protected_ports_escape_is_noted),
		cmocka_unit_test(notes_beyond_their_room_are_counted),
		cmocka_unit_test(too_many_meters_or_networks_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
