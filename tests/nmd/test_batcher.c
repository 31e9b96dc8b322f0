/* SPDX-License-Identifier: BSD-2-Clause */
/* The batcher with a real model and engine: tests/golden/tiny.weights.safetensors. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "agent/nmd/batcher.h"

#define TINY    "tests/golden/tiny.weights.safetensors"
#define TINY_BI "tests/golden/tiny-bi.weights.safetensors"
#define RESULTS 4096

static struct model *tiny, *tiny_bi;
static struct batcher *b;
static struct error e;
static unsigned n_judged;
static struct judged_flow judged[RESULTS];

static void on_judged(void *ctx, const struct judged_flow *j)
{
	assert_ptr_equal(ctx, &n_judged);
	assert_true(n_judged < RESULTS);
	judged[n_judged++] = *j;
}

static int load_models(void **state)
{
	(void)state;
	if (model_load(TINY, &tiny, &e) || model_load(TINY_BI, &tiny_bi, &e)) {
		print_error("%s\n", e.text);
		return -1;
	}
	return 0;
}

static int free_models(void **state)
{
	(void)state;
	model_unref(tiny);
	model_unref(tiny_bi);
	return 0;
}

static void open_with(uint32_t batch_flows, uint32_t queue_flows, uint64_t wait_ms)
{
	struct batcher_config config = {.engine = "cpu",
					.batch_flows = batch_flows,
					.queue_flows = queue_flows,
					.wait_ns = wait_ms * 1000000};

	n_judged = 0;
	if (batcher_new(&config, tiny, 1, on_judged, &n_judged, &b, &e))
		fail_msg("%s", e.text);
}

static int end(void **state)
{
	(void)state;
	batcher_free(b);
	b = NULL;
	return 0;
}

/* A flow of n packets whose bytes come from its number. */
static int add_ready(const struct model *m, uint32_t number, uint16_t n_packets,
		     enum ready_reason why)
{
	struct flow_sample *sample = flow_sample_new(&m->tokens.shape);
	struct flow_info info = {.key = {.vlan_id = 1}, .first_ns = number};
	size_t row = sample_row_bytes(&m->tokens.shape);
	int rc;

	assert_non_null(sample);
	sample->n_packets = n_packets;
	for (uint16_t i = 0; i < n_packets; i++) {
		bool has_bytes = i < m->tokens.shape.packets;

		sample->packets[i] = (struct sample_packet){
			.time_ns = i * 1000000ull,
			.ip_len_bytes = 60 + (number * 37 + i * 11) % 1400,
			.packet_index = i,
			.header_bytes = has_bytes ? 40 : 0,
			.payload_bytes = has_bytes ? 20 : 0,
			.byte_slot = i,
		};
		for (unsigned at = 0; has_bytes && at < 60; at++)
			sample->bytes[i * row + at] = (uint8_t)(number * 7 + at * 13 + i);
	}
	rc = batcher_add(b, &info, sample, why);
	flow_sample_free(sample);
	return rc;
}

static int add(const struct model *m, uint32_t number, uint16_t n_packets)
{
	return add_ready(m, number, n_packets, READY_FULL);
}

static void a_lone_flow_is_judged_without_others(void **state)
{
	struct pollfd result;

	(void)state;
	open_with(64, 64, 1);
	assert_int_equal(add(tiny, 7, 5), 0);
	result = (struct pollfd){.fd = batcher_result_fd(b), .events = POLLIN};
	assert_int_equal(poll(&result, 1, 30000), 1);
	batcher_collect(b);
	assert_int_equal(n_judged, 1);
	assert_int_equal(judged[0].info.first_ns, 7);
	assert_int_equal(judged[0].why, READY_FULL);
	assert_int_equal(judged[0].model_id, 1);
	assert_true(judged[0].decision.confidence > 0);
}

