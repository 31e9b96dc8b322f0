/* SPDX-License-Identifier: BSD-2-Clause */
/* Logits to decisions. Expected numbers are worked out by hand beside each test. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <float.h>
#include <string.h>
#include <cmocka.h>
#include "model/decide.h"

static struct model three_classes(enum ood_score score, float ood_threshold)
{
	struct model m = {.n_classes = 3};

	m.calibration = (struct calibration){.temperature = 1,
					     .threshold = {0.5F, 0.5F, 0.5F},
					     .score = score,
					     .ood_threshold = ood_threshold};
	return m;
}

#define ASSERT_NEAR(have, want) assert_true(fabs((double)(have) - (want)) < 1e-5)

/* p = (2, 1, 1) / 4 for logits (ln 2, 0, 0) */
static const float half[] = {0.693147181F, 0, 0};

static void the_likeliest_class_is_decided_when_it_reaches_its_threshold(void **state)
{
	struct model m = three_classes(OOD_ENERGY, FLT_MAX);
	struct decision d;

	(void)state;
	m.calibration.threshold[0] = 0.49F;
	decide(&m, half, &d);
	assert_int_equal(d.class_index, 0);
	ASSERT_NEAR(d.confidence, 0.5);
	ASSERT_NEAR(d.probability[2], 0.25);
	assert_false(d.unknown);
	assert_int_equal(d.by, DECIDED_CLASS);
}

static void a_class_below_its_own_threshold_is_not_decided(void **state)
{
	struct model m = three_classes(OOD_ENERGY, FLT_MAX);
	struct decision d;

	(void)state;
	m.calibration.threshold[0] = 0.51F;
	m.calibration.threshold[1] = 0;
	decide(&m, half, &d);
	assert_int_equal(d.class_index, 0);
	assert_false(d.unknown);
	assert_int_equal(d.by, DECIDED_THRESHOLD);
}

static void a_class_that_just_reaches_its_own_threshold_is_decided(void **state)
{
	static const float second[] = {0, 5000, 0}; /* p = 1 */
	struct model m = three_classes(OOD_ENERGY, FLT_MAX);
	struct decision d;

	(void)state;
	m.calibration.threshold[0] = 2;
	m.calibration.threshold[1] = 1;
	decide(&m, second, &d);
	assert_int_equal(d.class_index, 1);
	assert_int_equal(d.by, DECIDED_CLASS);
}

static void above_the_unknown_threshold_nothing_is_decided(void **state)
{
	struct model m = three_classes(OOD_ENERGY, -1.4F);
	struct decision d;

	(void)state;
	m.calibration.threshold[0] = 0;
	decide(&m, half, &d);
	ASSERT_NEAR(d.ood_score, -log(4)); /* -1.386 */
	assert_true(d.unknown);
	assert_int_equal(d.by, DECIDED_UNKNOWN);
	assert_int_equal(d.class_index, 0);
	m.calibration.ood_threshold = -1.38F;
	decide(&m, half, &d);
	assert_false(d.unknown);
	assert_int_equal(d.by, DECIDED_CLASS);
}

static void each_score_is_what_it_says(void **state)
{
	struct model m = three_classes(OOD_MAX_LOGIT, FLT_MAX);
	struct decision d;

	(void)state;
	decide(&m, half, &d);
	ASSERT_NEAR(d.ood_score, -log(2));
	m.calibration.score = OOD_MAX_PROBABILITY;
	decide(&m, half, &d);
	ASSERT_NEAR(d.ood_score, -0.5);
	m.calibration.score = OOD_ENTROPY;
	decide(&m, half, &d);
	ASSERT_NEAR(d.ood_score, 0.5 * log(2) + 0.5 * log(4));
}

static void the_temperature_divides_the_logits_everywhere(void **state)
{
	struct model m = three_classes(OOD_ENERGY, FLT_MAX);
	const float doubled[] = {2 * half[0], 0, 0};
	struct decision d;

	(void)state;
	m.calibration.temperature = 2;
	decide(&m, doubled, &d);
	ASSERT_NEAR(d.confidence, 0.5);
	ASSERT_NEAR(d.ood_score, -log(4));
	m.calibration.score = OOD_MAX_LOGIT;
	decide(&m, doubled, &d);
	ASSERT_NEAR(d.ood_score, -log(2));
}

static void logits_of_any_size_do_not_overflow(void **state)
{
	const enum ood_score scores[] = {OOD_ENERGY, OOD_MAX_LOGIT, OOD_MAX_PROBABILITY,
					 OOD_ENTROPY};
	const float huge[] = {-3e38F, 3e38F, 2e38F};
	struct decision d;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct model m = three_classes(scores[i], FLT_MAX);

		m.calibration.temperature = 1e-3F;
		decide(&m, huge, &d);
		assert_int_equal(d.class_index, 1);
		assert_true(d.confidence == 1);
		assert_true(isfinite(d.ood_score));
		assert_int_equal(d.by, DECIDED_CLASS);
	}
}

/* 0 * log(0) is no number, and a score that is none would be above every threshold. */
static void a_class_that_is_impossible_adds_no_entropy(void **state)
{
	static const float certain[] = {5000, 0, 0};
	struct model m = three_classes(OOD_ENTROPY, 0.1F);
	struct decision d;

	(void)state;
	decide(&m, certain, &d);
	assert_true(d.ood_score == 0);
	assert_int_equal(d.by, DECIDED_CLASS);
}

static void logits_that_are_not_numbers_are_unknown(void **state)
{
	struct model m = three_classes(OOD_ENERGY, FLT_MAX);
	const float bad[][3] = {{NAN, 0, 0}, {0, 0, INFINITY}, {0, -INFINITY, 5}};
	struct decision d;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		memset(&d, 0xee, sizeof(d));
		decide(&m, bad[i], &d);
		assert_true(d.unknown);
		assert_int_equal(d.by, DECIDED_UNKNOWN);
		assert_true(d.confidence == 0);
		assert_true(isfinite(d.ood_score));
	}
}

static void what_decided_has_a_name(void **state)
{
	(void)state;
	assert_string_equal(decided_by_name(DECIDED_CLASS), "class");
	assert_string_equal(decided_by_name(DECIDED_THRESHOLD), "threshold");
	assert_string_equal(decided_by_name(DECIDED_UNKNOWN), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_likeliest_class_is_decided_when_it_reaches_its_threshold),
		cmocka_unit_test(a_class_below_its_own_threshold_is_not_decided),
		cmocka_unit_test(a_class_that_just_reaches_its_own_threshold_is_decided),
		cmocka_unit_test(above_the_unknown_threshold_nothing_is_decided),
		cmocka_unit_test(each_score_is_what_it_says),
		cmocka_unit_test(the_temperature_divides_the_logits_everywhere),
		cmocka_unit_test(logits_of_any_size_do_not_overflow),
		cmocka_unit_test(a_class_that_is_impossible_adds_no_entropy),
		cmocka_unit_test(logits_that_are_not_numbers_are_unknown),
		cmocka_unit_test(what_decided_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
