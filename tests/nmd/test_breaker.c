/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "agent/nmd/breaker.h"

#define SECOND 1000000000ull

static struct breaker b;

static int begin(void **state)
{
	(void)state;
	memset(&b, 0, sizeof(b));
	breaker_configure(&b, true, 0.5, 100);
	return 0;
}

/* True when one of them tripped it. */
static bool add(unsigned n, bool dropped, uint64_t now_ns)
{
	bool tripped = false;

	for (unsigned i = 0; i < n; i++)
		tripped |= breaker_add(&b, now_ns, dropped);
	return tripped;
}

static void it_trips_when_more_than_the_share_would_be_dropped(void **state)
{
	(void)state;
	assert_false(add(50, false, SECOND));
	assert_false(add(50, true, SECOND));
	assert_true(breaker_add(&b, SECOND, true));
	assert_true(b.tripped);
	assert_non_null(strstr(b.reason, "51 of the last 101"));
}

static void too_few_flows_never_trip_it(void **state)
{
	(void)state;
	assert_false(add(99, true, SECOND));
	assert_true(breaker_add(&b, SECOND, true));
}

static void more_flows_than_it_remembers_are_not_waited_for(void **state)
{
	(void)state;
	breaker_configure(&b, true, 0.5, BREAKER_WINDOW + 1ull);
	assert_true(add(BREAKER_WINDOW, true, SECOND));
}

static void exactly_the_share_does_not_trip_it(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 5000; i++)
		assert_false(breaker_add(&b, SECOND, i % 2));
}

static void flows_of_five_minutes_ago_do_not_count(void **state)
{
	(void)state;
	assert_false(add(90, true, SECOND));
	assert_false(add(20, true, 302 * SECOND));
	assert_int_equal(b.n, 20);
	assert_int_equal(b.n_dropped, 20);
}

static void the_window_holds_the_last_thousand(void **state)
{
	(void)state;
	assert_false(add(BREAKER_WINDOW, false, SECOND));
	assert_false(add(500, true, SECOND));
	assert_int_equal(b.n, BREAKER_WINDOW);
	assert_true(breaker_add(&b, SECOND, true));
}

static void it_trips_once_and_stays_until_it_is_armed(void **state)
{
	(void)state;
	assert_true(add(100, true, SECOND));
	assert_false(add(100, true, SECOND));
	assert_false(add(2000, false, SECOND));
	assert_true(b.tripped);
	breaker_arm(&b);
	assert_false(b.tripped);
	assert_int_equal(b.n, 0);
	assert_string_equal(b.reason, "");
	assert_true(add(100, true, SECOND));
}

static void it_does_nothing_when_it_is_off(void **state)
{
	(void)state;
	breaker_configure(&b, false, 0.5, 100);
	assert_false(add(1000, true, SECOND));
	assert_false(b.tripped);
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_trips_when_more_than_the_share_would_be_dropped),
		TEST(too_few_flows_never_trip_it),
		TEST(more_flows_than_it_remembers_are_not_waited_for),
		TEST(exactly_the_share_does_not_trip_it),
		TEST(flows_of_five_minutes_ago_do_not_count),
		TEST(the_window_holds_the_last_thousand),
		TEST(it_trips_once_and_stays_until_it_is_armed),
		TEST(it_does_nothing_when_it_is_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
