/* SPDX-License-Identifier: BSD-2-Clause */
/* bpf/meter.h in user space; the loaded program's is in fixtures_verdict.c. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "bpf/parse.h"

/* Before so many of the next exchanges another CPU lets a packet of this cost through. */
static _Thread_local int collisions;
static _Thread_local uint64_t others_cost_ns;

static __u64 exchange(__u64 *at, __u64 seen, __u64 wanted)
{
	if (collisions > 0 && collisions--)
		__sync_fetch_and_add(at, others_cost_ns);
	return __sync_val_compare_and_swap(at, seen, wanted);
}
#define __sync_val_compare_and_swap exchange
#include "bpf/meter.h"

#define SECOND_NS 1000000000ULL

static struct meter meter_of(uint64_t rate_bytes_per_s, uint64_t burst_bytes)
{
	return (struct meter){
		.ps_per_byte = 1000000000000ULL / rate_bytes_per_s,
		.burst_ns = (uint64_t)((double)burst_bytes * 1e9 / (double)rate_bytes_per_s)};
}

/* Bytes let through in a second by packets that come at ten times the rate. */
static uint64_t passed_in_a_second(uint64_t rate_bytes_per_s, uint64_t burst_bytes, uint32_t bytes)
{
	struct meter m = meter_of(rate_bytes_per_s, burst_bytes);
	double step_ns = bytes * 1e8 / (double)rate_bytes_per_s;
	uint64_t passed = 0;

	for (double t = 0; t < 1e9; t += step_ns)
		if (meter_conforms(&m, 7 * SECOND_NS + (uint64_t)t, bytes))
			passed += bytes;
	return passed;
}

static void a_rate_is_kept_from_8_kbit_to_10_gbit(void **state)
{
	static const uint64_t rates[] = {1000, 250000, 12500000, 125000000, 1250000000};

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		uint64_t burst = rates[i] / 100, passed;

		passed = passed_in_a_second(rates[i], burst, 100);
		assert_in_range(passed, rates[i] / 100 * 99,
				rates[i] / 100 * 101 + burst + 2 * 100);
	}
}

static void a_burst_passes_at_once_and_then_the_rate(void **state)
{
	struct meter m = meter_of(1000000, 10000);
	int passed = 0;

	(void)state;
	for (int i = 0; i < 100; i++)
		passed += meter_conforms(&m, SECOND_NS, 1000);
	assert_int_equal(passed, 11); /* the burst, and the packet that begins at its end */
	assert_true(meter_conforms(&m, SECOND_NS + 1000000, 1000));
	assert_false(meter_conforms(&m, SECOND_NS + 1000000, 1000));
}

static void idle_time_gives_no_credit_beyond_the_burst(void **state)
{
	struct meter m = meter_of(1000000, 5000);
	int passed = 0;

	(void)state;
	assert_true(meter_conforms(&m, SECOND_NS, 1000));
	for (int i = 0; i < 100; i++)
		passed += meter_conforms(&m, 3600 * SECOND_NS, 1000);
	assert_int_equal(passed, 6);
}

static void a_clock_that_steps_back_does_not_open_the_meter(void **state)
{
	struct meter m = meter_of(1000000, 5000);

	(void)state;
	for (int i = 0; i < 100; i++)
		meter_conforms(&m, SECOND_NS, 1000);
	assert_false(meter_conforms(&m, SECOND_NS - 5, 1000));
}

static void a_packet_costs_its_time_rounded_to_the_nearest_ns(void **state)
{
	static const struct {
		uint64_t ps_per_byte, cost_ns;
		uint32_t bytes;
	} costs[] = {{499, 0, 1}, {500, 1, 1}, {1499, 1, 1}, {1500, 2, 1}, {1001, 1502, 1500}};

	(void)state;
	for (size_t i = 0; i < sizeof(costs) / sizeof(costs[0]); i++) {
		struct meter m = {.ps_per_byte = costs[i].ps_per_byte};

		assert_true(meter_conforms(&m, SECOND_NS, costs[i].bytes));
		assert_int_equal(m.tat_ns, SECOND_NS + costs[i].cost_ns);
	}
}

/* However often the other CPU is the quicker, both packets are paid for. */
static void a_collision_loses_no_byte(void **state)
{
	(void)state;
	for (int n = 1; n <= 2 * METER_TRIES; n++) {
		struct meter m = meter_of(1000000, 1000000);
		int happened = n < METER_TRIES ? n : METER_TRIES;

		m.tat_ns = SECOND_NS;
		collisions = n;
		others_cost_ns = 7000;
		assert_true(meter_conforms(&m, SECOND_NS, 1000));
		assert_int_equal(m.tat_ns, SECOND_NS + 7000 * happened + 1000000);
		collisions = 0;
	}
}

static void a_packet_that_lost_the_last_of_the_burst_does_not_pass(void **state)
{
	struct meter m = meter_of(1000000, 5000);

	(void)state;
	m.tat_ns = SECOND_NS + m.burst_ns;
	collisions = 1;
	others_cost_ns = 1;
	assert_false(meter_conforms(&m, SECOND_NS, 1000));
	assert_int_equal(m.tat_ns, SECOND_NS + m.burst_ns + 1);
	assert_int_equal(collisions, 0);
}

struct crowd {
	struct meter meter;
	uint64_t passed;
};

static void *press(void *arg)
{
	struct crowd *c = arg;

	for (uint64_t t = 0; t < 200000; t++)
		if (meter_conforms(&c->meter, SECOND_NS + t * 100, 100))
			__sync_fetch_and_add(&c->passed, 100);
	return NULL;
}

/* Each thread has the same 20 ms; whichever is ahead or behind, no byte may pass twice. */
static void two_cpus_share_one_rate(void **state)
{
	struct crowd c = {.meter = meter_of(10000000, 10000)};
	pthread_t threads[2];

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, press, &c), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_in_range(c.passed, 200000 * 99 / 100, 200000 + 10000 + 2 * 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rate_is_kept_from_8_kbit_to_10_gbit),
		cmocka_unit_test(a_burst_passes_at_once_and_then_the_rate),
		cmocka_unit_test(idle_time_gives_no_credit_beyond_the_burst),
		cmocka_unit_test(a_clock_that_steps_back_does_not_open_the_meter),
		cmocka_unit_test(a_packet_costs_its_time_rounded_to_the_nearest_ns),
		cmocka_unit_test(a_collision_loses_no_byte),
		cmocka_unit_test(a_packet_that_lost_the_last_of_the_burst_does_not_pass),
		cmocka_unit_test(two_cpus_share_one_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
