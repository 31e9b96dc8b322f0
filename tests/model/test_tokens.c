/* SPDX-License-Identifier: BSD-2-Clause */
/* Flow samples to the network's inputs: rows, padding, sizes, times, and bounds of a batch. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "model/batch.h"
#include "model/tokens.h"

#define MS 1000000ULL

static const struct sample_shape shape_bi = {2, 4, 3, 5, true};
static const struct token_config config_bi = {
	.shape = {2, 4, 3, 5, true}, .byte_scale = 2.0F / 255, .byte_offset = -1};

/* Three packets: of the second no bytes were recorded, the third comes from the other side. */
static struct flow_sample *three_packets(const struct sample_shape *shape)
{
	struct flow_sample *s = flow_sample_new(shape);
	static const struct sample_packet packets[] = {
		{.time_ns = 5 * MS,
		 .ip_len_bytes = 60,
		 .header_bytes = 4,
		 .payload_bytes = 2,
		 .byte_slot = 1},
		{.time_ns = 6 * MS, .ip_len_bytes = 9000},
		{.time_ns = 1006 * MS, .ip_len_bytes = 40, .against = true},
	};

	assert_non_null(s);
	for (s->n_packets = 0; s->n_packets < 3; s->n_packets++)
		s->packets[s->n_packets] = packets[s->n_packets];
	memset(s->bytes, 0xee, shape->packets * sample_row_bytes(shape));
	memcpy(sample_row(s, &s->packets[0]), "\x01\x02\x03\xff\x05\x06\x07", 7);
	return s;
}

static void a_row_holds_what_was_recorded_and_zeroes(void **state)
{
	static const uint8_t want[14] = {1, 2, 3, 0xff, 5, 6};
	struct flow_sample *s = three_packets(&shape_bi);
	uint8_t have[14];

	(void)state;
	tokens_bytes(have, &config_bi, s);
	assert_memory_equal(have, want, sizeof(want));
	flow_sample_free(s);
}

static void counts_beyond_a_row_are_cut_to_it(void **state)
{
	static const uint8_t want[14] = {1, 2, 3, 0xff, 5, 6, 7};
	struct flow_sample *s = three_packets(&shape_bi);
	uint8_t have[14];

	(void)state;
	s->packets[0].header_bytes = 65535;
	s->packets[0].payload_bytes = 65535;
	tokens_bytes(have, &config_bi, s);
	assert_memory_equal(have, want, sizeof(want));
	s->packets[0].byte_slot = 2; /* there are slots 0 and 1 */
	tokens_bytes(have, &config_bi, s);
	assert_int_equal(have[0], 0);
	flow_sample_free(s);
}

static void packets_that_a_sample_has_no_more_leave_no_bytes(void **state)
{
	static const uint8_t want[14];
	struct flow_sample *s = three_packets(&shape_bi);
	uint8_t have[14];

	(void)state;
	s->n_packets = 0;
	tokens_bytes(have, &config_bi, s);
	assert_memory_equal(have, want, sizeof(want));
	flow_sample_free(s);
}

static void bytes_are_debiased_on_the_way(void **state)
{
	static const struct token_config debiased = {.shape = {1, 20, 1, 1, true},
						     .debias = DEBIAS_TTL};
	struct flow_sample *s = flow_sample_new(&debiased.shape);
	uint8_t have[21];

	(void)state;
	assert_non_null(s);
	s->n_packets = 1;
	s->packets[0] = (struct sample_packet){.header_bytes = 20};
	memcpy(s->bytes, "\x45\0\0\x14\0\0\0\0\x40\x01", 10);
	tokens_bytes(have, &debiased, s);
	assert_int_equal(have[0], 0x45);
	assert_int_equal(have[8], 0);
	assert_int_equal(s->bytes[8], 0x40);
	flow_sample_free(s);
}

static void sizes_of_both_directions_carry_their_sign(void **state)
{
	static const float want[] = {1560, 3000, 1460, 3000, 3000};
	struct flow_sample *s = three_packets(&shape_bi);
	float have[5];

	(void)state;
	tokens_sizes(have, s);
	assert_memory_equal(have, want, sizeof(want));
	s->packets[2].ip_len_bytes = 9000;
	tokens_sizes(have, s);
	assert_true(have[2] == 0);
	flow_sample_free(s);
}

static void sizes_of_one_direction_are_clipped_and_padded_at_1500(void **state)
{
	static const float want[] = {60, 1500, 40, 1500, 1500};
	struct sample_shape uni = shape_bi;
	struct flow_sample *s;
	float have[5];

	(void)state;
	uni.bidirectional = false;
	s = three_packets(&uni);
	tokens_sizes(have, s);
	assert_memory_equal(have, want, sizeof(want));
	flow_sample_free(s);
}

