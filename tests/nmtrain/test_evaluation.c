/* SPDX-License-Identifier: BSD-2-Clause */
/* What is fitted and what is measured, on the flows of small_evaluation.h, counted by hand. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>
#include "tests/nmtrain/small_evaluation.h"

#define ASSERT_NEAR(have, want) assert_true(fabs((double)(have) - (want)) < 1e-6)

static struct evaluation *evaluate(const struct small_flows *validation,
				   const struct small_flows *test)
{
	struct evaluation_config config = small_config();
	struct evaluation *ev = NULL;

	assert_int_equal(evaluation_new(validation ? &validation->judged : NULL, &test->judged,
					&config, &ev, NULL),
			 0);
	return ev;
}

static struct evaluation *usual(void)
{
	struct small_flows validation, test;

	small_validation(&validation);
	small_test(&test);
	return evaluate(&validation, &test);
}

/* 12 of 16 right; F1 of class 0: 2 * 8 / (10 + 10), of 1: 2 * 4 / (5 + 6), of 2: 0 */
static void the_nearest_class_counts_whatever_its_confidence(void **state)
{
	struct evaluation *ev = usual();

	(void)state;
	assert_int_equal(ev->n_known, 16);
	assert_int_equal(ev->n_unknown, 5);
	assert_int_equal(ev->n_groups, 16);
	ASSERT_NEAR(ev->overall.accuracy, 12.0 / 16);
	ASSERT_NEAR(ev->class_figures[0].f1, 0.8);
	ASSERT_NEAR(ev->class_figures[1].f1, 8.0 / 11);
	ASSERT_NEAR(ev->overall.macro_f1, (0.8 + 8.0 / 11) / 3);
	assert_int_equal(ev->confusion[0 * SMALL_CLASSES + 1], 2);
	assert_int_equal(ev->confusion[2 * SMALL_CLASSES + 0], 1);
	assert_int_equal(ev->unknown_nearest[1], 4);
	assert_int_equal(ev->unknown_nearest[0], 1);
	assert_true(ev->macro_f1_95.low < ev->overall.macro_f1);
	assert_true(ev->macro_f1_95.high > ev->overall.macro_f1);
	evaluation_free(ev);
}

/* Each source alone: 9 flows of source 0, 8 right; 7 of source 1, 4 right. */
static void each_source_is_measured_alone(void **state)
{
	struct evaluation *ev = usual();

	(void)state;
	assert_int_equal(ev->source[0].n, 9);
	assert_int_equal(ev->source[0].right, 8);
	assert_int_equal(ev->source[1].n, 7);
	assert_int_equal(ev->source[1].right, 4);
	ASSERT_NEAR(ev->source[1].accuracy, 4.0 / 7);
	evaluation_free(ev);
}

/*
 * Unknown flows score above all known ones of validation, which the threshold keeps. Class 0 needs
 * the confidence of logit 4 (12 of 12; the two at logit 1 are of class 1): on the test it decides 7
 * + 1 known flows, 7 right, and one of no class. Class 1 has 4 validation flows: 0.5 is asked of
 * it, which 6 reach, 4 right; it is not acted on, and no more is class 2.
 */
static void decisions_follow_the_thresholds_of_validation(void **state)
{
	struct evaluation *ev = usual();

	(void)state;
	assert_true(ev->fitted);
	assert_int_equal(ev->found[0], THRESHOLD_FITTED);
	assert_int_equal(ev->found[1], THRESHOLD_FEW_FLOWS);
	assert_int_equal(ev->found[2], THRESHOLD_NO_FLOWS);
	assert_false(ev->calibration.watch_only[0]);
	assert_true(ev->calibration.watch_only[1] && ev->calibration.watch_only[2]);
	assert_int_equal(ev->decided.known, 8 + 6);
	assert_int_equal(ev->decided.right, 7 + 4);
	assert_int_equal(ev->decided.unknown, 1);
	ASSERT_NEAR(ev->decided.coverage, 14.0 / 16);
	ASSERT_NEAR(ev->decided.precision, 11.0 / 15);
	assert_int_equal(ev->acted.known, 8);
	ASSERT_NEAR(ev->acted.precision, 7.0 / 9);
	ASSERT_NEAR(ev->class_decided[0].coverage, 0.7);
	assert_true(isnan(ev->class_decided[2].precision));
	assert_int_equal(ev->unknown_refused, 4);
	assert_int_equal(ev->known_refused, 0);
	assert_int_equal(ev->kind[SMALL_CLASSES].n, 5);
	assert_int_equal(ev->kind[SMALL_CLASSES].decided, 1);
	assert_int_equal(ev->kind[0].n, 0);
	evaluation_free(ev);
}

