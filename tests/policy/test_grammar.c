/* SPDX-License-Identifier: BSD-2-Clause */
/* Words and files to rules, and the exact words of each refusal. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "agent/policy/policy.h"

#define PARSE(text, ret, e) policy_parse("t.policy", text, strlen(text), ret, e)

static struct policy_rule one_rule(const char *line)
{
	struct policy_rule rule;
	struct policy *p;
	struct error e = {0};

	if (PARSE(line, &p, &e) != 0)
		fail_msg("%s: %s", line, e.text);
	assert_int_equal(p->n_rules, 1);
	rule = p->rules[0];
	policy_free(p);
	return rule;
}

static void each_word_sets_its_field(void **state)
{
	struct policy_rule r = one_rule(
		"limit class=tor net=10.0.0.0/8 dir=in rate=2mbit burst=64kb for=1h force");

	(void)state;
	assert_int_equal(r.verb, POLICY_LIMIT);
	assert_string_equal(r.class_name, "tor");
	assert_true(r.has_net);
	assert_int_equal(r.prefix_len, 104);
	assert_memory_equal(r.net, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\0", 16);
	assert_int_equal(r.dir, POLICY_DIR_IN);
	assert_int_equal(r.rate_bytes_per_s, 250000);
	assert_int_equal(r.burst_bytes, 64000);
	assert_int_equal(r.for_s, 3600);
	assert_true(r.force);
	assert_int_equal(r.id, 1);
	assert_int_equal(r.line, 1);
}

static void what_is_left_out_has_its_default(void **state)
{
	struct policy_rule r = one_rule("block class=tor");

	(void)state;
	assert_false(r.has_net);
	assert_int_equal(r.dir, POLICY_DIR_BOTH);
	assert_false(r.force);
	assert_int_equal(r.for_s, 0);
	assert_int_equal(r.expires_at, 0);
	/* 100 ms of the rate, at least 16 kb */
	assert_int_equal(one_rule("limit class=p2p rate=8mbit").burst_bytes, 100000);
	assert_int_equal(one_rule("limit class=p2p rate=100kbit").burst_bytes, 16000);
	assert_int_equal(one_rule("limit class=p2p rate=100gbit").burst_bytes, 1000000000);
}

static void rates_and_times_are_read_in_every_unit(void **state)
{
	(void)state;
	assert_int_equal(one_rule("limit rate=8000bit").rate_bytes_per_s, 1000);
	assert_int_equal(one_rule("limit rate=8kbit").rate_bytes_per_s, 1000);
	assert_int_equal(one_rule("limit rate=1gbit").rate_bytes_per_s, 125000000);
	assert_int_equal(one_rule("limit rate=1gbit burst=1500b").burst_bytes, 1500);
	assert_int_equal(one_rule("limit rate=1gbit burst=2mb").burst_bytes, 2000000);
	assert_int_equal(one_rule("block class=tor for=90s").for_s, 90);
	assert_int_equal(one_rule("block class=tor for=10m").for_s, 600);
	assert_int_equal(one_rule("block class=tor for=7d").for_s, 604800);
	assert_int_equal(one_rule("block class=tor until=2026-11-24T23:00:00Z").expires_at,
			 1795561200);
}

