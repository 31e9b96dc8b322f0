/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A record into this CPU's ring.
 *
 * One ring a CPU (128 ns against 197 for two producers on one); the reader is woken at most once a
 * millisecond (133 ns a record against 406 with the kernel's own choice). Bytes are copied as
 * 64-bit words with an exact tail: some 8 ns for 320 bytes, where bpf_xdp_load_bytes costs 58: it
 * is used only when the payload does not lie in one piece.
 */
#pragma once
#include "bpf/packet.h"

#define WAKE_EVERY_NS 1000000ULL

/*
 * Copies exactly len (<= max, a multiple of 8) bytes, or as far as `end` lets it. Each bound is
 * asked of the very variable that it is about, once more for the tail, since verifiers before 6.8
 * or so do not carry what they know of one variable over to another that was made of it.
 */
static __always_inline void copy_words(__u8 *to, const __u8 *from, const __u8 *end, __u32 len,
				       const __u32 max)
{
	__u32 done;

	ROLLED
	for (__u32 i = 0; i < max && i + 8 <= len; i += 8) {
		if (from + i + 8 > end)
			return;
		*(__u64 *)(to + i) = *(const __u64 *)(from + i);
	}
	done = len & ~7U;
	if (!(len & 7) || done > max - 8)
		return;
	to += done;
	from += done;
	if (len & 4) {
		if (from + 4 > end)
			return;
		*(__u32 *)to = *(const __u32 *)from;
		to += 4;
		from += 4;
	}
	if (len & 2) {
		if (from + 2 > end)
			return;
		*(__u16 *)to = *(const __u16 *)from;
		to += 2;
		from += 2;
	}
	if (len & 1 && from + 1 <= end)
		*to = *from;
}

/*
 * The lengths are read back from the record, as volatile: to the verifier they are unknown again
 * behind each copy, so all ways through the first end in one state before the second. Without that
 * the ways multiply, and a program of 3,000 instructions takes it more than 500,000 steps.
 */
static __always_inline __u32 read_back(const volatile __u16 *len, __u32 max)
{
	__u32 value = *len;

	return value > max ? max : value;
}

/* The helper wants a length of at least 1. Asked as less_one < max, and kept from the compiler, who
 * would ask it of len, that is what the verifier sees. */
static __always_inline bool load_payload(struct at at, __u32 offset, __u8 *to, __u32 len,
					 const __u32 max)
{
	__u32 less_one = len - 1;

	__asm__ volatile("" : "+r"(less_one));
	return less_one < max && !packet_load(at, offset, to, less_one + 1);
}

static __always_inline void copy_bytes(struct at at, const struct packet *p,
				       struct packet_record *r, const __u32 max_header,
				       const __u32 max_payload)
{
	struct span s = packet_span(at);
	__u8 *to = (__u8 *)(r + 1);
	__u32 offset, len;

	copy_words(to, s.data + (p->view.ip_offset & 0xff), s.end,
		   read_back(&r->header_bytes, max_header), max_header);
	len = read_back(&r->payload_bytes, max_payload);
	if (!len)
		return;
	to += read_back(&r->header_bytes, max_header);
	offset = (p->view.ip_offset + p->view.header_len) & 0x3fff;
	if (s.data + offset + len <= s.end)
		copy_words(to, s.data + offset, s.end, len, max_payload);
	else if (!load_payload(at, offset, to, len, max_payload))
		r->payload_bytes = 0;
}

static __always_inline __u64 wake_flag(__u64 now_ns)
{
	__u32 zero = 0;
	struct pace *pc = bpf_map_lookup_elem(&pace, &zero);

	if (!pc || now_ns - pc->last_wake_ns < WAKE_EVERY_NS)
		return BPF_RB_NO_WAKEUP;
	pc->last_wake_ns = now_ns;
	return BPF_RB_FORCE_WAKEUP;
}

/* Room for so many bytes of each kind: constants, as bpf_ringbuf_reserve and the verifier want. */
static __always_inline bool send_sized(struct at at, const struct packet *p, void *ring,
				       struct record_cut cut, const __u32 max_header,
				       const __u32 max_payload)
{
	const __u32 data_size = max_header + max_payload;
	struct packet_record *r = bpf_ringbuf_reserve(ring, sizeof(*r) + data_size, 0);

	if (!r)
		return false;
	record_fill(r, &p->view, &p->info, cut);
	if (data_size) {
		__builtin_memset(r + 1, 0, data_size);
		copy_bytes(at, p, r, max_header, max_payload);
	}
	bpf_ringbuf_submit(r, wake_flag(p->info.now_ns));
	return true;
}

static __always_inline bool send_packet(struct at at, const struct packet *p)
{
	__u32 ring_index = bpf_get_smp_processor_id() % config.n_rings;
	void *ring = bpf_map_lookup_elem(&events, &ring_index);
	struct record_cut cut = record_cut(&p->view, &p->info, config.byte_packets,
					   config.header_bytes, config.payload_bytes);
	const __u32 half = RECORD_DATA_SMALL / 2;
	bool sent = false;

	if (ring) {
		if (!(cut.header_bytes + cut.payload_bytes))
			sent = send_sized(at, p, ring, cut, 0, 0);
		else if (cut.header_bytes <= half && cut.payload_bytes <= half)
			sent = send_sized(at, p, ring, cut, half, half);
		else
			sent = send_sized(at, p, ring, cut, RECORD_MAX_HEADER, RECORD_MAX_PAYLOAD);
	}
	if (!sent)
		note(REASON_RING_FULL);
	return sent;
}

__attribute__((noinline)) int send_ingress(struct xdp_md *ctx, struct packet *p)
{
	return p ? send_packet((struct at){ctx, HOOK_INGRESS}, p) : 0;
}

__attribute__((noinline)) int send_egress(struct __sk_buff *ctx, struct packet *p)
{
	return p ? send_packet((struct at){ctx, HOOK_EGRESS}, p) : 0;
}

static __always_inline bool send_record(struct at at, struct packet *p)
{
	return at.hook == HOOK_EGRESS ? send_egress(at.ctx, p) : send_ingress(at.ctx, p);
}

/* Tells the agent, once a verdict, that it acted. */
static __always_inline void send_hit(struct at at, struct packet *p, struct verdict *verdict)
{
	if (verdict->flags & VERDICT_TOLD)
		return;
	if (__sync_fetch_and_or(&verdict->flags, VERDICT_TOLD) & VERDICT_TOLD)
		return;
	p->info.kind = RECORD_HIT;
	p->info.index = ~0U; /* its place in the flow is not counted any more, and no bytes go up */
	p->info.now_ns = packet_time(at);
	packet_complete(p);
	if (send_record(at, p))
		note(REASON_HIT_SENT);
}