static void times_count_from_the_packet_before(void **state)
{
	/* 1/(1 + 1/(1 + t)) for t 0, 0.001, 1; padding */
	static const float want[] = {0.5F, 1.001F / 2.001F, 2.0F / 3, 1, 1};
	struct flow_sample *s = three_packets(&shape_bi);
	float have[5];

	(void)state;
	tokens_iats(have, &config_bi, s);
	for (int i = 0; i < 5; i++)
		assert_true(have[i] > want[i] - 1e-6F && have[i] < want[i] + 1e-6F);
	flow_sample_free(s);
}

static void time_that_runs_backward_counts_as_none(void **state)
{
	struct flow_sample *s = three_packets(&shape_bi);
	float have[5];

	(void)state;
	s->packets[1].time_ns = 0;
	tokens_iats(have, &config_bi, s);
	assert_true(have[1] == 0.5F);
	flow_sample_free(s);
}

static void an_empty_sample_is_all_padding(void **state)
{
	struct flow_sample *s = flow_sample_new(&shape_bi);
	float sizes[5], iats[5];

	(void)state;
	assert_non_null(s);
	tokens_sizes(sizes, s);
	tokens_iats(iats, &config_bi, s);
	assert_true(sizes[0] == 3000 && iats[0] == 1);
	flow_sample_free(s);
}

static void a_batch_holds_bytes_and_ends_at_its_capacity(void **state)
{
	struct flow_sample *s = three_packets(&shape_bi);
	struct batch *b = NULL;

	(void)state;
	assert_int_equal(batch_new(&config_bi, 4, 2, &b), 0);
	assert_int_equal(batch_add(b, &config_bi, s), 0);
	assert_int_equal(batch_add(b, &config_bi, s), 0);
	assert_int_equal(batch_add(b, &config_bi, s), -ENOSPC);
	assert_int_equal(b->n, 2);
	assert_int_equal(b->bytes[14 + 3], 255);
	assert_int_equal(b->bytes[14 + 6], 0); /* padding */
	assert_true(b->sizes[5] == 1560 && b->iats[5] == 0.5F);
	batch_reset(b);
	assert_int_equal(b->n, 0);
	assert_int_equal(batch_add(b, &config_bi, s), 0);
	batch_free(b);
	flow_sample_free(s);
}

static void a_batch_refuses_samples_of_another_shape(void **state)
{
	struct sample_shape other = shape_bi;
	struct flow_sample *s;
	struct batch *b = NULL;

	(void)state;
	other.bidirectional = false;
	s = three_packets(&other);
	assert_int_equal(batch_new(&config_bi, 4, 2, &b), 0);
	assert_int_equal(batch_add(b, &config_bi, s), -EINVAL);
	flow_sample_free(s);
	s = three_packets(&shape_bi);
	s->n_packets = 6; /* of at most 5 */
	assert_int_equal(batch_add(b, &config_bi, s), -EINVAL);
	batch_free(b);
	flow_sample_free(s);
}

/* 100 log10(1 + t / 1 us) for none, 1 ms, 1 s; padding */
static void times_on_the_logarithmic_scale_count_microseconds(void **state)
{
	static const float want[] = {0, 300.0434F, 600.00004F, 1000, 1000};
	struct token_config config = config_bi;
	struct flow_sample *s = three_packets(&shape_bi);
	float have[5];

	(void)state;
	config.iat_log = true;
	tokens_iats(have, &config, s);
	for (int i = 0; i < 5; i++)
		assert_true(have[i] > want[i] - 1e-3F && have[i] < want[i] + 1e-3F);
	s->packets[1].time_ns = 0; /* backward */
	tokens_iats(have, &config, s);
	assert_true(have[1] == 0);
	flow_sample_free(s);
}

/* P 3, H 6, Y 5, S 5, stride 3: 11 byte tokens, of rows of 11 bytes; so tokens 1, 3, 5, 7, 9 lie
 * across borders of parts or rows. Sizes are 0 .. 4, CLS 5, times 6 .. 10, CLS 11, bytes 12 .. 22,
 * CLS 23. */
static const struct token_config config_packed = {.shape = {3, 6, 5, 5, true}, .packed = true};

struct recorded {
	uint16_t header_bytes, payload_bytes;
};

static void check_places(const struct recorded *packets, uint16_t n_packets, const uint16_t *want,
			 size_t n_want)
{
	struct flow_sample *s = flow_sample_new(&config_packed.shape);
	struct batch *b = NULL;

	assert_non_null(s);
	for (s->n_packets = 0; s->n_packets < n_packets; s->n_packets++) {
		struct sample_packet *p = &s->packets[s->n_packets];

		*p = (struct sample_packet){.ip_len_bytes = 60,
					    .header_bytes = packets[s->n_packets].header_bytes,
					    .payload_bytes = packets[s->n_packets].payload_bytes,
					    .byte_slot = s->n_packets < 3 ? 2 - s->n_packets : 0};
	}
	assert_int_equal(batch_new(&config_packed, 3, 2, &b), 0);
	assert_int_equal(b->n_tokens, 24);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(batch_add(b, &config_packed, s), 0);
		assert_int_equal(b->n_places[i], n_want);
		assert_memory_equal(b->places + i * 24, want, n_want * sizeof(*want));
	}
	batch_free(b);
	flow_sample_free(s);
}

