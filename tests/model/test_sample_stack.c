/* SPDX-License-Identifier: BSD-2-Clause */
/* Other TCP/IP stacks' headers in a sample: what changes, what must not, what is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "model/sample_edit.h"

static const struct sample_shape shape = {6, 80, 8, 6, true};
#define ROW 88

/* IPv4 20, TCP 40: a SYN as Linux sends it; options MSS 1460, SACK, timestamps, filler, scale 7. */
static const uint8_t syn[60] = {
	0x45, 0x49, 0, 60,  1, 2, 0x40, 0,  64, 6, 3, 4, 10,   0,    0,    1,    10, 0, 0, 2,
	0xc0, 0x01, 0, 80,  1, 1, 1,    1,  0,  0, 0, 0, 0xa0, 0x02, 0xfa, 0xf0, 5,  6, 0, 0,
	2,    4,    5, 180, 4, 2, 8,    10, 9,  8, 7, 6, 0,    0,    0,    0,    1,  3, 3, 7};

static void add(struct flow_sample *s, const uint8_t *header, uint16_t header_bytes, bool against)
{
	struct sample_packet *p = &s->packets[s->n_packets];

	*p = (struct sample_packet){.time_ns = s->n_packets,
				    .ip_len_bytes = header_bytes + 8U,
				    .header_bytes = header_bytes,
				    .payload_bytes = 8,
				    .byte_slot = s->n_packets,
				    .against = against};
	memset(sample_row(s, p), 0xdd, ROW);
	memcpy(sample_row(s, p), header, header_bytes);
	s->n_packets++;
}

static struct flow_sample *new_sample(void)
{
	struct flow_sample *s = flow_sample_new(&shape);

	assert_non_null(s);
	return s;
}

static void randomise(struct flow_sample *s, uint64_t seed)
{
	struct rng rng = rng_stream(seed, 0, 0);

	sample_randomise_stack(s, &rng);
}

static const uint8_t *row(const struct flow_sample *s, uint16_t i)
{
	return sample_row(s, &s->packets[i]);
}

/* Each option once, whole: kinds found in order, as a set of bits. */
static uint32_t option_kinds(const uint8_t *options, size_t n)
{
	uint32_t kinds = 0;
	size_t at = 0;

	while (at < n) {
		if (kinds & 1U << options[at])
			fail_msg("option %u twice", options[at]);
		kinds |= 1U << options[at];
		at += options[at] == 1 ? 1 : options[at + 1];
	}
	assert_int_equal(at, n);
	return kinds;
}

static void options_of_a_syn_are_permuted_whole(void **state)
{
	bool moved = false;

	(void)state;
	for (uint64_t seed = 0; seed < 200; seed++) {
		struct flow_sample *s = new_sample();

		add(s, syn, 60, false);
		randomise(s, seed);
		assert_int_equal(option_kinds(row(s, 0) + 40, 20),
				 1U << 1 | 1U << 2 | 1U << 3 | 1U << 4 | 1U << 8);
		assert_non_null(memmem(row(s, 0) + 40, 20, syn + 46, 10)); /* timestamps */
		moved |= row(s, 0)[40] != 2;
		flow_sample_free(s);
	}
	assert_true(moved);
}

static void every_order_of_options_occurs(void **state)
{
	uint32_t first = 0, last = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 200; seed++) {
		struct flow_sample *s = new_sample();

		add(s, syn, 60, false);
		randomise(s, seed);
		first |= 1U << row(s, 0)[40];
		for (size_t at = 40; at < 60; at += row(s, 0)[at] == 1 ? 1 : row(s, 0)[at + 1])
			if (at + (row(s, 0)[at] == 1 ? 1 : row(s, 0)[at + 1]) == 60)
				last |= 1U << row(s, 0)[at];
		flow_sample_free(s);
	}
	assert_int_equal(first, 0x11e);
	assert_int_equal(last, 0x11e);
}

