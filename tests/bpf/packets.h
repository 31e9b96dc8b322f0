/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets written out layer by layer. Each call adds a header and enters its number into the one
 * before; packet_end sets the lengths. A test that wants a wrong packet changes bytes afterwards.
 *
 *   struct packet p = packet_ethernet();
 *   packet_vlan(&p, 0x8100, 7);
 *   packet_ipv4(&p, "10.0.0.1", "10.0.0.2");
 *   packet_tcp(&p, 50000, 443, TCP_SYN);
 *   packet_payload(&p, 100);
 *   packet_end(&p);
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define PACKET_ROOM 65536
#define PACKET_HEAD 64 /* room in front, for a replay's prefix */

struct packet {
	uint8_t room[PACKET_HEAD + PACKET_ROOM];
	size_t len;
	size_t type_at;  /* where the next header's ethertype goes */
	size_t proto_at; /* where the next header's protocol number goes */
	size_t ip_at, udp_at;
};

uint8_t *packet_bytes(struct packet *p);

void packet_ethernet(struct packet *p);
void packet_vlan(struct packet *p, uint16_t ethertype, uint16_t id);
void packet_ipv4(struct packet *p, const char *src, const char *dst);
/* Fragment: offset in bytes, a multiple of 8. */
void packet_ipv4_fragment(struct packet *p, uint16_t id, uint16_t offset, int more);
void packet_ipv4_options(struct packet *p, size_t len); /* multiple of 4, right after packet_ipv4 */
void packet_ipv6(struct packet *p, const char *src, const char *dst);
/* Hop-by-hop 0, routing 43, destination options 60: len a multiple of 8. */
void packet_ipv6_extension(struct packet *p, uint8_t proto, size_t len);
void packet_ipv6_fragment(struct packet *p, uint32_t id, uint16_t offset, int more);
void packet_ah(struct packet *p);
void packet_tcp(struct packet *p, uint16_t sport, uint16_t dport, uint8_t flags);
void packet_tcp_options(struct packet *p, size_t len); /* multiple of 4, right after packet_tcp */
void packet_udp(struct packet *p, uint16_t sport, uint16_t dport);
void packet_icmp(struct packet *p, uint8_t type, uint8_t code, uint16_t id);
void packet_icmpv6(struct packet *p, uint8_t type, uint8_t code, uint16_t id);
void packet_proto(struct packet *p, uint8_t proto); /* another protocol, no header of its own */
void packet_payload(struct packet *p, size_t len);  /* bytes 1, 2, 3, ... */
void packet_end(struct packet *p);
/* Bytes behind the IP packet, such as Ethernet's padding. */
void packet_padding(struct packet *p, size_t len);

/* The common ones. */
void packet_make_tcp(struct packet *p, const char *src, const char *dst, uint16_t sport,
		     uint16_t dport, uint8_t flags, size_t payload);
void packet_make_udp(struct packet *p, const char *src, const char *dst, uint16_t sport,
		     uint16_t dport, size_t payload);
