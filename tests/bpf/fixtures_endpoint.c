/* SPDX-License-Identifier: BSD-2-Clause */
/* First packets of flows whose remote end is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <bpf/libbpf.h>
#include "bpf/parse.h"
#include "tests/bpf/fixtures.h"
#include "netmamba.skel.h"

#define CLASS 6

static struct packet p;

static const struct policy_action block = {.action = ACTION_DROP, .rule_id = 2};

static void enable(struct harness *h, uint32_t mode, uint32_t flags)
{
	harness_control(h, &(struct control){.schema_version = SCHEMA_VERSION,
					     .mode = mode,
					     .flags = flags,
					     .generation = h->generation});
}

/* 10.0.0.2:443 over TCP is of the class. */
static void know_server(struct harness *h, uint64_t expires_ns)
{
	struct endpoint_key key = {.port_be = BE16(443), .proto = PROTO_TCP};
	struct endpoint_verdict v = {.class_id = CLASS, .expires_ns = expires_ns};

	memcpy(key.addr + 10, (uint8_t[]){0xff, 0xff, 10, 0, 0, 2}, 6);
	assert_int_equal(
		bpf_map__update_elem(h->skel->maps.endpoints, &key, sizeof(key), &v, sizeof(v), 0),
		0);
	enable(h, MODE_ENFORCE, CONTROL_ENDPOINTS);
}

static void blocked(struct harness *h)
{
	know_server(h, h->now_ns + 1);
	harness_policy(h, 0, CLASS, HOOK_EGRESS, block);
	client_tcp(&p, TCP_SYN, 0);
	fixture_packet(h, HOOK_EGRESS, &p, REASON_ENDPOINT_DROPPED);
	fixture_packet(h, HOOK_EGRESS, &p, REASON_ENDPOINT_DROPPED);
	assert_int_equal(h->n_records, 0);
	fixture_note(h, REASON_NEWCOMER, 0);
}

/* Inbound, the remote end is the sender. */
static void by_side(struct harness *h)
{
	know_server(h, h->now_ns + 1);
	harness_policy(h, 0, CLASS, HOOK_INGRESS, block);
	client_tcp(&p, TCP_SYN, 0);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_UNDECIDED);
	packet_make_tcp(&p, "10.0.0.2", "10.0.0.1", 443, 50001, TCP_ACK, 10);
	fixture_packet(h, HOOK_INGRESS, &p, REASON_ENDPOINT_DROPPED);
}

static void expired(struct harness *h)
{
	know_server(h, h->now_ns - 1);
	harness_policy(h, 0, CLASS, HOOK_EGRESS, block);
	client_tcp(&p, TCP_SYN, 0);
	fixture_packet(h, HOOK_EGRESS, &p, REASON_UNDECIDED);
}

static void switched_off(struct harness *h)
{
	know_server(h, h->now_ns + 1);
	enable(h, MODE_ENFORCE, 0);
	harness_policy(h, 0, CLASS, HOOK_EGRESS, block);
	client_tcp(&p, TCP_SYN, 0);
	fixture_packet(h, HOOK_EGRESS, &p, REASON_UNDECIDED);
}

static void only_first(struct harness *h)
{
	client_tcp(&p, TCP_SYN, 0);
	fixture_packet(h, HOOK_EGRESS, &p, REASON_UNDECIDED);
	know_server(h, h->now_ns + 1);
	harness_policy(h, 0, CLASS, HOOK_EGRESS, block);
	client_tcp(&p, TCP_ACK, 0);
	fixture_packet(h, HOOK_EGRESS, &p, REASON_UNDECIDED);
}

/* Of a class that is watched, though its server is known as of one that is blocked. */
static void not_beside_a_verdict(struct harness *h)
{
	know_server(h, h->now_ns + 1);
	harness_policy(h, 0, CLASS, HOOK_EGRESS, block);
	client_tcp(&p, TCP_ACK, 10);
	harness_verdict(h, &p,
			&(struct verdict){.class_id = CLASS + 1, .flags = VERDICT_PROVISIONAL});
	fixture_packet(h, HOOK_EGRESS, &p, REASON_PASSED);
	assert_int_equal(h->n_records, 1);
}

static void never_zone(struct harness *h)
{
	struct zone_key key = {.prefix_len = 96 + 8};
	uint32_t zone_id = ZONE_NEVER;

	memcpy(key.addr + 10, (uint8_t[]){0xff, 0xff, 10}, 3);
	assert_int_equal(bpf_map__update_elem(h->skel->maps.zones, &key, sizeof(key), &zone_id,
					      sizeof(zone_id), 0),
			 0);
	know_server(h, h->now_ns + 1);
	harness_policy(h, ZONE_NEVER, CLASS, HOOK_EGRESS, block);
	harness_policy(h, 0, CLASS, HOOK_EGRESS, block);
	client_tcp(&p, TCP_SYN, 0);
	fixture_packet(h, HOOK_EGRESS, &p, REASON_UNDECIDED);
}

static void watched(struct harness *h)
{
	know_server(h, h->now_ns + 1);
	enable(h, MODE_WATCH, CONTROL_ENDPOINTS);
	harness_policy(h, 0, CLASS, HOOK_EGRESS, block);
	client_tcp(&p, TCP_SYN, 0);
	fixture_packet(h, HOOK_EGRESS, &p, REASON_WOULD_DROP);
	assert_int_equal(h->n_records, 1);
}

static void limited(struct harness *h)
{
	know_server(h, h->now_ns + 1);
	harness_policy(h, 0, CLASS, HOOK_EGRESS,
		       (struct policy_action){.action = ACTION_LIMIT, .meter_id = 1});
	harness_meter(h, 1, 1000, 10);
	client_tcp(&p, TCP_SYN, 0);
	fixture_packet(h, HOOK_EGRESS, &p, REASON_WITHIN_RATE);
	assert_int_equal(h->n_records, 1);
	packet_make_tcp(&p, "10.0.0.1", "10.0.0.2", 50002, 443, TCP_SYN, 0);
	fixture_packet(h, HOOK_EGRESS, &p, REASON_LIMITED);
	assert_int_equal(h->n_records, 0);
}

const struct fixture endpoint_fixtures[] = {
	{"the first packet to a blocked endpoint is dropped, and so is the next", blocked},
	{"the remote end is the sender inbound and the receiver outbound", by_side},
	{"an expired endpoint says nothing", expired},
	{"endpoints are not asked unless control says so", switched_off},
	{"endpoints are asked for a flow's first packet only", only_first},
	{"endpoints are not asked for a flow that has a provisional verdict", not_beside_a_verdict},
	{"an endpoint in the never zone is not acted on", never_zone},
	{"watch mode counts an endpoint's block and records the flow", watched},
	{"an endpoint's limit meters first packets", limited},
};
const size_t n_endpoint_fixtures = sizeof(endpoint_fixtures) / sizeof(endpoint_fixtures[0]);
