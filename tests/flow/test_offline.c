/* SPDX-License-Identifier: BSD-2-Clause */
/* A capture through reader, extractor and assembler. */
#include "tests/flow/captures.h"
#include <errno.h>
#include "agent/flow/offline.h"

#define A 0x0a000001
#define B 0x0a000002
#define S 1000000000ULL

static const struct sample_shape shape = {
	.packets = 3, .header_bytes = 40, .payload_bytes = 16, .seq_len = 5, .bidirectional = true};

struct seen {
	int started, ready, done;
	uint64_t packets, bytes; /* of the flows that are done */
	enum ready_reason why[16];
	uint16_t n_packets[16];
	uint8_t first_row[56];
};

static void on_start(void *ctx, struct flow_info *info)
{
	(void)info;
	((struct seen *)ctx)->started++;
}

static void on_ready(void *ctx, const struct flow_info *info, const struct flow_sample *sample,
		     enum ready_reason why)
{
	struct seen *s = ctx;

	(void)info;
	if (s->ready == 0)
		memcpy(s->first_row, sample_row(sample, &sample->packets[0]), sizeof(s->first_row));
	s->why[s->ready & 15] = why;
	s->n_packets[s->ready++ & 15] = sample->n_packets;
}

static void on_done(void *ctx, const struct flow_info *info)
{
	struct seen *s = ctx;

	s->done++;
	s->packets += info->packets;
	s->bytes += info->bytes;
}

static int read_capture(const char *path, struct seen *seen, struct offline_stats *stats,
			struct error *e)
{
	struct offline_config config = {.shape = shape,
					.max_flows = 16,
					.flow_idle_ns = 300 * S,
					.on_ready = on_ready,
					.on_start = on_start,
					.on_done = on_done,
					.ctx = seen,
					.timed = true};

	memset(seen, 0, sizeof(*seen));
	memset(stats, 0, sizeof(*stats));
	return offline_read(path, &config, stats, e);
}

static void put_udp(struct scratch *s, uint32_t at_s, uint16_t port, uint16_t payload)
{
	uint8_t bytes[256];
	size_t len = make_udp4(bytes, A, B, port, 53, payload);

	put_pcap_packet(s->file, at_s, 0, bytes, len);
}

static void each_flow_starts_is_ready_and_is_done_once_with_all_its_packets(void **state)
{
	static const uint8_t junk[40];
	struct offline_stats stats;
	struct error e = {0};
	struct scratch s;
	struct seen seen;

	(void)state;
	scratch_open(&s);
	put_pcap_header(s.file, PCAP_MICRO, LINK_RAW);
	for (int i = 0; i < 12; i++)
		put_udp(&s, 100 + i, 1000, 20);
	put_udp(&s, 113, 1001, 2);
	put_pcap_packet(s.file, 114, 0, junk, sizeof(junk));
	assert_int_equal(read_capture(scratch_close(&s), &seen, &stats, &e), 0);
	assert_int_equal(seen.started, 2);
	assert_int_equal(seen.ready, 2);
	assert_int_equal(seen.done, 2);
	assert_int_equal(seen.why[0], READY_FULL);
	assert_int_equal(seen.n_packets[0], 5);
	assert_int_equal(seen.why[1], READY_FLUSH);
	assert_int_equal(seen.packets, 13);
	assert_int_equal(seen.bytes, 12 * 48 + 30);
	assert_int_equal(stats.packets, 14);
	assert_int_equal(stats.reasons[REASON_UNDECIDED], 13);
	assert_int_equal(stats.reasons[REASON_NOT_IP], 1);
	assert_int_equal(stats.assembler.records_missing, 0);
	assert_true(stats.read_ns > 0 && stats.flow_ns > 0);
	/* IP and UDP header, padded to 40; then the payload's first 16 bytes. */
	assert_int_equal(seen.first_row[0], 0x45);
	assert_int_equal(seen.first_row[27], 0);
	assert_int_equal(seen.first_row[39], 0);
	for (int i = 40; i < 56; i++)
		assert_int_equal(seen.first_row[i], 0x55);
	scratch_remove(&s);
}

