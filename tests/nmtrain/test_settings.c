/* SPDX-License-Identifier: BSD-2-Clause */
/* Settings: sources, ranges, what an error says, and the ways out and back. */
#include <errno.h>
#include "agent/nmtrain/settings_table.h"
#include "model/rng.h"
#include "tests/nmd/tree.h"

static char dir[64], path[128];
static struct train_settings s;
static struct error e;

static int begin(void **state)
{
	(void)state;
	tree_make(dir);
	snprintf(path, sizeof(path), "%s/a.conf", dir);
	memset(&e, 0, sizeof(e));
	settings_init(&s);
	return 0;
}

static int end(void **state)
{
	(void)state;
	tree_remove(dir);
	return 0;
}

static int read_text(const char *text)
{
	tree_write(dir, "a.conf", text);
	return settings_read_file(&s, path, &e);
}

static void assert_says(const char *wanted)
{
	if (!strstr(e.text, wanted))
		fail_msg("\"%s\" does not say \"%s\"", e.text, wanted);
}

static void assert_refused(int rc, const char *wanted)
{
	assert_true(rc < 0);
	assert_says(wanted);
	memset(&e, 0, sizeof(e));
}

static void assert_same(const struct train_settings *a, const struct train_settings *b)
{
	char key[96];

	if (settings_difference(a, b, key, sizeof(key)))
		fail_msg("%s differs", key);
}

/* Another value for every key, by the key's own type and range. */
static void change_all(uint64_t seed)
{
	struct rng rng = rng_stream(seed, 0, 0);

	for (size_t i = 0; i < n_settings; i++) {
		const struct setting *setting = &settings_table[i];
		double share = rng_uniform(&rng);
		char text[64];

		if (setting->type == SETTING_DEBIAS)
			strcpy(text, share < 0.5 ? "ttl, tls_sni" : "");
		else if (setting->type == SETTING_CLASSES)
			strcpy(text, "tor mining");
		else if (setting->type == SETTING_SWITCH)
			strcpy(text, share < 0.5 ? "on" : "off");
		else if (setting->name[0])
			strcpy(text, setting->name[share < 0.5]);
		else if (setting->type == SETTING_REAL || setting->type == SETTING_FLOAT)
			snprintf(text, sizeof(text), "%.17g",
				 setting->min + share * (setting->max - setting->min));
		else
			snprintf(text, sizeof(text), "%.0f",
				 setting->min + share * (setting->max - setting->min));
		assert_int_equal(setting_set(setting, &s, text, false, &e), 0);
	}
}

static void defaults_are_in_range_and_fit_together(void **state)
{
	(void)state;
	assert_int_equal(settings_check(&s, &e), 0);
	assert_int_equal(s.architecture.dt_rank, 4);
	assert_int_equal(s.schedule.epochs, 120);
	assert_true(s.optimiser.learning_rate == 2e-3);
	assert_true(s.tokens.debias == (1 << 8) - 1);
	assert_int_equal(s.loss.kind, LOSS_LDAM);
}

static void a_file_sets_every_kind_of_value(void **state)
{
	(void)state;
	assert_int_equal(read_text("# comment\n[architecture]\nbackbone = attention\ndepth = 3\n"
				   "head_bias = yes\nbyte_embedding = table\n"
				   "[tokens]\ndirection = uni\nseq_len = 20\ndebias = ttl, ports\n"
				   "[loss]\nkind = cross-entropy\nscale = 12.5\n"
				   "[optimiser]\nlearning_rate = 5e-4\n"
				   "[train]\nseed = 9007199254740991\nleave_out = tor mining\n"),
			 0);
	assert_string_equal(s.architecture.backbone, "attention");
	assert_int_equal(s.architecture.depth, 3);
	assert_true(s.architecture.head_bias && s.architecture.byte_table);
	assert_false(s.tokens.shape.bidirectional);
	assert_int_equal(s.tokens.shape.seq_len, 20);
	assert_int_equal(s.tokens.debias, DEBIAS_TTL | DEBIAS_PORTS);
	assert_int_equal(s.loss.kind, LOSS_CROSS_ENTROPY);
	assert_true(s.loss.scale == 12.5F && s.optimiser.learning_rate == 5e-4);
	assert_true(s.run.seed == 9007199254740991);
	assert_int_equal(s.run.n_leave_out, 2);
	assert_string_equal(s.run.leave_out[1], "mining");
	assert_int_equal(s.schedule.epochs, 120); /* what is not said stays */
}

