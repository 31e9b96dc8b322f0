/* SPDX-License-Identifier: BSD-2-Clause */
/* What trains and what validates, chosen from sets in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "agent/flow/labels_file.h"
#include "agent/nmtrain/train_data.h"
#include "tests/nmtrain/tiny_set.h"

static struct dataset *set;
static struct train_settings s;
static struct train_data *data;
static struct error e;
static const struct train_split fold_0 = {0, 1}, all = {TRAIN_NO_FOLD, TRAIN_NO_FOLD};

static int begin(void **state)
{
	const struct tiny_config config = {240, 4, 12, 4, 1, false};

	(void)state;
	memset(&e, 0, sizeof(e));
	settings_init(&s);
	s.tokens.shape = (struct sample_shape){4, 20, 12, 8, true};
	set = tiny_set(&config);
	data = NULL;
	return 0;
}

static int end(void **state)
{
	(void)state;
	train_data_free(data);
	dataset_free(set);
	return 0;
}

static void choose(const struct train_split *split)
{
	train_data_free(data);
	data = NULL;
	if (train_data_new(set, &s, split, &data, &e))
		fail_msg("%s", e.text);
}

static void assert_refused(const char *wanted)
{
	assert_true(train_data_new(set, &s, &fold_0, &data, &e) < 0);
	if (!strstr(e.text, wanted))
		fail_msg("\"%s\" does not say \"%s\"", e.text, wanted);
}

static uint32_t count_label(const struct train_list *list, uint32_t label)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < list->n; i++)
		n += list->label[i] == label;
	return n;
}

static void assert_folds(const struct train_list *list, bool train)
{
	for (uint32_t i = 0; i < list->n; i++) {
		const struct dataset_flow *f = &set->flow[list->flow[i]];

		assert_true(train ? f->fold >= 2 : f->fold == 1);
		assert_ptr_equal(list->sample[i], f->sample);
	}
}

static void the_test_fold_is_never_seen_and_validation_never_trains(void **state)
{
	(void)state;
	choose(&fold_0);
	assert_int_equal(data->train.n, 120);
	assert_int_equal(data->validation.n, 60);
	assert_folds(&data->train, true);
	assert_folds(&data->validation, false);
	for (uint32_t i = 0; i < data->train.n; i++)
		assert_int_equal(data->train.label[i], set->flow[data->train.flow[i]].class_index);
	train_data_free(data);
	assert_int_equal(train_data_new_unlabelled(set, &s, &fold_0, &data, &e), 0);
	assert_int_equal(data->train.n, 120);
	assert_folds(&data->train, true);
	assert_folds(&data->validation, false);
}

static void without_a_fold_all_flows_train(void **state)
{
	(void)state;
	choose(&all);
	assert_int_equal(data->train.n, 240);
	assert_int_equal(data->validation.n, 0);
}

static void folds_are_read_as_typed(void **state)
{
	struct train_split split;

	(void)state;
	assert_int_equal(train_split_parse(NULL, NULL, 5, &split, &e), 0);
	assert_true(split.test == 0 && split.validation == 1);
	assert_int_equal(train_split_parse("4", NULL, 5, &split, &e), 0);
	assert_true(split.test == 4 && split.validation == 0);
	assert_int_equal(train_split_parse("4", "2", 5, &split, &e), 0);
	assert_true(split.test == 4 && split.validation == 2);
	assert_int_equal(train_split_parse("4", "none", 5, &split, &e), 0);
	assert_true(split.test == 4 && split.validation == TRAIN_NO_FOLD);
	assert_int_equal(train_split_parse("none", NULL, 1, &split, &e), 0);
	assert_true(split.test == TRAIN_NO_FOLD && split.validation == TRAIN_NO_FOLD);
	assert_int_equal(train_split_parse("none", "1", 2, &split, &e), 0);
	assert_true(split.test == TRAIN_NO_FOLD && split.validation == 1);
}

static void folds_that_cannot_be_are_refused(void **state)
{
	static const struct {
		const char *fold, *validation;
		uint32_t n_folds;
		const char *wanted;
	} cases[] = {
		{"5", NULL, 5, "--fold 5: the set has folds 0 to 4"},
		{"-1", NULL, 5, "--fold -1: "},
		{"1x", NULL, 5, "--fold 1x: "},
		{"", NULL, 5, "name one, or none"},
		{"0", "9", 5, "--validation 9: "},
		{"1", "1", 5, "fold 1 cannot test and validate"},
		{"0", NULL, 1, "fold 0 cannot test and validate"},
		{"0", NULL, 2, "build it with --folds 3 or more"},
		{"0", "none", 1, "nothing is left to train"},
	};
	struct train_split split;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(train_split_parse(cases[i].fold, cases[i].validation, cases[i].n_folds,
					      &split, &e) < 0);
		if (!strstr(e.text, cases[i].wanted))
			fail_msg("\"%s\" does not say \"%s\"", e.text, cases[i].wanted);
	}
}

static void unlisted_and_left_out_classes_are_no_classes(void **state)
{
	(void)state;
	strcpy(set->class_name[1], LABELS_UNLISTED);
	assert_int_equal(settings_set_word(&s, "train.leave_out=class-c", &e), 0);
	choose(&fold_0);
	assert_int_equal(data->n_classes, 2);
	assert_string_equal(data->class_name[0], "class-a");
	assert_string_equal(data->class_name[1], "class-d");
	assert_int_equal(data->train.n, 60);
	assert_int_equal(count_label(&data->train, 1), 30);
	assert_int_equal(data->n_left_out, 30);
	assert_int_equal(data->n_unlabelled, 30);
	assert_int_equal(data->n_strange, 30);
	for (uint32_t i = 0; i < data->train.n; i++)
		assert_int_equal(set->flow[data->train.flow[i]].class_index,
				 data->train.label[i] ? 3 : 0);
}

static void a_class_without_training_flows_is_none(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < set->n_flows; i++)
		if (set->flow[i].class_index == 0 && set->flow[i].fold >= 2)
			set->flow[i].class_index = 1;
	choose(&fold_0);
	assert_int_equal(data->n_classes, 3);
	assert_string_equal(data->class_name[0], "class-b");
	assert_int_equal(data->n_strange, 15);
}

static void flows_without_a_class_pre_train_but_do_not_fine_tune(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < set->n_flows; i += 4)
		set->flow[i].class_index = DATASET_NO_CLASS;
	choose(&fold_0);
	assert_int_equal(data->train.n, 90);
	assert_int_equal(data->n_unlabelled, 30);
	train_data_free(data);
	assert_int_equal(settings_set_word(&s, "train.leave_out=class-c", &e), 0);
	assert_int_equal(train_data_new_unlabelled(set, &s, &fold_0, &data, &e), 0);
	assert_int_equal(data->train.n, 90); /* unlabelled ones, without those left out */
	assert_int_equal(data->n_left_out, 30);
	for (uint32_t i = 0; i < data->train.n; i++)
		assert_int_not_equal(set->flow[data->train.flow[i]].class_index, 2);
}

