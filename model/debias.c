/* SPDX-License-Identifier: BSD-2-Clause */
/* See debias.h. A span is what is there of a layer; zero() and at() never leave it. */
#include "model/debias.h"
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include "model/model_file.h"

struct span {
	uint8_t *bytes;
	size_t n;
};

static void zero(struct span s, size_t offset, size_t count)
{
	if (offset >= s.n)
		return;
	memset(s.bytes + offset, 0, count < s.n - offset ? count : s.n - offset);
}

/* A byte, 0 when it is not there. */
static uint8_t at(struct span s, size_t offset)
{
	return offset < s.n ? s.bytes[offset] : 0;
}

static size_t at16(struct span s, size_t offset)
{
	return (size_t)at(s, offset) << 8 | at(s, offset + 1);
}

static struct span skip(struct span s, size_t count)
{
	if (count > s.n)
		count = s.n;
	return (struct span){s.bytes + count, s.n - count};
}

/* The first `count` bytes of s. */
static struct span take(struct span s, size_t count)
{
	return (struct span){s.bytes, count < s.n ? count : s.n};
}

/* Zeroes the data of every option of that kind; IPv4 and TCP options look alike: 0 ends, 1 is a
 * filler, others are kind, length (both included), data. */
static void zero_options(struct span options, uint8_t kind)
{
	size_t offset = 0;

	while (offset < options.n && at(options, offset) != 0) {
		size_t length = at(options, offset) == 1 ? 1 : at(options, offset + 1);

		if (length == 0 || (length == 1 && at(options, offset) != 1))
			return;
		if (at(options, offset) == kind && length > 2)
			zero(options, offset + 2, length - 2);
		offset += length;
	}
}

/* RFC 8446 4.1.2 in RFC 8446 5.1: record header 5, handshake header 4, version 2, random 32. */
static void debias_client_hello(struct span payload)
{
	struct span s = skip(payload, 5 + 4 + 2 + 32);

	if (at(payload, 0) != 22 || at(payload, 1) != 3 || at(payload, 5) != 1)
		return;
	s = skip(s, 1 + (size_t)at(s, 0)); /* session id */
	s = skip(s, 2 + at16(s, 0));       /* cipher suites */
	s = skip(s, 1 + (size_t)at(s, 0)); /* compression methods */
	s = skip(s, 2);                    /* length of all extensions */
	while (s.n >= 4) {
		size_t type = at16(s, 0), length = at16(s, 2);

		/* RFC 6066 3: list length 2, name type 1, name length 2, name. */
		if (type == 0 && length > 5)
			zero(s, 4 + 5, length - 5);
		s = skip(s, 4 + length);
	}
}

static void debias_tcp(struct span tcp, struct span payload, uint32_t bits)
{
	size_t header_bytes = (size_t)(at(tcp, 12) >> 4) * 4;
	struct span options = skip(take(tcp, header_bytes), 20);

	if (bits & DEBIAS_PORTS)
		zero(tcp, 0, 4);
	if (bits & DEBIAS_TCP_SEQ_ACK) {
		zero(tcp, 4, 8);
		zero_options(options, 5);
	}
	if (bits & DEBIAS_CHECKSUMS)
		zero(tcp, 16, 2);
	if (bits & DEBIAS_TCP_TIMESTAMPS)
		zero_options(options, 8);
	if (bits & DEBIAS_TLS_SNI)
		debias_client_hello(payload);
}

static void debias_udp(struct span udp, uint32_t bits)
{
	if (bits & DEBIAS_PORTS)
		zero(udp, 0, 4);
	if (bits & DEBIAS_CHECKSUMS)
		zero(udp, 6, 2);
}

static void debias_ip(struct span ip, struct span payload, uint32_t bits, bool quoted);

