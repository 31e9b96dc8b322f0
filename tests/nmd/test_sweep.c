/* SPDX-License-Identifier: BSD-2-Clause */
/* Which verdicts go, and when, from the real map. */
#include "agent/nmd/clock.h"
#include "agent/nmd/sweep.h"
#include "tests/nmd/one_kernel.h"

static int forget_verdict(void *ctx, const struct flow_key *key, const struct verdict *v)
{
	(void)ctx, (void)v;
	return kernel_verdict_delete(k, key);
}

/* The map is emptied before each test. */
static int begin(void **state)
{
	(void)state;
	return have_kernel ? kernel_verdict_walk(k, forget_verdict, NULL) : 0;
}

static void put_counted(uint16_t port, uint64_t packets, uint64_t expires_ns)
{
	struct verdict v = {.packets = packets, .expires_ns = expires_ns};
	struct flow_key key = frame_key(port, 2000);

	assert_int_equal(kernel_verdict_put(k, &key, &v), 0);
}

static bool alive(uint16_t port)
{
	struct flow_key key = frame_key(port, 2000);
	struct verdict v;

	return !kernel_verdict_get(k, &key, &v);
}

static void the_sweep_removes_what_fell_silent_and_keeps_what_moves(void **state)
{
	const uint64_t idle_ns = 100 * NS_PER_S;
	struct sweep *s;

	NEEDS_KERNEL;
	assert_int_equal(sweep_new(1024, &s), 0);
	put_counted(1, 5, 0);
	put_counted(2, 5, 0);
	assert_int_equal(sweep_run(s, k, 1000 * NS_PER_S, idle_ns), 0);
	assert_int_equal(sweep_live(s), 2);
	put_counted(2, 6, 0);
	assert_int_equal(sweep_run(s, k, 1099 * NS_PER_S, idle_ns), 0);
	assert_int_equal(sweep_run(s, k, 1100 * NS_PER_S, idle_ns), 1);
	assert_false(alive(1));
	assert_true(alive(2));
	assert_int_equal(sweep_run(s, k, 1199 * NS_PER_S, idle_ns), 1);
	assert_int_equal(sweep_live(s), 0);
	assert_int_equal(sweep_removed(s), 2);
	sweep_free(s);
}

static void a_closed_connections_verdict_goes_at_its_time_an_open_ones_stays(void **state)
{
	struct flow_key open_tcp = frame_key(3, 2000);
	struct verdict v = {.packets = 1};
	struct sweep *s;

	NEEDS_KERNEL;
	open_tcp.proto = IPPROTO_TCP;
	assert_int_equal(kernel_verdict_put(k, &open_tcp, &v), 0);
	put_counted(1, 5, 1010 * NS_PER_S);
	assert_int_equal(sweep_new(1024, &s), 0);
	assert_int_equal(sweep_run(s, k, 1000 * NS_PER_S, 100 * NS_PER_S), 0);
	assert_int_equal(sweep_run(s, k, 1005 * NS_PER_S, 100 * NS_PER_S), 0);
	assert_int_equal(sweep_run(s, k, 1011 * NS_PER_S, 100 * NS_PER_S), 1);
	assert_false(alive(1));
	assert_int_equal(sweep_run(s, k, 1000 * NS_PER_S + 2399 * NS_PER_S, 100 * NS_PER_S), 0);
	assert_int_equal(sweep_run(s, k, 1000 * NS_PER_S + 2400 * NS_PER_S, 100 * NS_PER_S), 1);
	sweep_free(s);
}

static void a_closed_connection_that_goes_on_keeps_its_verdict(void **state)
{
	struct sweep *s;

	NEEDS_KERNEL;
	assert_int_equal(sweep_new(1024, &s), 0);
	put_counted(1, 5, 1010 * NS_PER_S);
	assert_int_equal(sweep_run(s, k, 1000 * NS_PER_S, 100 * NS_PER_S), 0);
	put_counted(1, 6, 1010 * NS_PER_S);
	assert_int_equal(sweep_run(s, k, 1011 * NS_PER_S, 100 * NS_PER_S), 0);
	assert_true(alive(1));
	sweep_free(s);
}

static void the_sweep_is_not_tired_by_flows_that_come_and_go(void **state)
{
	struct sweep *s;

	NEEDS_KERNEL;
	assert_int_equal(sweep_new(4, &s), 0);
	for (uint16_t port = 1; port <= 40; port++) {
		struct flow_key key = frame_key(port, 2000);

		put_counted(port, 5, 0);
		sweep_run(s, k, 1000 * NS_PER_S, 100 * NS_PER_S);
		assert_int_equal(kernel_verdict_delete(k, &key), 0);
	}
	for (uint16_t port = 1; port <= 4; port++)
		put_counted(port, 5, 0);
	assert_int_equal(sweep_run(s, k, 2000 * NS_PER_S, 100 * NS_PER_S), 0);
	assert_int_equal(sweep_run(s, k, 2100 * NS_PER_S, 100 * NS_PER_S), 4);
	sweep_free(s);
}

static void when_room_is_short_verdicts_of_which_nothing_came_go_first(void **state)
{
	struct flow_key young = frame_key(9, 2000);
	struct sweep *s;

	NEEDS_KERNEL;
	assert_int_equal(sweep_new(1024, &s), 0);
	put_counted(1, 0, 0);
	put_counted(2, 1, 0);
	assert_int_equal(
		kernel_verdict_put(k, &young, &(struct verdict){.judged_ns = 6 * NS_PER_S}), 0);
	assert_int_equal(sweep_make_room(s, k, 5 * NS_PER_S), 1);
	assert_int_equal(kernel_verdict_delete(k, &young), 0);
	put_counted(1, 0, 0);
	assert_int_equal(sweep_make_room(s, k, 4 * NS_PER_S), 0);
	assert_int_equal(sweep_live(s), 2);
	assert_int_equal(sweep_make_room(s, k, 5 * NS_PER_S), 1);
	assert_false(alive(1));
	assert_true(alive(2));
	assert_int_equal(sweep_live(s), 1);
	assert_int_equal(sweep_removed(s), 2);
	sweep_free(s);
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_sweep_removes_what_fell_silent_and_keeps_what_moves),
		TEST(a_closed_connections_verdict_goes_at_its_time_an_open_ones_stays),
		TEST(a_closed_connection_that_goes_on_keeps_its_verdict),
		TEST(the_sweep_is_not_tired_by_flows_that_come_and_go),
		TEST(when_room_is_short_verdicts_of_which_nothing_came_go_first),
	};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
