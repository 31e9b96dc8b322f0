/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets that the parser follows, and packets that it has to refuse. */
#include <string.h>
#include "bpf/parse.h"
#include "tests/bpf/fixtures.h"

#define V4_A "10.0.0.1"
#define V4_B "10.0.0.2"
#define V6_A "2001:db8::1"
#define V6_B "2001:db8::2"

static void tcp_up(struct packet *p)
{
	packet_make_tcp(p, V4_A, V4_B, 50000, 443, TCP_SYN, 0);
}

static void tcp_down(struct packet *p)
{
	packet_make_tcp(p, V4_B, V4_A, 443, 50000, TCP_ACK, 100);
}

static void tcp_to_oneself(struct packet *p)
{
	packet_make_tcp(p, V4_A, V4_A, 50000, 443, TCP_ACK, 5);
}

static void tcp_options(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv4(p, V4_A, V4_B);
	packet_ipv4_options(p, 8);
	packet_tcp(p, 50000, 443, TCP_ACK);
	packet_tcp_options(p, 12);
	packet_payload(p, 7);
	packet_end(p);
}

static void longest_header(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv4(p, V4_A, V4_B);
	packet_ipv4_options(p, 40);
	packet_tcp(p, 50000, 443, TCP_ACK);
	packet_tcp_options(p, 40);
	packet_payload(p, 300);
	packet_end(p);
}

static void udp_padded(struct packet *p)
{
	packet_make_udp(p, V4_A, V4_B, 50000, 53, 3);
	packet_padding(p, 15);
}

static void udp_cut(struct packet *p)
{
	packet_make_udp(p, V4_A, V4_B, 50000, 53, 50);
	p->len -= 40;
}

static void udp_length_zero(struct packet *p)
{
	packet_make_udp(p, V4_A, V4_B, 50000, 53, 30);
	memset(packet_bytes(p) + p->ip_at + 2, 0, 2);
	memset(packet_bytes(p) + p->udp_at + 4, 0, 2);
}

static void one_tag(struct packet *p)
{
	packet_ethernet(p);
	packet_vlan(p, ETHERTYPE_VLAN, 7 | 5 << 13);
	packet_ipv4(p, V4_A, V4_B);
	packet_udp(p, 50000, 443);
	packet_end(p);
}

static void two_tags(struct packet *p)
{
	packet_ethernet(p);
	packet_vlan(p, ETHERTYPE_SVLAN, 7);
	packet_vlan(p, ETHERTYPE_VLAN, 8);
	packet_ipv6(p, V6_A, V6_B);
	packet_udp(p, 50000, 443);
	packet_payload(p, 9);
	packet_end(p);
}

static void three_tags(struct packet *p)
{
	packet_ethernet(p);
	packet_vlan(p, ETHERTYPE_SVLAN, 7);
	packet_vlan(p, ETHERTYPE_SVLAN, 8);
	packet_vlan(p, ETHERTYPE_VLAN, 9);
	packet_ipv4(p, V4_A, V4_B);
	packet_udp(p, 50000, 443);
	packet_end(p);
}

static void v6_tcp_down(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv6(p, V6_B, V6_A);
	packet_tcp(p, 443, 50000, TCP_SYN | TCP_ACK);
	packet_payload(p, 11);
	packet_end(p);
}

static void v6_extensions(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv6(p, V6_A, V6_B);
	packet_ipv6_extension(p, PROTO_HOP_BY_HOP, 8);
	packet_ipv6_extension(p, PROTO_ROUTING, 24);
	packet_ah(p);
	packet_ipv6_extension(p, PROTO_DEST_OPTIONS, 16);
	packet_tcp(p, 50000, 443, TCP_SYN);
	packet_payload(p, 4);
	packet_end(p);
}

static void v6_chain(struct packet *p, int n)
{
	packet_ethernet(p);
	packet_ipv6(p, V6_A, V6_B);
	for (int i = 0; i < n; i++)
		packet_ipv6_extension(p, PROTO_DEST_OPTIONS, 8);
	packet_udp(p, 50000, 443);
	packet_end(p);
}

static void v6_longest_chain(struct packet *p)
{
	v6_chain(p, 6);
}

