/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets of a capture without their link headers, for the extractor; libpcap reads the files. */
#include <errno.h>
#include <pcap/pcap.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "agent/flow/capture.h"
#include "bpf/parse.h"

#define SLL_HEADER       16
#define SLL2_HEADER      20
#define SLL2_PROTOCOL    0
#define NULL_HEADER      4
#define PPPOE_HEADER     6
#define PPP_PROTOCOL_IP4 0x0021
#define PPP_PROTOCOL_IP6 0x0057
#define NS_PER_S         1000000000ULL

/* Fills link and moves bytes to where it says; false leaves the packet as it is. */
typedef bool (*strip_fn)(struct capture_packet *p);

struct capture {
	pcap_t *pcap;
	char *path;
	strip_fn strip;
	uint64_t n_packets;
};

static bool starts_at(struct capture_packet *p, enum extract_link link, size_t offset)
{
	p->link = link;
	p->bytes += offset;
	p->captured -= offset;
	return true;
}

static uint16_t be16_at(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static bool strip_ethernet(struct capture_packet *p)
{
	return starts_at(p, EXTRACT_ETHERNET, 0);
}

static bool strip_raw(struct capture_packet *p)
{
	return starts_at(p, EXTRACT_IP, 0);
}

/* The last 14 bytes of a cooked header end in an ethertype where an Ethernet header has its own,
 * and VLAN tags follow it in the same way (libpcap puts them there): the parser may take it. */
static bool strip_sll(struct capture_packet *p)
{
	return p->captured >= SLL_HEADER && starts_at(p, EXTRACT_ETHERNET, SLL_HEADER - 14);
}

static bool strip_sll2(struct capture_packet *p)
{
	uint16_t protocol;

	if (p->captured < SLL2_HEADER)
		return false;
	protocol = be16_at(p->bytes + SLL2_PROTOCOL);
	if (protocol != ETHERTYPE_IPV4 && protocol != ETHERTYPE_IPV6)
		return false;
	return starts_at(p, EXTRACT_IP, SLL2_HEADER);
}

/* The family is a number of the capturing system, in its byte order: AF_INET is 2 everywhere,
 * AF_INET6 24 (NetBSD, OpenBSD), 28 (FreeBSD), 30 (Darwin) or 10 (Linux). */
static bool strip_null(struct capture_packet *p)
{
	uint32_t little, big, family;

	if (p->captured < NULL_HEADER)
		return false;
	little = (uint32_t)p->bytes[3] << 24 | p->bytes[2] << 16 | p->bytes[1] << 8 | p->bytes[0];
	big = __builtin_bswap32(little);
	family = little < big ? little : big;
	if (family != 2 && family != 10 && family != 24 && family != 28 && family != 30)
		return false;
	return starts_at(p, EXTRACT_IP, NULL_HEADER);
}

/* RFC 1662: address and control (ff 03) may be left out; RFC 1661: an odd first byte is a protocol
 * field of one byte. */
static bool strip_ppp_at(struct capture_packet *p, size_t offset)
{
	uint16_t protocol;

	if (p->captured >= offset + 2 && be16_at(p->bytes + offset) == 0xff03)
		offset += 2;
	if (p->captured < offset + 2)
		return false;
	if (p->bytes[offset] & 1) {
		protocol = p->bytes[offset];
		offset += 1;
	} else {
		protocol = be16_at(p->bytes + offset);
		offset += 2;
	}
	if (protocol != PPP_PROTOCOL_IP4 && protocol != PPP_PROTOCOL_IP6)
		return false;
	return starts_at(p, EXTRACT_IP, offset);
}

static bool strip_ppp(struct capture_packet *p)
{
	return strip_ppp_at(p, 0);
}

static bool strip_pppoe(struct capture_packet *p)
{
	return strip_ppp_at(p, PPPOE_HEADER);
}

static const struct {
	int link_type;
	strip_fn strip;
} link_types[] = {
	{DLT_EN10MB, strip_ethernet}, {DLT_RAW, strip_raw},         {DLT_IPV4, strip_raw},
	{DLT_IPV6, strip_raw},        {DLT_LINUX_SLL, strip_sll},   {DLT_LINUX_SLL2, strip_sll2},
	{DLT_NULL, strip_null},       {DLT_LOOP, strip_null},       {DLT_PPP, strip_ppp},
	{DLT_PPP_SERIAL, strip_ppp},  {DLT_PPP_ETHER, strip_pppoe},
};

static strip_fn find_strip(int link_type)
{
	for (size_t i = 0; i < sizeof(link_types) / sizeof(link_types[0]); i++)
		if (link_types[i].link_type == link_type)
			return link_types[i].strip;
	return NULL;
}

static int open_pcap(const char *path, pcap_t **ret_pcap, struct error *e)
{
	char text[PCAP_ERRBUF_SIZE] = "";
	pcap_t *pcap;
	FILE *file;

	file = strcmp(path, "-") ? fopen(path, "rbe") : stdin;
	if (!file)
		return error_set(e, -errno, "%s: %s", path, strerror(errno));
	pcap = pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_NANO, text);
	if (!pcap) {
		if (file != stdin)
			fclose(file);
		return error_set(e, -EINVAL, "%s: not a readable pcap or pcapng file: %s", path,
				 text);
	}
	*ret_pcap = pcap;
	return 0;
}

