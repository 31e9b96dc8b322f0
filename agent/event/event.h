/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One verdict event and its one encoding: for `flows`, `classify`, the log, the store and later
 * sinks.
 */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "maps/flow_key.h"
#include "maps/verdict.h"
#include "model/decide.h"

#define EVENT_MAX_SCORES 8

struct flow_event {
	uint64_t
		flow_id; /* hash of key and start; what `explain` takes; printed as 16 hex digits */
	int64_t time_ns; /* wall clock of the judgement; for captures the flow's last packet */
	int64_t start_ns; /* wall clock of the first packet */
	struct flow_key key;
	uint8_t source_direction; /* FLOW_DIR_* of the first packet */
	uint8_t directions_seen;  /* bit per FLOW_DIR_* */
	uint64_t packets, bytes;
	char class_name[CLASS_NAME_LEN]; /* the nearest class */
	float confidence, ood_score;
	bool unknown;
	enum decided_by by;
	bool provisional;
	const char *ready; /* ready_reason_name, static */
	/* live only; "" or 0 offline */
	char action[8]; /* watch pass drop limit */
	uint32_t rule_id;
	uint32_t zone_id;
	char zone[64]; /* prefix, "default" or "never" */
	bool protected_flow;
	char iface[16];
	uint32_t model_id;
	uint32_t n_scores; /* best first */
	struct {
		char class_name[CLASS_NAME_LEN];
		float probability;
	} scores[EVENT_MAX_SCORES];
};

/* How an event is dumped to a line: its floats are rounded to six digits. */
#define EVENT_JSON_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(9))

/*
 * New reference, NULL when memory is short. offline leaves the live-only members out.
 *
 * Always: time, start (RFC 3339, UTC, microseconds), proto, src, sport, dst, dport (src sent the
 * first packet; ports are 0 where the protocol has none), packets, bytes, class, confidence,
 * ood_score, unknown; vlan where tagged; icmp_type, icmp_code, icmp_id for ICMP and ICMPv6.
 * Live: flow_id (16 hex digits), directions_seen (1, 2 or 3 = both), decided_by, provisional,
 * ready, action, rule_id, zone, zone_id, protected, iface, model_id, scores [{class, probability}].
 */
json_t *event_to_json(const struct flow_event *event, bool offline);
/* Reads what event_to_json(event, false) wrote (the store keeps events as JSON). Everything is
 * checked: -EINVAL and which member is wrong. Times come back to the microsecond, floats to six
 * digits; ret_event->ready is one of the assembler's names, or "" for one not known. */
int event_from_json(const json_t *json, struct flow_event *ret_event, struct error *e);
/* "tcp", "udp", "icmp", "icmp6" or the number. */
const char *event_proto_name(uint8_t proto, char buffer[8]);
/* An address of the key, IPv4 dotted when mapped; the port is 0 for ICMP. side: 0 source, 1
 * destination. */
void event_address(const struct flow_event *event, int side, char ret_text[46], uint16_t *ret_port);
/* The same as people write it: "192.0.2.7:443", "[2001:db8::7]:443", without a port where there is
 * none. */
#define EVENT_ENDPOINT 56
void event_endpoint(const struct flow_event *event, int side, char ret_text[EVENT_ENDPOINT]);
