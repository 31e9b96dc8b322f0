/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The flow key: one key for both directions of a conversation.
 *
 * The two endpoints (address, port) are stored lower first, compared byte by byte in network
 * order, address before port. A packet's direction is therefore one bit: FLOW_DIR_FORWARD when its
 * sender is the lower endpoint, FLOW_DIR_REVERSE when it is the higher one.
 *
 * IPv4 addresses are stored v4-mapped (::ffff:a.b.c.d, RFC 4291 2.5.5.2).
 *
 * ICMP and ICMPv6 have no ports: endpoints are ordered by address alone, then port_lo_be holds the
 * identifier of a query message (echo, timestamp; 0 for others) and port_hi_be holds type << 8 |
 * code, where a reply carries its request's type, so that request and reply are one flow.
 * Protocols other than TCP, UDP, ICMP and ICMPv6 have both ports 0.
 *
 * Worked example: 10.0.0.2:443 -> 10.0.0.1:50000 over TCP, untagged:
 *   addr_lo ::ffff:10.0.0.1, port_lo_be htons(50000), addr_hi ::ffff:10.0.0.2,
 *   port_hi_be htons(443), vlan_id 0, proto 6; the packet's direction is FLOW_DIR_REVERSE.
 */
#pragma once
#include <linux/types.h>

#define FLOW_DIR_FORWARD 0 /* lower endpoint -> higher endpoint */
#define FLOW_DIR_REVERSE 1

struct flow_key {
	__u8 addr_lo[16];
	__u8 addr_hi[16];
	__be16 port_lo_be;
	__be16 port_hi_be;
	__u16 vlan_id; /* innermost VLAN id in host order, 0 = untagged */
	__u8 proto;    /* IANA protocol number */
	__u8 pad;      /* always 0: the key is hashed and compared as bytes */
};
_Static_assert(sizeof(struct flow_key) == 40, "flow_key is a contract");
