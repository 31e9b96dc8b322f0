/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs all fixtures on the loaded programs (fixtures.h), each as a test of its own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "bpf/parse.h"
#include "tests/bpf/fixtures.h"

static struct harness *harness;

static const struct {
	const char *name;
	bool is_packet;
} reasons[REASON_ROWS] = {
#define PACKET                            true
#define NOTE                              false
#define X(number, name, json, kind, help) [number] = {json, kind},
	REASONS(X)
#undef X
#undef PACKET
#undef NOTE
};

static bool drops(enum reason reason)
{
	return reason == REASON_DROPPED || reason == REASON_LIMITED ||
	       reason == REASON_ENDPOINT_DROPPED;
}

/* IP bytes on the wire; 0 where the parser gives up. */
static uint64_t wire_bytes(struct harness *h, int hook, struct packet *p)
{
	struct packet_view v;
	enum parse_result r =
		parse_ethernet(packet_bytes(p), packet_bytes(p) + p->len, p->len, 0, true, &v);

	if (r != PARSE_FLOW && r != PARSE_LATER_FRAGMENT)
		return 0;
	if (hook == HOOK_EGRESS && h->gso_segments > 1)
		return v.ip_len_bytes + (h->gso_segments - 1) * v.header_len;
	return v.ip_len_bytes;
}

void fixture_packet(struct harness *h, int hook, struct packet *p, enum reason expected)
{
	struct counter before[REASON_ROWS], now;

	for (uint32_t i = 0; i < REASON_ROWS; i++)
		before[i] = harness_counted(h, i);
	assert_int_equal(harness_run_packet(h, hook, p), 0);
	for (uint32_t i = 0; i < REASON_ROWS; i++) {
		now = harness_counted(h, i);
		now.packets -= before[i].packets;
		if (!reasons[i].is_packet || now.packets == (i == expected))
			continue;
		print_error("expected the reason %s, but %s was counted %d times\n",
			    reasons[expected].name, reasons[i].name, (int)now.packets);
		fail();
	}
	now = harness_counted(h, expected);
	assert_int_equal(now.bytes - before[expected].bytes, wire_bytes(h, hook, p));
	assert_int_equal(h->dropped, drops(expected));
	h->proven[expected] = true;
}

void fixture_note(struct harness *h, enum reason note, uint64_t expected)
{
	uint64_t counted = harness_counted(h, note).packets;

	if (counted != expected)
		print_error("%s: counted %d, expected %d\n", reasons[note].name, (int)counted,
			    (int)expected);
	assert_int_equal(counted, expected);
	if (expected)
		h->proven[note] = true;
}

void client_tcp(struct packet *p, uint8_t flags, size_t payload)
{
	packet_make_tcp(p, "10.0.0.1", "10.0.0.2", 50000, 443, flags, payload);
}

void server_tcp(struct packet *p, uint8_t flags, size_t payload)
{
	packet_make_tcp(p, "10.0.0.2", "10.0.0.1", 443, 50000, flags, payload);
}

void client_udp(struct packet *p, size_t payload)
{
	packet_make_udp(p, "10.0.0.1", "10.0.0.2", 50000, 443, payload);
}

static void run_fixture(void **state)
{
	const struct fixture *f = *state;

	if (!harness)
		skip();
	harness_reset(harness);
	f->run(harness);
}

static void check_record(const struct harness *h, const struct parse_fixture *f, struct packet *p)
{
	const struct packet_record *r = &h->records[0].record;
	const uint8_t *ip = packet_bytes(p) + p->ip_at;
	uint32_t header_bytes = f->header_len < 80 ? f->header_len : 80;

	assert_int_equal(h->n_records, 1);
	assert_int_equal(r->key.proto, f->proto);
	assert_int_equal(BE16(r->key.port_lo_be), f->port_lo);
	assert_int_equal(BE16(r->key.port_hi_be), f->port_hi);
	assert_int_equal(r->key.vlan_id, f->vlan_id);
	assert_int_equal(r->direction, f->direction);
	assert_int_equal(r->tcp_flags, f->tcp_flags);
	assert_int_equal(r->header_len, f->header_len);
	assert_int_equal(r->header_bytes, header_bytes);
	assert_int_equal(r->payload_bytes, f->payload_bytes);
	assert_memory_equal(h->records[0].data, ip, header_bytes);
	assert_memory_equal(h->records[0].data + header_bytes, ip + f->header_len,
			    f->payload_bytes);
}

static void run_parse_fixture(void **state)
{
	const struct parse_fixture *f = *state;
	static struct packet p;

	if (!harness)
		skip();
	for (int hook = HOOK_INGRESS; hook <= HOOK_EGRESS; hook++) {
		f->build(&p);
		if (hook == HOOK_EGRESS && harness_run_packet(harness, hook, &p) == -EINVAL)
			continue; /* test_run refuses an IP packet without a whole header */
		harness_reset(harness);
		fixture_packet(harness, hook, &p, f->reason);
		if (f->reason == REASON_UNDECIDED)
			check_record(harness, f, &p);
		else
			assert_int_equal(harness->n_records, 0);
	}
}

static void every_reason_has_a_fixture(void **state)
{
	bool missing = false;

	(void)state;
	if (!harness)
		skip();
	for (uint32_t i = 0; i < REASON_ROWS; i++)
		if (reasons[i].name && !harness->proven[i]) {
			print_error("no fixture proves the reason %s\n", reasons[i].name);
			missing = true;
		}
	assert_false(missing);
}

static size_t add_fixtures(struct CMUnitTest *tests, size_t n, const struct fixture *fixtures,
			   size_t n_fixtures)
{
	for (size_t i = 0; i < n_fixtures; i++)
		tests[n++] = (struct CMUnitTest){fixtures[i].claim, run_fixture, NULL, NULL,
						 (void *)&fixtures[i]};
	return n;
}

int main(void)
{
	size_t room =
		n_parse_fixtures + n_verdict_fixtures + n_endpoint_fixtures + n_flow_fixtures + 1;
	struct CMUnitTest *tests = calloc(room, sizeof(*tests));
	size_t n = 0;
	int failed;

	if (!tests)
		return 1;
	harness = harness_new(&(struct harness_options){.config = harness_config()});
	for (size_t i = 0; i < n_parse_fixtures; i++)
		tests[n++] = (struct CMUnitTest){parse_fixtures[i].claim, run_parse_fixture, NULL,
						 NULL, (void *)&parse_fixtures[i]};
	n = add_fixtures(tests, n, verdict_fixtures, n_verdict_fixtures);
	n = add_fixtures(tests, n, endpoint_fixtures, n_endpoint_fixtures);
	n = add_fixtures(tests, n, flow_fixtures, n_flow_fixtures);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(every_reason_has_a_fixture);
	failed = _cmocka_run_group_tests("fixtures", tests, n, NULL, NULL);
	harness_free(harness);
	free(tests);
	return failed;
}
