/* SPDX-License-Identifier: BSD-2-Clause */
/* Figures of a classifier against scikit-learn 1.2.1 and sums by hand, named beside each. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "agent/nmtrain/metrics.h"
#include "agent/nmtrain/ranking.h"
#include "model/rng.h"

#define ASSERT_NEAR(have, want) assert_true(fabs((double)(have) - (want)) < 1e-9)
#define COUNT(array)            (sizeof(array) / sizeof((array)[0]))

static const int16_t label[] = {0, 0, 0, 0, 1, 1, 1, 2, 2, 2};
static const int16_t judged[] = {0, 0, 1, 2, 1, 1, 0, 2, 2, 2};

/* precision_recall_fscore_support, f1_score(average=...), accuracy_score */
static void figures_are_those_of_scikit_learn(void **state)
{
	struct class_figures f[3];
	struct overall_figures o;

	(void)state;
	metrics_figures(label, judged, COUNT(label), 3, f, &o);
	assert_int_equal(f[0].support, 4);
	assert_int_equal(f[0].judged, 3);
	ASSERT_NEAR(f[0].precision, 2.0 / 3);
	ASSERT_NEAR(f[0].recall, 0.5);
	ASSERT_NEAR(f[0].f1, 4.0 / 7);
	ASSERT_NEAR(f[1].f1, 2.0 / 3);
	ASSERT_NEAR(f[2].precision, 0.75);
	ASSERT_NEAR(f[2].recall, 1);
	ASSERT_NEAR(f[2].f1, 6.0 / 7);
	ASSERT_NEAR(o.accuracy, 0.7);
	ASSERT_NEAR(o.macro_f1, 0.6984126984126985);
	ASSERT_NEAR(o.weighted_f1, 0.6857142857142857);
	assert_int_equal(o.n, 10);
	assert_int_equal(o.right, 7);
}

static void the_confusion_has_true_classes_as_rows(void **state)
{
	static const uint64_t want[9] = {2, 1, 1, 1, 2, 0, 0, 0, 3};
	uint64_t have[9] = {0};

	(void)state;
	metrics_confusion(have, 3, label, judged, COUNT(label));
	for (size_t i = 0; i < 9; i++)
		assert_int_equal(have[i], want[i]);
}

/* f1_score(labels=[0, 1, 2], average="macro") with one flow of class 0 judged 3 */
static void a_class_without_flows_is_not_in_the_macro_mean(void **state)
{
	static const int16_t other[] = {0, 0, 3, 2, 1, 1, 0, 2, 2, 2};
	struct class_figures f[4];
	struct overall_figures o;

	(void)state;
	metrics_figures(label, other, COUNT(label), 4, f, &o);
	assert_int_equal(o.n_classes, 3);
	ASSERT_NEAR(o.macro_f1, 0.7428571428571429);
	assert_int_equal(f[3].judged, 1);
	ASSERT_NEAR(f[3].precision, 0);
	assert_true(isnan(f[3].recall) && isnan(f[3].f1));
}

static void a_flow_that_nothing_is_said_of_counts_against_recall_alone(void **state)
{
	static const int16_t truth[] = {0, 0}, none[] = {0, NO_CLASS};
	struct class_figures f;

	(void)state;
	metrics_figures(truth, none, 2, 1, &f, NULL);
	ASSERT_NEAR(f.precision, 1);
	ASSERT_NEAR(f.recall, 0.5);
}

static void flows_of_no_class_are_not_looked_at(void **state)
{
	static const int16_t truth[] = {0, NO_CLASS, NO_CLASS}, all[] = {0, 0, 1};
	uint64_t count[4] = {0};
	struct overall_figures o;

	(void)state;
	metrics_figures(truth, all, 3, 2, NULL, &o);
	metrics_confusion(count, 2, truth, all, 3);
	assert_int_equal(o.n, 1);
	ASSERT_NEAR(o.macro_f1, 1);
	assert_int_equal(count[0], 1);
	assert_int_equal(count[0] + count[1] + count[2] + count[3], 1);
	metrics_figures(truth, all, 0, 2, NULL, &o);
	assert_true(isnan(o.accuracy) && isnan(o.macro_f1) && isnan(o.weighted_f1));
}

