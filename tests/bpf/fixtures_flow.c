/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets of flows that nobody has decided: newcomers, flows, fragments, records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "bpf/parse.h"
#include "tests/bpf/fixtures.h"

#define SECOND_NS 1000000000ULL

static struct packet p;

/* One more packet; its record must be there, with this index and these flags. */
static void recorded(struct harness *h, int hook, uint32_t index, uint8_t flags)
{
	fixture_packet(h, hook, &p, REASON_UNDECIDED);
	assert_int_equal(h->n_records, 1);
	assert_int_equal(h->records[0].record.packet_index, index);
	assert_int_equal(h->records[0].record.flags, flags);
	assert_int_equal(h->records[0].record.hook, hook);
	assert_int_equal(h->records[0].record.time_ns, h->now_ns);
	assert_int_equal(h->records[0].record.ifindex, 1); /* test_run's device is the loopback */
}

static void second_packet_makes_entry(struct harness *h)
{
	struct flow_state s;

	client_tcp(&p, TCP_SYN, 0);
	recorded(h, HOOK_EGRESS, 0, RECORD_FLOW_START);
	fixture_note(h, REASON_NEWCOMER, 1);
	assert_false(harness_flow(h, &p, &s));
	h->now_ns += 5;
	server_tcp(&p, TCP_SYN | TCP_ACK, 0);
	recorded(h, HOOK_INGRESS, 1, 0);
	fixture_note(h, REASON_FLOW_CREATED, 1);
	fixture_note(h, REASON_RECORD_SENT, 2);
	assert_true(harness_flow(h, &p, &s));
	assert_int_equal(s.packets[FLOW_DIR_FORWARD], 1);
	assert_int_equal(s.packets[FLOW_DIR_REVERSE], 1);
	assert_int_equal(s.bytes[FLOW_DIR_REVERSE], 40);
	assert_int_equal(s.last_ns[FLOW_DIR_REVERSE], h->now_ns);
	assert_int_equal(s.tcp_flags[FLOW_DIR_FORWARD], TCP_SYN);
	assert_int_equal(s.tcp_flags[FLOW_DIR_REVERSE], TCP_SYN | TCP_ACK);
	assert_int_equal(s.records_sent, 1);
}

static void records_end(struct harness *h)
{
	struct nm_config config = harness_config();
	bool has_bytes;

	client_udp(&p, 200);
	for (uint32_t i = 0; i < config.record_packets; i++) {
		recorded(h, HOOK_INGRESS, i, i ? 0 : RECORD_FLOW_START);
		has_bytes = i < config.byte_packets;
		assert_int_equal(h->records[0].record.header_bytes, has_bytes ? 28 : 0);
		assert_int_equal(h->records[0].record.payload_bytes, has_bytes ? 80 : 0);
	}
	fixture_packet(h, HOOK_INGRESS, &p, REASON_UNDECIDED);
	assert_int_equal(h->n_records, 0);
}

static void new_generation(struct harness *h)
{
	client_udp(&p, 10);
	for (uint32_t i = 0; i < 3; i++)
		recorded(h, HOOK_INGRESS, i, i ? 0 : RECORD_FLOW_START);
	h->generation++;
	harness_enforce(h);
	recorded(h, HOOK_INGRESS, 0, RECORD_FLOW_START);
	recorded(h, HOOK_INGRESS, 1, 0);
	fixture_note(h, REASON_FLOW_RESTARTED, 1);
}

static void new_generation_of_newcomer(struct harness *h)
{
	client_udp(&p, 10);
	recorded(h, HOOK_INGRESS, 0, RECORD_FLOW_START);
	h->generation++;
	harness_enforce(h);
	recorded(h, HOOK_INGRESS, 0, RECORD_FLOW_START);
}

static void silence_udp(struct harness *h)
{
	client_udp(&p, 10);
	recorded(h, HOOK_INGRESS, 0, RECORD_FLOW_START);
	recorded(h, HOOK_INGRESS, 1, 0);
	h->now_ns += 60 * SECOND_NS;
	recorded(h, HOOK_INGRESS, 2, 0);
	h->now_ns += 60 * SECOND_NS + 1;
	recorded(h, HOOK_INGRESS, 0, RECORD_FLOW_START);
	fixture_note(h, REASON_FLOW_RESTARTED, 1);
}