static void decisions_come_in_order_and_do_not_depend_on_the_batch(void **state)
{
	static struct judged_flow alone[100];

	(void)state;
	open_with(1, 200, 0);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(add(tiny, i, 1 + i % 20), 0);
	batcher_drain(b);
	assert_int_equal(n_judged, 100);
	memcpy(alone, judged, sizeof(alone));
	batcher_free(b);
	open_with(33, 200, 5);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(add(tiny, i, 1 + i % 20), 0);
	batcher_drain(b);
	assert_int_equal(n_judged, 100);
	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(judged[i].info.first_ns, i);
		assert_int_equal(judged[i].decision.class_index, alone[i].decision.class_index);
		assert_float_equal(judged[i].decision.confidence, alone[i].decision.confidence,
				   1e-4);
	}
}

static void a_full_queue_drops_and_counts(void **state)
{
	struct batcher_counters counters;
	unsigned dropped = 0;

	(void)state;
	open_with(100, 100, 1);
	for (uint32_t i = 0; i < 2000; i++)
		dropped += add(tiny, i, 5) == -ENOBUFS;
	batcher_drain(b);
	batcher_counters(b, &counters);
	assert_true(dropped > 0);
	assert_int_equal(counters.dropped, dropped);
	assert_int_equal(counters.queued, 2000 - dropped);
	assert_int_equal(counters.judged, 2000 - dropped);
	assert_int_equal(counters.waiting, 0);
}

static void silent_flows_leave_room_for_those_that_go_on(void **state)
{
	static const enum ready_reason over[] = {READY_IDLE, READY_END, READY_EVICTED};
	struct batcher_counters counters;

	(void)state;
	open_with(100, 100, 1);
	for (uint32_t i = 0; i < 6000; i++) {
		add_ready(tiny, i, 1, over[i % 3]);
		if (i % 100 == 99)
			assert_int_equal(add_ready(tiny, i, 5, READY_EARLY), 0);
	}
	batcher_drain(b);
	batcher_counters(b, &counters);
	assert_true(counters.dropped > 0);
	assert_true(add_ready(tiny, 0, 1, READY_IDLE) == 0);
	batcher_drain(b);
}

static void use(struct model *m, uint32_t id)
{
	struct judge *judge;

	if (batcher_judge_new(b, m, id, &judge, &e))
		fail_msg("%s", e.text);
	batcher_judge_use(b, judge);
}

static void a_swap_loses_no_flow_and_each_is_judged_by_the_model_of_its_time(void **state)
{
	(void)state;
	open_with(16, 4096, 1);
	for (uint32_t i = 0; i < 300; i++) {
		if (i == 100)
			use(tiny_bi, 2);
		if (i == 200)
			use(tiny, 3);
		assert_int_equal(add(i >= 100 && i < 200 ? tiny_bi : tiny, i, 10), 0);
	}
	batcher_drain(b);
	assert_int_equal(n_judged, 300);
	for (uint32_t i = 0; i < 300; i++) {
		assert_int_equal(judged[i].info.first_ns, i);
		assert_int_equal(judged[i].model_id, 1 + i / 100);
		assert_ptr_equal(judged[i].model, i >= 100 && i < 200 ? tiny_bi : tiny);
	}
}

static void a_sample_of_another_shape_is_refused(void **state)
{
	struct batcher_counters counters;

	(void)state;
	open_with(16, 16, 1);
	assert_int_equal(add(tiny_bi, 1, 5), -EINVAL);
	batcher_counters(b, &counters);
	assert_int_equal(counters.dropped, 1);
}

static void an_engine_that_does_not_exist_is_refused(void **state)
{
	struct batcher_config config = {"abacus", 1, 1, 0};

	(void)state;
	assert_true(batcher_new(&config, tiny, 1, on_judged, &n_judged, &b, &e) < 0);
	assert_non_null(strstr(e.text, "abacus"));
}

#define TEST(name) cmocka_unit_test_teardown(name, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_lone_flow_is_judged_without_others),
		TEST(decisions_come_in_order_and_do_not_depend_on_the_batch),
		TEST(a_full_queue_drops_and_counts),
		TEST(silent_flows_leave_room_for_those_that_go_on),
		TEST(a_swap_loses_no_flow_and_each_is_judged_by_the_model_of_its_time),
		TEST(a_sample_of_another_shape_is_refused),
		TEST(an_engine_that_does_not_exist_is_refused),
	};

	return cmocka_run_group_tests(tests, load_models, free_models);
}