static void v6_too_long_chain(struct packet *p)
{
	v6_chain(p, 7);
}

static void v6_no_next(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv6(p, V6_A, V6_B);
	packet_proto(p, PROTO_NO_NEXT);
	packet_end(p);
}

static void v6_atomic_fragment(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv6(p, V6_A, V6_B);
	packet_ipv6_fragment(p, 77, 0, 0);
	packet_udp(p, 50000, 443);
	packet_payload(p, 6);
	packet_end(p);
}

static void v6_jumbo(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv6(p, V6_A, V6_B);
	packet_ipv6_extension(p, PROTO_HOP_BY_HOP, 8);
	packet_tcp(p, 50000, 443, TCP_ACK);
	packet_payload(p, 20);
	packet_end(p);
	memset(packet_bytes(p) + p->ip_at + 4, 0, 2);
}

static void v4_ah(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv4(p, V4_A, V4_B);
	packet_ah(p);
	packet_tcp(p, 50000, 443, TCP_ACK);
	packet_payload(p, 4);
	packet_end(p);
}

static void v4_esp(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv4(p, V4_A, V4_B);
	packet_proto(p, 50);
	packet_payload(p, 40);
	packet_end(p);
}

static void tiny_first_fragment(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv4(p, V4_A, V4_B);
	packet_ipv4_fragment(p, 5, 0, 1);
	packet_tcp(p, 50000, 443, TCP_ACK);
	p->len -= 12;
	packet_end(p);
}

static void echo_request(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv4(p, V4_B, V4_A);
	packet_icmp(p, 8, 0, 77);
	packet_payload(p, 56);
	packet_end(p);
}

static void echo_reply(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv4(p, V4_A, V4_B);
	packet_icmp(p, 0, 0, 77);
	packet_payload(p, 56);
	packet_end(p);
}

static void unreachable(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv4(p, V4_A, V4_B);
	packet_icmp(p, 3, 1, 99);
	packet_payload(p, 28);
	packet_end(p);
}

static void v6_echo_reply(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv6(p, V6_A, V6_B);
	packet_icmpv6(p, 129, 0, 78);
	packet_end(p);
}

static void arp(struct packet *p)
{
	packet_ethernet(p);
	packet_bytes(p)[12] = 0x08;
	packet_bytes(p)[13] = 0x06;
	packet_padding(p, 46);
}

static void llc(struct packet *p)
{
	packet_ethernet(p);
	packet_bytes(p)[13] = 38;
	packet_padding(p, 46);
}

static void v4_cut(struct packet *p)
{
	tcp_up(p);
	p->len = 14 + 19;
}

static void v6_cut(struct packet *p)
{
	v6_tcp_down(p);
	p->len = 14 + 39;
}

static void tag_cut(struct packet *p)
{
	one_tag(p);
	p->len = 14 + 3;
}

static void wrong_version(struct packet *p)
{
	tcp_up(p);
	packet_bytes(p)[14] = 0x65;
}

static void short_ihl(struct packet *p)
{
	tcp_up(p);
	packet_bytes(p)[14] = 0x44;
}

static void ip_length_below_header(struct packet *p)
{
	tcp_up(p);
	packet_bytes(p)[17] = 19;
}

static void tcp_offset_short(struct packet *p)
{
	tcp_up(p);
	packet_bytes(p)[14 + 20 + 12] = 0x40;
}

static void tcp_offset_past_ip(struct packet *p)
{
	tcp_up(p);
	packet_bytes(p)[14 + 20 + 12] = 0xf0;
	packet_padding(p, 64);
}

static void tcp_past_ip(struct packet *p)
{
	tcp_up(p);
	packet_bytes(p)[17] = 30;
}

static void tcp_cut(struct packet *p)
{
	tcp_up(p);
	p->len -= 1;
}

static void udp_past_ip(struct packet *p)
{
	packet_make_udp(p, V4_A, V4_B, 1, 2, 0);
	packet_bytes(p)[17] = 27;
}

static void udp_length_short(struct packet *p)
{
	packet_make_udp(p, V4_A, V4_B, 1, 2, 0);
	packet_bytes(p)[p->udp_at + 5] = 7;
}