static void the_command_line_wins_over_the_file(void **state)
{
	(void)state;
	assert_int_equal(read_text("[schedule]\nepochs = 7\n[train]\nleave_out = tor\n"), 0);
	assert_int_equal(settings_set_word(&s, "schedule.epochs=9", &e), 0);
	assert_int_equal(settings_set_word(&s, "train.leave_out=dns,voip", &e), 0);
	assert_int_equal(s.schedule.epochs, 9);
	assert_int_equal(s.run.n_leave_out, 2);
	assert_string_equal(s.run.leave_out[0], "dns");
}

static void a_list_goes_on_where_its_key_is_repeated_or_indented(void **state)
{
	(void)state;
	assert_int_equal(read_text("[tokens]\ndebias = ttl\ndebias = ports\n    ip_id\n"), 0);
	assert_int_equal(s.tokens.debias, DEBIAS_TTL | DEBIAS_PORTS | DEBIAS_IP_ID);
}

static void an_unknown_key_is_refused_with_its_line_and_the_nearest(void **state)
{
	(void)state;
	assert_refused(read_text("[architecture]\n\ndepht = 3\n"), "a.conf:3: [architecture] has "
								   "no depht; did you mean depth?");
	assert_refused(read_text("[architecture]\nepochs = 3\n"), "it belongs to [schedule]");
	assert_refused(read_text("[schedule]\nzzz = 3\n"), "it has epochs, warmup_epochs, batch");
	assert_refused(read_text("[optimizer]\nbeta1 = 0.5\n"),
		       "a.conf:2: unknown section [optimizer]; use architecture, tokens");
	assert_refused(read_text("depth = 3\n"), "unknown section []");
	assert_refused(read_text("[schedule]\nepochs\n"), "a.conf:2: not a setting");
	assert_refused(settings_set_word(&s, "schedule.epoch=3", &e), "did you mean epochs?");
}

static void the_first_of_two_mistakes_is_told(void **state)
{
	(void)state;
	assert_refused(read_text("[schedule]\nepochs = x\nbatch = y\n"),
		       "a.conf:2: schedule.epochs: \"x\" is not a number; use 1 to 100000");
}

static void a_word_that_is_no_setting_is_refused(void **state)
{
	static const char *const words[] = {"",   "depth",   "depth=3", "architecture.depth",
					    "=.", "a=b.c=d", "."};
	char word[200];

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		assert_refused(settings_set_word(&s, words[i], &e), "section.key=value");
	memset(word, 'a', sizeof(word));
	word[100] = '.';
	strcpy(word + 190, "=1");
	assert_refused(settings_set_word(&s, word, &e), "section.key=value");
}

static void values_that_cannot_be_are_refused(void **state)
{
	(void)state;
	assert_refused(settings_set_word(&s, "schedule.epochs=1.5", &e), "is not a whole number");
	assert_refused(settings_set_word(&s, "schedule.epochs=", &e), "is not a number");
	assert_refused(settings_set_word(&s, "schedule.epochs=3x", &e), "is not a number");
	assert_refused(settings_set_word(&s, "loss.scale=nan", &e), "is not a number");
	assert_refused(settings_set_word(&s, "loss.balanced=maybe", &e), "neither on nor off");
	assert_refused(settings_set_word(&s, "architecture.backbone=lstm", &e),
		       "use mamba or attention");
	assert_refused(settings_set_word(&s, "tokens.debias=mac", &e), "use ip_addr, ports");
	assert_refused(
		settings_set_word(&s, "train.leave_out=an-overly-long-name-of-a-class-here", &e),
		"longer than 31 letters");
	assert_refused(read_text("[schedule]\nepochs = 3\nepochs = 4\n"),
		       "a.conf:3: schedule.epochs: is given twice");
}

