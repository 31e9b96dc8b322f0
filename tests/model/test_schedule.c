/* SPDX-License-Identifier: BSD-2-Clause */
/* The learning rate over a run. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "model/schedule.h"

static const struct schedule official = {
	.peak = 1e-3, .minimum = 1e-6, .warm_up = 20, .total = 120};

static void assert_rate(const struct schedule *s, double at, double want)
{
	if (!(fabs(schedule_rate(s, at) - want) < 1e-9 * s->peak))
		fail_msg("at %g: %g, want %g", at, schedule_rate(s, at), want);
}

static void warm_up_is_a_straight_line_from_nothing(void **state)
{
	(void)state;
	assert_rate(&official, 0, 0);
	assert_rate(&official, 2.5, 1e-3 / 8);
	assert_rate(&official, 15, 0.75e-3);
	assert_rate(&official, 20, 1e-3);
}

static void half_a_cosine_leads_down_to_the_minimum(void **state)
{
	(void)state;
	assert_rate(&official, 45, 1e-6 + 0.999e-3 * (1 + sqrt(0.5)) / 2);
	assert_rate(&official, 70, 1e-6 + 0.999e-3 / 2);
	assert_rate(&official, 95, 1e-6 + 0.999e-3 * (1 - sqrt(0.5)) / 2);
	assert_rate(&official, 120, 1e-6);
}

static void the_minimum_stays_after_the_end(void **state)
{
	(void)state;
	assert_rate(&official, 121, 1e-6);
	assert_rate(&official, 1e9, 1e-6);
}

static void a_run_without_warm_up_begins_at_its_peak(void **state)
{
	const struct schedule s = {.peak = 2, .minimum = 1, .total = 10};

	(void)state;
	assert_rate(&s, 0, 2);
	assert_rate(&s, 5, 1.5);
}

static void a_run_of_no_length_has_a_rate(void **state)
{
	const struct schedule nothing = {.peak = 2, .minimum = 1};
	const struct schedule all_warm_up = {.peak = 2, .minimum = 1, .warm_up = 4, .total = 4};

	(void)state;
	assert_rate(&nothing, 0, 1);
	assert_rate(&all_warm_up, 3, 1.5);
	assert_rate(&all_warm_up, 4, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(warm_up_is_a_straight_line_from_nothing),
		cmocka_unit_test(half_a_cosine_leads_down_to_the_minimum),
		cmocka_unit_test(the_minimum_stays_after_the_end),
		cmocka_unit_test(a_run_without_warm_up_begins_at_its_peak),
		cmocka_unit_test(a_run_of_no_length_has_a_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