static void icmp_cut(struct packet *p)
{
	echo_request(p);
	p->len = 14 + 20 + 7;
}

static void extension_cut(struct packet *p)
{
	v6_chain(p, 1);
	p->len = 14 + 40 + 7;
}

static void extension_past_packet(struct packet *p)
{
	v6_chain(p, 1);
	packet_bytes(p)[14 + 40 + 1] = 200;
}

/* Nothing behind the IP header can be found wrong. */
static void esp_short_ihl(struct packet *p)
{
	v4_esp(p);
	packet_bytes(p)[14] = 0x44;
}

static void icmp_past_ip(struct packet *p)
{
	unreachable(p);
	packet_bytes(p)[17] = 27;
}

/* Its ports are whole in the frame only. */
static void first_fragment_past_ip(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv4(p, V4_A, V4_B);
	packet_ipv4_fragment(p, 5, 0, 1);
	packet_proto(p, PROTO_TCP);
	packet_payload(p, 7);
	packet_end(p);
	packet_padding(p, 33);
}

static void first_fragment_in_options(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv4(p, V4_A, V4_B);
	packet_ipv4_fragment(p, 5, 0, 1);
	packet_tcp(p, 50000, 443, TCP_ACK);
	packet_tcp_options(p, 12);
	p->len -= 8;
	packet_end(p);
	packet_padding(p, 8);
}

static void ah_past_ip(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv4(p, V4_A, V4_B);
	packet_ah(p);
	packet_proto(p, 50);
	packet_end(p);
	packet_bytes(p)[17] = 20 + 23;
}

static void extension_past_cut(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv6(p, V6_A, V6_B);
	packet_ipv6_extension(p, PROTO_DEST_OPTIONS, 16);
	packet_proto(p, 50);
	packet_payload(p, 40);
	packet_end(p);
	p->len = 14 + 40 + 15;
}

static void v6_length_zero(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv6(p, V6_A, V6_B);
	packet_udp(p, 50000, 443);
	packet_end(p);
	memset(packet_bytes(p) + p->ip_at + 4, 0, 2);
}

static void v6_fragment_reserved(struct packet *p)
{
	v6_atomic_fragment(p);
	packet_bytes(p)[14 + 40 + 1] = 9;
	packet_bytes(p)[14 + 40 + 3] = 6;
}

/* A first fragment would be allowed no more than its ports. */
static void v6_fragment_reserved_tiny(struct packet *p)
{
	packet_ethernet(p);
	packet_ipv6(p, V6_A, V6_B);
	packet_ipv6_fragment(p, 77, 0, 0);
	packet_proto(p, PROTO_TCP);
	packet_payload(p, 8);
	packet_end(p);
	packet_bytes(p)[14 + 40 + 3] = 6;
}

static void v4_query(struct packet *p, const char *src, const char *dst, uint8_t type)
{
	packet_ethernet(p);
	packet_ipv4(p, src, dst);
	packet_icmp(p, type, 0, 77);
	packet_payload(p, 12);
	packet_end(p);
}

#define QUERY(name, type)                                                                          \
	static void name##_request(struct packet *p)                                               \
	{                                                                                          \
		v4_query(p, V4_B, V4_A, type);                                                     \
	}                                                                                          \
	static void name##_reply(struct packet *p)                                                 \
	{                                                                                          \
		v4_query(p, V4_A, V4_B, (type) + 1);                                               \
	}
QUERY(timestamp, 13)
QUERY(information, 15)
QUERY(mask, 17)

static void v6_query(struct packet *p, const char *src, const char *dst, uint8_t type)
{
	packet_ethernet(p);
	packet_ipv6(p, src, dst);
	packet_icmpv6(p, type, 0, 78);
	packet_end(p);
}

static void v6_echo_request(struct packet *p)
{
	v6_query(p, V6_B, V6_A, 128);
}

static void v6_node_request(struct packet *p)
{
	v6_query(p, V6_B, V6_A, 139);
}

static void v6_node_reply(struct packet *p)
{
	v6_query(p, V6_A, V6_B, 140);
}

#define FOLLOWED REASON_UNDECIDED
#define REFUSED  REASON_MALFORMED, 0, 0, 0, 0, 0, 0, 0, 0