static void every_number_is_held_to_its_range(void **state)
{
	char text[64];

	(void)state;
	for (size_t i = 0; i < n_settings; i++) {
		const struct setting *setting = &settings_table[i];

		if (setting->min == setting->max)
			continue;
		snprintf(text, sizeof(text), "%.17g", setting->max * 2 + 1);
		assert_int_equal(setting_set(setting, &s, text, false, &e), -ERANGE);
		assert_says("is out of range; use ");
		snprintf(text, sizeof(text), "%.17g", setting->min - 1);
		assert_int_equal(setting_set(setting, &s, text, false, &e), -ERANGE);
		snprintf(text, sizeof(text), "%.17g", setting->max);
		assert_int_equal(setting_set(setting, &s, text, false, &e), 0);
		snprintf(text, sizeof(text), "%.17g", setting->min);
		assert_int_equal(setting_set(setting, &s, text, false, &e), 0);
	}
}

static void a_refused_file_changes_nothing(void **state)
{
	struct train_settings before = s;

	(void)state;
	assert_refused(read_text("[schedule]\nepochs = 3\nbatch = 0\n"), "out of range");
	assert_same(&before, &s);
	assert_refused(settings_read_file(&s, "/nonexistent/a.conf", &e), "cannot be read");
}

static void settings_that_do_not_fit_one_another_are_refused(void **state)
{
	static const char *const cases[][2] = {
		{"tokens.seq_len=9", "tokens.seq_len = 9 is less than tokens.packets = 10"},
		{"architecture.stride=7", "a multiple of architecture.stride = 7"},
		{"architecture.embed_dim=66", "cannot be parted into heads = 4"},
		{"schedule.warmup_epochs=121", "schedule.warmup_epochs = 121 is more than "},
		{"pretrain.warmup_steps=100001", "pretrain.warmup_steps = 100001 is more than "},
		{"optimiser.min_learning_rate=0.1", "make it at most that"},
	};
	const struct train_settings good = s;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		s = good;
		strcpy(s.architecture.backbone, "attention");
		assert_int_equal(settings_check(&s, &e), 0);
		assert_int_equal(settings_set_word(&s, cases[i][0], &e), 0);
		assert_refused(settings_check(&s, &e), cases[i][1]);
	}
	s = good;
	strcpy(s.architecture.backbone, "attention");
	s.architecture.embed_dim = 514;
	s.architecture.heads = 2;
	assert_refused(settings_check(&s, &e), "make them at most 256");
	s = good;
	s.tokens.shape.header_bytes = s.tokens.shape.payload_bytes = 0;
	assert_refused(settings_check(&s, &e), "and not 0");
	s = good;
	s.tokens.shape = (struct sample_shape){64, 128, 256, 64, true};
	assert_refused(settings_check(&s, &e), "make it at most 4096");
}

static void a_printed_file_reads_back_to_the_same(void **state)
{
	struct train_settings before;
	FILE *file;

	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		settings_init(&s);
		change_all(seed);
		before = s;
		file = fopen(path, "w");
		assert_non_null(file);
		settings_print(file, &s);
		assert_int_equal(fclose(file), 0);
		settings_init(&s);
		if (settings_read_file(&s, path, &e))
			fail_msg("%s", e.text);
		assert_same(&before, &s);
		assert_true(before.loss.scale == s.loss.scale && before.loss.beta == s.loss.beta);
	}
}

static void a_list_of_all_classes_prints_and_reads_back(void **state)
{
	struct train_settings before;
	FILE *file;

	(void)state;
	s.run.n_leave_out = MODEL_MAX_CLASSES;
	for (unsigned i = 0; i < MODEL_MAX_CLASSES; i++)
		snprintf(s.run.leave_out[i], MODEL_CLASS_NAME, "a-class-with-a-long-name-%05u", i);
	before = s;
	file = fopen(path, "w");
	assert_non_null(file);
	settings_print(file, &s);
	assert_int_equal(fclose(file), 0);
	settings_init(&s);
	if (settings_read_file(&s, path, &e))
		fail_msg("%s", e.text);
	assert_same(&before, &s);
}

