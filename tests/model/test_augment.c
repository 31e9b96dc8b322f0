/* SPDX-License-Identifier: BSD-2-Clause */
/* What augmentation does to a sample, how often, and never. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "model/augment.h"
#include "model/sample_edit.h"

static const struct sample_shape shape = {4, 40, 4, 12, true};

#define MS 1000000ULL

/* Twelve packets 1 ms apart, every third against; IPv4 and TCP without options. */
static struct flow_sample *twelve_packets(void)
{
	static const uint8_t header[40] = {0x45, 0, 0, 40, 0, 0, 0, 0, 64,   6,    0, 0,
					   0,    0, 0, 0,  0, 0, 0, 0, 0,    0,    0, 0,
					   0,    0, 0, 0,  0, 0, 0, 0, 0x50, 0x10, 4, 0};
	struct flow_sample *s = flow_sample_new(&shape);

	assert_non_null(s);
	s->n_packets = 12;
	for (uint16_t i = 0; i < 12; i++) {
		s->packets[i] = (struct sample_packet){.time_ns = MS * (1 + i),
						       .packet_index = i,
						       .header_bytes = i < 4 ? 40 : 0,
						       .byte_slot = i < 4 ? i : 0,
						       .against = i % 3 == 2};
		if (i < 4)
			memcpy(sample_row(s, &s->packets[i]), header, 40);
	}
	return s;
}

static void augment(struct flow_sample *s, const struct augment_config *config, uint64_t seed)
{
	struct flow_sample *fresh = twelve_packets();
	struct rng rng = rng_stream(seed, 0, 0);

	assert_int_equal(sample_copy(s, fresh), 0);
	augment_sample(config, &rng, s);
	flow_sample_free(fresh);
}

static bool equal(const struct flow_sample *a, const struct flow_sample *b)
{
	if (a->n_packets != b->n_packets ||
	    memcmp(a->bytes, b->bytes, shape.packets * sample_row_bytes(&shape)))
		return false;
	for (uint16_t i = 0; i < a->n_packets; i++)
		if (a->packets[i].time_ns != b->packets[i].time_ns ||
		    a->packets[i].packet_index != b->packets[i].packet_index ||
		    a->packets[i].against != b->packets[i].against)
			return false;
	return true;
}

static void none_leaves_a_sample_as_it_is(void **state)
{
	const struct augment_config none = augment_none();
	struct flow_sample *s = twelve_packets(), *fresh = twelve_packets();

	(void)state;
	for (uint64_t seed = 0; seed < 100; seed++) {
		augment(s, &none, seed);
		assert_true(equal(s, fresh));
	}
	flow_sample_free(s);
	flow_sample_free(fresh);
}

static void the_same_seed_gives_the_same_sample(void **state)
{
	const struct augment_config config = augment_default_config();
	struct flow_sample *s = twelve_packets(), *same = twelve_packets(),
			   *other = twelve_packets();
	int n_others = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 100; seed++) {
		augment(s, &config, seed);
		augment(same, &config, seed);
		augment(other, &config, seed + 1000);
		assert_true(equal(s, same));
		n_others += !equal(s, other);
	}
	assert_true(n_others > 50);
	flow_sample_free(s);
	flow_sample_free(same);
	flow_sample_free(other);
}

static void a_cut_leaves_from_the_least_to_one_below_all(void **state)
{
	struct augment_config config = augment_none();
	struct flow_sample *s = twelve_packets();
	uint32_t seen = 0;

	(void)state;
	config.cut = 1;
	config.min_packets = 3;
	for (uint64_t seed = 0; seed < 500; seed++) {
		augment(s, &config, seed);
		seen |= 1U << s->n_packets;
		assert_int_equal(s->packets[0].packet_index, 0);
	}
	assert_int_equal(seen, 0xff8); /* 3 .. 11 */
	flow_sample_free(s);
}

static void a_sample_of_the_least_is_not_cut(void **state)
{
	struct augment_config config = augment_none();
	struct flow_sample *s = twelve_packets();

	(void)state;
	config.cut = 1;
	config.min_packets = 12;
	augment(s, &config, 1);
	assert_int_equal(s->n_packets, 12);
	flow_sample_free(s);
}

static void up_to_the_most_are_missed_at_the_beginning(void **state)
{
	struct augment_config config = augment_none();
	struct flow_sample *s = twelve_packets();
	uint32_t seen = 0;

	(void)state;
	config.first_missing = 1;
	config.max_missing = 3;
	for (uint64_t seed = 0; seed < 100; seed++) {
		augment(s, &config, seed);
		seen |= 1U << s->packets[0].packet_index;
		assert_int_equal(s->n_packets, 12 - s->packets[0].packet_index);
		assert_false(s->packets[0].against);
	}
	assert_int_equal(seen, 0xe); /* 1 .. 3 */
	flow_sample_free(s);
}

