/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets of decided flows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "bpf/parse.h"
#include "tests/bpf/fixtures.h"

#define CLASS 5
#define RULE  9
#define RATE  250000 /* bytes per second: 2 mbit */

static struct packet p, back;

static const struct policy_action block = {.action = ACTION_DROP, .rule_id = RULE};
static const struct policy_action allow = {.action = ACTION_PASS, .rule_id = RULE};
static const struct policy_action limit = {.action = ACTION_LIMIT, .meter_id = 3, .rule_id = RULE};

static void judge(struct harness *h, uint32_t flags)
{
	client_tcp(&p, TCP_ACK, 100);
	server_tcp(&back, TCP_ACK, 100);
	harness_verdict(h, &p, &(struct verdict){.class_id = CLASS, .flags = flags});
}

static struct counter row_since(struct harness *h, uint32_t row, struct counter before)
{
	struct counter now = harness_row(h, row);

	now.packets -= before.packets;
	now.bytes -= before.bytes;
	return now;
}

static void blocked(struct harness *h)
{
	struct counter class_before = harness_row(h, CLASS_ROW(CLASS, OUTCOME_DROPPED));
	struct counter rule_before = harness_row(h, RULE_ROW(RULE));
	struct verdict v;

	judge(h, 0);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_PASSED);
	harness_policy(h, 0, CLASS, HOOK_INGRESS, block);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_DROPPED);
	fixture_packet(h, HOOK_INGRESS, &back, REASON_DROPPED);
	v = harness_verdict_get(h, &p);
	assert_int_equal(v.packets, 3);
	assert_int_equal(v.bytes, 3 * 140);
	assert_int_equal(v.dropped_packets, 2);
	assert_int_equal(v.dropped_bytes, 2 * 140);
	class_before = row_since(h, CLASS_ROW(CLASS, OUTCOME_DROPPED), class_before);
	assert_int_equal(class_before.packets, 2);
	assert_int_equal(class_before.bytes, 2 * 140);
	assert_int_equal(row_since(h, RULE_ROW(RULE), rule_before).packets, 2);
}

static void allowed(struct harness *h)
{
	struct counter before = harness_row(h, CLASS_ROW(CLASS, OUTCOME_PASSED));

	judge(h, 0);
	harness_policy(h, 0, CLASS, HOOK_INGRESS, allow);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_PASSED);
	assert_int_equal(h->n_records, 0);
	assert_int_equal(row_since(h, CLASS_ROW(CLASS, OUTCOME_PASSED), before).packets, 1);
}

static void blocked_inbound_only(struct harness *h)
{
	judge(h, 0);
	harness_policy(h, 0, CLASS, HOOK_INGRESS, block);
	fixture_packet(h, HOOK_EGRESS, &back, REASON_PASSED);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_DROPPED);
}

static void blocked_outbound_only(struct harness *h)
{
	judge(h, 0);
	harness_policy(h, 0, CLASS, HOOK_EGRESS, block);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_PASSED);
	fixture_packet(h, HOOK_EGRESS, &back, REASON_DROPPED);
}

static void told_once(struct harness *h)
{
	const struct packet_record *r = &h->records[0].record;

	judge(h, 0);
	harness_policy(h, 0, CLASS, HOOK_INGRESS, block);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_DROPPED);
	assert_int_equal(h->n_records, 1);
	assert_int_equal(h->record_size[0], sizeof(*r));
	assert_int_equal(r->kind, RECORD_HIT);
	assert_int_equal(r->ip_len_bytes, 140);
	assert_int_equal(r->time_ns, h->now_ns);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_DROPPED);
	assert_int_equal(h->n_records, 0);
	fixture_note(h, REASON_HIT_SENT, 1);
	judge(h, 0); /* a later verdict acts, and tells, anew */
	fixture_packet(h, HOOK_INGRESS, &p, REASON_DROPPED);
	fixture_note(h, REASON_HIT_SENT, 2);
}

