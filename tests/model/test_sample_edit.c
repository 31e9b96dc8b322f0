/* SPDX-License-Identifier: BSD-2-Clause */
/* Narrowing, cutting and retiming of flow samples. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "model/sample_edit.h"

static const struct sample_shape wide_shape = {4, 6, 5, 7, true};

/* Six packets, the 2nd and 5th against; rows in reverse, row of packet i filled with 0x10 * i +
 * byte. */
static struct flow_sample *six_packets(void)
{
	struct flow_sample *s = flow_sample_new(&wide_shape);

	assert_non_null(s);
	for (uint16_t i = 0; i < 6; i++) {
		struct sample_packet *p = &s->packets[i];
		bool has_row = i < wide_shape.packets;

		*p = (struct sample_packet){.time_ns = 1000 + 100 * i * i,
					    .ip_len_bytes = 40 + i,
					    .packet_index = i,
					    .header_bytes = has_row ? 6 : 0,
					    .payload_bytes = has_row ? i : 0,
					    .byte_slot = has_row ? 3 - i : 0,
					    .against = i == 1 || i == 4};
		for (int b = 0; has_row && b < 6 + i; b++)
			sample_row(s, p)[b] = 0x10 * i + b;
	}
	s->n_packets = 6;
	return s;
}

/* Which packets are left, and which of them against, as in "0 1< 2". */
static void assert_left(const struct flow_sample *s, const char *want)
{
	char have[64] = "";
	size_t n = 0;

	for (uint16_t i = 0; i < s->n_packets; i++)
		n += snprintf(have + n, sizeof(have) - n, "%s%u%s", i ? " " : "",
			      s->packets[i].packet_index, s->packets[i].against ? "<" : "");
	assert_string_equal(have, want);
}

static void a_copy_is_equal_and_apart(void **state)
{
	struct flow_sample *s = six_packets(), *copy = flow_sample_new(&wide_shape);

	(void)state;
	assert_non_null(copy);
	assert_int_equal(sample_copy(copy, s), 0);
	assert_left(copy, "0 1< 2 3 4< 5");
	s->packets[0].packet_index = 9;
	sample_row(s, &s->packets[1])[0] = 0xee;
	assert_left(copy, "0 1< 2 3 4< 5");
	assert_int_equal(sample_row(copy, &copy->packets[1])[0], 0x10);
	flow_sample_free(copy);
	flow_sample_free(s);
}

static void a_copy_of_another_shape_is_refused(void **state)
{
	struct sample_shape other = wide_shape;
	struct flow_sample *s = six_packets(), *copy;

	(void)state;
	other.payload_bytes++;
	copy = flow_sample_new(&other);
	assert_non_null(copy);
	assert_int_equal(sample_copy(copy, s), -EINVAL);
	assert_int_equal(copy->n_packets, 0);
	flow_sample_free(copy);
	flow_sample_free(s);
}

static struct flow_sample *narrowed(const struct sample_shape *shape)
{
	struct flow_sample *wide = six_packets(), *s = flow_sample_new(shape);

	assert_non_null(s);
	s->n_packets = 1; /* of an earlier use */
	memset(s->bytes, 0xee, shape->packets * sample_row_bytes(shape));
	assert_int_equal(sample_narrow(s, wide), 0);
	flow_sample_free(wide);
	return s;
}

static void narrowing_cuts_packets_header_and_payload(void **state)
{
	static const uint8_t want[] = {0,    1,    2, 3,    0,    0,    0x10, 0x11, 0x12,
				       0x13, 0x16, 0, 0x20, 0x21, 0x22, 0x23, 0x26, 0x27};
	struct flow_sample *s = narrowed(&(struct sample_shape){3, 4, 2, 5, true});

	(void)state;
	assert_left(s, "0 1< 2 3 4<");
	for (uint16_t i = 0; i < 3; i++) {
		assert_memory_equal(sample_row(s, &s->packets[i]), want + 6 * i, 6);
		assert_int_equal(s->packets[i].header_bytes, 4);
		assert_int_equal(s->packets[i].payload_bytes, i < 2 ? i : 2);
	}
	assert_int_equal(s->packets[3].header_bytes + s->packets[3].payload_bytes, 0);
	assert_int_equal(s->packets[2].time_ns, 1400);
	flow_sample_free(s);
}