static void either_direction_may_be_the_one_seen(void **state)
{
	struct augment_config config = augment_none();
	struct flow_sample *s = twelve_packets();
	int n_with = 0;

	(void)state;
	config.one_direction = 1;
	for (uint64_t seed = 0; seed < 100; seed++) {
		augment(s, &config, seed);
		assert_true(s->n_packets == 8 || s->n_packets == 4);
		n_with += s->n_packets == 8;
		for (uint16_t i = 0; i < s->n_packets; i++)
			assert_false(s->packets[i].against);
	}
	assert_true(n_with > 25 && n_with < 75);
	flow_sample_free(s);
}

static void time_is_scaled_both_ways_within_the_factor(void **state)
{
	struct augment_config config = augment_none();
	struct flow_sample *s = twelve_packets();
	int n_faster = 0;

	(void)state;
	config.time_scale = 1;
	config.max_time_factor = 4;
	for (uint64_t seed = 0; seed < 200; seed++) {
		uint64_t gap;

		augment(s, &config, seed);
		gap = s->packets[1].time_ns - s->packets[0].time_ns;
		assert_true(gap >= MS / 4 - 1 && gap <= 4 * MS);
		assert_true(llabs((int64_t)(s->packets[11].time_ns - MS - 11 * gap)) < 20);
		n_faster += gap < MS;
	}
	assert_true(n_faster > 60 && n_faster < 140);
	flow_sample_free(s);
}

/* Five standard errors. */
static void each_happens_as_often_as_asked(void **state)
{
	struct augment_config config = augment_none();
	struct flow_sample *s = twelve_packets();
	int n_missing = 0, n_jittered = 0, n_stacks = 0, n = 2000;

	(void)state;
	config.first_missing = 0.25F;
	config.max_missing = 1;
	config.time_jitter = 0.5F;
	config.time_jitter_deviation = 0.5F;
	config.stack = 0.75F;
	for (int i = 0; i < n; i++) {
		augment(s, &config, i);
		n_missing += s->packets[0].packet_index == 1;
		n_jittered += s->packets[2].time_ns - s->packets[1].time_ns != MS;
		n_stacks += sample_row(s, &s->packets[0])[34] != 4;
	}
	assert_true(abs(n_missing - n / 4) < 5 * sqrt(n * 0.25 * 0.75));
	assert_true(abs(n_jittered - n / 2) < 5 * sqrt(n * 0.5 * 0.5));
	/* A window may hit the same upper byte again. */
	assert_true(n_stacks > n * 0.55 && n_stacks < n * 0.75 + 5 * sqrt(n * 0.75 * 0.25));
	flow_sample_free(s);
}

static void no_sample_is_left_without_packets(void **state)
{
	const struct augment_config all = {.one_direction = 1,
					   .first_missing = 1,
					   .max_missing = 65535,
					   .cut = 1,
					   .time_scale = 1,
					   .max_time_factor = 1e30F,
					   .time_jitter = 1,
					   .time_jitter_deviation = 100,
					   .stack = 1};
	struct flow_sample *s = twelve_packets();

	(void)state;
	for (uint64_t seed = 0; seed < 100; seed++) {
		augment(s, &all, seed);
		assert_true(s->n_packets >= 1 && s->n_packets <= 12);
		assert_false(s->packets[0].against);
	}
	flow_sample_free(s);
}

static void an_empty_sample_stays_empty(void **state)
{
	const struct augment_config config = augment_default_config();
	struct flow_sample *s = twelve_packets();

	(void)state;
	for (uint64_t seed = 0; seed < 100; seed++) {
		struct rng rng = rng_stream(seed, 0, 0);

		s->n_packets = 0;
		augment_sample(&config, &rng, s);
		assert_int_equal(s->n_packets, 0);
	}
	flow_sample_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_leaves_a_sample_as_it_is),
		cmocka_unit_test(the_same_seed_gives_the_same_sample),
		cmocka_unit_test(a_cut_leaves_from_the_least_to_one_below_all),
		cmocka_unit_test(a_sample_of_the_least_is_not_cut),
		cmocka_unit_test(up_to_the_most_are_missed_at_the_beginning),
		cmocka_unit_test(either_direction_may_be_the_one_seen),
		cmocka_unit_test(time_is_scaled_both_ways_within_the_factor),
		cmocka_unit_test(each_happens_as_often_as_asked),
		cmocka_unit_test(no_sample_is_left_without_packets),
		cmocka_unit_test(an_empty_sample_stays_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
