/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * packet_view -> packet_record: which bytes go up, and the fixed header. Both worlds; how the bytes
 * get there is bpf/send.h (ring) and agent/flow/parse_user.c (buffer).
 */
#pragma once
#include "bpf/parse.h"
#include "maps/config.h"
#include "maps/packet_record.h"

/* What is known of a packet beside its bytes. */
struct packet_info {
	__u64 now_ns;
	__u32 frame_len; /* of which not all may lie in one piece */
	__u32 ifindex;
	__u32 index; /* in its flow */
	__u16 gso_segments, gso_size_bytes;
	__u8 hook;
	__u8 kind;
	__u8 flags;
	__u8 pad[5];
};

struct record_cut {
	__u32 header_bytes, payload_bytes;
};

static __always_inline __u32 least(__u32 a, __u32 b)
{
	return a < b ? a : b;
}

static __always_inline struct record_cut record_cut(const struct packet_view *v,
						    const struct packet_info *info,
						    __u32 byte_packets, __u32 header_bytes,
						    __u32 payload_bytes)
{
	__u32 payload_offset = v->ip_offset + v->header_len;
	__u32 payload_len = v->ip_len_bytes - v->header_len;
	struct record_cut cut = {0, 0};

	if (info->index >= byte_packets)
		return cut;
	/* A frame cut short (capture), or padding behind the IP packet */
	if (payload_len > info->frame_len - payload_offset)
		payload_len = info->frame_len - payload_offset;
	cut.header_bytes = least(least(v->header_len, header_bytes), RECORD_MAX_HEADER);
	cut.payload_bytes = least(least(payload_len, payload_bytes), RECORD_MAX_PAYLOAD);
	return cut;
}

static __always_inline void record_fill(struct packet_record *r, const struct packet_view *v,
					const struct packet_info *info, struct record_cut cut)
{
	__builtin_memcpy(&r->key, &v->key, sizeof(r->key));
	r->time_ns = info->now_ns;
	r->ip_len_bytes = v->ip_len_bytes;
	r->packet_index = info->index;
	r->ifindex = info->ifindex;
	r->header_len = v->header_len;
	r->header_bytes = cut.header_bytes;
	r->payload_bytes = cut.payload_bytes;
	r->gso_segments = info->gso_segments;
	r->gso_size_bytes = info->gso_size_bytes;
	r->kind = info->kind;
	r->direction = v->direction;
	r->hook = info->hook;
	r->flags = info->flags | (v->place == FRAGMENT_LATER ? RECORD_FRAGMENT : 0);
	r->tcp_flags = v->tcp_flags;
	__builtin_memset(r->pad, 0, sizeof(r->pad));
}
