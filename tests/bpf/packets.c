/* SPDX-License-Identifier: BSD-2-Clause */
/* The packet builder of packets.h. */
#include "tests/bpf/packets.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>
#include "bpf/parse.h"

uint8_t *packet_bytes(struct packet *p)
{
	return p->room + PACKET_HEAD;
}

static uint8_t *add(struct packet *p, size_t len)
{
	uint8_t *at = packet_bytes(p) + p->len;

	assert(p->len + len <= PACKET_ROOM);
	memset(at, 0, len);
	p->len += len;
	return at;
}

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = value >> 8;
	at[1] = value & 0xff;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value & 0xffff);
}

static void next_type(struct packet *p, uint16_t ethertype)
{
	put16(packet_bytes(p) + p->type_at, ethertype);
}

static void next_proto(struct packet *p, uint8_t proto)
{
	packet_bytes(p)[p->proto_at] = proto;
}

void packet_ethernet(struct packet *p)
{
	p->len = p->ip_at = p->udp_at = 0;
	memset(add(p, 14), 2, 12);
	p->type_at = 12;
}

void packet_vlan(struct packet *p, uint16_t ethertype, uint16_t id)
{
	next_type(p, ethertype);
	put16(add(p, 4), id);
	p->type_at = p->len - 2;
}

void packet_ipv4(struct packet *p, const char *src, const char *dst)
{
	uint8_t *ip;

	next_type(p, ETHERTYPE_IPV4);
	p->ip_at = p->len;
	p->proto_at = p->len + 9;
	ip = add(p, 20);
	ip[0] = 0x45;
	ip[8] = 64;
	assert(inet_pton(AF_INET, src, ip + 12) == 1 && inet_pton(AF_INET, dst, ip + 16) == 1);
}

void packet_ipv4_fragment(struct packet *p, uint16_t id, uint16_t offset, int more)
{
	put16(packet_bytes(p) + p->ip_at + 4, id);
	put16(packet_bytes(p) + p->ip_at + 6, offset / 8 | (more ? 0x2000 : 0));
}

void packet_ipv4_options(struct packet *p, size_t len)
{
	memset(add(p, len), 1, len);
	packet_bytes(p)[p->ip_at] += len / 4;
}

void packet_ipv6(struct packet *p, const char *src, const char *dst)
{
	uint8_t *ip;

	next_type(p, ETHERTYPE_IPV6);
	p->ip_at = p->len;
	p->proto_at = p->len + 6;
	ip = add(p, 40);
	ip[0] = 0x60;
	ip[7] = 64;
	assert(inet_pton(AF_INET6, src, ip + 8) == 1 && inet_pton(AF_INET6, dst, ip + 24) == 1);
}

void packet_ipv6_extension(struct packet *p, uint8_t proto, size_t len)
{
	next_proto(p, proto);
	p->proto_at = p->len;
	add(p, len)[1] = len / 8 - 1;
}

void packet_ipv6_fragment(struct packet *p, uint32_t id, uint16_t offset, int more)
{
	uint8_t *h;

	next_proto(p, PROTO_FRAGMENT);
	p->proto_at = p->len;
	h = add(p, 8);
	put16(h + 2, offset | (more ? 1 : 0));
	put32(h + 4, id);
}

void packet_ah(struct packet *p)
{
	next_proto(p, PROTO_AH);
	p->proto_at = p->len;
	add(p, 24)[1] = 24 / 4 - 2;
}

void packet_tcp(struct packet *p, uint16_t sport, uint16_t dport, uint8_t flags)
{
	uint8_t *tcp;

	next_proto(p, PROTO_TCP);
	tcp = add(p, 20);
	put16(tcp, sport);
	put16(tcp + 2, dport);
	tcp[12] = 0x50;
	tcp[13] = flags;
}

void packet_tcp_options(struct packet *p, size_t len)
{
	packet_bytes(p)[p->len - 8] += len / 4 << 4;
	memset(add(p, len), 1, len);
}

void packet_udp(struct packet *p, uint16_t sport, uint16_t dport)
{
	uint8_t *udp;

	next_proto(p, PROTO_UDP);
	p->udp_at = p->len;
	udp = add(p, 8);
	put16(udp, sport);
	put16(udp + 2, dport);
}

static void add_icmp(struct packet *p, uint8_t proto, uint8_t type, uint8_t code, uint16_t id)
{
	uint8_t *icmp;

	next_proto(p, proto);
	icmp = add(p, 8);
	icmp[0] = type;
	icmp[1] = code;
	put16(icmp + 4, id);
}

void packet_icmp(struct packet *p, uint8_t type, uint8_t code, uint16_t id)
{
	add_icmp(p, PROTO_ICMP, type, code, id);
}

void packet_icmpv6(struct packet *p, uint8_t type, uint8_t code, uint16_t id)
{
	add_icmp(p, PROTO_ICMPV6, type, code, id);
}

void packet_proto(struct packet *p, uint8_t proto)
{
	next_proto(p, proto);
}

void packet_payload(struct packet *p, size_t len)
{
	uint8_t *at = add(p, len);

	for (size_t i = 0; i < len; i++)
		at[i] = (i + 1) & 0xff;
}

void packet_end(struct packet *p)
{
	uint8_t *ip = packet_bytes(p) + p->ip_at;

	if (ip[0] >> 4 == 4)
		put16(ip + 2, p->len - p->ip_at);
	else
		put16(ip + 4, p->len - p->ip_at - 40);
	if (p->udp_at)
		put16(packet_bytes(p) + p->udp_at + 4, p->len - p->udp_at);
}

void packet_padding(struct packet *p, size_t len)
{
	memset(add(p, len), 0xee, len);
}

void packet_make_tcp(struct packet *p, const char *src, const char *dst, uint16_t sport,
		     uint16_t dport, uint8_t flags, size_t payload)
{
	packet_ethernet(p);
	packet_ipv4(p, src, dst);
	packet_tcp(p, sport, dport, flags);
	packet_payload(p, payload);
	packet_end(p);
}

void packet_make_udp(struct packet *p, const char *src, const char *dst, uint16_t sport,
		     uint16_t dport, size_t payload)
{
	packet_ethernet(p);
	packet_ipv4(p, src, dst);
	packet_udp(p, sport, dport);
	packet_payload(p, payload);
	packet_end(p);
}