const struct parse_fixture parse_fixtures[] = {
	{"a TCP packet from the lower endpoint goes forward", tcp_up, FOLLOWED, 6, 50000, 443, 0, 0,
	 40, 0, TCP_SYN},
	{"a TCP packet from the higher endpoint has the same key and goes in reverse", tcp_down,
	 FOLLOWED, 6, 50000, 443, 0, 1, 40, 80, TCP_ACK},
	{"equal addresses are ordered by port", tcp_to_oneself, FOLLOWED, 6, 443, 50000, 0, 1, 40,
	 5, TCP_ACK},
	{"IP and TCP options belong to the header", tcp_options, FOLLOWED, 6, 50000, 443, 0, 0,
	 20 + 8 + 20 + 12, 7, TCP_ACK},
	{"the longest headers are cut in the record, not in their length", longest_header, FOLLOWED,
	 6, 50000, 443, 0, 0, 120, 80, TCP_ACK},
	{"link padding is no payload", udp_padded, FOLLOWED, 17, 50000, 53, 0, 0, 28, 3, 0},
	{"a packet cut behind its headers gives the payload that is there", udp_cut, FOLLOWED, 17,
	 50000, 53, 0, 0, 28, 10, 0},
	{"lengths of 0 reach to the end of the frame", udp_length_zero, FOLLOWED, 17, 50000, 53, 0,
	 0, 28, 30, 0},
	{"a VLAN tag enters the key without its priority", one_tag, FOLLOWED, 17, 50000, 443, 7, 0,
	 28, 0, 0},
	{"of two tags the inner one enters the key", two_tags, FOLLOWED, 17, 50000, 443, 8, 0, 48,
	 9, 0},
	{"IPv6 TCP in reverse", v6_tcp_down, FOLLOWED, 6, 50000, 443, 0, 1, 60, 11,
	 TCP_SYN | TCP_ACK},
	{"IPv6 extension headers are walked and belong to the header", v6_extensions, FOLLOWED, 6,
	 50000, 443, 0, 0, 40 + 8 + 24 + 24 + 16 + 20, 4, TCP_SYN},
	{"the sixth extension header is walked", v6_longest_chain, FOLLOWED, 17, 50000, 443, 0, 0,
	 40 + 8 * 6 + 8, 0, 0},
	{"an atomic fragment is a whole packet", v6_atomic_fragment, FOLLOWED, 17, 50000, 443, 0, 0,
	 40 + 8 + 8, 6, 0},
	{"a jumbogram reaches to the end of the frame", v6_jumbo, FOLLOWED, 6, 50000, 443, 0, 0,
	 40 + 8 + 20, 20, TCP_ACK},
	{"an IPv4 authentication header belongs to the header", v4_ah, FOLLOWED, 6, 50000, 443, 0,
	 0, 20 + 24 + 20, 4, TCP_ACK},
	{"a protocol without ports is followed by its addresses", v4_esp, FOLLOWED, 50, 0, 0, 0, 0,
	 20, 40, 0},
	{"a tiny first fragment gives its ports", tiny_first_fragment, FOLLOWED, 6, 50000, 443, 0,
	 0, 28, 0, 0},
	{"an echo request is known by its identifier", echo_request, FOLLOWED, 1, 77, 8 << 8, 0, 1,
	 28, 56, 0},
	{"an echo reply has its request's key", echo_reply, FOLLOWED, 1, 77, 8 << 8, 0, 0, 28, 56,
	 0},
	{"an ICMP error has its type and code and no identifier", unreachable, FOLLOWED, 1, 0,
	 3 << 8 | 1, 0, 0, 28, 28, 0},
	{"an ICMPv6 echo reply has its request's key", v6_echo_reply, FOLLOWED, 58, 78, 128 << 8, 0,
	 0, 48, 0, 0},
	{"a timestamp request is known by its identifier", timestamp_request, FOLLOWED, 1, 77,
	 13 << 8, 0, 1, 28, 12, 0},
	{"a timestamp reply has its request's key", timestamp_reply, FOLLOWED, 1, 77, 13 << 8, 0, 0,
	 28, 12, 0},
	{"an information request is known by its identifier", information_request, FOLLOWED, 1, 77,
	 15 << 8, 0, 1, 28, 12, 0},
	{"an information reply has its request's key", information_reply, FOLLOWED, 1, 77, 15 << 8,
	 0, 0, 28, 12, 0},
	{"an address mask request is known by its identifier", mask_request, FOLLOWED, 1, 77,
	 17 << 8, 0, 1, 28, 12, 0},
	{"an address mask reply has its request's key", mask_reply, FOLLOWED, 1, 77, 17 << 8, 0, 0,
	 28, 12, 0},
	{"an ICMPv6 echo request is known by its identifier", v6_echo_request, FOLLOWED, 58, 78,
	 128 << 8, 0, 1, 48, 0, 0},
	{"ICMPv6 node information has no identifier", v6_node_request, FOLLOWED, 58, 0, 139 << 8, 0,
	 1, 48, 0, 0},
	{"an ICMPv6 node information reply has its request's key", v6_node_reply, FOLLOWED, 58, 0,
	 139 << 8, 0, 0, 48, 0, 0},
	{"of a first fragment cut in its TCP options the rest is payload",
	 first_fragment_in_options, FOLLOWED, 6, 50000, 443, 0, 0, 40, 4, TCP_ACK},
	{"a fragment header's reserved byte is no length", v6_fragment_reserved, FOLLOWED, 17,
	 50000, 443, 0, 0, 40 + 8 + 8, 6, 0},
	{"ARP is not IP", arp, REASON_NOT_IP, 0, 0, 0, 0, 0, 0, 0, 0},
	{"an 802.3 length is no ethertype", llc, REASON_NOT_IP, 0, 0, 0, 0, 0, 0, 0, 0},
	{"three tags are not followed", three_tags, REASON_UNTRACKED, 0, 0, 0, 0, 0, 0, 0, 0},
	{"a seventh extension header is not followed", v6_too_long_chain, REASON_UNTRACKED, 0, 0, 0,
	 0, 0, 0, 0, 0},
	{"IPv6 with no next header is not followed", v6_no_next, REASON_UNTRACKED, 0, 0, 0, 0, 0, 0,
	 0, 0},
	{"a cut IPv4 header is malformed", v4_cut, REFUSED},
	{"a cut IPv6 header is malformed", v6_cut, REFUSED},
	{"a cut VLAN tag is malformed", tag_cut, REFUSED},
	{"a version that is not the ethertype's is malformed", wrong_version, REFUSED},
	{"an IPv4 header length below 20 is malformed", short_ihl, REFUSED},
	{"an IP length below the header is malformed", ip_length_below_header, REFUSED},
	{"a TCP data offset below 20 is malformed", tcp_offset_short, REFUSED},
	{"a TCP data offset past the IP packet is malformed", tcp_offset_past_ip, REFUSED},
	{"a TCP header past the IP packet is malformed", tcp_past_ip, REFUSED},
	{"a cut TCP header is malformed", tcp_cut, REFUSED},
	{"a UDP header past the IP packet is malformed", udp_past_ip, REFUSED},
	{"a UDP length below 8 is malformed", udp_length_short, REFUSED},
	{"a cut ICMP header is malformed", icmp_cut, REFUSED},
	{"a cut extension header is malformed", extension_cut, REFUSED},
	{"an extension header longer than the packet is malformed", extension_past_packet, REFUSED},
	{"an IPv4 header length below 20 is malformed before any protocol", esp_short_ihl, REFUSED},
	{"an ICMP header past the IP packet is malformed", icmp_past_ip, REFUSED},
	{"a first fragment's ports past the IP packet are malformed", first_fragment_past_ip,
	 REFUSED},
	{"an authentication header past the IP packet is malformed", ah_past_ip, REFUSED},
	{"an extension header past the cut is malformed", extension_past_cut, REFUSED},
	{"a fragment header's reserved bits make no first fragment", v6_fragment_reserved_tiny,
	 REFUSED},
	{"an IPv6 length of 0 without a hop-by-hop header is malformed", v6_length_zero, REFUSED},
};
const size_t n_parse_fixtures = sizeof(parse_fixtures) / sizeof(parse_fixtures[0]);