static void test_flows_change_nothing_that_is_fitted(void **state)
{
	struct small_flows validation, test;
	struct evaluation *a = usual(), *b;

	(void)state;
	small_validation(&validation);
	small_begin(&test);
	small_add(&test, 20, 2, 1, 9, 0);
	small_add(&test, 20, NO_CLASS, 2, 7, 0);
	b = evaluate(&validation, &test);
	assert_memory_equal(&a->calibration, &b->calibration, sizeof(a->calibration));
	assert_memory_equal(a->found, b->found, sizeof(a->found));
	ASSERT_NEAR(b->overall.accuracy, 0);
	evaluation_free(a);
	evaluation_free(b);
}

static void the_fitted_temperature_is_applied_to_the_test(void **state)
{
	struct small_flows validation, test;
	struct evaluation *ev = usual();

	(void)state;
	small_validation(&validation);
	small_test(&test);
	ASSERT_NEAR(ev->calibration.temperature, calibrate_temperature(&validation.judged));
	assert_true(fabs(ev->calibration.temperature - 1.0) > 0.01);
	ASSERT_NEAR(ev->nll_before, calibrate_nll(&test.judged, 1));
	ASSERT_NEAR(ev->nll_after, calibrate_nll(&test.judged, ev->calibration.temperature));
	assert_true(ev->before.ece != ev->after.ece);
	evaluation_free(ev);
}

static void without_validation_the_models_own_calibration_is_used(void **state)
{
	struct small_flows test, unknown_only;
	struct evaluation *ev;

	(void)state;
	small_test(&test);
	ev = evaluate(NULL, &test);
	assert_false(ev->fitted);
	ASSERT_NEAR(ev->calibration.temperature, 1);
	assert_true(ev->calibration.ood_threshold == FLT_MAX);
	assert_int_equal(ev->unknown_refused, 0);
	evaluation_free(ev);
	small_begin(&unknown_only);
	small_add(&unknown_only, 5, NO_CLASS, 0, 1, 0);
	ev = evaluate(&unknown_only, &test);
	assert_false(ev->fitted);
	assert_int_equal(ev->n_validation_unknown, 5);
	evaluation_free(ev);
}

static void logits_that_are_not_finite_are_judged_to_be_nothing(void **state)
{
	struct small_flows test;
	struct evaluation *ev;

	(void)state;
	small_test(&test);
	test.logits[0][2] = NAN;
	ev = evaluate(NULL, &test);
	assert_int_equal(ev->overall.n, 16);
	assert_int_equal(ev->overall.right, 11);
	assert_int_equal(ev->confusion[0], 7);
	assert_int_equal(ev->known_refused, 1);
	evaluation_free(ev);
}

static void prefixes_are_measured_like_the_whole(void **state)
{
	struct evaluation *ev = usual();
	struct small_flows cut;

	(void)state;
	small_begin(&cut);
	small_add(&cut, 10, 0, 1, 1, 0);
	small_add(&cut, 6, 1, 1, 1, 0);
	assert_int_equal(evaluation_add_prefix(ev, 3, &cut.judged), 0);
	assert_int_equal(ev->n_prefixes, 1);
	assert_int_equal(ev->prefix[0].packets, 3);
	ASSERT_NEAR(ev->prefix[0].figures.accuracy, 6.0 / 16);
	for (uint32_t i = 1; i < EVALUATION_MAX_PREFIXES; i++)
		assert_int_equal(evaluation_add_prefix(ev, 3 + i, &cut.judged), 0);
	assert_int_equal(evaluation_add_prefix(ev, 99, &cut.judged), -ENOSPC);
	evaluation_free(ev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_nearest_class_counts_whatever_its_confidence),
		cmocka_unit_test(each_source_is_measured_alone),
		cmocka_unit_test(decisions_follow_the_thresholds_of_validation),
		cmocka_unit_test(test_flows_change_nothing_that_is_fitted),
		cmocka_unit_test(the_fitted_temperature_is_applied_to_the_test),
		cmocka_unit_test(without_validation_the_models_own_calibration_is_used),
		cmocka_unit_test(logits_that_are_not_finite_are_judged_to_be_nothing),
		cmocka_unit_test(prefixes_are_measured_like_the_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
