/* SPDX-License-Identifier: BSD-2-Clause */
/* What is fitted on validation flows: expected numbers by hand or by SciPy 1.10, named beside. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "agent/nmtrain/calibrate.h"
#include "model/model_write.h"

#define ASSERT_NEAR(have, want) assert_true(fabs((double)(have) - (want)) < 1e-5)

static const float logits[] = {2, 0, 0, 0, 2, 0,    0,    0,    2,  /* right, right, right */
			       2, 0, 0, 1, 3, 0.5F, 0.2F, 0.1F, 3}; /* wrong, right, wrong */
static const int16_t label[] = {0, 1, 2, 1, 1, 0};
static const struct judged six = {.n = 6, .n_classes = 3, .logits = logits, .label = label};

static struct calibration plain(void)
{
	struct calibration c;

	model_default_calibration(&c);
	return c;
}

/* scipy.optimize.minimize_scalar of the mean NLL over 0.05 .. 20 */
static void the_temperature_is_where_the_likelihood_is_best(void **state)
{
	(void)state;
	ASSERT_NEAR(calibrate_temperature(&six), 1.7915770);
	ASSERT_NEAR(calibrate_nll(&six, 1), 1.0107524);
	ASSERT_NEAR(calibrate_nll(&six, 1.7915770), 0.9151066);
}

static void logits_three_times_as_large_want_three_times_the_temperature(void **state)
{
	float tripled[18];
	struct judged j = six;

	(void)state;
	for (int i = 0; i < 18; i++)
		tripled[i] = 3 * logits[i];
	j.logits = tripled;
	ASSERT_NEAR(calibrate_temperature(&j) / 3, 1.7915770);
}

static void the_temperature_stays_in_its_bounds(void **state)
{
	static const int16_t all_right[] = {0, 1, 2, 0, 1, 2}, all_wrong[] = {1, 2, 0, 1, 2, 0};
	static const int16_t none[] = {-1, -1, -1, -1, -1, -1};
	struct judged j = six;

	(void)state;
	j.label = all_right;
	ASSERT_NEAR(calibrate_temperature(&j), 0.05);
	j.label = all_wrong;
	ASSERT_NEAR(calibrate_temperature(&j) / 20, 1);
	j.label = none;
	ASSERT_NEAR(calibrate_temperature(&j), 1);
	assert_true(isnan(calibrate_nll(&j, 1)));
}

static void logits_that_are_not_finite_are_left_out(void **state)
{
	float more[24];
	static const int16_t labels[] = {0, 1, 2, 1, 1, 0, 0, 1};
	struct judged j = {.n = 8, .n_classes = 3, .logits = more, .label = labels};
	struct calibration c = plain();
	struct reliability r;

	(void)state;
	for (int i = 0; i < 24; i++)
		more[i] = i < 18 ? logits[i] : 0;
	more[19] = NAN;
	more[21] = INFINITY;
	ASSERT_NEAR(calibrate_temperature(&j), 1.7915770);
	calibrate_reliability(&j, &c, &r);
	ASSERT_NEAR(r.ece, 0.2037877);
}

/*
 * Confidences: four of 0.7869860 (bin 11; three right), 0.8214090 (12; right), 0.8961912 (13;
 * wrong). ECE = 4/6 |0.75 - 0.7869860| + 1/6 (1 - 0.8214090) + 1/6 0.8961912
 */
static void ece_weighs_the_gaps_of_fifteen_bins(void **state)
{
	struct calibration c = plain();
	struct reliability r;

	(void)state;
	calibrate_reliability(&six, &c, &r);
	ASSERT_NEAR(r.ece, 0.2037877);
	assert_int_equal(r.bin[11].n, 4);
	ASSERT_NEAR(r.bin[11].accuracy, 0.75);
	ASSERT_NEAR(r.bin[11].confidence, 0.7869860);
	assert_int_equal(r.bin[13].n, 1);
	ASSERT_NEAR(r.bin[13].accuracy, 0);
	assert_int_equal(r.bin[0].n + r.bin[10].n + r.bin[14].n, 0);
	c.temperature = 2; /* five in bins 8 and 9, one in 10; summed by numpy */
	calibrate_reliability(&six, &c, &r);
	ASSERT_NEAR(r.ece, 0.2943702);
}

