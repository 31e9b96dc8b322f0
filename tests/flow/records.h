/* SPDX-License-Identifier: BSD-2-Clause */
/* Packet records written out by hand, and an assembler whose hand-outs are remembered. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "agent/flow/assembler.h"

#define MS 1000000ULL
#define S  (1000 * MS)

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10

static const struct sample_shape bi_shape = {
	.packets = 3, .header_bytes = 8, .payload_bytes = 8, .seq_len = 6, .bidirectional = true};
static const struct sample_shape uni_shape = {
	.packets = 3, .header_bytes = 8, .payload_bytes = 8, .seq_len = 6, .bidirectional = false};

#define MAX_HANDED 64
struct handed {
	struct flow_info info;
	enum ready_reason why;
	uint16_t n_packets;
	struct sample_packet packets[64];
	uint8_t rows[64][RECORD_DATA_LARGE];
};

struct fixture {
	struct assembler *assembler;
	int n_handed, n_started, n_done;
	struct handed handed[MAX_HANDED];
	struct flow_info done[MAX_HANDED];
};

static inline void remember(void *ctx, const struct flow_info *info,
			    const struct flow_sample *sample, enum ready_reason why)
{
	struct fixture *f = ctx;
	struct handed *h = &f->handed[f->n_handed++];

	assert_in_range(f->n_handed, 1, MAX_HANDED);
	assert_in_range(sample->n_packets, 1, 64);
	*h = (struct handed){.info = *info, .why = why, .n_packets = sample->n_packets};
	for (int i = 0; i < sample->n_packets; i++) {
		h->packets[i] = sample->packets[i];
		if (i < sample->shape.packets)
			memcpy(h->rows[i], sample_row(sample, &sample->packets[i]),
			       sample_row_bytes(&sample->shape));
	}
}

static inline void remember_start(void *ctx, struct flow_info *info)
{
	struct fixture *f = ctx;

	info->user = &f->done[f->n_started++];
}

static inline void remember_done(void *ctx, const struct flow_info *info)
{
	struct fixture *f = ctx;

	f->done[f->n_done++] = *info;
}

static inline struct assembler_config config_of(const struct sample_shape *shape)
{
	return (struct assembler_config){.shape = *shape,
					 .max_flows = 4,
					 .idle_ns = 10 * S,
					 .total_ns = 60 * S,
					 .on_start = remember_start,
					 .on_done = remember_done};
}

static inline void begin(struct fixture *f, const struct assembler_config *config)
{
	memset(f, 0, sizeof(*f));
	assert_int_equal(assembler_new(config, remember, f, &f->assembler), 0);
}

static inline void finish(struct fixture *f)
{
	assembler_free(f->assembler);
}

/* What a record says, beside which flow it is of; the zero of each is an ordinary packet. */
struct packet {
	uint64_t time_ns;
	uint32_t index, len, flow, ifindex;
	uint8_t dir, tcp_flags, flags, hook;
	uint16_t gso_segments, gso_size;
	const char *header, *payload; /* bytes */
};

static inline void add(struct fixture *f, struct packet p)
{
	uint8_t data[RECORD_DATA_LARGE] = {0};
	struct packet_record r = {
		.key = {.proto = 6, .port_lo_be = (uint16_t)p.flow, .port_hi_be = 443},
		.time_ns = p.time_ns,
		.ip_len_bytes = p.len ? p.len : 100,
		.packet_index = p.index,
		.ifindex = p.ifindex,
		.header_len = 40,
		.header_bytes = p.header ? strlen(p.header) : 0,
		.payload_bytes = p.payload ? strlen(p.payload) : 0,
		.gso_segments = p.gso_segments,
		.gso_size_bytes = p.gso_size,
		.direction = p.dir,
		.hook = p.hook,
		.flags = p.flags,
		.tcp_flags = p.tcp_flags ? p.tcp_flags : ACK,
	};

	memcpy(data, p.header ? p.header : "", r.header_bytes);
	memcpy(data + r.header_bytes, p.payload ? p.payload : "", r.payload_bytes);
	assembler_add_record(f->assembler, &r, data);
}