/* ((p + z2/2n) -+ z sqrt(p (1 - p)/n + z2/4n2)) / (1 + z2/n), z = 1.959963984540054 */
static void intervals_are_wilsons(void **state)
{
	struct interval i = metrics_wilson(8, 10);

	(void)state;
	ASSERT_NEAR(i.low, 0.49016247153664183);
	ASSERT_NEAR(i.high, 0.9433178485456247);
	i = metrics_wilson(0, 10);
	ASSERT_NEAR(i.low, 0);
	ASSERT_NEAR(i.high, 0.2775327998628892);
	i = metrics_wilson(95, 100);
	ASSERT_NEAR(i.low, 0.8882495307680808);
	i = metrics_wilson(0, 0);
	ASSERT_NEAR(i.low, 0);
	ASSERT_NEAR(i.high, 1);
}

static const float score[] = {0.9F, 0.8F, 0.8F, 0.7F, 0.6F, 0.55F, 0.5F, 0.5F, 0.4F, 0.3F};
static const bool unknown[] = {1, 1, 0, 1, 0, 1, 0, 1, 0, 0};

/* roc_auc_score; roc_curve first reaches a true positive rate of 0.95 at 0.5, false ones 0.6 */
static void auroc_counts_ties_half_and_fpr95_takes_whole_steps(void **state)
{
	struct ranking r;

	(void)state;
	assert_int_equal(ranking_measure(score, unknown, COUNT(score), &r), 0);
	ASSERT_NEAR(r.auroc, 0.76);
	ASSERT_NEAR(r.fpr95, 0.6);
	assert_int_equal(r.n_positive, 5);
	assert_int_equal(r.n_points, 9); /* as many as roc_curve gives */
	assert_true(fabs(r.point[2].fpr - 0.2) < 1e-6 && fabs(r.point[2].tpr - 0.4) < 1e-6);
}

static void only_the_order_of_scores_counts(void **state)
{
	float other[COUNT(score)];
	struct ranking r;

	(void)state;
	for (size_t i = 0; i < COUNT(score); i++)
		other[i] = 1000 * score[i] * score[i] * score[i] - 7000;
	ranking_measure(other, unknown, COUNT(score), &r);
	ASSERT_NEAR(r.auroc, 0.76);
	for (size_t i = 0; i < COUNT(score); i++)
		other[i] = -score[i];
	ranking_measure(other, unknown, COUNT(score), &r);
	ASSERT_NEAR(r.auroc, 0.24);
}

static void equal_scores_tell_nothing(void **state)
{
	static const float same[COUNT(score)];
	struct ranking r;

	(void)state;
	ranking_measure(same, unknown, COUNT(score), &r);
	ASSERT_NEAR(r.auroc, 0.5);
	ASSERT_NEAR(r.fpr95, 1);
}

static void with_one_kind_only_there_is_no_auroc(void **state)
{
	static const bool none[COUNT(score)];
	struct ranking r;

	(void)state;
	ranking_measure(score, none, COUNT(score), &r);
	assert_true(isnan(r.auroc) && isnan(r.fpr95));
	assert_int_equal(r.n_points, 0);
	assert_int_equal(ranking_measure(score, none, 0, &r), 0);
}

/* 95% of 20 is 19: the 20th, which scores below all known flows, need not be caught. */
static void fpr95_lets_one_unknown_of_twenty_go(void **state)
{
	float s[40];
	bool is_unknown[40];
	struct ranking r;

	(void)state;
	for (int i = 0; i < 40; i++) {
		is_unknown[i] = i < 20;
		s[i] = i < 19 ? 100 - i : i == 19 ? 0 : 50 - i;
	}
	ranking_measure(s, is_unknown, 40, &r);
	ASSERT_NEAR(r.fpr95, 0);
	ASSERT_NEAR(r.auroc, 0.95);
}

