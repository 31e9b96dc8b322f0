/* SPDX-License-Identifier: BSD-2-Clause */
/* Captures written byte by byte into a file of their own, and packets to put in. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <pcap/pcap.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_RST 0x04
#define TCP_FLAG_ACK 0x10

struct scratch {
	char path[32];
	FILE *file;
};

static inline void scratch_open(struct scratch *s)
{
	int fd;

	strcpy(s->path, "/tmp/nm-capture-XXXXXX");
	fd = mkstemp(s->path);
	assert_true(fd >= 0);
	s->file = fdopen(fd, "w");
	assert_non_null(s->file);
}

/* Written out: it may be read now. */
static inline const char *scratch_close(struct scratch *s)
{
	assert_int_equal(fclose(s->file), 0);
	return s->path;
}

static inline void scratch_remove(struct scratch *s)
{
	unlink(s->path);
}

static inline void put16(uint8_t *to, uint16_t value)
{
	value = htons(value);
	memcpy(to, &value, sizeof(value));
}

static inline void put32(uint8_t *to, uint32_t value)
{
	value = htonl(value);
	memcpy(to, &value, sizeof(value));
}

/* IPv4 and UDP; returns the length. */
static inline size_t make_udp4(uint8_t *to, uint32_t src, uint32_t dst, uint16_t sport,
			       uint16_t dport, uint16_t payload)
{
	size_t len = 20 + 8 + payload;

	memset(to, 0, len);
	to[0] = 0x45;
	put16(to + 2, len);
	to[8] = 64;
	to[9] = 17;
	put32(to + 12, src);
	put32(to + 16, dst);
	put16(to + 20, sport);
	put16(to + 22, dport);
	put16(to + 24, 8 + payload);
	memset(to + 28, 0x55, payload);
	return len;
}

static inline size_t make_tcp4(uint8_t *to, uint32_t src, uint32_t dst, uint16_t sport,
			       uint16_t dport, uint8_t flags, uint16_t payload)
{
	size_t len = 20 + 20 + payload;

	memset(to, 0, len);
	to[0] = 0x45;
	put16(to + 2, len);
	to[8] = 64;
	to[9] = 6;
	put32(to + 12, src);
	put32(to + 16, dst);
	put16(to + 20, sport);
	put16(to + 22, dport);
	to[32] = 5 << 4;
	to[33] = flags;
	memset(to + 40, 0x33, payload);
	return len;
}

static inline size_t make_udp6(uint8_t *to, uint8_t src, uint8_t dst)
{
	memset(to, 0, 48);
	to[0] = 0x60;
	put16(to + 4, 8);
	to[6] = 17;
	to[7] = 64;
	to[8] = to[24] = 0xfd;
	to[23] = src;
	to[39] = dst;
	put16(to + 40, 4000);
	put16(to + 42, 53);
	put16(to + 44, 8);
	return 48;
}

/* pcap of this machine's byte order. */
static inline void put_pcap_header(FILE *f, uint32_t magic, uint32_t link_type)
{
	uint32_t words[6] = {magic, 2 | 4 << 16, 0, 0, 65535, link_type};

	assert_int_equal(fwrite(words, sizeof(words), 1, f), 1);
}

static inline void put_pcap_packet(FILE *f, uint32_t s, uint32_t fraction, const uint8_t *bytes,
				   size_t len)
{
	uint32_t words[4] = {s, fraction, (uint32_t)len, (uint32_t)len};

	assert_int_equal(fwrite(words, sizeof(words), 1, f), 1);
	assert_int_equal(fwrite(bytes, len, 1, f), 1);
}

#define PCAP_MICRO 0xa1b2c3d4
#define PCAP_NANO  0xa1b23c4d

/* LINKTYPE_ numbers, as they stand in files (tcpdump.org/linktypes.html). */
#define LINK_NULL      0
#define LINK_ETHERNET  1
#define LINK_PPP       9
#define LINK_PPP_HDLC  50
#define LINK_PPP_ETHER 51
#define LINK_RAW       101
#define LINK_LOOP      108
#define LINK_SLL       113
#define LINK_IEEE80211 105
#define LINK_IPV4      228
#define LINK_IPV6      229
#define LINK_SLL2      276
