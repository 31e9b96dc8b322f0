/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * `counters`: per-CPU array of struct counter. Writer: kernel; reader: agent.
 *
 * The one list of reasons why a packet was passed, dropped, limited, or a record lost. It makes the
 * enum, the JSON and metric names and the help texts. A number is never used again: a retired
 * reason keeps its line.
 *
 * Every packet counts under exactly one reason of kind PACKET, so these add up to the packets seen;
 * reasons of kind NOTE count things that happened beside it (a record sent, a ring full). Rows:
 *   [0, REASON_ROWS)                                one row a reason
 *   [CLASS_ROW(class, outcome)]                     decided packets by class and outcome
 *   [RULE_ROW(rule)]                                packets that a policy rule acted on
 */
#pragma once
#include "maps/policy.h"

/* X(number, NAME, "json_name", KIND, "help") */
#define REASONS(X)                                                                                 \
	X(0, UNDECIDED, "undecided", PACKET, "passed: the flow has no verdict yet")                \
	X(1, PASSED, "passed", PACKET, "passed: the flow is decided and its policy lets it pass")  \
	X(2, DROPPED, "dropped", PACKET, "dropped: the flow's class is blocked")                   \
	X(3, LIMITED, "limited", PACKET, "dropped: over the class's rate")                         \
	X(4, WITHIN_RATE, "within_rate", PACKET, "passed: within the class's rate")                \
	X(5, WOULD_DROP, "would_drop", PACKET, "passed in watch mode: would have been dropped")    \
	X(6, WOULD_LIMIT, "would_limit", PACKET, "passed in watch mode: would have been limited")  \
	X(7, PROTECTED, "protected", PACKET, "passed: the safety net protects this flow")          \
	X(8, FAIL_OPEN, "fail_open", PACKET, "passed: the agent's heartbeat is too old")           \
	X(9, ENDPOINT_DROPPED, "endpoint_dropped", PACKET,                                         \
	  "dropped: remote endpoint of a blocked class")                                           \
	X(10, NOT_IP, "not_ip", PACKET, "passed: neither IPv4 nor IPv6")                           \
	X(11, MALFORMED, "malformed", PACKET, "passed: truncated or contradictory headers")        \
	X(12, UNTRACKED, "untracked", PACKET, "passed: a protocol that is not followed")           \
	X(13, FRAGMENT_UNKNOWN, "fragment_unknown", PACKET,                                        \
	  "passed: a later fragment whose first was not seen")                                     \
	X(14, NO_CONTROL, "no_control", PACKET, "passed: the control map is not set up")           \
	X(15, RECORD_SENT, "record_sent", NOTE, "a record went up to the agent")                   \
	X(16, RING_FULL, "ring_full", NOTE, "a record was lost: the ring is full")                 \
	X(17, NEWCOMER, "newcomer", NOTE, "first packet of a flow")                                \
	X(18, NEWCOMER_BUDGET, "newcomer_budget", NOTE,                                            \
	  "a first packet's record was withheld: over budget")                                     \
	X(19, FLOW_CREATED, "flow_created", NOTE, "a flow got its entry on its second packet")     \
	X(20, FLOW_TABLE_FULL, "flow_table_full", NOTE, "a flow entry could not be made")          \
	X(21, FLOW_RESTARTED, "flow_restarted", NOTE,                                              \
	  "a flow began again: new SYN, long idle, or new generation")                             \
	X(22, HIT_SENT, "hit_sent", NOTE,                                                          \
	  "a verdict acted for the first time and the agent was told")

enum reason {
#define X(number, name, json, kind, help) REASON_##name = number,
	REASONS(X)
#undef X
};

#define REASON_ROWS 64

/* outcome of a decided packet, per class */
#define OUTCOME_PASSED  0
#define OUTCOME_DROPPED 1
#define OUTCOME_LIMITED 2
#define OUTCOME_WOULD   3 /* would have been dropped or limited */
#define OUTCOMES        4

#define CLASS_ROW(class_id, outcome) (REASON_ROWS + (class_id)*OUTCOMES + (outcome))
#define RULE_ROW(rule_id)            (REASON_ROWS + MAX_CLASSES * OUTCOMES + (rule_id))
#define COUNTER_ROWS                 (REASON_ROWS + MAX_CLASSES * OUTCOMES + MAX_RULES)

struct counter {
	__u64 packets;
	__u64 bytes; /* IP lengths; 0 where the packet is not IP */
};
