/* SPDX-License-Identifier: BSD-2-Clause */
/* Folds: what stays together, what is cut, how classes are spread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <string.h>
#include "agent/nmtrain/dataset_build.h"
#include "model/rng.h"

#define N_FOLDS 5
#define S       1000000000ULL

static struct dataset *set;
static struct dataset_counts counts;
static struct error e;

static int begin(void **state)
{
	static const char *const classes[] = {"dns", "tls", "tor", LABELS_UNLISTED};

	(void)state;
	memset(&counts, 0, sizeof(counts));
	memset(&e, 0, sizeof(e));
	set = calloc(1, sizeof(*set));
	set->shape = (struct sample_shape){2, 40, 8, 4, true};
	set->n_folds = N_FOLDS;
	set->n_classes = 4;
	set->class_name = calloc(4, sizeof(*set->class_name));
	for (int i = 0; i < 4; i++)
		strcpy(set->class_name[i], classes[i]);
	set->flow = calloc(4096, sizeof(*set->flow));
	set->capture = calloc(1024, sizeof(*set->capture));
	return 0;
}

static int end(void **state)
{
	(void)state;
	dataset_free(set);
	return 0;
}

enum { DNS, TLS, TOR, UNLISTED, NONE = DATASET_NO_CLASS };

static uint32_t add_capture(void)
{
	struct dataset_capture *c = &set->capture[set->n_captures];

	c->name = malloc(16);
	snprintf(c->name, 16, "%u.pcap", set->n_captures);
	c->source = strdup("test");
	snprintf(c->sha256, sizeof(c->sha256), "%064x", set->n_captures);
	return set->n_captures++;
}

/* An IPv4 TCP packet of that host at that time. */
static struct dataset_flow *add_flow(uint32_t capture, int class_index, uint64_t time_ns,
				     uint8_t host)
{
	struct dataset_flow *f = &set->flow[set->n_flows++];
	struct sample_packet *p;
	uint8_t *row;

	*f = (struct dataset_flow){.sample = flow_sample_new(&set->shape),
				   .class_index = (int16_t)class_index,
				   .capture = capture,
				   .first_ns = time_ns,
				   .packets = 1};
	p = &f->sample->packets[0];
	*p = (struct sample_packet){
		.time_ns = time_ns, .ip_len_bytes = 48, .header_bytes = 40, .payload_bytes = 8};
	f->sample->n_packets = 1;
	row = sample_row(f->sample, p);
	row[0] = 0x45;
	row[3] = 48;
	row[9] = IPPROTO_TCP;
	row[12] = row[16] = 10;
	row[15] = host;
	row[32] = 5 << 4;
	row[40] = 0x16;
	set->capture[capture].n_flows++;
	return f;
}

static void deal(uint64_t seed)
{
	assert_int_equal(dataset_deal_folds(set, seed, &counts), 0);
	if (dataset_check_folds(set, "test", &e))
		fail_msg("%s", e.text);
}

static unsigned flows_of(int class_index, unsigned fold)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < set->n_flows; i++)
		n += set->flow[i].class_index == class_index && set->flow[i].fold == fold;
	return n;
}

static void classes_of_many_captures_are_spread_evenly(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++)
		add_flow(add_capture(), i % 10 ? (i % 10 < 4 ? TLS : DNS) : TOR, (uint64_t)i * S,
			 1);
	deal(1);
	for (unsigned k = 0; k < N_FOLDS; k++) {
		assert_int_equal(flows_of(TOR, k), 1);
		assert_int_equal(flows_of(TLS, k), 3);
		assert_int_equal(flows_of(DNS, k), 6);
	}
	assert_int_equal(counts.groups, 50);
	assert_int_equal(counts.cut_captures, 0);
}

/* The class that is dealt first is even whichever five are the large ones. */
static void a_capture_of_several_classes_evens_out_all_of_them(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		uint32_t capture = add_capture();

		add_flow(capture, DNS, (uint64_t)i * S, 1);
		for (int k = 0; k < (i < 5 ? 20 : 1); k++)
			add_flow(capture, TLS, (uint64_t)i * S + 1 + (uint64_t)k, 1);
	}
	for (uint64_t seed = 1; seed < 6; seed++) {
		deal(seed);
		for (unsigned k = 0; k < N_FOLDS; k++) {
			assert_in_range(flows_of(DNS, k), 1, 3);
			assert_in_range(flows_of(TLS, k), 20, 22);
		}
	}
}