static void narrowing_to_one_direction_keeps_the_first_packets(void **state)
{
	struct flow_sample *s = narrowed(&(struct sample_shape){3, 6, 5, 3, false});

	(void)state;
	assert_left(s, "0 2 3");
	assert_int_equal(sample_row(s, &s->packets[1])[0], 0x20);
	assert_int_equal(sample_row(s, &s->packets[2])[0], 0x30);
	flow_sample_free(s);
}

static void a_packet_whose_bytes_the_wide_sample_has_not_has_none(void **state)
{
	struct flow_sample *s = narrowed(&(struct sample_shape){4, 6, 5, 7, false});
	static const uint8_t nothing[11];

	(void)state;
	assert_left(s, "0 2 3 5");
	assert_int_equal(s->packets[3].header_bytes, 0);
	assert_memory_equal(s->bytes + 3 * 11, nothing, 11);
	flow_sample_free(s);
}

static void a_wider_shape_is_refused_and_left(void **state)
{
	static const struct sample_shape wider[] = {
		{5, 6, 5, 7, true}, {4, 7, 5, 7, true}, {4, 6, 6, 7, true}, {4, 6, 5, 8, true}};
	struct flow_sample *wide = six_packets();

	(void)state;
	for (size_t i = 0; i < sizeof(wider) / sizeof(wider[0]); i++) {
		struct flow_sample *s = flow_sample_new(&wider[i]);

		assert_non_null(s);
		s->n_packets = 1;
		assert_int_equal(sample_narrow(s, wide), -EINVAL);
		assert_int_equal(s->n_packets, 1);
		flow_sample_free(s);
	}
	flow_sample_free(wide);
}

static void one_direction_cannot_be_widened_to_both(void **state)
{
	static const struct sample_shape uni = {4, 6, 5, 7, false};
	struct flow_sample *from = flow_sample_new(&uni), *to = flow_sample_new(&wide_shape);

	(void)state;
	assert_non_null(from);
	assert_non_null(to);
	assert_int_equal(sample_narrow(to, from), -EINVAL);
	assert_int_equal(sample_narrow(from, to), 0);
	flow_sample_free(from);
	flow_sample_free(to);
}

static void counts_and_slots_of_a_file_are_not_trusted(void **state)
{
	struct flow_sample *wide = six_packets();
	struct flow_sample *s = flow_sample_new(&(struct sample_shape){2, 4, 2, 7, true});

	(void)state;
	assert_non_null(s);
	wide->n_packets = 65535;
	wide->packets[0].byte_slot = 4;
	wide->packets[1].header_bytes = wide->packets[1].payload_bytes = 65535;
	assert_int_equal(sample_narrow(s, wide), 0);
	assert_int_equal(s->n_packets, 7);
	assert_int_equal(s->packets[0].header_bytes, 0);
	assert_int_equal(s->packets[1].header_bytes, 4);
	assert_int_equal(s->packets[1].payload_bytes, 2);
	flow_sample_free(s);
	flow_sample_free(wide);
}

static void a_cut_keeps_the_first(void **state)
{
	struct flow_sample *s = six_packets();

	(void)state;
	sample_cut(s, 9);
	assert_left(s, "0 1< 2 3 4< 5");
	sample_cut(s, 2);
	assert_left(s, "0 1<");
	flow_sample_free(s);
}

static void direction_is_told_from_the_first_packet_left(void **state)
{
	struct flow_sample *s = six_packets();

	(void)state;
	sample_drop_first(s, 1);
	assert_left(s, "1 2< 3< 4 5<");
	assert_int_equal(sample_row(s, &s->packets[0])[0], 0x10);
	assert_int_equal(s->packets[1].time_ns - s->packets[0].time_ns, 300);
	sample_drop_first(s, 3);
	assert_left(s, "4 5<");
	flow_sample_free(s);
}