static void a_thinned_curve_keeps_its_ends_and_its_area(void **state)
{
	static float s[5000];
	static bool is_unknown[5000];
	struct rng rng = rng_stream(1, 2, 3);
	struct ranking r;
	double area = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(s); i++) {
		is_unknown[i] = i % 3 == 0;
		s[i] = (float)rng_normal(&rng) + is_unknown[i];
	}
	ranking_measure(s, is_unknown, COUNT(s), &r);
	assert_in_range(r.n_points, 100, RANKING_POINTS);
	assert_true(r.point[0].fpr == 0 && r.point[0].tpr == 0);
	assert_true(r.point[r.n_points - 1].fpr == 1 && r.point[r.n_points - 1].tpr == 1);
	for (uint32_t i = 1; i < r.n_points; i++) {
		assert_true(r.point[i].fpr >= r.point[i - 1].fpr);
		assert_true(r.point[i].tpr >= r.point[i - 1].tpr);
		area += (r.point[i].fpr - r.point[i - 1].fpr) *
			(r.point[i].tpr + r.point[i - 1].tpr) / 2.0;
	}
	assert_true(fabs(area - r.auroc) < 0.002);
}

/* One capture all right, one all wrong: draws of both, one or the other give F1 of 0, 2/3 or 1.
 * Drawing the 200 flows would give 0.6 .. 0.73. */
static void the_interval_of_macro_f1_comes_from_whole_captures(void **state)
{
	static int16_t truth[200], said[200];
	static uint32_t capture[200];
	static const struct bootstrap how = {200, 1};
	struct interval i;

	(void)state;
	for (uint32_t k = 0; k < 200; k++) {
		capture[k] = 7 + k % 2;
		said[k] = k % 2;
	}
	assert_int_equal(metrics_bootstrap(truth, said, capture, 200, 2, &how, &i), 0);
	ASSERT_NEAR(i.low, 0);
	ASSERT_NEAR(i.high, 1);
	for (uint32_t k = 0; k < 200; k++)
		capture[k] = 7;
	metrics_bootstrap(truth, said, capture, 200, 2, &how, &i);
	ASSERT_NEAR(i.low, 2.0 / 3);
	ASSERT_NEAR(i.high, 2.0 / 3);
}

static void one_seed_gives_one_interval(void **state)
{
	static const uint32_t capture[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
	struct bootstrap how = {101, 5};
	struct interval a, b, c;

	(void)state;
	metrics_bootstrap(label, judged, capture, 10, 3, &how, &a);
	metrics_bootstrap(label, judged, capture, 10, 3, &how, &b);
	how.seed = 6;
	metrics_bootstrap(label, judged, capture, 10, 3, &how, &c);
	assert_true(a.low == b.low && a.high == b.high);
	assert_true(a.low < 0.69 && a.high > 0.7);
	assert_true(a.low != c.low || a.high != c.high);
	metrics_bootstrap(label, judged, capture, 0, 3, &how, &a);
	assert_true(isnan(a.low) && isnan(a.high));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(figures_are_those_of_scikit_learn),
		cmocka_unit_test(the_confusion_has_true_classes_as_rows),
		cmocka_unit_test(a_class_without_flows_is_not_in_the_macro_mean),
		cmocka_unit_test(a_flow_that_nothing_is_said_of_counts_against_recall_alone),
		cmocka_unit_test(flows_of_no_class_are_not_looked_at),
		cmocka_unit_test(intervals_are_wilsons),
		cmocka_unit_test(auroc_counts_ties_half_and_fpr95_takes_whole_steps),
		cmocka_unit_test(only_the_order_of_scores_counts),
		cmocka_unit_test(equal_scores_tell_nothing),
		cmocka_unit_test(with_one_kind_only_there_is_no_auroc),
		cmocka_unit_test(fpr95_lets_one_unknown_of_twenty_go),
		cmocka_unit_test(a_thinned_curve_keeps_its_ends_and_its_area),
		cmocka_unit_test(the_interval_of_macro_f1_comes_from_whole_captures),
		cmocka_unit_test(one_seed_gives_one_interval),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