static void watched(struct harness *h)
{
	struct counter before = harness_row(h, CLASS_ROW(CLASS, OUTCOME_WOULD));
	struct counter rule_before = harness_row(h, RULE_ROW(RULE));

	judge(h, 0);
	harness_policy(h, 0, CLASS, HOOK_INGRESS, block);
	harness_control(h, &(struct control){.schema_version = SCHEMA_VERSION,
					     .mode = MODE_WATCH,
					     .generation = h->generation});
	fixture_packet(h, HOOK_INGRESS, &p, REASON_WOULD_DROP);
	assert_int_equal(h->n_records, 0);
	assert_int_equal(harness_verdict_get(h, &p).dropped_packets, 1);
	assert_int_equal(row_since(h, CLASS_ROW(CLASS, OUTCOME_WOULD), before).packets, 1);
	assert_int_equal(row_since(h, RULE_ROW(RULE), rule_before).packets, 1);
}

static void watched_limit(struct harness *h)
{
	judge(h, 0);
	harness_policy(h, 0, CLASS, HOOK_INGRESS, limit);
	harness_meter(h, 3, RATE, 150);
	harness_control(h, &(struct control){.schema_version = SCHEMA_VERSION,
					     .mode = MODE_WATCH,
					     .generation = h->generation});
	fixture_packet(h, HOOK_INGRESS, &p, REASON_WITHIN_RATE);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_WITHIN_RATE);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_WOULD_LIMIT);
}

static void protected_flow(struct harness *h)
{
	struct policy_action force = block;

	judge(h, VERDICT_PROTECTED);
	harness_policy(h, 0, CLASS, HOOK_INGRESS, block);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_PROTECTED);
	force.flags = POLICY_FORCE;
	harness_policy(h, 0, CLASS, HOOK_INGRESS, force);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_DROPPED);
}

static void zones_apart(struct harness *h)
{
	judge(h, 0);
	harness_verdict(h, &p, &(struct verdict){.class_id = CLASS, .zone_id = 7});
	harness_policy(h, 0, CLASS, HOOK_INGRESS, block);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_PASSED);
	harness_policy(h, 7, CLASS, HOOK_INGRESS, block);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_DROPPED);
}

static void never_zone(struct harness *h)
{
	judge(h, 0);
	harness_verdict(h, &p, &(struct verdict){.class_id = CLASS, .zone_id = ZONE_NEVER});
	harness_policy(h, ZONE_NEVER, CLASS, HOOK_INGRESS, block);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_PASSED);
}

static void fail_open(struct harness *h)
{
	judge(h, 0);
	harness_policy(h, 0, CLASS, HOOK_INGRESS, block);
	h->now_ns += 5000000000ULL;
	fixture_packet(h, HOOK_INGRESS, &p, REASON_DROPPED);
	h->now_ns++;
	fixture_packet(h, HOOK_INGRESS, &p, REASON_FAIL_OPEN);
	harness_enforce(h);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_DROPPED);
}

static void fail_closed(struct harness *h)
{
	judge(h, 0);
	harness_policy(h, 0, CLASS, HOOK_INGRESS, block);
	harness_control(h, &(struct control){.schema_version = SCHEMA_VERSION,
					     .mode = MODE_ENFORCE,
					     .heartbeat_ns = 1,
					     .generation = h->generation});
	fixture_packet(h, HOOK_INGRESS, &p, REASON_DROPPED);
}

static void no_control(struct harness *h)
{
	judge(h, 0);
	harness_policy(h, 0, CLASS, HOOK_INGRESS, block);
	harness_control(
		h, &(struct control){.schema_version = SCHEMA_VERSION + 1, .mode = MODE_ENFORCE});
	fixture_packet(h, HOOK_INGRESS, &p, REASON_NO_CONTROL);
	client_udp(&p, 10);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_NO_CONTROL);
	assert_int_equal(h->n_records, 0);
}

/* 1 ms apart, ten times the rate, for 5 s of the test's clock. */
static void limited(struct harness *h)
{
	struct counter before = harness_row(h, CLASS_ROW(CLASS, OUTCOME_LIMITED));
	uint64_t passed_bytes = 0;

	client_tcp(&p, TCP_ACK, 2500 - 40);
	harness_verdict(h, &p, &(struct verdict){.class_id = CLASS});
	harness_policy(h, 0, CLASS, HOOK_EGRESS, limit);
	harness_meter(h, 3, RATE, 10000);
	for (int i = 0; i < 5000; i++) {
		h->now_ns += 1000000;
		if (i % 1000 == 0)
			harness_enforce(h);
		assert_int_equal(harness_run_packet(h, HOOK_EGRESS, &p), 0);
		passed_bytes += h->dropped ? 0 : 2500;
	}
	assert_in_range(passed_bytes, 5 * RATE, 5 * RATE + 10000 + 2500);
	fixture_packet(h, HOOK_EGRESS, &p, REASON_LIMITED);
	assert_int_equal(row_since(h, CLASS_ROW(CLASS, OUTCOME_LIMITED), before).bytes,
			 5001 * 2500 - passed_bytes);
	h->now_ns += 1000000000;
	fixture_packet(h, HOOK_EGRESS, &p, REASON_WITHIN_RATE);
	fixture_note(h, REASON_HIT_SENT, 1);
}

