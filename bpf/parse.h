/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The parser: bytes of a packet to a packet_view, in the kernel and in user space by the same code.
 *
 * It takes plain pointers, calls no helper and reads each byte only after a comparison with `end`,
 * in the form that the verifier follows: a pointer is made anew from `data` and a bounded offset,
 * compared once, then read at constant distances.
 *
 * Followed are IPv4 (with options) and IPv6 (extension headers up to MAX_EXTENSIONS) behind
 * Ethernet and up to two VLAN tags. Lengths come from the IP header, never from the frame, so link
 * padding does not count; a length of 0 (BIG TCP, or a capture of a host that offloads
 * segmentation) is read as "to the end of the frame". Headers must be whole; payload may be cut, in
 * a capture by its snap length, in the kernel by a packet that does not lie in one piece.
 *
 * A packet that the host's own stack would accept is not called malformed, since malformed packets
 * pass: that is why a first fragment needs no more than its ports.
 */
#pragma once
#include <stdbool.h>
#include "maps/flow_state.h"

#undef __always_inline /* <linux/stddef.h> has it as no more than inline */
#define __always_inline inline __attribute__((always_inline))

/* The kernel's programs keep loops rolled: the verifier's work and the code stay small. */
#ifdef __bpf__
#define ROLLED   _Pragma("clang loop unroll(disable)")
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define ROLLED
#define UNROLLED
#endif

/* What was written to memory is read from there again: the compiler keeps no copy. */
#define FORGET() __asm__ volatile("" ::: "memory")

#define ETHERTYPE_IPV4  0x0800
#define ETHERTYPE_IPV6  0x86dd
#define ETHERTYPE_VLAN  0x8100 /* 802.1Q */
#define ETHERTYPE_SVLAN 0x88a8 /* 802.1ad */

#define PROTO_HOP_BY_HOP   0
#define PROTO_ICMP         1
#define PROTO_TCP          6
#define PROTO_UDP          17
#define PROTO_ROUTING      43
#define PROTO_FRAGMENT     44
#define PROTO_AH           51
#define PROTO_ICMPV6       58
#define PROTO_NO_NEXT      59
#define PROTO_DEST_OPTIONS 60

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define TCP_ECE 0x40
#define TCP_CWR 0x80

#define MAX_EXTENSIONS 6 /* IPv6 extension headers that are walked; hosts send two at most */

enum parse_result {
	PARSE_FLOW,           /* key, direction and lengths are known */
	PARSE_LATER_FRAGMENT, /* the key wants its first fragment's ports: parse_adopt_ports */
	PARSE_NOT_IP,
	PARSE_MALFORMED,
	PARSE_UNTRACKED, /* more VLAN tags or extension headers than are walked, or no transport */
	PARSE_EXTENDED,  /* IPv6 extension headers, and the caller did not want them walked */
};

enum fragment_place { FRAGMENT_NONE, FRAGMENT_FIRST, FRAGMENT_LATER };

struct packet_view {
	struct flow_key key;
	struct fragment_key fragment; /* filled unless place is FRAGMENT_NONE */
	__u32 ip_offset;              /* from the packet's first byte */
	__u32 ip_len_bytes;
	__u32 header_len; /* IP, extensions, transport; <= ip_len_bytes */
	__be16 src_port_be;
	__be16 dst_port_be;
	__u8 place; /* enum fragment_place */
	__u8 direction;
	__u8 tcp_flags;
	__u8 pad;
	__u32 pad2;
} __attribute__((aligned(8)));

/* Loads in network order. The kernel's packets may lie anywhere on machines that BPF's plain loads
 * are fit for; elsewhere memcpy says so to the compiler. */
