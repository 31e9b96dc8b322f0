/* SPDX-License-Identifier: BSD-2-Clause */
/* The arithmetic of bpf/flow_table.h, where a fixture would need hours or another CPU's clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "bpf/flow_table.h"

#define TICK_NS   (1ULL << FINGERPRINT_TICK)
#define HASH      0x123456789abcdef0ULL
#define MINUTE_NS 60000000000ULL /* 6 ticks and a rest */

static const struct packet_view udp = {.key.proto = PROTO_UDP};

/* The first packet's tick, the next one's. */
static bool believed(uint64_t first, uint64_t next, uint64_t idle_ns)
{
	return fingerprint_matches(fingerprint_make(HASH, &udp, first * TICK_NS),
				   fingerprint_make(HASH, &udp, next * TICK_NS), &udp, idle_ns);
}

static void a_fingerprint_older_than_the_idle_time_is_not_believed(void **state)
{
	(void)state;
	for (uint64_t first = 1000; first < 1256; first++) {
		assert_true(believed(first, first, MINUTE_NS));
		assert_true(believed(first, first + 7, MINUTE_NS)); /* may be less than a minute */
		for (uint64_t age = 8; age < 255; age++)
			assert_false(believed(first, first + age, MINUTE_NS));
	}
}

static void a_fingerprint_of_a_clock_a_tick_ahead_is_believed(void **state)
{
	(void)state;
	assert_true(believed(1000, 999, MINUTE_NS));
	assert_true(believed(1024, 1023, MINUTE_NS));
	assert_false(believed(1000, 998, MINUTE_NS));
}

static void without_an_idle_time_a_fingerprint_is_believed_as_long_as_its_bits_tell(void **state)
{
	(void)state;
	assert_true(believed(1000, 1000 + 121, 0));
	assert_false(believed(1000, 1000 + 122, 0));
	assert_true(believed(1000, 1000 + 121, 86400000000000ULL));
	assert_false(believed(1000, 1000 + 122, 86400000000000ULL));
}

static void no_fingerprint_looks_like_an_empty_place(void **state)
{
	struct packet_view tcp = {.key.proto = PROTO_TCP, .tcp_flags = TCP_ACK};

	(void)state;
	assert_int_not_equal(fingerprint_make(0, &tcp, 0) & FINGERPRINT_HASH, 0);
	assert_false(fingerprint_matches(0, fingerprint_make(0, &tcp, 0), &tcp, MINUTE_NS));
}

static void a_budget_of_0_is_no_limit(void **state)
{
	struct pace pace = {0};

	(void)state;
	for (int i = 0; i < 100000; i++)
		assert_true(pace_newcomer(&pace, MINUTE_NS, 0));
}

static void a_budget_is_spent_once_and_begins_anew_in_the_next_window(void **state)
{
	struct pace pace = {0};

	(void)state;
	for (int window = 1; window <= 3; window++) {
		assert_true(pace_newcomer(&pace, (uint64_t)window << 20, 2));
		assert_true(pace_newcomer(&pace, ((uint64_t)window << 20) + 1, 2));
		assert_false(pace_newcomer(&pace, ((uint64_t)(window + 1) << 20) - 1, 2));
	}
}

static uint32_t count(struct flow_state *s, uint8_t direction, uint8_t flags, uint64_t now_ns)
{
	struct packet_view v = {.direction = direction, .tcp_flags = flags};

	return flow_count(s, &v, 1, 100, now_ns);
}

static void tcp_flags_of_all_packets_are_kept_each_way(void **state)
{
	struct flow_state s;

	(void)state;
	flow_begin(&s, 1);
	count(&s, FLOW_DIR_FORWARD, TCP_SYN, 10);
	count(&s, FLOW_DIR_REVERSE, TCP_SYN | TCP_ACK, 20);
	count(&s, FLOW_DIR_FORWARD, TCP_ACK, 30);
	count(&s, FLOW_DIR_REVERSE, TCP_RST, 40);
	assert_int_equal(s.tcp_flags[FLOW_DIR_FORWARD], TCP_SYN | TCP_ACK);
	assert_int_equal(s.tcp_flags[FLOW_DIR_REVERSE], TCP_SYN | TCP_ACK | TCP_RST);
}

static void each_way_keeps_its_first_and_its_last_time(void **state)
{
	struct flow_state s;

	(void)state;
	flow_begin(&s, 1);
	assert_int_equal(count(&s, FLOW_DIR_FORWARD, 0, 10), 0);
	assert_int_equal(count(&s, FLOW_DIR_REVERSE, 0, 20), 1);
	assert_int_equal(count(&s, FLOW_DIR_FORWARD, 0, 30), 2);
	assert_int_equal(count(&s, FLOW_DIR_REVERSE, 0, 40), 3);
	assert_int_equal(s.first_ns[FLOW_DIR_FORWARD], 10);
	assert_int_equal(s.first_ns[FLOW_DIR_REVERSE], 20);
	assert_int_equal(s.last_ns[FLOW_DIR_FORWARD], 30);
	assert_int_equal(s.last_ns[FLOW_DIR_REVERSE], 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fingerprint_older_than_the_idle_time_is_not_believed),
		cmocka_unit_test(a_fingerprint_of_a_clock_a_tick_ahead_is_believed),
		cmocka_unit_test(
			without_an_idle_time_a_fingerprint_is_believed_as_long_as_its_bits_tell),
		cmocka_unit_test(no_fingerprint_looks_like_an_empty_place),
		cmocka_unit_test(a_budget_of_0_is_no_limit),
		cmocka_unit_test(a_budget_is_spent_once_and_begins_anew_in_the_next_window),
		cmocka_unit_test(tcp_flags_of_all_packets_are_kept_each_way),
		cmocka_unit_test(each_way_keeps_its_first_and_its_last_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