static void silence_ends_a_flow_without_connections(void **state)
{
	struct offline_stats stats;
	struct error e = {0};
	struct scratch s;
	struct seen seen;

	(void)state;
	scratch_open(&s);
	put_pcap_header(s.file, PCAP_MICRO, LINK_RAW);
	put_udp(&s, 1000, 1000, 0);
	put_udp(&s, 1200, 1000, 0);
	put_udp(&s, 1600, 1000, 0);
	assert_int_equal(read_capture(scratch_close(&s), &seen, &stats, &e), 0);
	assert_int_equal(seen.started, 2);
	assert_int_equal(seen.n_packets[0], 2);
	assert_int_equal(seen.n_packets[1], 1);
	scratch_remove(&s);
}

static void more_flows_than_the_table_holds_all_come_out(void **state)
{
	struct offline_stats stats;
	struct error e = {0};
	struct scratch s;
	struct seen seen;

	(void)state;
	scratch_open(&s);
	put_pcap_header(s.file, PCAP_MICRO, LINK_RAW);
	for (int i = 0; i < 500; i++)
		put_udp(&s, 1000 + i / 100, 1000 + i, 0);
	assert_int_equal(read_capture(scratch_close(&s), &seen, &stats, &e), 0);
	assert_int_equal(seen.started, 500);
	assert_int_equal(seen.ready, 500);
	assert_int_equal(seen.done, 500);
	assert_int_equal(seen.packets, 500);
	assert_int_equal(stats.assembler.flows_evicted, 500 - 16);
	scratch_remove(&s);
}

static void a_broken_capture_hands_out_its_flows_before_the_error(void **state)
{
	struct offline_stats stats;
	struct error e = {0};
	struct scratch s;
	struct seen seen;

	(void)state;
	scratch_open(&s);
	put_pcap_header(s.file, PCAP_MICRO, LINK_RAW);
	put_udp(&s, 1, 1000, 0);
	fputs("cut", s.file);
	assert_int_equal(read_capture(scratch_close(&s), &seen, &stats, &e), -EIO);
	assert_non_null(strstr(e.text, "packet 2:"));
	assert_int_equal(seen.ready, 1);
	assert_int_equal(seen.done, 1);
	scratch_remove(&s);
}

static void records_are_as_many_as_the_shape_wants(void **state)
{
	struct sample_shape uni = shape;
	struct nm_config config = {0};
	struct error e = {0};

	(void)state;
	assert_int_equal(record_limits(&shape, &config, &e), 0);
	assert_int_equal(config.byte_packets, 3);
	assert_int_equal(config.record_packets, 5);
	assert_int_equal(config.header_bytes, 40);
	assert_int_equal(config.payload_bytes, 16);
	/* The kernel counts both directions; one of them is to fill the sample. */
	uni.bidirectional = false;
	assert_int_equal(record_limits(&uni, &config, &e), 0);
	assert_true(config.byte_packets > 2 * uni.packets);
	assert_true(config.record_packets > 2 * uni.seq_len);
}

static void a_shape_that_no_record_can_hold_is_refused(void **state)
{
	struct sample_shape wide = shape;
	struct nm_config config = {0};
	struct error e = {0};

	(void)state;
	wide.payload_bytes = RECORD_MAX_PAYLOAD + 1;
	assert_int_equal(record_limits(&wide, &config, &e), -EINVAL);
	assert_string_equal(e.text, "the model wants 40 header and 257 payload bytes a packet; "
				    "records hold 128 and 256 at most");
	assert_int_equal(config.byte_packets, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_flow_starts_is_ready_and_is_done_once_with_all_its_packets),
		cmocka_unit_test(silence_ends_a_flow_without_connections),
		cmocka_unit_test(more_flows_than_the_table_holds_all_come_out),
		cmocka_unit_test(a_broken_capture_hands_out_its_flows_before_the_error),
		cmocka_unit_test(records_are_as_many_as_the_shape_wants),
		cmocka_unit_test(a_shape_that_no_record_can_hold_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