static void shared_meter(struct harness *h)
{
	judge(h, 0);
	harness_policy(h, 0, CLASS, HOOK_INGRESS, limit);
	harness_policy(h, 0, CLASS + 1, HOOK_INGRESS, limit);
	harness_meter(h, 3, RATE, 100);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_WITHIN_RATE);
	client_udp(&p, 10);
	harness_verdict(h, &p, &(struct verdict){.class_id = CLASS + 1});
	fixture_packet(h, HOOK_INGRESS, &p, REASON_LIMITED);
}

/* The burst holds one packet of so many bytes, not one of so many with the headers of each segment.
 */
static void limited_by_the_wire(struct harness *h)
{
	judge(h, 0);
	client_tcp(&p, TCP_ACK, 3000);
	h->gso_segments = 3;
	h->gso_size_bytes = 1000;
	harness_policy(h, 0, CLASS, HOOK_EGRESS, limit);
	harness_meter(h, 3, RATE, 3080);
	fixture_packet(h, HOOK_EGRESS, &p, REASON_WITHIN_RATE);
	fixture_packet(h, HOOK_EGRESS, &p, REASON_LIMITED);
	assert_int_equal(harness_verdict_get(h, &p).dropped_packets, 3);
	assert_int_equal(harness_verdict_get(h, &p).dropped_bytes, 3 * 1040);
}

static void no_meter(struct harness *h)
{
	struct policy_action lost = limit;

	judge(h, 0);
	lost.meter_id = MAX_METERS;
	harness_policy(h, 0, CLASS, HOOK_INGRESS, lost);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_WITHIN_RATE);
}

static void provisional(struct harness *h)
{
	judge(h, VERDICT_PROVISIONAL);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_PASSED);
	assert_int_equal(h->n_records, 1);
	assert_int_equal(h->records[0].record.kind, RECORD_PACKET);
	assert_int_equal(harness_verdict_get(h, &p).packets, 1);
	harness_policy(h, 0, CLASS, HOOK_INGRESS, block);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_DROPPED);
	assert_int_equal(h->n_records, 1);
	assert_int_equal(h->records[0].record.kind, RECORD_HIT);
}

/* Twice: the first one may not have got through. */
static void syns_open(struct harness *h)
{
	client_tcp(&p, TCP_SYN, 0);
	for (int i = 0; i < 2; i++) {
		fixture_packet(h, HOOK_INGRESS, &p, REASON_UNDECIDED);
		assert_int_equal(h->n_records, 1);
		assert_int_equal(h->records[0].record.flags, RECORD_FLOW_START);
		assert_int_equal(h->records[0].record.packet_index, 0);
	}
}

static void syn_on_decided(struct harness *h)
{
	judge(h, 0);
	harness_verdict(h, &p, &(struct verdict){.class_id = CLASS, .judged_ns = h->now_ns});
	syns_open(h);
	server_tcp(&p, TCP_SYN | TCP_ACK, 0);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_PASSED);
}

/* Whose entry has seen nothing but SYNs, and so does not begin anew of itself. */
static void syn_on_decided_syns(struct harness *h)
{
	client_tcp(&p, TCP_SYN, 0);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_UNDECIDED);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_UNDECIDED);
	harness_verdict(h, &p, &(struct verdict){.class_id = CLASS, .judged_ns = h->now_ns});
	syns_open(h);
}