/* Known flows are (2, 0); unknown ones (5, 5): much said for both, nothing for one. */
static void the_score_is_chosen_that_ranks_validation_best(void **state)
{
	static const float z[] = {2, 0, 2, 0, 5, 5, 5, 5}, weak[] = {2, 0, 2, 0, 0.1F, 0, 0.1F, 0};
	static const int16_t labels[] = {0, 0, NO_CLASS, NO_CLASS};
	struct judged j = {.n = 4, .n_classes = 2, .logits = z, .label = labels};
	struct ranking ranking[CALIBRATE_SCORES];
	struct calibration c = plain();

	(void)state;
	assert_int_equal(calibrate_rank(&j, &c, ranking), 0);
	ASSERT_NEAR(ranking[OOD_ENERGY].auroc, 0);
	ASSERT_NEAR(ranking[OOD_MAX_LOGIT].auroc, 0);
	ASSERT_NEAR(ranking[OOD_MAX_PROBABILITY].auroc, 1);
	ASSERT_NEAR(ranking[OOD_ENTROPY].auroc, 1);
	assert_int_equal(calibrate_unknown(&j, ranking, 0.95, &c), 0);
	assert_int_equal(c.score, OOD_MAX_PROBABILITY);
	c = plain();
	j.logits = weak;
	calibrate_rank(&j, &c, ranking);
	calibrate_unknown(&j, ranking, 0.95, &c);
	assert_int_equal(c.score, OOD_ENERGY);
}

static void without_unknown_flows_the_score_stays(void **state)
{
	static const float z[] = {2, 0, 3, 0};
	static const int16_t labels[] = {0, 0}, none[] = {NO_CLASS, NO_CLASS};
	struct judged j = {.n = 2, .n_classes = 2, .logits = z, .label = labels};
	struct ranking ranking[CALIBRATE_SCORES];
	struct calibration c = plain();

	(void)state;
	c.score = OOD_ENTROPY;
	calibrate_rank(&j, &c, ranking);
	calibrate_unknown(&j, ranking, 1, &c);
	assert_int_equal(c.score, OOD_ENTROPY);
	assert_true(c.ood_threshold > 0.3F &&
		    c.ood_threshold < 0.4F); /* entropy of (2, 0): 0.366 */
	j.label = none;
	c = plain();
	calibrate_rank(&j, &c, ranking);
	calibrate_unknown(&j, ranking, 1, &c);
	assert_true(c.ood_threshold == FLT_MAX);
}

static void the_asked_share_of_known_flows_is_kept(void **state)
{
	float z[40];
	int16_t labels[20] = {0};
	struct judged j = {.n = 20, .n_classes = 2, .logits = z, .label = labels};
	struct ranking ranking[CALIBRATE_SCORES];
	struct calibration c = plain();
	struct decision d;
	int refused = 0;

	(void)state;
	for (int i = 0; i < 20; i++) {
		z[2 * i] = (float)(20 - i);
		z[2 * i + 1] = 0;
	}
	calibrate_rank(&j, &c, ranking);
	calibrate_unknown(&j, ranking, 0.9, &c);
	for (int i = 0; i < 20; i++) {
		calibrate_decide(&c, 2, &z[2 * i], &d);
		assert_true(d.unknown == (i >= 18));
		refused += d.unknown;
	}
	assert_int_equal(refused, 2);
}

/* n flows of two classes: flow i is judged 0 with a confidence that falls with i. */
struct falling {
	float z[64];
	int16_t label[32];
	struct judged j;
};

static float confidence_at(int i)
{
	return 1 / (1 + expf(-(5 - 0.1F * i)));
}

static void fill_falling(struct falling *f, int n, const int *wrong, int n_wrong)
{
	*f = (struct falling){.j = {.n = (size_t)n, .n_classes = 2}};
	f->j.logits = f->z;
	f->j.label = f->label;
	for (int i = 0; i < n; i++)
		f->z[2 * i] = 5 - 0.1F * i;
	for (int i = 0; i < n_wrong; i++)
		f->label[wrong[i]] = 1;
}

/* 10 right, 1 wrong (10/11 = 0.909), 2 more wrong (10/13), 3 right (13/16 = 0.81) */
static void a_threshold_is_the_lowest_that_holds_the_precision(void **state)
{
	static const int wrong[] = {10, 11, 12};
	struct calibration c = plain();
	enum threshold_found found[2];
	struct falling f;

	(void)state;
	fill_falling(&f, 16, wrong, 3);
	assert_int_equal(calibrate_thresholds(&f.j, 0.9, &c, found), 0);
	assert_int_equal(found[0], THRESHOLD_FITTED);
	ASSERT_NEAR(c.threshold[0], confidence_at(10));
	assert_false(c.watch_only[0]);
	calibrate_thresholds(&f.j, 0.95, &c, found);
	ASSERT_NEAR(c.threshold[0], confidence_at(9));
	calibrate_thresholds(&f.j, 0.8, &c, found);
	ASSERT_NEAR(c.threshold[0], confidence_at(15));
}

