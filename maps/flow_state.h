/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Maps that let the kernel follow flows which have no final verdict. Writer: kernel only.
 *
 * `newcomers`: array of 32-bit fingerprints, slot chosen by the key's hash. The first packet of a
 *   flow leaves only its fingerprint here, so that a flood of single packets never reaches the LRU;
 *   the second packet finds it and makes the `flows` entry. 0 = empty.
 * `flows`: LRU hash, flow_key -> flow_state.
 * `fragments`: LRU hash, fragment_key -> fragment_owner: the first fragment of a datagram leaves
 * its ports here, so that the later ones can follow their flow.
 */
#pragma once
#include "maps/flow_key.h"

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
	__u8 proto;
	__u8 pad;
};
_Static_assert(sizeof(struct fragment_key) == 40, "fragment_key is a contract");

struct fragment_owner {
	__u64 time_ns; /* when the first fragment passed; older than 30 s is not believed (RFC 791:
			  15 s, RFC 8200: 60 s) */
	__be16 src_port_be; /* as the flow key wants them for this packet's direction */
	__be16 dst_port_be;
	__u8 pad[4];
};
_Static_assert(sizeof(struct fragment_owner) == 16, "fragment_owner is a contract");