static void syn_on_blocked(struct harness *h)
{
	judge(h, 0);
	harness_verdict(h, &p, &(struct verdict){.class_id = CLASS, .judged_ns = h->now_ns});
	harness_policy(h, 0, CLASS, HOOK_INGRESS, block);
	client_tcp(&p, TCP_SYN, 0);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_DROPPED);
	fixture_packet(h, HOOK_EGRESS, &p, REASON_PASSED); /* the block is for inbound packets */
	assert_int_equal(h->n_records, 0);
	h->now_ns += VERDICT_OUTLIVES_SYN_NS - 1;
	harness_enforce(h);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_DROPPED);
	h->now_ns++;
	syns_open(h);
	fixture_packet(h, HOOK_INGRESS, &back, REASON_DROPPED);
}

static void syn_on_blocked_outbound(struct harness *h)
{
	judge(h, 0);
	harness_verdict(h, &p, &(struct verdict){.class_id = CLASS, .judged_ns = h->now_ns});
	harness_policy(h, 0, CLASS, HOOK_EGRESS, block);
	client_tcp(&p, TCP_SYN, 0);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_PASSED);
	fixture_packet(h, HOOK_EGRESS, &back, REASON_DROPPED);
}

static void unknown_class_id(struct harness *h)
{
	judge(h, 0);
	harness_verdict(h, &p, &(struct verdict){.class_id = MAX_CLASSES + 3});
	harness_policy(h, 0, CLASS_UNKNOWN, HOOK_INGRESS, block);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_DROPPED);
}

static void later_fragment_blocked(struct harness *h)
{
	packet_ethernet(&p);
	packet_ipv4(&p, "10.0.0.1", "10.0.0.2");
	packet_ipv4_fragment(&p, 600, 0, 1);
	packet_udp(&p, 50000, 443);
	packet_payload(&p, 64);
	packet_end(&p);
	harness_verdict(h, &p, &(struct verdict){.class_id = CLASS});
	harness_policy(h, 0, CLASS, HOOK_INGRESS, block);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_DROPPED);
	packet_ethernet(&p);
	packet_ipv4(&p, "10.0.0.1", "10.0.0.2");
	packet_ipv4_fragment(&p, 600, 72, 0);
	packet_proto(&p, PROTO_UDP);
	packet_payload(&p, 64);
	packet_end(&p);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_DROPPED);
}

static void gso_counts_the_wire(struct harness *h)
{
	judge(h, 0);
	client_tcp(&p, TCP_ACK, 3000);
	h->gso_segments = 3;
	h->gso_size_bytes = 1000;
	fixture_packet(h, HOOK_EGRESS, &p, REASON_PASSED);
	assert_int_equal(harness_verdict_get(h, &p).packets, 3);
	assert_int_equal(harness_verdict_get(h, &p).bytes, 3 * 1040);
}

const struct fixture verdict_fixtures[] = {
	{"a blocked class is dropped from the next packet, in both directions", blocked},
	{"an allowed class passes and sends no record", allowed},
	{"dir=in blocks inbound packets only", blocked_inbound_only},
	{"dir=out blocks outbound packets only", blocked_outbound_only},
	{"the agent is told once that a verdict acted", told_once},
	{"watch mode passes and counts what would have been dropped", watched},
	{"watch mode passes and counts what would have been limited", watched_limit},
	{"a protected flow passes unless the rule has force", protected_flow},
	{"a zone has its own actions", zones_apart},
	{"the never zone is not acted on whatever its policy says", never_zone},
	{"a stale heartbeat opens until the agent is back", fail_open},
	{"with no deadline a stale heartbeat changes nothing", fail_closed},
	{"nothing is acted on under a control of another schema", no_control},
	{"a limited class gets its rate and its burst", limited},
	{"the flows of a rule share its meter", shared_meter},
	{"a limit takes what goes over the wire", limited_by_the_wire},
	{"a limit without its meter passes", no_meter},
	{"a provisional verdict acts, and its flow is still recorded", provisional},
	{"a SYN on a decided flow begins a new one", syn_on_decided},
	{"so does one behind a scan's", syn_on_decided_syns},
	{"a SYN does not lift a block before a minute has passed", syn_on_blocked},
	{"an inbound SYN does not lift a block of what goes out", syn_on_blocked_outbound},
	{"a class that does not exist is unknown", unknown_class_id},
	{"a later fragment of a blocked flow is dropped", later_fragment_blocked},
	{"segmentation offload counts what goes over the wire", gso_counts_the_wire},
};
const size_t n_verdict_fixtures = sizeof(verdict_fixtures) / sizeof(verdict_fixtures[0]);