static void the_last_packet_is_never_dropped(void **state)
{
	struct flow_sample *s = six_packets();

	(void)state;
	sample_drop_first(s, 6);
	assert_left(s, "5");
	sample_drop_first(s, 65535);
	assert_left(s, "5");
	s->n_packets = 0;
	sample_drop_first(s, 1);
	assert_left(s, "");
	flow_sample_free(s);
}

static void one_direction_is_what_an_ingress_hook_sees(void **state)
{
	struct flow_sample *s = six_packets(), *other = six_packets();

	(void)state;
	sample_drop_direction(s, true);
	assert_left(s, "0 2 3 5");
	sample_drop_direction(other, false);
	assert_left(other, "1 4");
	assert_int_equal(sample_row(other, &other->packets[0])[0], 0x10);
	sample_drop_direction(other, false); /* there is no other any more */
	assert_left(other, "1 4");
	flow_sample_free(s);
	flow_sample_free(other);
}

static void times_are_scaled_from_the_first(void **state)
{
	struct flow_sample *s = six_packets();

	(void)state;
	s->packets[2].time_ns = 900; /* runs backward */
	sample_scale_times(s, 2.5);
	assert_int_equal(s->packets[0].time_ns, 1000);
	assert_int_equal(s->packets[1].time_ns, 1250);
	assert_int_equal(s->packets[2].time_ns, 900);
	assert_int_equal(s->packets[5].time_ns, 1000 + 6250);
	flow_sample_free(s);
}

static void times_end_at_the_largest_there_is(void **state)
{
	struct flow_sample *s = six_packets();

	(void)state;
	s->packets[5].time_ns = UINT64_MAX - 1;
	sample_scale_times(s, 1e30);
	assert_true(s->packets[5].time_ns == UINT64_MAX);
	flow_sample_free(s);
}

static void jitter_changes_gaps_and_keeps_order(void **state)
{
	struct flow_sample *s = six_packets();
	struct rng rng = {7};
	bool changed = false;

	(void)state;
	for (uint16_t i = 0; i < 6; i++)
		s->packets[i].time_ns = 1000000 * (1 + i);
	s->packets[3].time_ns = 0; /* runs backward */
	sample_jitter_times(s, 0.1, &rng);
	assert_int_equal(s->packets[0].time_ns, 1000000);
	for (uint16_t i = 1; i < 6; i++) {
		uint64_t gap = s->packets[i].time_ns - s->packets[i - 1].time_ns;
		uint64_t was = i == 3 ? 0 : i == 4 ? 5000000 : 1000000;

		assert_true(gap >= was * 6 / 10 && gap <= was * 16 / 10);
		changed |= gap != was;
	}
	assert_true(changed);
	flow_sample_free(s);
}

static void no_jitter_is_no_change(void **state)
{
	struct flow_sample *s = six_packets();
	struct rng rng = {7};

	(void)state;
	sample_jitter_times(s, 0, &rng);
	for (uint16_t i = 0; i < 6; i++)
		assert_int_equal(s->packets[i].time_ns, 1000 + 100 * i * i);
	flow_sample_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_copy_is_equal_and_apart),
		cmocka_unit_test(a_copy_of_another_shape_is_refused),
		cmocka_unit_test(narrowing_cuts_packets_header_and_payload),
		cmocka_unit_test(narrowing_to_one_direction_keeps_the_first_packets),
		cmocka_unit_test(a_packet_whose_bytes_the_wide_sample_has_not_has_none),
		cmocka_unit_test(a_wider_shape_is_refused_and_left),
		cmocka_unit_test(one_direction_cannot_be_widened_to_both),
		cmocka_unit_test(counts_and_slots_of_a_file_are_not_trusted),
		cmocka_unit_test(a_cut_keeps_the_first),
		cmocka_unit_test(direction_is_told_from_the_first_packet_left),
		cmocka_unit_test(the_last_packet_is_never_dropped),
		cmocka_unit_test(one_direction_is_what_an_ingress_hook_sees),
		cmocka_unit_test(times_are_scaled_from_the_first),
		cmocka_unit_test(times_end_at_the_largest_there_is),
		cmocka_unit_test(jitter_changes_gaps_and_keeps_order),
		cmocka_unit_test(no_jitter_is_no_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