static void a_capture_that_holds_most_of_a_class_is_cut_by_time(void **state)
{
	uint32_t big = add_capture();

	(void)state;
	/* In no order of time, and with other flows between them. */
	for (uint64_t i = 0; i < 100; i++)
		add_flow(big, i % 4 ? TOR : NONE, 1000 * S + i * 37 % 100 * S, 1);
	for (int i = 0; i < 10; i++)
		add_flow(add_capture(), TOR, (uint64_t)i * S, 1);
	deal(1);
	assert_int_equal(counts.cut_captures, 1);
	for (unsigned k = 0; k < N_FOLDS; k++)
		assert_int_equal(flows_of(TOR, k), 17);
	for (uint32_t i = 0; i < 100; i++)
		for (uint32_t k = 0; k < 100; k++)
			if (set->flow[i].first_ns < set->flow[k].first_ns)
				assert_true(set->flow[i].piece <= set->flow[k].piece);
}

static void flows_of_one_time_are_not_cut_apart(void **state)
{
	uint32_t big = add_capture();

	(void)state;
	for (uint8_t i = 0; i < 20; i++)
		add_flow(big, TOR, i < 15 ? 5 * S : (5 + (uint64_t)i) * S, i);
	deal(1);
	for (uint32_t i = 1; i < 15; i++)
		assert_int_equal(set->flow[i].piece, set->flow[0].piece);
	assert_true(set->flow[19].piece > set->flow[0].piece);
}

static void half_of_a_class_is_not_most_of_it(void **state)
{
	uint32_t half = add_capture();

	(void)state;
	for (uint64_t i = 0; i < 10; i++)
		add_flow(half, TOR, i * S, 1);
	for (uint64_t i = 0; i < 10; i++)
		add_flow(add_capture(), TOR, (100 + i) * S, 1);
	deal(1);
	assert_int_equal(counts.cut_captures, 0);
	for (uint32_t i = 1; i < 10; i++)
		assert_int_equal(set->flow[i].fold, set->flow[0].fold);
	assert_int_equal(flows_of(TOR, set->flow[0].fold), 10);
}

static void what_is_of_no_class_cuts_nothing(void **state)
{
	uint32_t capture = add_capture();

	(void)state;
	for (uint64_t i = 0; i < 20; i++)
		add_flow(capture, i % 2 ? UNLISTED : NONE, i * S, 1);
	add_flow(capture, TOR, 50 * S, 1);
	deal(1);
	for (uint32_t i = 1; i < set->n_flows; i++)
		assert_int_equal(set->flow[i].fold, set->flow[0].fold);
}

static void captures_with_a_flow_in_common_are_in_one_fold(void **state)
{
	uint32_t a = add_capture(), b = add_capture(), c = add_capture(), d = add_capture();

	(void)state;
	for (uint64_t i = 0; i < 20; i++)
		add_flow(add_capture(), TLS, i * S, 1);
	add_flow(a, TLS, 100 * S, 1);
	add_flow(a, TLS, 101 * S, 1);
	add_flow(b, TLS, 101 * S, 1);
	add_flow(b, TLS, 102 * S, 1);
	add_flow(c, TLS, 102 * S, 99); /* addresses rewritten */
	add_flow(c, TLS, 103 * S, 1);
	add_flow(d, TLS, 104 * S, 1);
	deal(1);
	assert_int_equal(counts.groups, 24 - 2);
	for (uint32_t i = 21; i < 26; i++)
		assert_int_equal(set->flow[i].fold, set->flow[20].fold);
}

static void a_leak_of_rewritten_addresses_is_found(void **state)
{
	(void)state;
	add_flow(add_capture(), TLS, 100 * S, 1);
	add_flow(add_capture(), TLS, 100 * S, 99)->fold = 1;
	assert_true(dataset_check_folds(set, "test", &e) < 0);
	assert_non_null(strstr(e.text, "0.pcap (fold 0) and 1.pcap (fold 1)"));
	sample_row(set->flow[1].sample, set->flow[1].sample->packets)[40] ^= 1;
	assert_int_equal(dataset_check_folds(set, "test", &e), 0);
}