/* Either way may be silent for long, as long as not both are. */
static void silence_of_one_way(struct harness *h)
{
	for (int talker = 0; talker < 2; talker++) {
		h->generation++;
		harness_enforce(h);
		client_udp(&p, 10);
		recorded(h, HOOK_INGRESS, 0, RECORD_FLOW_START);
		recorded(h, HOOK_INGRESS, 1, 0);
		packet_make_udp(&p, "10.0.0.2", "10.0.0.1", 443, 50000, 10);
		recorded(h, HOOK_EGRESS, 2, 0);
		for (uint32_t i = 3; i < 5; i++) {
			if (!talker)
				client_udp(&p, 10);
			h->now_ns += 40 * SECOND_NS;
			recorded(h, HOOK_INGRESS, i, 0);
		}
		if (talker)
			client_udp(&p, 10);
		else
			packet_make_udp(&p, "10.0.0.2", "10.0.0.1", 443, 50000, 10);
		recorded(h, HOOK_INGRESS, 5, 0);
	}
}

static void first_packet_from_above(struct harness *h)
{
	struct flow_state s;

	packet_make_udp(&p, "10.0.0.2", "10.0.0.1", 443, 50000, 10);
	recorded(h, HOOK_EGRESS, 0, RECORD_FLOW_START);
	client_udp(&p, 10);
	recorded(h, HOOK_INGRESS, 1, 0);
	assert_true(harness_flow(h, &p, &s));
	assert_int_equal(s.packets[FLOW_DIR_FORWARD], 1);
	assert_int_equal(s.packets[FLOW_DIR_REVERSE], 1);
}

/* With one place for all fingerprints. */
static void anothers_fingerprint(struct harness *h)
{
	struct harness_options options = {.config = harness_config()};
	struct harness *narrow;

	(void)h;
	options.config.newcomer_mask = 0;
	narrow = harness_new(&options);
	assert_non_null(narrow);
	packet_make_udp(&p, "10.0.0.1", "10.0.0.2", 1000, 53, 10);
	recorded(narrow, HOOK_INGRESS, 0, RECORD_FLOW_START);
	packet_make_udp(&p, "10.0.0.1", "10.0.0.2", 1001, 53, 10);
	recorded(narrow, HOOK_INGRESS, 0, RECORD_FLOW_START);
	fixture_note(narrow, REASON_FLOW_CREATED, 0);
	harness_free(narrow);
}

static void silence_of_newcomer(struct harness *h)
{
	client_udp(&p, 10);
	recorded(h, HOOK_INGRESS, 0, RECORD_FLOW_START);
	h->now_ns += 90 * SECOND_NS;
	recorded(h, HOOK_INGRESS, 0, RECORD_FLOW_START);
	fixture_note(h, REASON_NEWCOMER, 2);
}

static void silence_tcp(struct harness *h)
{
	client_tcp(&p, TCP_ACK, 10);
	recorded(h, HOOK_INGRESS, 0, RECORD_FLOW_START);
	recorded(h, HOOK_INGRESS, 1, 0);
	h->now_ns += 3600 * SECOND_NS;
	recorded(h, HOOK_INGRESS, 2, 0);
}

static void syn_again(struct harness *h)
{
	client_tcp(&p, TCP_SYN | TCP_ECE | TCP_CWR, 0);
	recorded(h, HOOK_EGRESS, 0, RECORD_FLOW_START);
	client_tcp(&p, TCP_SYN, 0);
	recorded(h, HOOK_EGRESS, 1, 0);
	recorded(h, HOOK_EGRESS, 2, 0);
	server_tcp(&p, TCP_SYN | TCP_ACK, 0);
	recorded(h, HOOK_INGRESS, 3, 0);
	client_tcp(&p, TCP_SYN, 0);
	recorded(h, HOOK_EGRESS, 0, RECORD_FLOW_START);
	fixture_note(h, REASON_FLOW_RESTARTED, 1);
}

static void silence_after_records(struct harness *h)
{
	struct nm_config config = harness_config();

	client_tcp(&p, TCP_ACK, 100);
	for (__u32 i = 0; i < config.record_packets - 1; i++)
		fixture_packet(h, HOOK_INGRESS, &p, REASON_UNDECIDED);
	h->now_ns += config.flow_idle_ns + 1;
	harness_enforce(h);
	recorded(h, HOOK_INGRESS, config.record_packets - 1, 0); /* it may be silent */
	h->now_ns += config.flow_idle_ns;
	fixture_packet(h, HOOK_INGRESS, &p, REASON_UNDECIDED);
	assert_int_equal(h->n_records, 0); /* the verdict may be on its way */
	h->now_ns += config.flow_idle_ns + 1;
	harness_enforce(h);
	recorded(h, HOOK_INGRESS, 0, RECORD_FLOW_START);
}

static void syn_after_stray(struct harness *h)
{
	client_tcp(&p, TCP_RST, 0);
	recorded(h, HOOK_EGRESS, 0, RECORD_FLOW_START);
	client_tcp(&p, TCP_SYN, 0);
	recorded(h, HOOK_EGRESS, 0, RECORD_FLOW_START);
}