static void equal_confidences_stand_or_fall_together(void **state)
{
	static const int wrong[] = {11};
	struct calibration c = plain();
	enum threshold_found found[2];
	struct falling f;

	(void)state;
	fill_falling(&f, 12, wrong, 1);
	f.z[2 * 10] = f.z[2 * 11]; /* the 11th, right, ties with the 12th, wrong */
	calibrate_thresholds(&f.j, 0.95, &c, found);
	ASSERT_NEAR(c.threshold[0], confidence_at(9));
}

static void a_class_without_a_threshold_is_watch_only_and_says_why(void **state)
{
	static const int wrong[] = {0, 1, 2, 3, 4, 5};
	struct calibration c = plain();
	enum threshold_found found[2];
	struct falling f;

	(void)state;
	fill_falling(&f, 20, wrong, 6); /* at best 14/20 */
	calibrate_thresholds(&f.j, 0.95, &c, found);
	assert_int_equal(found[0], THRESHOLD_NOT_HELD);
	assert_int_equal(found[1], THRESHOLD_FEW_FLOWS); /* six flows, none judged so */
	ASSERT_NEAR(c.threshold[0], 0.5);
	assert_true(c.watch_only[0] && c.watch_only[1]);
	fill_falling(&f, 9, NULL, 0);
	calibrate_thresholds(&f.j, 0.95, &c, found);
	assert_int_equal(found[0], THRESHOLD_FEW_FLOWS);
	assert_int_equal(found[1], THRESHOLD_NO_FLOWS);
	ASSERT_NEAR(c.threshold[1], 0.5);
}

static void unknown_flows_that_come_through_count_as_mistakes(void **state)
{
	struct calibration c = plain();
	enum threshold_found found[2];
	struct falling f;

	(void)state;
	fill_falling(&f, 20, NULL, 0);
	for (int i = 12; i < 20; i++)
		f.label[i] = NO_CLASS;
	calibrate_thresholds(&f.j, 1, &c, found);
	ASSERT_NEAR(c.threshold[0], confidence_at(11));
	for (int i = 12; i < 20; i++)
		f.label[i] = 1; /* mistakes all the same */
	calibrate_thresholds(&f.j, 1, &c, found);
	ASSERT_NEAR(c.threshold[0], confidence_at(11));
}

static void flows_that_are_refused_as_unknown_set_no_threshold(void **state)
{
	struct calibration c = plain();
	enum threshold_found found[2];
	struct falling f;

	(void)state;
	fill_falling(&f, 20, NULL, 0); /* all right, which would carry the threshold to the last */
	c.ood_threshold = -4.05F;      /* -log(e^z + 1): lets z = 5 .. 4.1 through */
	calibrate_thresholds(&f.j, 1, &c, found);
	assert_int_equal(found[0], THRESHOLD_FITTED);
	ASSERT_NEAR(c.threshold[0], confidence_at(9));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_temperature_is_where_the_likelihood_is_best),
		cmocka_unit_test(logits_three_times_as_large_want_three_times_the_temperature),
		cmocka_unit_test(the_temperature_stays_in_its_bounds),
		cmocka_unit_test(logits_that_are_not_finite_are_left_out),
		cmocka_unit_test(ece_weighs_the_gaps_of_fifteen_bins),
		cmocka_unit_test(the_score_is_chosen_that_ranks_validation_best),
		cmocka_unit_test(without_unknown_flows_the_score_stays),
		cmocka_unit_test(the_asked_share_of_known_flows_is_kept),
		cmocka_unit_test(a_threshold_is_the_lowest_that_holds_the_precision),
		cmocka_unit_test(equal_confidences_stand_or_fall_together),
		cmocka_unit_test(a_class_without_a_threshold_is_watch_only_and_says_why),
		cmocka_unit_test(unknown_flows_that_come_through_count_as_mistakes),
		cmocka_unit_test(flows_that_are_refused_as_unknown_set_no_threshold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