/* The same flows under two names: alone, each would hold half of the class. */
static void copies_of_a_long_capture_are_cut_at_the_same_times(void **state)
{
	uint32_t a = add_capture(), b = add_capture();

	(void)state;
	for (uint64_t i = 0; i < 50; i++)
		add_flow(a, TOR, i * S, 1);
	for (uint64_t i = 0; i < 50; i++)
		add_flow(b, TOR, i * S, 2);
	deal(1);
	assert_int_equal(counts.cut_captures, 2);
	for (uint32_t i = 0; i < 50; i++)
		assert_int_equal(set->flow[i].piece, set->flow[50 + i].piece);
	for (unsigned k = 0; k < N_FOLDS; k++)
		assert_int_equal(flows_of(TOR, k), 20);
}

static void one_fold_holds_all(void **state)
{
	uint32_t capture = add_capture();

	(void)state;
	set->n_folds = 1;
	for (uint64_t i = 0; i < 9; i++)
		add_flow(capture, TOR, i * S, 1);
	deal(1);
	assert_int_equal(flows_of(TOR, 0), 9);
	assert_int_equal(counts.cut_captures, 0);
}

static void random_set(uint64_t seed)
{
	struct rng r = rng_stream(seed, 0, 0);
	uint32_t n = 1 + (uint32_t)rng_below(&r, 40);

	for (uint32_t i = 0; i < n; i++)
		add_capture();
	for (int i = 0; i < 300; i++)
		add_flow((uint32_t)(rng_below(&r, n) * rng_below(&r, n) / n),
			 (int)rng_below(&r, 5) - 1, rng_below(&r, 200) * S, 1);
	set->n_folds = 1 + (uint32_t)rng_below(&r, 8);
}

static void empty(void)
{
	for (uint32_t i = 0; i < set->n_flows; i++)
		flow_sample_free(set->flow[i].sample);
	for (uint32_t i = 0; i < set->n_captures; i++) {
		free(set->capture[i].name);
		free(set->capture[i].source);
	}
	set->n_flows = set->n_captures = 0;
}

/* Times repeat, so captures share flows at every turn. */
static void no_set_leaks(void **state)
{
	uint8_t fold[300];

	(void)state;
	for (uint64_t seed = 0; seed < 300; seed++) {
		random_set(seed);
		deal(seed);
		for (int i = 0; i < 300; i++) {
			assert_in_range(set->flow[i].fold, 0, set->n_folds - 1);
			fold[i] = set->flow[i].fold;
		}
		deal(seed);
		for (int i = 0; i < 300; i++)
			assert_int_equal(set->flow[i].fold, fold[i]);
		empty();
	}
}

static void another_seed_deals_other_folds(void **state)
{
	uint8_t fold[60];
	unsigned n_moved = 0;

	(void)state;
	for (uint64_t i = 0; i < 60; i++)
		add_flow(add_capture(), (int)(i % 3), i * S, 1);
	deal(1);
	for (int i = 0; i < 60; i++)
		fold[i] = set->flow[i].fold;
	deal(2);
	for (int i = 0; i < 60; i++)
		n_moved += set->flow[i].fold != fold[i];
	assert_true(n_moved > 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(classes_of_many_captures_are_spread_evenly),
		TEST(a_capture_of_several_classes_evens_out_all_of_them),
		TEST(a_capture_that_holds_most_of_a_class_is_cut_by_time),
		TEST(flows_of_one_time_are_not_cut_apart),
		TEST(half_of_a_class_is_not_most_of_it),
		TEST(what_is_of_no_class_cuts_nothing),
		TEST(captures_with_a_flow_in_common_are_in_one_fold),
		TEST(a_leak_of_rewritten_addresses_is_found),
		TEST(copies_of_a_long_capture_are_cut_at_the_same_times),
		TEST(one_fold_holds_all),
		TEST(no_set_leaks),
		TEST(another_seed_deals_other_folds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