static void json_reads_back_to_the_same(void **state)
{
	struct train_settings before;

	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		char *text;
		json_t *json;

		settings_init(&s);
		change_all(seed);
		before = s;
		json = settings_to_json(&s);
		text = json_dumps(json, 0);
		json_decref(json);
		json = json_loads(text, 0, NULL);
		settings_init(&s);
		if (settings_from_json(&s, json, &e))
			fail_msg("%s", e.text);
		assert_same(&before, &s);
		json_decref(json);
		free(text);
	}
}

static void json_is_held_to_types_and_ranges(void **state)
{
	static const char *const cases[][2] = {
		{"[]", "must be an object"},
		{"{\"schedule\": {\"epochs\": \"3\"}}", "schedule.epochs: is of a wrong type"},
		{"{\"schedule\": {\"epochs\": true}}", "wrong type"},
		{"{\"schedule\": {\"epochs\": 0}}", "out of range"},
		{"{\"schedule\": {\"epochs\": 1.5}}", "not a whole number"},
		{"{\"loss\": {\"balanced\": 1}}", "wrong type"},
		{"{\"loss\": {\"kind\": \"hinge\"}}", "use cross-entropy or ldam"},
		{"{\"tokens\": {\"debias\": [1]}}", "must be an array of names"},
		{"{\"tokens\": {\"debias\": [\"ttl\", \"mac\"]}}", "\"mac\" is not known"},
		{"{\"tokens\": {\"debias\": 3}}", "wrong type"},
	};
	const struct train_settings before = s;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *json = json_loads(cases[i][0], 0, NULL);

		assert_non_null(json);
		assert_refused(settings_from_json(&s, json, &e), cases[i][1]);
		assert_same(&before, &s);
		json_decref(json);
	}
}

static void the_first_difference_is_named_whatever_the_key(void **state)
{
	const struct train_settings before = s;
	unsigned n_named = 0;

	(void)state;
	for (size_t i = 0; i < n_settings; i++) {
		const struct setting *setting = &settings_table[i];
		char key[96], wanted[96], text[32];

		s = before;
		snprintf(wanted, sizeof(wanted), "%s.%s", setting->section, setting->key);
		for (unsigned k = 0; k < 2 && !settings_difference(&before, &s, key, sizeof(key));
		     k++) {
			snprintf(text, sizeof(text), "%.17g", k ? setting->max : setting->min);
			setting_set(setting, &s,
				    setting_is_list(setting)          ? "ttl"
				    : setting->type == SETTING_SWITCH ? (k ? "on" : "off")
				    : setting->name[0]                ? setting->name[k]
								      : text,
				    false, &e);
		}
		assert_non_null(settings_difference(&before, &s, key, sizeof(key)));
		assert_string_equal(key, wanted);
		n_named++;
	}
	assert_int_equal(n_named, n_settings);
}

static void shipped_settings_can_be_read(void **state)
{
	static const char *const names[] = {"model/settings/nano.conf", "model/settings/base.conf"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		settings_init(&s);
		if (settings_read_file(&s, names[i], &e) || settings_check(&s, &e))
			fail_msg("%s", e.text);
	}
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		CASE(defaults_are_in_range_and_fit_together),
		CASE(a_file_sets_every_kind_of_value),
		CASE(the_command_line_wins_over_the_file),
		CASE(a_list_goes_on_where_its_key_is_repeated_or_indented),
		CASE(an_unknown_key_is_refused_with_its_line_and_the_nearest),
		CASE(the_first_of_two_mistakes_is_told),
		CASE(a_word_that_is_no_setting_is_refused),
		CASE(values_that_cannot_be_are_refused),
		CASE(every_number_is_held_to_its_range),
		CASE(a_refused_file_changes_nothing),
		CASE(settings_that_do_not_fit_one_another_are_refused),
		CASE(a_printed_file_reads_back_to_the_same),
		CASE(a_list_of_all_classes_prints_and_reads_back),
		CASE(json_reads_back_to_the_same),
		CASE(json_is_held_to_types_and_ranges),
		CASE(the_first_difference_is_named_whatever_the_key),
		CASE(shipped_settings_can_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