#ifdef __bpf__
#define LOAD(bits)                                                                                 \
	static __always_inline __u##bits load_u##bits(const void *p)                               \
	{                                                                                          \
		return *(const __u##bits *)p;                                                      \
	}
#else
#define LOAD(bits)                                                                                 \
	static __always_inline __u##bits load_u##bits(const void *p)                               \
	{                                                                                          \
		__u##bits value;                                                                   \
		__builtin_memcpy(&value, p, sizeof(value));                                        \
		return value;                                                                      \
	}
#endif
LOAD(16)
LOAD(32)
LOAD(64)

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BE16(x) __builtin_bswap16(x)
#define BE32(x) __builtin_bswap32(x)
#define BE64(x) __builtin_bswap64(x)
#else
#define BE16(x) ((__u16)(x))
#define BE32(x) ((__u32)(x))
#define BE64(x) ((__u64)(x))
#endif

struct address {
	__u64 high, low; /* host order */
};

static __always_inline struct address address_v4(const __u8 *p)
{
	return (struct address){0, 0x0000ffff00000000ULL | BE32(load_u32(p))};
}

static __always_inline struct address address_v6(const __u8 *p)
{
	return (struct address){BE64(load_u64(p)), BE64(load_u64(p + 8))};
}

static __always_inline void address_store(__u8 *to, struct address a)
{
	__u64 words[2] = {BE64(a.high), BE64(a.low)};

	__builtin_memcpy(to, words, sizeof(words));
}

/* Fills addresses, ports and direction of the key; vlan_id, proto and pad are the caller's. */
static __always_inline void key_order(struct packet_view *v, struct address src, struct address dst)
{
	bool by_ports = v->key.proto != PROTO_ICMP && v->key.proto != PROTO_ICMPV6;
	bool reverse = src.high > dst.high;

	if (src.high == dst.high) {
		reverse = src.low > dst.low;
		if (src.low == dst.low && by_ports)
			reverse = BE16(v->src_port_be) > BE16(v->dst_port_be);
	}
	v->direction = reverse ? FLOW_DIR_REVERSE : FLOW_DIR_FORWARD;
	if (reverse) {
		address_store(v->key.addr_lo, dst);
		address_store(v->key.addr_hi, src);
	} else {
		address_store(v->key.addr_lo, src);
		address_store(v->key.addr_hi, dst);
	}
	if (reverse && by_ports) {
		v->key.port_lo_be = v->dst_port_be;
		v->key.port_hi_be = v->src_port_be;
	} else {
		v->key.port_lo_be = v->src_port_be;
		v->key.port_hi_be = v->dst_port_be;
	}
}

static __always_inline void fragment_fill(struct packet_view *v, struct address src,
					  struct address dst, __be32 id_be, __u8 proto)
{
	address_store(v->fragment.src, src);
	address_store(v->fragment.dst, dst);
	v->fragment.id_be = id_be;
	v->fragment.vlan_id = v->key.vlan_id;
	v->fragment.proto = proto;
	v->fragment.pad = 0;
}

/* A later fragment joins the flow of its first. */
static __always_inline void parse_adopt_ports(struct packet_view *v,
					      const struct fragment_owner *owner)
{
	v->key.proto = owner->proto;
	v->src_port_be = owner->src_port_be;
	v->dst_port_be = owner->dst_port_be;
	key_order(v, address_v6(v->fragment.src), address_v6(v->fragment.dst));
}

/* Where the transport header begins, as far as the IP headers say. */
struct transport {
	__u32 offset; /* from data */
	__u32 end;    /* offset of the IP packet's end */
	__u8 proto;
};

static __always_inline enum parse_result parse_tcp(const __u8 *data, const __u8 *end,
						   const struct transport *t, struct packet_view *v)
{
	const __u8 *tcp = data + t->offset;
	__u32 len;

	if (tcp + 8 > end || t->offset + 8 > t->end)
		return PARSE_MALFORMED;
	v->src_port_be = load_u16(tcp);
	v->dst_port_be = load_u16(tcp + 2);
	if (t->offset + 20 > t->end) {
		if (v->place != FRAGMENT_FIRST)
			return PARSE_MALFORMED;
		v->header_len = t->offset + 8 - v->ip_offset;
		return PARSE_FLOW;
	}
	if (tcp + 20 > end)
		return PARSE_MALFORMED;
	len = (tcp[12] >> 4) * 4;
	v->tcp_flags = tcp[13];
	if (len < 20)
		return PARSE_MALFORMED;
	if (t->offset + len > t->end) {
		if (v->place != FRAGMENT_FIRST)
			return PARSE_MALFORMED;
		len = 20;
	}
	v->header_len = t->offset + len - v->ip_offset;
	return t->offset + len > (__u32)(end - data) ? PARSE_MALFORMED : PARSE_FLOW;
}

static __always_inline enum parse_result parse_udp(const __u8 *data, const __u8 *end,
						   const struct transport *t, struct packet_view *v)
{
	const __u8 *udp = data + t->offset;
	__u16 len;

	if (udp + 8 > end || t->offset + 8 > t->end)
		return PARSE_MALFORMED;
	v->src_port_be = load_u16(udp);
	v->dst_port_be = load_u16(udp + 2);
	v->header_len = t->offset + 8 - v->ip_offset;
	len = BE16(load_u16(udp + 4));
	/* 0: longer than 16 bits can say (RFC 2675) */
	return len && len < 8 ? PARSE_MALFORMED : PARSE_FLOW;
}

/* The request's type for a reply, and whether such messages carry an identifier. */
static __always_inline bool icmp_query(__u8 proto, __u8 *type)
{
	if (proto == PROTO_ICMPV6) {
		if (*type == 129 || *type == 140) /* echo, node information */
			(*type)--;
		return *type == 128;
	}
	if (*type == 0) { /* echo */
		*type = 8;
		return true;
	}
	if (*type == 14 || *type == 16 || *type == 18) /* timestamp, information, address mask */
		(*type)--;
	return *type == 8 || *type == 13 || *type == 15 || *type == 17;
}

static __always_inline enum parse_result
parse_icmp(const __u8 *data, const __u8 *end, const struct transport *t, struct packet_view *v)
{
	const __u8 *icmp = data + t->offset;
	__u8 type;

	if (icmp + 8 > end || t->offset + 8 > t->end)
		return PARSE_MALFORMED;
	type = icmp[0];
	v->src_port_be = icmp_query(t->proto, &type) ? load_u16(icmp + 4) : 0;
	v->dst_port_be = BE16((__u16)(type << 8 | icmp[1]));
	v->header_len = t->offset + 8 - v->ip_offset;
	return PARSE_FLOW;
}

static __always_inline enum parse_result
parse_transport(const __u8 *data, const __u8 *end, const struct transport *t, struct packet_view *v)
{
	v->key.proto = t->proto;
	v->header_len = t->offset - v->ip_offset;
	if (t->offset > t->end || t->offset > (__u32)(end - data))
		return PARSE_MALFORMED;
	if (v->place == FRAGMENT_LATER)
		return PARSE_LATER_FRAGMENT;
	switch (t->proto) {
	case PROTO_TCP:
		return parse_tcp(data, end, t, v);
	case PROTO_UDP:
		return parse_udp(data, end, t, v);
	case PROTO_ICMP:
	case PROTO_ICMPV6:
		return parse_icmp(data, end, t, v);
	case PROTO_NO_NEXT:
		return PARSE_UNTRACKED;
	default:
		return PARSE_FLOW;
	}
}

static __always_inline enum parse_result parse_ipv4(const __u8 *data, const __u8 *end,
						    __u32 frame_len, struct packet_view *v)
{
	const __u8 *ip = data + v->ip_offset;
	struct address src, dst;
	struct transport t;
	enum parse_result result;
	__u32 header;
	__u16 fragment;

	if (ip + 20 > end)
		return PARSE_MALFORMED;
	header = (ip[0] & 0x0f) * 4;
	v->ip_len_bytes = BE16(load_u16(ip + 2));
	if (!v->ip_len_bytes)
		v->ip_len_bytes = frame_len - v->ip_offset;
	if (ip[0] >> 4 != 4 || header < 20 || header > v->ip_len_bytes || ip + header > end)
		return PARSE_MALFORMED;
	src = address_v4(ip + 12);
	dst = address_v4(ip + 16);
	t.proto = ip[9];
	t.offset = v->ip_offset + header;
	t.end = v->ip_offset + v->ip_len_bytes;
	fragment = BE16(load_u16(ip + 6));
	if (fragment & 0x3fff) { /* more fragments, or an offset */
		v->place = fragment & 0x1fff ? FRAGMENT_LATER : FRAGMENT_FIRST;
		fragment_fill(v, src, dst, BE32((__u32)BE16(load_u16(ip + 4)) << 16), t.proto);
	}
	if (t.proto == PROTO_AH && v->place != FRAGMENT_LATER) {
		const __u8 *ah = data + t.offset;

		if (ah + 12 > end)
			return PARSE_MALFORMED;
		t.proto = ah[0];
		t.offset += (ah[1] + 2) * 4;
	}
	result = parse_transport(data, end, &t, v);
	if (result == PARSE_FLOW)
		key_order(v, src, dst);
	return result;
}

/* No more than MAX_EXTENSIONS of 2,048 bytes: the masks change nothing but what the verifier knows.
 */
static __always_inline __u32 walk_offset(const struct packet_view *v)
{
	return (v->ip_offset & 0xff) + (v->header_len & 0x3fff);
}

static __always_inline bool is_extension(__u8 proto)
{
	return proto == PROTO_HOP_BY_HOP || proto == PROTO_ROUTING || proto == PROTO_FRAGMENT ||
	       proto == PROTO_AH || proto == PROTO_DEST_OPTIONS;
}

/*
 * Walks the extension headers up to a later fragment's, whose data is not a header any more. Where
 * it stands is kept in the view (key.proto, header_len) and read anew each time, so that the
 * verifier sees one state a step: kept in registers, their ranges cost it 380,000 steps.
 */
static __always_inline enum parse_result parse_extensions(const __u8 *data, const __u8 *end,
							  struct address src, struct address dst,
							  struct packet_view *v)
{
	const __u8 *h;
	__u16 fragment;
	__u32 len;

	ROLLED
	for (int i = 0; i < MAX_EXTENSIONS && is_extension(v->key.proto); i++) {
		h = data + walk_offset(v);
		if (h + 8 > end)
			return PARSE_MALFORMED;
		len = (h[1] + 1) * 8;
		if (v->key.proto == PROTO_AH)
			len = (h[1] + 2) * 4;
		if (v->key.proto == PROTO_FRAGMENT) {
			len = 8;
			fragment = BE16(load_u16(h + 2));
			if (fragment & 0xfff9) { /* offset, or more; else an atomic fragment */
				v->place = fragment & 0xfff8 ? FRAGMENT_LATER : FRAGMENT_FIRST;
				fragment_fill(v, src, dst, load_u32(h + 4), 0);
			}
		}
		v->key.proto = h[0];
		v->header_len += len;
		FORGET();
		if (v->place == FRAGMENT_LATER)
			return PARSE_FLOW;
	}
	return is_extension(v->key.proto) ? PARSE_UNTRACKED : PARSE_FLOW;
}

static __always_inline enum parse_result
parse_ipv6(const __u8 *data, const __u8 *end, __u32 frame_len, bool walk, struct packet_view *v)
{
	const __u8 *ip = data + v->ip_offset;
	struct address src, dst;
	struct transport t;
	enum parse_result result;

	if (ip + 40 > end || ip[0] >> 4 != 6)
		return PARSE_MALFORMED;
	v->ip_len_bytes = BE16(load_u16(ip + 4));
	t.proto = ip[6];
	/* 0 before a hop-by-hop header: a jumbogram (RFC 2675), as BIG TCP makes them */
	if (!v->ip_len_bytes && t.proto == PROTO_HOP_BY_HOP)
		v->ip_len_bytes = frame_len - v->ip_offset;
	else
		v->ip_len_bytes += 40;
	src = address_v6(ip + 8);
	dst = address_v6(ip + 24);
	t.offset = v->ip_offset + 40;
	t.end = v->ip_offset + v->ip_len_bytes;
	if (is_extension(t.proto)) {
		if (!walk)
			return PARSE_EXTENDED;
		v->key.proto = t.proto;
		v->header_len = 40;
		result = parse_extensions(data, end, src, dst, v);
		if (result != PARSE_FLOW)
			return result;
		FORGET();
		t.proto = v->key.proto;
		t.offset = walk_offset(v);
	}
	result = parse_transport(data, end, &t, v);
	if (result == PARSE_FLOW)
		key_order(v, src, dst);
	return result;
}

static __always_inline void view_init(struct packet_view *v, __u32 ip_offset, __u16 vlan_id)
{
	v->key.vlan_id = vlan_id;
	v->key.pad = 0;
	v->ip_offset = ip_offset;
	v->src_port_be = 0;
	v->dst_port_be = 0;
	v->place = FRAGMENT_NONE;
	v->tcp_flags = 0;
	v->pad = 0;
	v->pad2 = 0;
}

/*
 * An Ethernet frame of frame_len bytes, of which data..end lie here. outer_vlan: the tag that the
 * device took out of the frame (0 = none); a tag inside the frame is further in and goes first.
 * walk: false stops at IPv6 extension headers with PARSE_EXTENDED, so that the kernel's programs
 * can walk them in a function of their own, which the verifier then checks apart from all the rest.
 */
static __always_inline enum parse_result parse_ethernet(const __u8 *data, const __u8 *end,
							__u32 frame_len, __u16 outer_vlan,
							bool walk, struct packet_view *v)
{
	__u32 offset = 14;
	__u16 type, vlan_id = outer_vlan;

	if (data + 14 > end)
		return PARSE_MALFORMED;
	type = BE16(load_u16(data + 12));
	UNROLLED
	for (int i = 0; i < 2; i++) {
		if (type != ETHERTYPE_VLAN && type != ETHERTYPE_SVLAN)
			break;
		if (data + offset + 4 > end)
			return PARSE_MALFORMED;
		vlan_id = BE16(load_u16(data + offset)) & 0x0fff;
		type = BE16(load_u16(data + offset + 2));
		offset += 4;
	}
	view_init(v, offset, vlan_id);
	if (type == ETHERTYPE_IPV4)
		return parse_ipv4(data, end, frame_len, v);
	if (type == ETHERTYPE_IPV6)
		return parse_ipv6(data, end, frame_len, walk, v);
	return type == ETHERTYPE_VLAN || type == ETHERTYPE_SVLAN ? PARSE_UNTRACKED : PARSE_NOT_IP;
}

/* A packet that begins with its IP header. */
static __always_inline enum parse_result parse_ip(const __u8 *data, const __u8 *end,
						  struct packet_view *v)
{
	view_init(v, 0, 0);
	if (data + 1 > end)
		return PARSE_MALFORMED;
	if (data[0] >> 4 == 4)
		return parse_ipv4(data, end, (__u32)(end - data), v);
	if (data[0] >> 4 == 6)
		return parse_ipv6(data, end, (__u32)(end - data), true, v);
	return PARSE_NOT_IP;
}