static void budget(struct harness *h)
{
	for (int i = 0; i < 6; i++) {
		packet_make_udp(&p, "10.0.0.1", "10.0.0.2", 1000 + i, 53, 10);
		fixture_packet(h, HOOK_INGRESS, &p, REASON_UNDECIDED);
		assert_int_equal(h->n_records, i < 4 ? 1 : 0);
	}
	fixture_note(h, REASON_NEWCOMER_BUDGET, 2);
	recorded(h, HOOK_INGRESS, 1, 0); /* its second packet is no newcomer */
	h->now_ns += 2000000;
	packet_make_udp(&p, "10.0.0.1", "10.0.0.2", 2000, 53, 10);
	recorded(h, HOOK_INGRESS, 0, RECORD_FLOW_START);
}

static void ring_full(struct harness *h)
{
	client_udp(&p, 10);
	h->reader_sleeps = true;
	for (int i = 0; i < 20; i++) {
		h->generation++; /* each packet is the first ones of a flow, and has a record */
		harness_enforce(h);
		for (int k = 0; k < 50; k++) {
			h->now_ns += 2000000;
			fixture_packet(h, HOOK_INGRESS, &p, REASON_UNDECIDED);
		}
	}
	h->reader_sleeps = false;
	assert_true(harness_counted(h, REASON_RING_FULL).packets > 0);
	fixture_note(h, REASON_RING_FULL, 1000 - harness_counted(h, REASON_RECORD_SENT).packets);
}

/* An LRU makes room; a plain hash of one entry does not. */
static void table_full(struct harness *h)
{
	struct harness *full = harness_new(
		&(struct harness_options){.config = harness_config(), .flows_refuse = true});

	assert_non_null(full);
	for (int i = 0; i < 4; i++) {
		packet_make_udp(&p, "10.0.0.1", "10.0.0.2", 1000 + i / 2, 53, 10);
		fixture_packet(full, HOOK_INGRESS, &p, REASON_UNDECIDED);
	}
	fixture_note(full, REASON_FLOW_TABLE_FULL, 1);
	h->proven[REASON_FLOW_TABLE_FULL] |= full->proven[REASON_FLOW_TABLE_FULL];
	harness_free(full);
}

static void make_fragment(uint16_t id, uint16_t offset, int more)
{
	packet_ethernet(&p);
	packet_ipv4(&p, "10.0.0.2", "10.0.0.1");
	packet_ipv4_fragment(&p, id, offset, more);
	if (offset)
		packet_proto(&p, PROTO_UDP);
	else
		packet_udp(&p, 443, 50000);
	packet_payload(&p, 64);
	packet_end(&p);
}

static void fragments(struct harness *h)
{
	make_fragment(7, 0, 1);
	recorded(h, HOOK_INGRESS, 0, RECORD_FLOW_START);
	make_fragment(7, 72, 0);
	recorded(h, HOOK_INGRESS, 1, RECORD_FRAGMENT);
	assert_int_equal(h->records[0].record.key.port_lo_be, BE16(50000));
	assert_int_equal(h->records[0].record.key.port_hi_be, BE16(443));
	assert_int_equal(h->records[0].record.direction, FLOW_DIR_REVERSE);
	assert_int_equal(h->records[0].record.header_len, 20);
	assert_int_equal(h->records[0].record.payload_bytes, 64);
}

static void fragment_unknown(struct harness *h)
{
	make_fragment(7, 72, 0);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_FRAGMENT_UNKNOWN);
	make_fragment(8, 0, 1);
	recorded(h, HOOK_INGRESS, 0, RECORD_FLOW_START);
	make_fragment(7, 72, 0);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_FRAGMENT_UNKNOWN);
}

static void fragment_old(struct harness *h)
{
	make_fragment(7, 0, 1);
	recorded(h, HOOK_INGRESS, 0, RECORD_FLOW_START);
	h->now_ns += 30 * SECOND_NS;
	make_fragment(7, 72, 1);
	recorded(h, HOOK_INGRESS, 1, RECORD_FRAGMENT);
	h->now_ns += 1;
	fixture_packet(h, HOOK_INGRESS, &p, REASON_FRAGMENT_UNKNOWN);
}

static void make_fragment_v6(uint16_t offset, int more)
{
	packet_ethernet(&p);
	packet_ipv6(&p, "2001:db8::1", "2001:db8::2");
	packet_ipv6_fragment(&p, 0x12345678, offset, more);
	if (!offset) {
		packet_ipv6_extension(&p, PROTO_DEST_OPTIONS, 8);
		packet_tcp(&p, 50000, 443, TCP_ACK);
	} else {
		packet_proto(&p, PROTO_DEST_OPTIONS);
	}
	packet_payload(&p, 64);
	packet_end(&p);
}