static void packed_places_are_those_of_recorded_bytes(void **state)
{
	static const struct recorded packets[] = {{4, 2}, {6, 0}};
	/* row 0: bytes 0 .. 3 and 6, 7; row 1: bytes 11 .. 16 */
	static const uint16_t want[] = {0, 1, 5, 6, 7, 11, 12, 13, 14, 15, 16, 17, 23};

	(void)state;
	check_places(packets, 2, want, sizeof(want) / sizeof(want[0]));
}

static void a_token_across_two_parts_or_packets_is_placed_once(void **state)
{
	static const struct recorded packets[] = {{6, 5}, {6, 5}, {6, 5}};
	static const uint16_t want[] = {0,  1,  2,  5,  6,  7,  8,  11, 12, 13,
					14, 15, 16, 17, 18, 19, 20, 21, 22, 23};

	(void)state;
	check_places(packets, 3, want, sizeof(want) / sizeof(want[0]));
}

static void packets_without_bytes_have_a_size_and_a_time_only(void **state)
{
	static const struct recorded none[] = {{0, 0}, {0, 0}}, second[] = {{0, 0}, {0, 1}};
	static const uint16_t want_none[] = {0, 1, 5, 6, 7, 11, 23};
	static const uint16_t want_second[] = {0, 1, 5, 6, 7, 11, 17, 23}; /* byte 17: token 5 */

	(void)state;
	check_places(none, 2, want_none, sizeof(want_none) / sizeof(want_none[0]));
	check_places(second, 2, want_second, sizeof(want_second) / sizeof(want_second[0]));
}

static void packets_beyond_those_with_rows_have_no_byte_places(void **state)
{
	static const struct recorded packets[] = {{3, 0}, {0, 0}, {0, 0}, {6, 5}, {6, 5}};
	static const uint16_t want[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 23};

	(void)state;
	check_places(packets, 5, want, sizeof(want) / sizeof(want[0]));
}

static void counts_beyond_a_row_place_no_more_than_the_row(void **state)
{
	static const struct recorded packets[] = {{0, 0}, {0, 0}, {65535, 65535}};
	static const uint16_t want[] = {0, 1, 2, 5, 6, 7, 8, 11, 19, 20, 21, 22, 23};

	(void)state;
	check_places(packets, 3, want, sizeof(want) / sizeof(want[0]));
}

static void an_empty_packed_sample_is_its_cls_tokens(void **state)
{
	static const uint16_t want[] = {5, 11, 23};

	(void)state;
	check_places(NULL, 0, want, 3);
}

/* One batch is used for many flows: what was packed before must not show. */
static void flows_that_are_not_packed_have_every_place(void **state)
{
	struct token_config plain = config_packed;
	struct flow_sample *s = flow_sample_new(&plain.shape);
	struct batch *b = NULL;

	(void)state;
	assert_non_null(s);
	plain.packed = false;
	assert_int_equal(batch_new(&plain, 3, 1, &b), 0);
	assert_int_equal(batch_add(b, &config_packed, s), 0);
	assert_int_equal(b->n_places[0], 3);
	batch_reset(b);
	assert_int_equal(batch_add(b, &plain, s), 0);
	assert_int_equal(b->n_places[0], 24);
	for (uint16_t i = 0; i < 24; i++)
		assert_int_equal(b->places[i], i);
	batch_free(b);
	flow_sample_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_row_holds_what_was_recorded_and_zeroes),
		cmocka_unit_test(counts_beyond_a_row_are_cut_to_it),
		cmocka_unit_test(packets_that_a_sample_has_no_more_leave_no_bytes),
		cmocka_unit_test(bytes_are_debiased_on_the_way),
		cmocka_unit_test(sizes_of_both_directions_carry_their_sign),
		cmocka_unit_test(sizes_of_one_direction_are_clipped_and_padded_at_1500),
		cmocka_unit_test(times_count_from_the_packet_before),
		cmocka_unit_test(time_that_runs_backward_counts_as_none),
		cmocka_unit_test(an_empty_sample_is_all_padding),
		cmocka_unit_test(a_batch_holds_bytes_and_ends_at_its_capacity),
		cmocka_unit_test(a_batch_refuses_samples_of_another_shape),
		cmocka_unit_test(times_on_the_logarithmic_scale_count_microseconds),
		cmocka_unit_test(packed_places_are_those_of_recorded_bytes),
		cmocka_unit_test(a_token_across_two_parts_or_packets_is_placed_once),
		cmocka_unit_test(packets_without_bytes_have_a_size_and_a_time_only),
		cmocka_unit_test(packets_beyond_those_with_rows_have_no_byte_places),
		cmocka_unit_test(counts_beyond_a_row_place_no_more_than_the_row),
		cmocka_unit_test(an_empty_packed_sample_is_its_cls_tokens),
		cmocka_unit_test(flows_that_are_not_packed_have_every_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