static void short_flows_do_not_train_but_validate(void **state)
{
	(void)state;
	s.run.min_packets = 5;
	choose(&fold_0);
	assert_in_range(data->train.n, 20, 100);
	assert_int_equal(data->train.n + data->n_short, 120);
	assert_int_equal(data->validation.n, 60);
	for (uint32_t i = 0; i < data->train.n; i++)
		assert_true(data->train.sample[i]->n_packets >= 5);
}

/* Of capture 2 almost all flows: the others must not go short. */
static void a_limit_takes_few_flows_of_many_captures(void **state)
{
	uint32_t of_capture[12] = {0};

	(void)state;
	for (uint32_t i = 0; i < set->n_flows; i++)
		if (set->flow[i].capture == 6 && set->flow[i].class_index == 0)
			set->flow[i].capture = 2;
	s.run.max_flows_per_class = 20;
	choose(&fold_0);
	assert_int_equal(data->n_over_limit, 40);
	for (uint32_t c = 0; c < 4; c++)
		assert_int_equal(count_label(&data->train, c), 20);
	for (uint32_t i = 0; i < data->train.n; i++)
		of_capture[set->flow[data->train.flow[i]].capture] += data->train.label[i] == 0;
	/* 10 flows of capture 2, and 5 each of 3, 7, 10, 11: 4 of each make 20. */
	assert_int_equal(of_capture[2], 4);
	assert_int_equal(of_capture[3], 4);
	assert_int_equal(of_capture[11], 4);
}

static void the_choice_is_of_the_seed(void **state)
{
	uint32_t first[80];
	bool other = false;

	(void)state;
	s.run.max_flows_per_class = 20;
	choose(&fold_0);
	memcpy(first, data->train.flow, sizeof(first));
	choose(&fold_0);
	assert_memory_equal(first, data->train.flow, sizeof(first));
	s.run.seed++;
	choose(&fold_0);
	for (unsigned i = 0; i < 80; i++)
		other |= first[i] != data->train.flow[i];
	assert_true(other);
	for (unsigned i = 1; i < 80; i++)
		assert_true(data->train.flow[i - 1] < data->train.flow[i]);
}

static void what_the_set_does_not_hold_is_refused(void **state)
{
	(void)state;
	s.tokens.shape.packets = 5;
	assert_refused("tokens.packets = 5, but the data set holds 4");
	s.tokens.shape.packets = 4;
	s.tokens.shape.payload_bytes = 13;
	assert_refused("tokens.payload_bytes = 13, but the data set holds 12");
	s.tokens.shape.payload_bytes = 12;
	set->shape.bidirectional = false;
	assert_refused("tokens.direction = bi");
	set->shape.bidirectional = true;
	assert_int_equal(settings_set_word(&s, "train.leave_out=class-x", &e), 0);
	assert_refused("the data set has no class class-x; did you mean class-a?");
}

static void one_class_is_no_classifier(void **state)
{
	(void)state;
	assert_int_equal(settings_set_word(&s, "train.leave_out=class-a class-b class-c", &e), 0);
	assert_refused("two classes with flows to train; there is 1");
	s.run.min_packets = 200;
	assert_true(train_data_new_unlabelled(set, &s, &fold_0, &data, &e) < 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		CASE(the_test_fold_is_never_seen_and_validation_never_trains),
		CASE(without_a_fold_all_flows_train),
		CASE(folds_are_read_as_typed),
		CASE(folds_that_cannot_be_are_refused),
		CASE(unlisted_and_left_out_classes_are_no_classes),
		CASE(a_class_without_training_flows_is_none),
		CASE(flows_without_a_class_pre_train_but_do_not_fine_tune),
		CASE(short_flows_do_not_train_but_validate),
		CASE(a_limit_takes_few_flows_of_many_captures),
		CASE(the_choice_is_of_the_seed),
		CASE(what_the_set_does_not_hold_is_refused),
		CASE(one_class_is_no_classifier),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