static void fragments_v6(struct harness *h)
{
	make_fragment_v6(0, 1);
	recorded(h, HOOK_INGRESS, 0, RECORD_FLOW_START);
	make_fragment_v6(96, 0);
	recorded(h, HOOK_INGRESS, 1, RECORD_FRAGMENT);
	assert_int_equal(h->records[0].record.key.proto, PROTO_TCP);
	assert_int_equal(h->records[0].record.key.port_hi_be, BE16(443));
	assert_int_equal(h->records[0].record.header_len, 48);
}

static void fragments_icmp(struct harness *h)
{
	packet_ethernet(&p);
	packet_ipv4(&p, "10.0.0.2", "10.0.0.1");
	packet_ipv4_fragment(&p, 9, 0, 1);
	packet_icmp(&p, 8, 0, 77);
	packet_payload(&p, 64);
	packet_end(&p);
	recorded(h, HOOK_INGRESS, 0, RECORD_FLOW_START);
	packet_ethernet(&p);
	packet_ipv4(&p, "10.0.0.2", "10.0.0.1");
	packet_ipv4_fragment(&p, 9, 72, 0);
	packet_proto(&p, PROTO_ICMP);
	packet_payload(&p, 64);
	packet_end(&p);
	recorded(h, HOOK_INGRESS, 1, RECORD_FRAGMENT);
}

static void gso(struct harness *h)
{
	struct flow_state s;

	client_udp(&p, 3600);
	h->gso_segments = 3;
	h->gso_size_bytes = 1200;
	recorded(h, HOOK_EGRESS, 0, RECORD_FLOW_START);
	assert_int_equal(h->records[0].record.gso_segments, 3);
	assert_int_equal(h->records[0].record.gso_size_bytes, 1200);
	recorded(h, HOOK_EGRESS, 3, 0);
	h->gso_segments = h->gso_size_bytes = 0;
	client_udp(&p, 10);
	recorded(h, HOOK_EGRESS, 6, 0);
	assert_true(harness_flow(h, &p, &s));
	assert_int_equal(s.packets[FLOW_DIR_FORWARD], 7);
	assert_int_equal(s.bytes[FLOW_DIR_FORWARD], 6 * 1228 + 38);
}

static void not_linear(struct harness *h)
{
	client_udp(&p, 200);
	h->linear_bytes = 14 + 20 + 8 + 13;
	if (!h->multi_buffer || harness_run_packet(h, HOOK_INGRESS, &p)) {
		print_message("this kernel cannot test_run a packet in pieces\n");
		skip();
	}
	assert_int_equal(h->n_records, 1);
	assert_int_equal(h->records[0].record.payload_bytes, 80);
	assert_memory_equal(h->records[0].data + 28, packet_bytes(&p) + 42, 80);
}

static void no_prefix_no_time(struct harness *h)
{
	struct flow_state s;

	client_udp(&p, 10);
	h->now_ns = 0; /* as a packet without the prefix */
	recorded(h, HOOK_INGRESS, 0, RECORD_FLOW_START);
	recorded(h, HOOK_INGRESS, 1, 0);
	assert_true(harness_flow(h, &p, &s));
	assert_int_equal(s.packets[FLOW_DIR_FORWARD], 2);
}

const struct fixture flow_fixtures[] = {
	{"the second packet makes the flow's entry", second_packet_makes_entry},
	{"records end at record_packets, their bytes at byte_packets", records_end},
	{"a new generation sends an undecided flow up anew", new_generation},
	{"a new generation forgets newcomers too", new_generation_of_newcomer},
	{"a UDP flow begins anew after a longer silence than flow_idle_ns", silence_udp},
	{"a flow of which one end talks on is not silent", silence_of_one_way},
	{"a first packet is counted for the direction it came from", first_packet_from_above},
	{"another flow's fingerprint is not taken for one's own", anothers_fingerprint},
	{"a newcomer's second packet after a long silence is a first one", silence_of_newcomer},
	{"a TCP flow does not begin anew by silence", silence_tcp},
	{"a SYN begins a flow anew, a repeated SYN does not", syn_again},
	{"a TCP flow without a verdict whose records went up begins anew after silence",
	 silence_after_records},
	{"a SYN after a stray packet is a first packet", syn_after_stray},
	{"first packets' records have a budget a millisecond", budget},
	{"a full ring loses records and counts each", ring_full},
	{"a flow that gets no entry is counted", table_full},
	{"a later fragment follows its first", fragments},
	{"a later fragment whose first was not seen passes and is counted", fragment_unknown},
	{"a first fragment is believed for 30 seconds", fragment_old},
	{"an IPv6 later fragment has the first one's real protocol", fragments_v6},
	{"a later fragment of an echo follows its first", fragments_icmp},
	{"a packet of many segments advances the index by as many", gso},
	{"payload past the linear part is recorded", not_linear},
	{"time may begin at 0", no_prefix_no_time},
};
const size_t n_flow_fixtures = sizeof(flow_fixtures) / sizeof(flow_fixtures[0]);
