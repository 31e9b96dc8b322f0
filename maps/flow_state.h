/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Maps that let the kernel follow flows which have no final verdict. Writer: kernel only.
 *
 * `newcomers`: array of newcomer_row, slot chosen by the key's hash. The first packet of a flow
 *   leaves only its fingerprint here, so that a flood of single packets never reaches the LRU; the
 *   second packet finds it and makes the `flows` entry. 0 = empty. A map entry is a row of
 *   fingerprints, since the kernel rounds an array's values up to 8 bytes: 65,536 rows are 4 MB.
 * `flows`: LRU hash, flow_key -> flow_state. The packet seen before the entry was made counts in
 *   packets[], but its bytes and time are not known.
 * `fragments`: LRU hash, fragment_key -> fragment_owner: the first fragment of a datagram leaves
 * its ports here, so that the later ones can follow their flow.
 * `pace`: per-CPU array of one, struct pace: what this CPU may still send.
 */
#pragma once
#include "maps/flow_key.h"

#define NEWCOMERS_PER_ROW 16
#define NEWCOMER_ROWS     65536

struct newcomer_row {
	__u32 fingerprint[NEWCOMERS_PER_ROW];
};
_Static_assert(sizeof(struct newcomer_row) == 64, "one cache line");

struct flow_state {
	__u64 first_ns[2]; /* [direction]; 0 = no packet yet */
	__u64 last_ns[2];
	__u32 packets[2];
	__u64 bytes[2];     /* IP lengths */
	__u32 records_sent; /* records that went up since the flow (re)started */
	__u32 generation;   /* control.generation when the flow (re)started */
	__u8 tcp_flags[2];  /* OR of all flag bytes seen */
	__u8 pad[6];
};
_Static_assert(sizeof(struct flow_state) == 72, "flow_state is a contract");

struct fragment_key {
	__u8 src[16];
	__u8 dst[16];
	__be32 id_be; /* IPv4: 16-bit id in the low-addressed two bytes, rest 0 */
	__u16 vlan_id;
	__u8 proto; /* IPv6: 0, since a datagram is known by its id alone (RFC 8200 4.5) */
	__u8 pad;
};
_Static_assert(sizeof(struct fragment_key) == 40, "fragment_key is a contract");

struct fragment_owner {
	__u64 time_ns; /* when the first fragment passed; older than 30 s is not believed (RFC 791:
			  15 s, RFC 8200: 60 s) */
	__be16 src_port_be; /* as the flow key wants them for this packet's direction; ICMP: what
			       goes to port_lo_be, port_hi_be */
	__be16 dst_port_be;
	__u8 proto; /* the flow's, behind any extension headers */
	__u8 pad[3];
};
_Static_assert(sizeof(struct fragment_owner) == 16, "fragment_owner is a contract");

struct pace {
	__u64 window;       /* the 2^20 ns that newcomers_sent belongs to */
	__u64 last_wake_ns; /* when the reader was last woken; at most once a millisecond, so a
			       reader also looks by timer */
	__u32 newcomers_sent;
	__u32 pad;
};
_Static_assert(sizeof(struct pace) == 24, "pace is a contract");