int capture_open(const char *path, struct capture **ret_capture, struct error *e)
{
	struct capture *c = calloc(1, sizeof(*c));
	int status, link_type;

	if (!c || !(c->path = strdup(path))) {
		free(c);
		return error_set(e, -ENOMEM, "%s: no memory", path);
	}
	status = open_pcap(path, &c->pcap, e);
	if (status) {
		capture_close(c);
		return status;
	}
	link_type = pcap_datalink(c->pcap);
	c->strip = find_strip(link_type);
	if (!c->strip) {
		const char *name = pcap_datalink_val_to_name(link_type);

		capture_close(c);
		return error_set(e, -EOPNOTSUPP,
				 "%s: link type %s (%d) is not read; use Ethernet, Linux cooked, "
				 "raw IP, null/loop or PPP",
				 path, name ? name : "without a name", link_type);
	}
	*ret_capture = c;
	return 0;
}

void capture_close(struct capture *c)
{
	if (!c)
		return;
	if (c->pcap)
		pcap_close(c->pcap);
	free(c->path);
	free(c);
}

/* pcapng can say times before 1970 and after 2554; both ends are clamped. */
static uint64_t packet_time_ns(const struct pcap_pkthdr *header)
{
	uint64_t ns;

	if (header->ts.tv_sec < 0 || header->ts.tv_usec < 0)
		return 0;
	if (__builtin_mul_overflow((uint64_t)header->ts.tv_sec, NS_PER_S, &ns) ||
	    __builtin_add_overflow(ns, (uint64_t)header->ts.tv_usec, &ns) || ns > INT64_MAX)
		return INT64_MAX;
	return ns;
}

int capture_next(struct capture *c, struct capture_packet *ret_packet, struct error *e)
{
	struct pcap_pkthdr *header;
	struct capture_packet packet;
	const uint8_t *bytes;
	int status;

	status = pcap_next_ex(c->pcap, &header, &bytes);
	if (status == PCAP_ERROR_BREAK)
		return 0;
	if (status != 1)
		return error_set(e, -EIO, "%s: packet %llu: %s", c->path,
				 (unsigned long long)c->n_packets + 1, pcap_geterr(c->pcap));
	c->n_packets++;
	packet = (struct capture_packet){
		.link = EXTRACT_IP,
		.bytes = bytes,
		.captured = header->caplen,
		.time_ns = packet_time_ns(header),
	};
	c->strip(&packet);
	*ret_packet = packet;
	return 1;
}
