/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A data set holds wide samples; the agent assembles narrow ones. Over real captures both ways must
 * end in the same sample, or models would be trained on other inputs than they meet.
 */
#include <glob.h>
#include <string.h>
#include "agent/flow/offline.h"
#include "model/sample_edit.h"
#include "tests/golden/vectors.h"

#define MAX_FLOWS    4096
#define WIDE_PACKETS 20
#define WIDE_SEQ     64

static const struct sample_shape wide_shape = {WIDE_PACKETS, 80, 240, WIDE_SEQ, true};
static const struct sample_shape uni = {5, 80, 240, 20, false};
static const struct sample_shape bi = {10, 80, 80, 50, true};

/* By the order in which flows began, which is the same in every reading. */
struct reading {
	struct flow_sample *samples[MAX_FLOWS];
	struct flow_key keys[MAX_FLOWS];
	size_t n;
};

static struct reading wide, narrow;

static void on_start(void *ctx, struct flow_info *info)
{
	struct reading *r = ctx;

	assert_true(r->n < MAX_FLOWS);
	r->keys[r->n] = info->key;
	info->user = &r->samples[r->n++];
}

static void on_ready(void *ctx, const struct flow_info *info, const struct flow_sample *sample,
		     enum ready_reason why)
{
	struct flow_sample **place = info->user;

	(void)ctx, (void)why;
	*place = flow_sample_new(&sample->shape);
	assert_non_null(*place);
	assert_int_equal(sample_copy(*place, sample), 0);
}

/* What is readable of a broken capture is read both times. */
static void read_capture(struct reading *r, const char *path, const struct sample_shape *shape)
{
	const struct offline_config config = {.shape = *shape,
					      .max_flows = MAX_FLOWS,
					      .on_start = on_start,
					      .on_ready = on_ready,
					      .ctx = r};

	offline_read(path, &config, NULL, NULL);
}

static void clear(struct reading *r)
{
	for (size_t i = 0; i < r->n; i++)
		flow_sample_free(r->samples[i]);
	memset(r, 0, sizeof(*r));
}

static void assert_same(const struct flow_sample *have, const struct flow_sample *want,
			const char *path, size_t flow)
{
	if (have->n_packets != want->n_packets)
		fail_msg("%s flow %zu: %u packets, the assembler has %u", path, flow,
			 have->n_packets, want->n_packets);
	for (uint16_t i = 0; i < want->n_packets; i++) {
		struct sample_packet a = have->packets[i], b = want->packets[i];
		bool has_row = i < want->shape.packets;

		if (a.time_ns != b.time_ns || a.ip_len_bytes != b.ip_len_bytes ||
		    a.packet_index != b.packet_index || a.against != b.against ||
		    a.header_bytes != b.header_bytes || a.payload_bytes != b.payload_bytes)
			fail_msg("%s flow %zu: packet %u differs", path, flow, i);
		if (has_row && memcmp(sample_row(have, &a), sample_row(want, &b),
				      sample_row_bytes(&want->shape)))
			fail_msg("%s flow %zu: bytes of packet %u differ", path, flow, i);
	}
}

/* Whether a wide sample holds all that one of one direction would. */
static bool holds_direction(const struct flow_sample *s, const struct sample_shape *shape)
{
	uint16_t with_row = 0, n = 0;

	for (uint16_t i = 0; i < s->n_packets; i++) {
		n += !s->packets[i].against;
		with_row += i < WIDE_PACKETS && !s->packets[i].against;
	}
	return (n >= shape->seq_len || s->n_packets < WIDE_SEQ) &&
	       (with_row >= shape->packets || with_row == n);
}

static size_t compare_capture(const char *path, const struct sample_shape *shape)
{
	size_t n_compared = 0;

	read_capture(&wide, path, &wide_shape);
	read_capture(&narrow, path, shape);
	assert_int_equal(wide.n, narrow.n);
	for (size_t i = 0; i < wide.n; i++) {
		struct flow_sample *narrowed = flow_sample_new(shape);

		assert_memory_equal(&wide.keys[i], &narrow.keys[i], sizeof(wide.keys[i]));
		assert_non_null(narrowed);
		assert_int_equal(sample_narrow(narrowed, wide.samples[i]), 0);
		if (shape->bidirectional || holds_direction(wide.samples[i], shape)) {
			assert_same(narrowed, narrow.samples[i], path, i);
			n_compared++;
		}
		flow_sample_free(narrowed);
	}
	clear(&wide);
	clear(&narrow);
	return n_compared;
}

static void compare_all(const struct sample_shape *shape)
{
	size_t n_compared = 0;
	glob_t found;

	assert_int_equal(glob("tests/captures/{open,lab}/*.pcap*", GLOB_BRACE, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++)
		n_compared += compare_capture(found.gl_pathv[i], shape);
	globfree(&found);
	assert_true(n_compared > 100);
}

static void a_narrowed_sample_is_the_one_that_the_agent_assembles(void **state)
{
	(void)state;
	compare_all(&bi);
}

static void so_is_one_of_one_direction_as_far_as_it_reaches(void **state)
{
	(void)state;
	compare_all(&uni);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_narrowed_sample_is_the_one_that_the_agent_assembles),
		cmocka_unit_test(so_is_one_of_one_direction_as_far_as_it_reaches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