static void ttl_window_mss_and_scale_change(void **state)
{
	bool ttl = false, window = false, mss = false, scale = false, dscp = false, kept = false;

	(void)state;
	for (uint64_t seed = 0; seed < 50; seed++) {
		struct flow_sample *s = new_sample();
		const uint8_t *ip;

		add(s, syn, 60, false);
		randomise(s, seed);
		ip = row(s, 0);
		ttl |= ip[8] != 64;
		assert_true(ip[8] > 40);
		window |= ip[34] != 0xfa || ip[35] != 0xf0;
		dscp |= ip[1] == 1; /* ECN stays */
		kept |= ip[1] == 0x49;
		for (size_t at = 40; at < 60; at += ip[at] == 1 ? 1 : ip[at + 1]) {
			unsigned value = ip[at + 2] << 8 | ip[at + 3];

			if (ip[at] == 3)
				assert_true(ip[at + 2] <= 14);
			if (ip[at] == 2)
				assert_true(value >= 1220 && value <= 1460);
			scale |= ip[at] == 3 && ip[at + 2] != 7;
			mss |= ip[at] == 2 && value != 1460;
		}
		flow_sample_free(s);
	}
	assert_true(ttl && window && mss && scale && dscp && kept);
}

static void nothing_else_changes(void **state)
{
	static const uint8_t changed[] = {1, 8, 34, 35};
	struct flow_sample *s = new_sample();
	uint8_t have[ROW];

	(void)state;
	add(s, syn, 60, false);
	randomise(s, 3);
	memcpy(have, row(s, 0), ROW);
	for (size_t i = 0; i < sizeof(changed); i++)
		have[changed[i]] = syn[changed[i]];
	assert_memory_equal(have, syn, 40);
	for (int i = 60; i < ROW; i++)
		assert_int_equal(have[i], 0xdd);
	assert_int_equal(s->packets[0].ip_len_bytes, 68);
	flow_sample_free(s);
}

static void a_host_has_one_stack(void **state)
{
	struct flow_sample *s = new_sample();
	bool differ = false;

	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		s->n_packets = 0;
		add(s, syn, 60, false);
		add(s, syn, 60, true);
		add(s, syn, 60, false);
		randomise(s, seed);
		assert_memory_equal(row(s, 0), row(s, 2), 60);
		differ |= memcmp(row(s, 0), row(s, 1), 60) != 0;
	}
	assert_true(differ);
	flow_sample_free(s);
}

static void windows_keep_their_proportion_and_zero_stays_zero(void **state)
{
	uint8_t ack[60];
	struct flow_sample *s = new_sample();

	(void)state;
	memcpy(ack, syn, 60);
	ack[33] = 0x10; /* no SYN */
	for (uint64_t seed = 0; seed < 20; seed++) {
		unsigned window[3];

		s->n_packets = 0;
		for (int i = 0; i < 3; i++) {
			ack[34] = i * 0x10;
			ack[35] = 0;
			add(s, ack, 60, false);
		}
		randomise(s, seed);
		for (int i = 0; i < 3; i++)
			window[i] = row(s, i)[34] << 8 | row(s, i)[35];
		assert_int_equal(window[0], 0);
		assert_true(window[1] >= 1024 && window[1] <= 16384);
		assert_true(window[2] >= 2 * window[1] && window[2] <= 2 * window[1] + 1);
		assert_memory_equal(row(s, 1) + 40, syn + 40, 20);
	}
	flow_sample_free(s);
}

static void a_window_ends_at_its_field(void **state)
{
	uint8_t ack[40];
	struct flow_sample *s = new_sample();
	unsigned largest = 0;

	(void)state;
	memcpy(ack, syn, 40);
	ack[32] = 0x50;
	ack[33] = 0x10;
	ack[34] = ack[35] = 0xff;
	for (uint64_t seed = 0; seed < 50; seed++) {
		unsigned window;

		s->n_packets = 0;
		add(s, ack, 40, false);
		randomise(s, seed);
		window = row(s, 0)[34] << 8 | row(s, 0)[35];
		assert_true(window >= 16383);
		largest = window > largest ? window : largest;
	}
	assert_int_equal(largest, 65535);
	flow_sample_free(s);
}

