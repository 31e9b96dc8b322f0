/* SPDX-License-Identifier: BSD-2-Clause */
/* The user-space end of the one parser, on the packets of fixtures_parse.c and on its own tables.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "agent/flow/key_table.h"
#include "bpf/parse.h"
#include "tests/bpf/fixtures.h"

static struct record_buffer last;
static int n_records;

static void on_record(void *ctx, const struct packet_record *record, const uint8_t *data)
{
	(void)ctx;
	last.record = *record;
	memcpy(last.data, data, sizeof(last.data));
	n_records++;
}

static struct nm_config config_of(void)
{
	return (struct nm_config){.byte_packets = 10,
				  .header_bytes = 80,
				  .payload_bytes = 80,
				  .record_packets = 50,
				  .flow_idle_ns = 60000000000ULL};
}

static struct extractor *extractor_of(uint32_t max_flows)
{
	struct nm_config config = config_of();
	struct extractor *x;

	n_records = 0;
	assert_int_equal(extractor_new(&config, max_flows, on_record, NULL, &x), 0);
	return x;
}

static void it_says_of_each_fixture_what_the_kernel_says(void **state)
{
	static struct packet p;

	(void)state;
	for (size_t i = 0; i < n_parse_fixtures; i++) {
		const struct parse_fixture *f = &parse_fixtures[i];
		struct extractor *x = extractor_of(16);

		f->build(&p);
		if (extractor_packet(x, EXTRACT_ETHERNET, packet_bytes(&p), p.len, 1) != f->reason)
			fail_msg("%s: another reason", f->claim);
		if (f->reason == REASON_UNDECIDED &&
		    (last.record.header_len != f->header_len ||
		     last.record.payload_bytes != f->payload_bytes ||
		     last.record.direction != f->direction))
			fail_msg("%s: another record", f->claim);
		assert_int_equal(n_records, f->reason == REASON_UNDECIDED);
		extractor_free(x);
	}
}

/* Each cut lies at the end of an allocation of its own, so that ASan sees a read past it. */
static void no_cut_of_a_packet_is_read_past_its_end(void **state)
{
	static struct packet p;
	struct extractor *x = extractor_of(1024);
	uint64_t followed = 0;

	(void)state;
	for (size_t i = 0; i < n_parse_fixtures; i++) {
		parse_fixtures[i].build(&p);
		for (size_t len = 0; len <= p.len; len++) {
			uint8_t *copy = malloc(len ? len : 1);

			assert_non_null(copy);
			memcpy(copy, packet_bytes(&p), len);
			followed += extractor_packet(x, EXTRACT_ETHERNET, copy, len, i) ==
				    REASON_UNDECIDED;
			if (len > 14)
				extractor_packet(x, EXTRACT_IP, copy + 14, len - 14, i);
			free(copy);
		}
	}
	assert_true(followed > 0);
	extractor_free(x);
}

static void an_ip_packet_without_a_link_header_gives_the_same_record(void **state)
{
	static struct packet p;
	struct extractor *with = extractor_of(16), *without = extractor_of(16);
	struct record_buffer expected;

	(void)state;
	packet_make_tcp(&p, "10.0.0.2", "10.0.0.1", 443, 50000, TCP_ACK, 50);
	extractor_packet(with, EXTRACT_ETHERNET, packet_bytes(&p), p.len, 9);
	expected = last;
	extractor_packet(without, EXTRACT_IP, packet_bytes(&p) + 14, p.len - 14, 9);
	assert_int_equal(n_records, 2);
	assert_memory_equal(&last, &expected, sizeof(expected));
	extractor_free(with);
	extractor_free(without);
}

static void settings_that_no_record_can_hold_are_refused(void **state)
{
	struct nm_config config = config_of();
	struct extractor *x;

	(void)state;
	config.header_bytes = RECORD_MAX_HEADER + 1;
	assert_true(extractor_new(&config, 16, on_record, NULL, &x) < 0);
	config = config_of();
	config.newcomer_mask = 5;
	assert_true(extractor_new(&config, 16, on_record, NULL, &x) < 0);
	config = config_of();
	assert_true(extractor_new(&config, 0, on_record, NULL, &x) < 0);
}

static void a_full_table_forgets_the_least_recently_used(void **state)
{
	struct key_table *t = key_table_new(3, sizeof(uint64_t));
	struct flow_key keys[4] = {{.proto = 1}, {.proto = 2}, {.proto = 3}, {.proto = 4}};

	(void)state;
	assert_non_null(t);
	for (uint64_t i = 0; i < 3; i++)
		*(uint64_t *)key_table_put(t, &keys[i]) = i + 1;
	assert_int_equal(*(uint64_t *)key_table_get(t, &keys[0]), 1);
	assert_int_equal(*(uint64_t *)key_table_put(t, &keys[3]), 0);
	assert_null(key_table_get(t, &keys[1]));
	assert_int_equal(*(uint64_t *)key_table_get(t, &keys[0]), 1);
	assert_int_equal(*(uint64_t *)key_table_get(t, &keys[2]), 3);
	key_table_free(t);
}

static void a_table_stays_right_through_many_evictions(void **state)
{
	struct key_table *t = key_table_new(100, sizeof(uint64_t));
	struct flow_key key = {0};

	(void)state;
	assert_non_null(t);
	for (uint64_t i = 0; i < 10000; i++) {
		memcpy(key.addr_lo, &i, sizeof(i));
		*(uint64_t *)key_table_put(t, &key) = i;
	}
	for (uint64_t i = 0; i < 10000; i++) {
		uint64_t *value;

		memcpy(key.addr_lo, &i, sizeof(i));
		value = key_table_get(t, &key);
		assert_int_equal(value ? *value : UINT64_MAX, i < 9900 ? UINT64_MAX : i);
	}
	key_table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_says_of_each_fixture_what_the_kernel_says),
		cmocka_unit_test(no_cut_of_a_packet_is_read_past_its_end),
		cmocka_unit_test(an_ip_packet_without_a_link_header_gives_the_same_record),
		cmocka_unit_test(settings_that_no_record_can_hold_are_refused),
		cmocka_unit_test(a_full_table_forgets_the_least_recently_used),
		cmocka_unit_test(a_table_stays_right_through_many_evictions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
