/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the programs do with a packet, a sentence each. A fixture gets the loaded programs with
 * nothing decided and nothing remembered; test_fixtures.c runs them all and then asks whether each
 * reason of maps/reason.h was proven by one.
 */
#pragma once
#include "tests/bpf/harness.h"

struct fixture {
	const char *claim;
	void (*run)(struct harness *h);
};

extern const struct fixture verdict_fixtures[], endpoint_fixtures[], flow_fixtures[];
extern const size_t n_verdict_fixtures, n_endpoint_fixtures, n_flow_fixtures;

/* A packet in, and what the parser has to say about it. */
struct parse_fixture {
	const char *claim;
	void (*build)(struct packet *p);
	enum reason reason;
	/* for REASON_UNDECIDED: */
	uint8_t proto;
	uint16_t port_lo, port_hi, vlan_id;
	uint8_t direction;
	uint32_t header_len, payload_bytes;
	uint8_t tcp_flags;
};

extern const struct parse_fixture parse_fixtures[];
extern const size_t n_parse_fixtures;

/* Runs it; exactly this PACKET reason must be counted, with the packet's bytes, and the action must
 * be the reason's. */
void fixture_packet(struct harness *h, int hook, struct packet *p, enum reason expected);
/* NOTE reasons counted since the reset. */
void fixture_note(struct harness *h, enum reason note, uint64_t expected);

/* The usual packets: client 10.0.0.1:50000, server 10.0.0.2:443. */
void client_tcp(struct packet *p, uint8_t flags, size_t payload);
void server_tcp(struct packet *p, uint8_t flags, size_t payload);
void client_udp(struct packet *p, size_t payload);