static void prefixes_of_both_families_are_read(void **state)
{
	struct policy_rule r = one_rule("block net=2001:db8::/32");

	(void)state;
	assert_int_equal(r.prefix_len, 32);
	assert_memory_equal(r.net, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_int_equal(one_rule("block net=192.0.2.7").prefix_len, 128);
	assert_int_equal(one_rule("block net=0.0.0.0/0").prefix_len, 96);
	assert_int_equal(one_rule("block net=::/0").prefix_len, 0);
	assert_int_equal(one_rule("block net=::ffff:10.0.0.0/104").prefix_len, 104);
}

static void a_typed_rule_and_a_line_of_a_file_are_the_same(void **state)
{
	const char *words[] = {"limit", "class=p2p", "rate=2mbit"};
	struct policy_rule typed, filed = one_rule("  limit\tclass=p2p rate=2mbit # says so\r\n");

	(void)state;
	memset(&typed, 0xff, sizeof(typed));
	assert_int_equal(policy_rule_parse(words, 3, &typed, NULL), 0);
	filed.id = filed.line = 0;
	assert_memory_equal(&typed, &filed, sizeof(typed));
}

static void comments_blank_lines_and_a_missing_newline_are_no_fault(void **state)
{
	struct policy *p;

	(void)state;
	assert_int_equal(PARSE("# Tür zu\n\n \t \r\ndefault allow\nblock class=tor", &p, NULL), 0);
	assert_int_equal(p->n_rules, 1);
	assert_int_equal(p->rules[0].line, 5);
	assert_int_equal(p->default_verb, POLICY_ALLOW);
	policy_free(p);
	assert_int_equal(PARSE("", &p, NULL), 0);
	assert_int_equal(p->n_rules, 0);
	assert_int_equal(p->default_verb, POLICY_WATCH);
	policy_free(p);
}

static const struct {
	const char *line, *text;
} refused[] = {
	{"blok class=tor", "unknown verb \"blok\"; did you mean block?"},
	{"drop class=tor", "unknown verb \"drop\"; use block, limit, watch or allow"},
	{"BLOCK class=tor", "unknown verb \"BLOCK\"; use block, limit, watch or allow"},
	{"block clas=tor", "clas=tor: unknown key \"clas\"; did you mean class?"},
	{"block tor", "unknown word \"tor\"; a word is KEY=VALUE, as class=tor, or force"},
	{"block zone=a",
	 "zone=a: unknown key \"zone\"; use class=, net=, dir=, rate=, burst=, for=, until=, "
	 "confirm= or force"},
	{"block =tor", "=tor: unknown key \"\"; use class=, net=, dir=, rate=, burst=, for=, "
		       "until=, confirm= or force"},
	{"block class=tor forse", "forse: unknown key \"forse\"; did you mean force?"},
	{"block class", "class: wants a value, as class=tor"},
	{"block class=", "class=: wants a value, as class=tor"},
	{"block class=tor class=tls", "class=tls: class was given before"},
	{"block class=tor force force", "force: force was given before"},
	{"block class=tor force=yes", "force=yes: takes no value; write force"},
	{"block class=Tor", "class=Tor: a class name has small letters, digits and - only"},
	{"block class=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	 "class=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: a class name has at most 31 letters"},
	{"block class=tor rate=2mbit", "rate=2mbit: does not go with block; it belongs to limit"},
	{"allow class=tor burst=2kb", "burst=2kb: does not go with allow; it belongs to limit"},
	{"allow class=tor force", "force: does not go with allow; it belongs to block and limit"},
	{"watch class=tor force", "force: does not go with watch; it belongs to block and limit"},
	{"limit class=tor", "limit wants a rate, as rate=2mbit"},
	{"limit class=tor burst=64kb", "limit wants a rate, as rate=2mbit"},
	{"limit class=tor rate=2mbt", "rate=2mbt: unknown unit \"mbt\"; use bit, kbit, mbit, gbit"},
	{"limit class=tor rate=2mbps",
	 "rate=2mbps: unknown unit \"mbps\"; use bit, kbit, mbit, gbit"},
	{"limit class=tor rate=2", "rate=2: has no unit; use bit, kbit, mbit, gbit"},
	{"limit class=tor rate=fast",
	 "rate=fast: wants a whole number and a unit (bit, kbit, mbit, gbit)"},
	{"limit class=tor rate=-2mbit",
	 "rate=-2mbit: wants a whole number and a unit (bit, kbit, mbit, gbit)"},
	{"limit class=tor rate=1.5mbit",
	 "rate=1.5mbit: wants a whole number and a unit (bit, kbit, mbit, gbit)"},
	{"limit class=tor rate=0mbit", "rate=0mbit: zero; to let nothing pass, use block"},
	{"limit class=tor rate=7999bit", "rate=7999bit: too small; at least 8kbit"},
	{"limit class=tor rate=101gbit", "rate=101gbit: too large; at most 100gbit"},
	{"limit class=tor rate=99999999999gbit", "rate=99999999999gbit: too large a number"},
	{"limit class=tor rate=99999999999999999999bit",
	 "rate=99999999999999999999bit: too large a number"},
	{"limit class=tor rate=2mbit burst=1kb",
	 "burst=1kb: too small; at least 1500b, a full packet"},
	{"limit class=tor rate=2mbit burst=1001mb", "burst=1001mb: too large; at most 1000mb"},
	{"limit class=tor rate=2mbit burst=2kbit",
	 "burst=2kbit: unknown unit \"kbit\"; use b, kb, mb"},
	{"block class=tor for=0s", "for=0s: zero; at least 1s"},
	{"block class=tor for=1w", "for=1w: unknown unit \"w\"; use s, m, h, d"},
	{"block class=tor for=4000d", "for=4000d: too long; at most 3650d"},
	{"block class=tor until=tomorrow",
	 "until=tomorrow: not a time; write it in UTC as 2026-11-24T23:00:00Z"},
	{"block class=tor until=2026-02-31T00:00:00Z",
	 "until=2026-02-31T00:00:00Z: not a time; write it in UTC as 2026-11-24T23:00:00Z"},
	{"block class=tor for=1h until=2026-11-24T23:00:00Z",
	 "for= and until= say the same thing; give one"},
	{"block class=tor dir=up", "dir=up: unknown direction; use in, out or both"},
	{"block net=10.1.2.3/8",
	 "net=10.1.2.3/8: bits behind the prefix are set; did you mean 10.0.0.0/8?"},
	{"block net=2001:db8::1/64",
	 "net=2001:db8::1/64: bits behind the prefix are set; did you mean 2001:db8::/64?"},
	{"block net=10.0.0.0/33", "net=10.0.0.0/33: a prefix length is at most /32 here"},
	{"block net=10.0.0.0/4294967304",
	 "net=10.0.0.0/4294967304: \"/4294967304\" is not a prefix length; use /0 to /32"},
	{"block net=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	 "net=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: not an address"},
	{"block class=tor for=18446744073709551617s",
	 "for=18446744073709551617s: too large a number"},
	{"block net=::/129", "net=::/129: a prefix length is at most /128 here"},
	{"block net=10.0.0.0/", "net=10.0.0.0/: \"/\" is not a prefix length; use /0 to /32"},
	{"block net=10.0.0.0/8x", "net=10.0.0.0/8x: \"/8x\" is not a prefix length; use /0 to /32"},
	{"block net=10.0.0.0/255.0.0.0",
	 "net=10.0.0.0/255.0.0.0: \"/255.0.0.0\" is not a prefix length; use /0 to /32"},
	{"block net=10.0.0/8", "net=10.0.0/8: \"10.0.0\" is not an address; write 10.0.0.0/8, "
			       "2001:db8::/32 or 192.0.2.7"},
	{"block net=example.org", "net=example.org: \"example.org\" is not an address; write "
				  "10.0.0.0/8, 2001:db8::/32 or 192.0.2.7"},
	{"block class=tor confirm=60s",
	 "confirm= is for the command line, as `nmctl policy apply FILE confirm=60s`"},
	{"block", "block wants class= or net=; everything is net=::/0, and that cuts this host "
		  "off"},
	{"block dir=in", "block wants class= or net=; everything is net=::/0, and that cuts this "
			 "host off"},
	{"watch", "watch wants class= or net=; for all flows put `default watch` into a policy "
		  "file"},
	{"default block", "write `default watch` or `default allow`"},
	{"default", "write `default watch` or `default allow`"},
	{"default watch allow", "write `default watch` or `default allow`"},
	{"block class=t\xc3\xb6r", "byte 0xc3 in a word; words are printable ASCII"},
	{"block class=\x1b[2J", "byte 0x1b in a word; words are printable ASCII"},
	{"block class=\xff", "column 13: byte 0xff is not UTF-8"},
	{"# \xc0\xaf a forged slash", "column 3: byte 0xc0 is not UTF-8"},
	{"# \xed\xa0\x80 a surrogate", "column 3: byte 0xed is not UTF-8"},
	{"# cut \xe2\x82", "column 7: byte 0xe2 is not UTF-8"},
	{"block a a a a a a a a a a a a a a a a", "more than 16 words in a rule"},
};

static void nonsense_is_refused_with_what_would_be_right(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct error e = {0};
		struct policy *p = NULL;
		char expected[512];

		snprintf(expected, sizeof(expected), "t.policy:1: %s", refused[i].text);
		if (PARSE(refused[i].line, &p, &e) == 0)
			fail_msg("accepted: %s", refused[i].line);
		assert_string_equal(e.text, expected);
		assert_true(e.code < 0);
		assert_null(p);
	}
}

static void an_error_names_the_line(void **state)
{
	struct error e;
	struct policy *p;

	(void)state;
	assert_int_equal(PARSE("default watch\n\n# x\nblock class=tor\nblock\n", &p, &e), -EINVAL);
	assert_memory_equal(e.text, "t.policy:5: ", 12);
	assert_int_equal(PARSE("default watch\ndefault watch\n", &p, &e), -EINVAL);
	assert_string_equal(e.text, "t.policy:2: default was set in line 1");
}

static void nul_bytes_and_long_lines_are_refused(void **state)
{
	static const char nul[] = "block class=tor\0 force\n";
	char line[600];
	struct error e;
	struct policy *p;

	(void)state;
	assert_int_equal(policy_parse("t.policy", nul, sizeof(nul) - 1, &p, &e), -EINVAL);
	assert_string_equal(e.text, "t.policy:1: a NUL byte; a policy is a text file");
	memset(line, '#', sizeof(line));
	assert_int_equal(policy_parse("t.policy", line, 513, &p, &e), -EINVAL);
	assert_string_equal(e.text, "t.policy:1: longer than 512 bytes");
	assert_int_equal(policy_parse("t.policy", line, 512, &p, &e), 0);
	policy_free(p);
}

static void more_rules_than_rows_are_refused(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	struct error e;
	struct policy *p;

	(void)state;
	for (int i = 0; i < MAX_RULES; i++)
		fprintf(out, "block net=10.%d.%d.0/24\n", i / 256, i % 256);
	fclose(out);
	assert_int_equal(policy_parse("t.policy", text, len, &p, &e), -E2BIG);
	assert_string_equal(e.text, "t.policy:1024: too many rules; at most 1023");
	free(text);
}

static void words_without_a_file_are_checked_the_same(void **state)
{
	const char *none[1] = {NULL}, *nosuch[] = {"default", "watch"}, *bad[] = {"block", "x\ny"};
	char giant[2000];
	const char *big[] = {"block", giant};
	struct policy_rule r;
	struct error e;

	(void)state;
	assert_int_equal(policy_rule_parse(none, 0, &r, &e), -EINVAL);
	assert_string_equal(e.text, "no words; a rule begins with block, limit, watch or allow");
	assert_int_equal(policy_rule_parse(nosuch, 2, &r, &e), -EINVAL);
	assert_string_equal(e.text, "default is a line of a policy file, not a rule");
	assert_int_equal(policy_rule_parse(bad, 2, &r, &e), -EINVAL);
	memset(giant, 'a', sizeof(giant) - 1);
	giant[sizeof(giant) - 1] = '\0';
	assert_int_equal(policy_rule_parse(big, 2, &r, &e), -EINVAL);
	assert_int_equal(policy_rule_parse(big, 2, &r, NULL), -EINVAL);
}

static void confirm_is_read_from_the_command_line(void **state)
{
	const char *words[] = {"block", "class=tor", "confirm=60s"};
	const char *longest[] = {"block", "class=tor", "confirm=1h"};
	const char *late[] = {"block", "class=tor", "confirm=2h"};
	struct policy_rule r;
	struct error e;

	(void)state;
	assert_int_equal(policy_rule_parse(words, 3, &r, NULL), 0);
	assert_int_equal(r.confirm_s, 60);
	assert_int_equal(policy_rule_parse(longest, 3, &r, NULL), 0);
	assert_int_equal(r.confirm_s, 3600);
	assert_int_equal(policy_rule_parse(late, 3, &r, &e), -ERANGE);
	assert_string_equal(e.text, "confirm=2h: too long; at most 1h");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_word_sets_its_field),
		cmocka_unit_test(what_is_left_out_has_its_default),
		cmocka_unit_test(rates_and_times_are_read_in_every_unit),
		cmocka_unit_test(prefixes_of_both_families_are_read),
		cmocka_unit_test(a_typed_rule_and_a_line_of_a_file_are_the_same),
		cmocka_unit_test(comments_blank_lines_and_a_missing_newline_are_no_fault),
		cmocka_unit_test(nonsense_is_refused_with_what_would_be_right),
		cmocka_unit_test(an_error_names_the_line),
		cmocka_unit_test(nul_bytes_and_long_lines_are_refused),
		cmocka_unit_test(more_rules_than_rows_are_refused),
		cmocka_unit_test(words_without_a_file_are_checked_the_same),
		cmocka_unit_test(confirm_is_read_from_the_command_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