static void ipv6_has_its_own_places(void **state)
{
	uint8_t six[80] = {0x6a, 0xb0, 0, 0, 0, 40, 6, 64};
	struct flow_sample *s = new_sample();
	bool bleached = false, hops = false;

	(void)state;
	memcpy(six + 40, syn + 20, 40);
	for (uint64_t seed = 0; seed < 50; seed++) {
		s->n_packets = 0;
		add(s, six, 80, false);
		randomise(s, seed);
		/* traffic class 0xab: DSCP 0x2a, ECN 3; flow label begins with 0 */
		if (row(s, 0)[0] == 0x60 && row(s, 0)[1] == 0x30)
			bleached = true;
		else
			assert_memory_equal(row(s, 0), six, 2);
		hops |= row(s, 0)[7] != 64;
		assert_memory_equal(row(s, 0) + 2, six + 2, 5);
		option_kinds(row(s, 0) + 60, 20);
	}
	assert_true(bleached && hops);
	flow_sample_free(s);
}

/* Of a header that contradicts itself, options stay; of one that is not there, all. */
static void what_is_not_sound_is_left_alone(void **state)
{
	static const struct {
		const char *what;
		uint8_t place, value;
	} broken[] = {
		{"an option longer than its header", 58, 9},
		{"an option of no length", 45, 0},
		{"a header longer than was recorded", 32, 0xf0},
		{"a header shorter than its least", 32, 0x40},
		{"a later fragment", 7, 1},
		{"an IP header shorter than its least", 0, 0x44},
		{"not TCP", 9, 17},
		{"no IP", 0, 0x55},
	};
	struct flow_sample *s = new_sample();

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		for (uint64_t seed = 0; seed < 20; seed++) {
			uint8_t header[60];

			memcpy(header, syn, 60);
			header[broken[i].place] = broken[i].value;
			s->n_packets = 0;
			add(s, header, 60, false);
			randomise(s, seed);
			if (memcmp(row(s, 0) + 40, header + 40, 20))
				fail_msg("%s: options changed", broken[i].what);
		}
	flow_sample_free(s);
}

static void padding_behind_the_end_of_options_stays(void **state)
{
	uint8_t header[60];
	struct flow_sample *s = new_sample();
	bool moved = false;

	(void)state;
	memcpy(header, syn, 60);
	memcpy(header + 40, "\x04\x02\x03\x03\x07\x00\x03\x03\x01\x02\x04", 11);
	for (uint64_t seed = 0; seed < 20; seed++) {
		s->n_packets = 0;
		add(s, header, 60, false);
		randomise(s, seed);
		assert_memory_equal(row(s, 0) + 45, header + 45, 15);
		moved |= row(s, 0)[40] == 3;
	}
	assert_true(moved);
	flow_sample_free(s);
}

static void bytes_beyond_what_was_recorded_are_not_touched(void **state)
{
	struct flow_sample *s = new_sample();

	(void)state;
	add(s, syn, 60, false);
	for (uint16_t n = 0; n <= 60; n++)
		for (uint64_t seed = 0; seed < 5; seed++) {
			memset(sample_row(s, &s->packets[0]), 0, ROW);
			memcpy(sample_row(s, &s->packets[0]), syn, 60);
			s->packets[0].header_bytes = n;
			randomise(s, seed);
			assert_memory_equal(row(s, 0) + n, syn + n, 60 - n);
		}
	flow_sample_free(s);
}

static void slots_and_counts_of_a_file_are_not_trusted(void **state)
{
	struct flow_sample *s = new_sample();

	(void)state;
	add(s, syn, 60, false);
	s->packets[0].byte_slot = 6; /* there are 0 .. 5 */
	s->n_packets = 65535;
	randomise(s, 0);
	assert_memory_equal(s->bytes, syn, 60);
	flow_sample_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_of_a_syn_are_permuted_whole),
		cmocka_unit_test(every_order_of_options_occurs),
		cmocka_unit_test(ttl_window_mss_and_scale_change),
		cmocka_unit_test(nothing_else_changes),
		cmocka_unit_test(a_host_has_one_stack),
		cmocka_unit_test(windows_keep_their_proportion_and_zero_stays_zero),
		cmocka_unit_test(a_window_ends_at_its_field),
		cmocka_unit_test(ipv6_has_its_own_places),
		cmocka_unit_test(what_is_not_sound_is_left_alone),
		cmocka_unit_test(padding_behind_the_end_of_options_stays),
		cmocka_unit_test(bytes_beyond_what_was_recorded_are_not_touched),
		cmocka_unit_test(slots_and_counts_of_a_file_are_not_trusted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
