/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Newcomers and flow entries: the arithmetic, on plain pointers, for both worlds. The kernel's
 * tables are used in bpf/track.h, those of user space in agent/flow/parse_user.c.
 *
 * A flow's first packet leaves a 32-bit fingerprint in `newcomers`, which costs one store and can
 * push out nothing but another fingerprint. Only the second packet makes an LRU entry: with a bare
 * LRU of 64K entries a SYN flood lost 75-80% of 20,000 established flows, with this none, at 89 ns
 * a packet instead of 367.
 *
 *   bits 31..10  of the key's hash, never 0
 *   bit 9        direction of the first packet
 *   bit 8        the first packet opens a conversation (SYN without ACK), or is not TCP
 *   bits 7..0    when, in 2^33 ns (8.6 s): a fingerprint is believed for about flow_idle_ns
 */
#pragma once
#include "bpf/parse.h"
#include "maps/config.h"

#define FINGERPRINT_HASH    0xfffffc00U
#define FINGERPRINT_REVERSE 0x00000200U
#define FINGERPRINT_OPENING 0x00000100U
#define FINGERPRINT_TIME    0x000000ffU
#define FINGERPRINT_TICK    33  /* 2^33 ns */
#define FINGERPRINT_OLDEST  120 /* ticks, so that 8 bits can tell old from new */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define HIGH_WORD 1 /* which half of flow_state.packets is the upper one of their 64 bits */
#else
#define HIGH_WORD 0
#endif

#define FRAGMENT_BELIEVED_NS 30000000000ULL

/* generation: a new one makes every flow a newcomer. */
static __always_inline __u64 flow_hash(const struct flow_key *key, __u32 generation)
{
	const __u8 *bytes = (const __u8 *)key;
	__u64 h = generation;

	UNROLLED
	for (int i = 0; i < 5; i++) {
		h = (h ^ load_u64(bytes + i * 8)) * 0x9e3779b97f4a7c15ULL;
		h ^= h >> 32;
	}
	return h;
}

/* SYN without ACK: a conversation begins. */
static __always_inline bool packet_opens(const struct packet_view *v)
{
	return (v->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static __always_inline __u32 fingerprint_make(__u64 hash, const struct packet_view *v, __u64 now_ns)
{
	__u32 print = (__u32)(hash >> 32) & FINGERPRINT_HASH;

	if (!print)
		print = 1U << 10;
	if (v->direction == FLOW_DIR_REVERSE)
		print |= FINGERPRINT_REVERSE;
	if (v->key.proto != PROTO_TCP || packet_opens(v))
		print |= FINGERPRINT_OPENING;
	return print | ((now_ns >> FINGERPRINT_TICK) & FINGERPRINT_TIME);
}

/* Whether `stored` is the first packet of the flow whose next packet is `mine`. */
static __always_inline bool fingerprint_matches(__u32 stored, __u32 mine,
						const struct packet_view *v, __u64 idle_ns)
{
	__u64 oldest = idle_ns >> FINGERPRINT_TICK;
	__u32 age;

	if ((stored ^ mine) & FINGERPRINT_HASH)
		return false;
	if (packet_opens(v) && !(stored & FINGERPRINT_OPENING))
		return false;
	if (!idle_ns || oldest > FINGERPRINT_OLDEST)
		oldest = FINGERPRINT_OLDEST;
	/* +1: the other CPU's clock may be a tick behind; one tick of age is rounding. */
	age = (mine - stored + 1) & FINGERPRINT_TIME;
	return age <= oldest + 2;
}

static __always_inline __u8 fingerprint_direction(__u32 print)
{
	return print & FINGERPRINT_REVERSE ? FLOW_DIR_REVERSE : FLOW_DIR_FORWARD;
}

/*
 * Whether this packet begins the flow anew. TCP says itself when it begins, and may be silent for
 * long; but when all its records went up and it comes back without a verdict, which the agent has
 * forgotten meanwhile, it is to be judged once more.
 */
static __always_inline bool flow_restarts(const struct flow_state *s, const struct packet_view *v,
					  __u64 now_ns, __u32 generation,
					  const volatile struct nm_config *c)
{
	__u64 last = s->last_ns[0] > s->last_ns[1] ? s->last_ns[0] : s->last_ns[1];
	bool silent = c->flow_idle_ns && now_ns > last && now_ns - last > c->flow_idle_ns;

	if (s->generation != generation)
		return true;
	if (v->key.proto != PROTO_TCP)
		return silent;
	if (silent && s->packets[0] + s->packets[1] >= c->record_packets)
		return true;
	return packet_opens(v) &&
	       ((s->tcp_flags[0] | s->tcp_flags[1]) & ~(TCP_SYN | TCP_ECE | TCP_CWR) & 0xff);
}

/* An entry without packets. */
static __always_inline void flow_begin(struct flow_state *s, __u32 generation)
{
	__builtin_memset(s, 0, sizeof(*s));
	s->generation = generation;
}

/* Puts the packet in that left only its fingerprint. */
static __always_inline void flow_add_first(struct flow_state *s, __u32 print, __u8 proto)
{
	bool reverse = fingerprint_direction(print) == FLOW_DIR_REVERSE;
	__u8 flags = print & FINGERPRINT_OPENING ? TCP_SYN : TCP_ACK;

	if (proto != PROTO_TCP)
		flags = 0;
	s->packets[FLOW_DIR_FORWARD] = reverse ? 0 : 1;
	s->packets[FLOW_DIR_REVERSE] = reverse ? 1 : 0;
	s->tcp_flags[FLOW_DIR_FORWARD] = reverse ? 0 : flags;
	s->tcp_flags[FLOW_DIR_REVERSE] = reverse ? flags : 0;
}

/*
 * Counts a packet (of so many segments) and returns its index in the flow. Both directions' counts
 * are moved by one atomic addition, so that no two CPUs get one index.
 */
static __always_inline __u32 flow_count(struct flow_state *s, const struct packet_view *v,
					__u32 segments, __u64 bytes, __u64 now_ns)
{
	__u8 d = v->direction & 1;
	__u64 before;

	before = __sync_fetch_and_add((__u64 *)(void *)s->packets,
				      (__u64)segments << (d == HIGH_WORD ? 32 : 0));
	__sync_fetch_and_add(&s->bytes[d], bytes);
	if (!s->first_ns[d])
		s->first_ns[d] = now_ns;
	s->last_ns[d] = now_ns;
	s->tcp_flags[d] |= v->tcp_flags;
	return (__u32)before + (__u32)(before >> 32);
}

/* Whether one more first packet's record may go up in this millisecond. */
static __always_inline bool pace_newcomer(struct pace *p, __u64 now_ns, __u32 per_ms)
{
	__u64 window = now_ns >> 20;

	if (p->window != window) {
		p->window = window;
		p->newcomers_sent = 0;
	}
	if (per_ms && p->newcomers_sent >= per_ms)
		return false;
	p->newcomers_sent++;
	return true;
}

static __always_inline void fragment_owner_fill(struct fragment_owner *o,
						const struct packet_view *v, __u64 now_ns)
{
	__builtin_memset(o, 0, sizeof(*o));
	o->time_ns = now_ns;
	o->src_port_be = v->src_port_be;
	o->dst_port_be = v->dst_port_be;
	o->proto = v->key.proto;
}

static __always_inline bool fragment_owner_fresh(const struct fragment_owner *o, __u64 now_ns)
{
	return now_ns <= o->time_ns || now_ns - o->time_ns <= FRAGMENT_BELIEVED_NS;
}