static bool is_icmp_error(uint8_t protocol, uint8_t type)
{
	if (protocol == IPPROTO_ICMPV6)
		return type >= 1 && type <= 4;
	return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

static bool is_icmp_query(uint8_t protocol, uint8_t type)
{
	if (protocol == IPPROTO_ICMPV6)
		return type == 128 || type == 129;
	return type == 0 || type == 8 || (type >= 13 && type <= 18);
}

static void debias_icmp(struct span icmp, struct span payload, uint8_t protocol, uint32_t bits,
			bool quoted)
{
	uint8_t type = at(icmp, 0);

	if (icmp.n == 0)
		return;
	if (bits & DEBIAS_CHECKSUMS)
		zero(icmp, 2, 2);
	if ((bits & DEBIAS_PORTS) && is_icmp_query(protocol, type))
		zero(icmp, 4, 2);
	if ((bits & DEBIAS_IP_ADDR) && protocol == IPPROTO_ICMP && type == 5)
		zero(icmp, 4, 4);
	/* An error never quotes an error: one level is all there is. */
	if (is_icmp_error(protocol, type) && !quoted)
		debias_ip(payload, (struct span){payload.bytes, 0}, bits, true);
}

static void debias_transport(struct span transport, struct span payload, uint8_t protocol,
			     uint32_t bits, bool quoted)
{
	if (protocol == IPPROTO_TCP)
		debias_tcp(transport, payload, bits);
	else if (protocol == IPPROTO_UDP)
		debias_udp(transport, bits);
	else if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6)
		debias_icmp(transport, payload, protocol, bits, quoted);
}

static void debias_ipv4(struct span ip, struct span payload, uint32_t bits, bool quoted)
{
	size_t header_bytes = (size_t)(at(ip, 0) & 0x0f) * 4;
	struct span options = skip(take(ip, header_bytes), 20);
	bool later_fragment = (at16(ip, 6) & 0x1fff) != 0;
	uint8_t protocol = at(ip, 9);

	if (bits & DEBIAS_IP_ID)
		zero(ip, 4, 2);
	if (bits & DEBIAS_TTL)
		zero(ip, 8, 1);
	if (bits & DEBIAS_CHECKSUMS)
		zero(ip, 10, 2);
	if (bits & DEBIAS_IP_ADDR) {
		zero(ip, 12, 8);
		zero_options(options, 7);   /* record route */
		zero_options(options, 68);  /* timestamp, with addresses */
		zero_options(options, 131); /* loose source route */
		zero_options(options, 137); /* strict source route */
	}
	if (!later_fragment && header_bytes >= 20)
		debias_transport(skip(ip, header_bytes), payload, protocol, bits, quoted);
}

/* One extension header; returns its length, 0 when `next` is none that is walked. */
static size_t debias_extension(struct span s, uint8_t next, uint32_t bits)
{
	size_t length = ((size_t)at(s, 1) + 1) * 8;

	switch (next) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_DSTOPTS:
		return length;
	case IPPROTO_ROUTING:
		if (bits & DEBIAS_IP_ADDR)
			zero(s, 8, length - 8);
		return length;
	case IPPROTO_FRAGMENT:
		if (bits & DEBIAS_IP_ID)
			zero(s, 4, 4);
		return 8;
	case IPPROTO_AH:
		return ((size_t)at(s, 1) + 2) * 4;
	default:
		return 0;
	}
}

static void debias_ipv6(struct span ip, struct span payload, uint32_t bits, bool quoted)
{
	struct span s = skip(ip, 40);
	uint8_t next = at(ip, 6);
	size_t length;

	if (bits & DEBIAS_IP_ID) {
		if (ip.n > 1)
			ip.bytes[1] &= 0xf0; /* the traffic class's lower half stays */
		zero(ip, 2, 2);
	}
	if (bits & DEBIAS_TTL)
		zero(ip, 7, 1);
	if (bits & DEBIAS_IP_ADDR)
		zero(ip, 8, 32);
	while (s.n > 0 && (length = debias_extension(s, next, bits)) > 0) {
		bool later_fragment = next == IPPROTO_FRAGMENT && (at16(s, 2) & 0xfff8) != 0;

		next = at(s, 0);
		s = skip(s, length);
		if (later_fragment)
			return;
	}
	debias_transport(s, payload, next, bits, quoted);
}

static void debias_ip(struct span ip, struct span payload, uint32_t bits, bool quoted)
{
	if (at(ip, 0) >> 4 == 4)
		debias_ipv4(ip, payload, bits, quoted);
	else if (at(ip, 0) >> 4 == 6)
		debias_ipv6(ip, payload, bits, quoted);
}

void debias_packet(uint8_t *header, size_t header_bytes, uint8_t *payload, size_t payload_bytes,
		   uint32_t bits)
{
	debias_ip((struct span){header, header_bytes}, (struct span){payload, payload_bytes}, bits,
		  false);
}
