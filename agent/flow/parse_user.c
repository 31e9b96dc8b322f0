/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bpf/netmamba.bpf.c's way of an undecided packet, over this process's own tables. The parser, the
 * flow arithmetic and the record header are the kernel's own code; what stands here is only what
 * bpf/track.h and bpf/send.h do with maps and rings. No verdicts: a capture is never acted on.
 */
#include "agent/flow/parse_user.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agent/flow/key_table.h"
#include "bpf/extract.h"
#include "bpf/flow_table.h"

#define MAX_FRAGMENTS 16384 /* as the kernel's map */

struct extractor {
	struct nm_config config;
	record_fn on_record;
	void *ctx;
	struct key_table *flows, *fragments;
	uint32_t *newcomers; /* newcomer_mask + 1 */
	struct pace pace;
	uint64_t counters[REASON_ROWS];
	struct record_buffer buffer;
};

int extractor_new(const struct nm_config *config, uint32_t max_flows, record_fn on_record,
		  void *ctx, struct extractor **ret_extractor)
{
	struct extractor *x;
	uint32_t mask = config->newcomer_mask;

	if (!max_flows || !on_record || config->header_bytes > RECORD_MAX_HEADER ||
	    config->payload_bytes > RECORD_MAX_PAYLOAD || (mask & (mask + 1)))
		return -EINVAL;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->config = *config;
	if (!mask)
		x->config.newcomer_mask = NEWCOMER_ROWS * NEWCOMERS_PER_ROW - 1;
	x->on_record = on_record;
	x->ctx = ctx;
	x->flows = key_table_new(max_flows, sizeof(struct flow_state));
	x->fragments = key_table_new(MAX_FRAGMENTS, sizeof(struct fragment_owner));
	x->newcomers = calloc((size_t)x->config.newcomer_mask + 1, sizeof(*x->newcomers));
	if (!x->flows || !x->fragments || !x->newcomers) {
		extractor_free(x);
		return -ENOMEM;
	}
	*ret_extractor = x;
	return 0;
}

void extractor_free(struct extractor *x)
{
	if (!x)
		return;
	key_table_free(x->flows);
	key_table_free(x->fragments);
	free(x->newcomers);
	free(x);
}

static bool follow_fragment(struct extractor *x, struct packet_view *v, uint64_t now_ns)
{
	const struct fragment_owner *owner;

	if (v->place == FRAGMENT_FIRST) {
		fragment_owner_fill(key_table_put(x->fragments, &v->fragment), v, now_ns);
		return true;
	}
	owner = key_table_get(x->fragments, &v->fragment);
	if (!owner || !fragment_owner_fresh(owner, now_ns))
		return false;
	parse_adopt_ports(v, owner);
	return true;
}

static bool send_record(struct extractor *x, const uint8_t *packet, const struct packet_view *v,
			const struct packet_info *info)
{
	struct record_cut cut;
	uint8_t *to = x->buffer.data;

	if (info->index >= x->config.record_packets)
		return false;
	if ((info->flags & RECORD_FLOW_START) &&
	    !pace_newcomer(&x->pace, info->now_ns, x->config.newcomers_per_ms)) {
		x->counters[REASON_NEWCOMER_BUDGET]++;
		return false;
	}
	cut = record_cut(v, info, x->config.byte_packets, x->config.header_bytes,
			 x->config.payload_bytes);
	record_fill(&x->buffer.record, v, info, cut);
	memset(to, 0, sizeof(x->buffer.data));
	memcpy(to, packet + v->ip_offset, cut.header_bytes);
	memcpy(to + cut.header_bytes, packet + v->ip_offset + v->header_len, cut.payload_bytes);
	x->on_record(x->ctx, &x->buffer.record, to);
	x->counters[REASON_RECORD_SENT]++;
	return true;
}

static void count_known(struct extractor *x, const uint8_t *packet, const struct packet_view *v,
			struct packet_info *info, struct flow_state *s)
{
	info->index = flow_count(s, v, 1, v->ip_len_bytes, info->now_ns);
	if (send_record(x, packet, v, info))
		s->records_sent++;
}

static void count_newcomer(struct extractor *x, const uint8_t *packet, const struct packet_view *v,
			   struct packet_info *info)
{
	uint64_t hash = flow_hash(&v->key, 0);
	uint32_t *stored = &x->newcomers[hash & x->config.newcomer_mask];
	uint32_t print = fingerprint_make(hash, v, info->now_ns);
	struct flow_state *s;

	if (!fingerprint_matches(*stored, print, v, x->config.flow_idle_ns)) {
		x->counters[REASON_NEWCOMER]++;
		*stored = print;
		info->flags = RECORD_FLOW_START;
		send_record(x, packet, v, info);
		return;
	}
	x->counters[REASON_FLOW_CREATED]++;
	s = key_table_put(x->flows, &v->key);
	flow_begin(s, 0);
	flow_add_first(s, *stored, v->key.proto);
	count_known(x, packet, v, info, s);
}

static void follow_flow(struct extractor *x, const uint8_t *packet, const struct packet_view *v,
			struct packet_info *info)
{
	struct flow_state *s = key_table_get(x->flows, &v->key);

	if (!s) {
		count_newcomer(x, packet, v, info);
		return;
	}
	if (flow_restarts(s, v, info->now_ns, 0, &x->config)) {
		x->counters[REASON_FLOW_RESTARTED]++;
		flow_begin(s, 0);
		info->flags = RECORD_FLOW_START;
	}
	count_known(x, packet, v, info, s);
}

enum reason extractor_packet(struct extractor *x, enum extract_link link, const uint8_t *packet,
			     size_t captured, uint64_t time_ns)
{
	struct packet_info info = {.now_ns = time_ns, .gso_segments = 1, .hook = HOOK_INGRESS};
	const uint8_t *end = packet + captured;
	enum parse_result parsed;
	struct packet_view v;

	if (captured > INT32_MAX)
		return REASON_MALFORMED;
	info.frame_len = captured;
	parsed = link == EXTRACT_ETHERNET ? parse_ethernet(packet, end, info.frame_len, 0, true, &v)
					  : parse_ip(packet, end, &v);
	if (parsed == PARSE_NOT_IP)
		return REASON_NOT_IP;
	if (parsed == PARSE_MALFORMED)
		return REASON_MALFORMED;
	if (parsed == PARSE_UNTRACKED)
		return REASON_UNTRACKED;
	if (v.place != FRAGMENT_NONE && !follow_fragment(x, &v, time_ns))
		return REASON_FRAGMENT_UNKNOWN;
	follow_flow(x, packet, &v, &info);
	return REASON_UNDECIDED;
}

const uint64_t *extractor_counters(const struct extractor *x)
{
	return x->counters;
}
