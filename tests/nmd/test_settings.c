/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include "agent/nmd/settings.h"
#include "tests/nmd/tree.h"

static char dir[64];
static struct settings s;
static struct error e;

static int begin(void **state)
{
	(void)state;
	tree_make(dir);
	memset(&e, 0, sizeof(e));
	return settings_init(&s, &e);
}

static int end(void **state)
{
	(void)state;
	settings_fini(&s);
	tree_remove(dir);
	return 0;
}

static int read_text(const char *text)
{
	char path[128];

	tree_write(dir, "nmd.conf", text);
	snprintf(path, sizeof(path), "%s/nmd.conf", dir);
	settings_next_source(&s);
	return settings_read_file(&s, path, &e);
}

static void assert_refused(int rc, const char *wanted)
{
	assert_true(rc < 0);
	if (!strstr(e.text, wanted))
		fail_msg("\"%s\" does not say \"%s\"", e.text, wanted);
}

static void every_default_is_in_its_own_range(void **state)
{
	(void)state;
	assert_int_equal(settings_check(&s, &e), 0);
	assert_int_equal(s.fail_open_s, 10);
	assert_string_equal(s.mode, "enforce");
	assert_int_equal(s.protect_ports.n, 7);
}

static void a_file_sets_every_kind_of_value(void **state)
{
	(void)state;
	assert_int_equal(read_text("# comment\n[nmd]\niface = eth0, !eth1\niface = eth*\n"
				   "mode = watch\nfail_open_s = 3\nbreaker = off\n"
				   "breaker_share = 0.75\n"),
			 0);
	assert_int_equal(s.iface.n, 3);
	assert_string_equal(s.iface.items[1], "!eth1");
	assert_string_equal(s.iface.items[2], "eth*");
	assert_null(s.iface.items[3]);
	assert_string_equal(s.mode, "watch");
	assert_int_equal(s.fail_open_s, 3);
	assert_false(s.breaker);
	assert_true(s.breaker_share == 0.75);
}

static void the_command_line_replaces_a_list_of_the_file_and_then_adds(void **state)
{
	(void)state;
	assert_int_equal(read_text("iface = eth0\nmodel = /a\n"), 0);
	settings_next_source(&s);
	assert_int_equal(settings_set_word(&s, "iface=wan0", &e), 0);
	assert_int_equal(settings_set_word(&s, "iface=wan1", &e), 0);
	assert_int_equal(s.iface.n, 2);
	assert_string_equal(s.iface.items[0], "wan0");
	assert_true(settings_given(&s, "model"));
	assert_false(settings_given(&s, "engine"));
}

static void an_unknown_key_names_file_and_line(void **state)
{
	(void)state;
	assert_refused(read_text("mode = watch\nmood = good\n"), "nmd.conf:2: unknown setting");
	assert_refused(read_text("mode = watch\nmood = good\n"), "--help-settings");
}

static void a_value_out_of_range_says_the_range(void **state)
{
	(void)state;
	assert_refused(read_text("\nfail_open_s = 86401\n"),
		       "nmd.conf:2: fail_open_s: 86401 is out of range; use 0 to 86400");
	assert_int_equal(s.fail_open_s, 10);
}

static void each_type_refuses_what_it_is_not(void **state)
{
	static const struct {
		const char *word, *message;
	} cases[] = {
		{"mode=off", "use watch or enforce"},
		{"fail_open_s=ten", "not a number"},
		{"fail_open_s=nan", "not a number"},
		{"fail_open_s=1.5", "not a whole number"},
		{"fail_open_s=-1", "out of range"},
		{"breaker=maybe", "neither on nor off"},
		{"run_dir=here", "not an absolute path"},
		{"never=10.0.0.0/33", "never:"},
		{"protect_ports=tcp/0", "write tcp/22 or udp/53"},
		{"protect_ports=22", "write tcp/22 or udp/53"},
		{"protect_ports=tcp/65536", "write tcp/22 or udp/53"},
		{"protect_ports=tcp/22x", "write tcp/22 or udp/53"},
		{"protect_ports=tcp/+22", "write tcp/22 or udp/53"},
		{"protect_peers=192.0.2.0/24:6379", "write 192.0.2.1:6379"},
		{"protect_peers=192.0.2.1", "write 192.0.2.1:6379"},
		{"log_level=loud", "use error, warning, info or debug"},
		{"debug=everything", "unknown part"},
		{"nonsense", "write key=value"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_refused(settings_set_word(&s, cases[i].word, &e), cases[i].message);
}

static void a_line_that_is_no_setting_and_a_foreign_section_are_refused(void **state)
{
	(void)state;
	assert_refused(read_text("just words\n"), "nmd.conf:1: not a setting");
	assert_refused(read_text("[other]\nmode = watch\n"), "unknown section [other]");
}

static void settings_that_contradict_each_other_are_refused(void **state)
{
	(void)state;
	assert_int_equal(settings_set_word(&s, "idle_s=100", &e), 0);
	assert_refused(settings_check(&s, &e), "total_s = 60 is shorter than idle_s = 100");
}

static char told[64];
static void on_other(void *ctx, const char *key)
{
	(void)ctx;
	snprintf(told, sizeof(told), "%s", key);
}

static void a_reload_takes_what_may_change_and_tells_the_rest(void **state)
{
	struct settings fresh;

	(void)state;
	assert_int_equal(settings_init(&fresh, &e), 0);
	assert_int_equal(settings_set_word(&fresh, "mode=watch", &e), 0);
	assert_int_equal(settings_set_word(&fresh, "never=192.0.2.0/24", &e), 0);
	assert_int_equal(settings_set_word(&fresh, "state_dir=/elsewhere", &e), 0);
	assert_int_equal(settings_reload(&s, &fresh, on_other, NULL, &e), 0);
	assert_string_equal(s.mode, "watch");
	assert_int_equal(s.never.n, 1);
	assert_string_equal(s.state_dir, "/var/lib/netmamba");
	assert_string_equal(told, "state_dir");
	settings_fini(&fresh);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_default_is_in_its_own_range),
		TEST(a_file_sets_every_kind_of_value),
		TEST(the_command_line_replaces_a_list_of_the_file_and_then_adds),
		TEST(an_unknown_key_names_file_and_line),
		TEST(a_value_out_of_range_says_the_range),
		TEST(each_type_refuses_what_it_is_not),
		TEST(a_line_that_is_no_setting_and_a_foreign_section_are_refused),
		TEST(settings_that_contradict_each_other_are_refused),
		TEST(a_reload_takes_what_may_change_and_tells_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
