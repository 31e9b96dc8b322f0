/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel is told of the agent, in the real map. */
#include "agent/nmd/clock.h"
#include "agent/nmd/heartbeat.h"
#include "tests/nmd/one_kernel.h"

static struct heartbeat h;

static struct control in_kernel(void)
{
	struct control c;

	assert_int_equal(kernel_control_get(k, &c), 0);
	return c;
}

/* An agent before this one left the map as `before` has it. */
static void start_after(struct control before, bool watch, bool endpoints)
{
	struct error e = {0};

	assert_int_equal(kernel_control_set(k, &before), 0);
	memset(&h, 0, sizeof(h));
	if (heartbeat_start(&h, k, watch, 10, endpoints, &e))
		fail_msg("%s", e.text);
}

static void an_agent_that_starts_says_what_it_may_do(void **state)
{
	uint64_t before_ns = clock_monotonic_ns();
	struct control c;

	NEEDS_KERNEL;
	start_after((struct control){.generation = 7}, false, true);
	c = in_kernel();
	assert_int_equal(c.schema_version, SCHEMA_VERSION);
	assert_int_equal(c.mode, MODE_ENFORCE);
	assert_int_equal(c.fail_open_ns, 10 * NS_PER_S);
	assert_int_equal(c.flags, CONTROL_ENDPOINTS);
	assert_int_equal(c.generation, 8); /* flows without a verdict are sent up anew */
	assert_in_range(c.heartbeat_ns, before_ns, clock_monotonic_ns());
	start_after((struct control){0}, true, false);
	assert_int_equal(in_kernel().mode, MODE_WATCH);
	assert_int_equal(in_kernel().flags, 0);
}

static void each_beat_moves_the_time_and_nothing_else(void **state)
{
	struct control before, after;
	uint64_t now_ns;

	NEEDS_KERNEL;
	start_after((struct control){0}, false, true);
	before = in_kernel();
	now_ns = clock_monotonic_ns();
	heartbeat_beat(&h);
	after = in_kernel();
	assert_in_range(after.heartbeat_ns, now_ns, clock_monotonic_ns());
	before.heartbeat_ns = after.heartbeat_ns;
	assert_memory_equal(&before, &after, sizeof(before));
	heartbeat_beat_ahead(&h);
	assert_in_range(in_kernel().heartbeat_ns, now_ns + 10 * NS_PER_S,
			clock_monotonic_ns() + 10 * NS_PER_S);
}

static void a_tripped_breaker_stays_so_for_the_next_agent_until_it_is_armed(void **state)
{
	NEEDS_KERNEL;
	start_after((struct control){0}, false, true);
	assert_int_equal(heartbeat_set_mode(&h, true, true), 0);
	assert_true(heartbeat_tripped(&h));
	assert_int_equal(in_kernel().mode, MODE_WATCH);
	start_after(in_kernel(), false, true);
	assert_true(heartbeat_tripped(&h));
	assert_int_equal(in_kernel().mode, MODE_WATCH);
	assert_int_equal(in_kernel().flags, CONTROL_ENDPOINTS | CONTROL_TRIPPED);
	assert_int_equal(heartbeat_set_mode(&h, false, false), 0);
	assert_false(heartbeat_tripped(&h));
	assert_int_equal(in_kernel().mode, MODE_ENFORCE);
	assert_int_equal(in_kernel().flags, CONTROL_ENDPOINTS);
}

static void a_deadline_and_a_generation_are_told_at_once(void **state)
{
	NEEDS_KERNEL;
	start_after((struct control){.generation = 1}, false, false);
	heartbeat_set_fail_open(&h, 3);
	assert_int_equal(in_kernel().fail_open_ns, 3 * NS_PER_S);
	assert_int_equal(heartbeat_next_generation(&h), 0);
	assert_int_equal(in_kernel().generation, 3);
}

static void there_are_four_beats_within_the_deadline_and_one_a_second(void **state)
{
	(void)state;
	assert_int_equal(heartbeat_period_ms(0), 1000);
	assert_int_equal(heartbeat_period_ms(1), 250);
	assert_int_equal(heartbeat_period_ms(3), 750);
	assert_int_equal(heartbeat_period_ms(10), 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_agent_that_starts_says_what_it_may_do),
		cmocka_unit_test(each_beat_moves_the_time_and_nothing_else),
		cmocka_unit_test(a_tripped_breaker_stays_so_for_the_next_agent_until_it_is_armed),
		cmocka_unit_test(a_deadline_and_a_generation_are_told_at_once),
		cmocka_unit_test(there_are_four_beats_within_the_deadline_and_one_a_second),
	};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
