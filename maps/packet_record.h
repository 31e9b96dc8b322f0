/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Ring `events` (one BPF ring buffer per CPU in an array of maps): what the kernel tells the agent.
 * Writer: kernel. Reader: agent/flow/rings.c. Lifetime: until consumed; a full ring drops the
 * record and counts REASON_RING_FULL.
 *
 * A record is this fixed header, then header_bytes bytes from the IP header onward (no link layer,
 * no payload), then payload_bytes bytes of leading payload. The ring holds records of three sizes
 * (bpf_ringbuf_reserve wants a constant): the header alone, + RECORD_DATA_SMALL where neither kind
 * of bytes takes more than half of that, + RECORD_DATA_LARGE. Bytes behind header_bytes +
 * payload_bytes are zero.
 *
 * The same struct is filled by the user-space parser from a capture (agent/flow/parse_user.c);
 * tests/bpf holds the two together byte by byte.
 */
#pragma once
#include "maps/flow_key.h"

#define RECORD_MAX_HEADER  128 /* most header bytes a model may ask for */
#define RECORD_MAX_PAYLOAD 256 /* most payload bytes a model may ask for */
#define RECORD_DATA_SMALL  160
#define RECORD_DATA_LARGE  (RECORD_MAX_HEADER + RECORD_MAX_PAYLOAD)

/* kind */
#define RECORD_PACKET 0 /* a packet of a flow that has no final verdict yet */
#define RECORD_HIT    1 /* the first packet dropped or limited by a verdict: no bytes follow */

/* hook */
#define HOOK_INGRESS 0 /* XDP */
#define HOOK_EGRESS  1 /* TC */

/* flags */
#define RECORD_FRAGMENT   0x01 /* a later fragment: its header is the IP header alone */
#define RECORD_FLOW_START 0x02 /* the kernel began (or began again) to count this flow here */

struct packet_record {
	struct flow_key key;
	__u64 time_ns;      /* CLOCK_MONOTONIC; a replay gives the capture's time */
	__u32 ip_len_bytes; /* length from the IP header's first byte, by the IP header */
	__u32 packet_index; /* place of the packet in its flow, both directions counted, from 0 */
	__u32 ifindex;
	__u16 header_len;     /* header length on the wire: IP, extensions, transport */
	__u16 header_bytes;   /* of these, bytes that follow here */
	__u16 payload_bytes;  /* payload bytes that follow here */
	__u16 gso_segments;   /* > 1: the stack handed down so many packets as one (egress) */
	__u16 gso_size_bytes; /* payload of each of them but the last */
	__u8 kind;
	__u8 direction; /* FLOW_DIR_* */
	__u8 hook;
	__u8 flags;
	__u8 tcp_flags; /* TCP flag byte, 0 for other protocols */
	__u8 pad[5];
};
_Static_assert(sizeof(struct packet_record) == 80, "packet_record is a contract");
