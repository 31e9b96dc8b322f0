/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A flow sample: what the network sees of one flow, before tokens. Filled by
 * agent/flow/sample_fill.c, read by model/tokens.c; the one thing that both know.
 *
 * Shape (from the model file): the first `packets` (P) packets carry bytes, `header_bytes` (H) then
 * `payload_bytes` (Y) each, zero padded; the first `seq_len` (S) packets carry length and time.
 * With `bidirectional` false only packets in the first packet's direction are taken.
 *
 * Bytes are raw: debiasing happens in tokens.c. One allocation a sample; free with
 * flow_sample_free.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct sample_shape {
	uint16_t packets;       /* P */
	uint16_t header_bytes;  /* H */
	uint16_t payload_bytes; /* Y */
	uint16_t seq_len;       /* S >= P */
	bool bidirectional;
};

struct sample_packet {
	uint64_t time_ns;
	uint32_t ip_len_bytes;
	uint32_t packet_index; /* place in the flow as the kernel counted it */
	uint16_t header_bytes; /* valid bytes in its row, 0 beyond the first P */
	uint16_t payload_bytes;
	uint16_t byte_slot; /* which row of `bytes` is this packet's; packets may arrive out of
			       order */
	bool against;       /* sent against the first packet's direction */
};

struct flow_sample {
	struct sample_shape shape;
	uint16_t n_packets;             /* entries of packets[] in use, in time order */
	uint8_t *bytes;                 /* (P, H + Y) */
	struct sample_packet packets[]; /* (S) */
};

static inline bool sample_shape_equal(const struct sample_shape *a, const struct sample_shape *b)
{
	return a->packets == b->packets && a->header_bytes == b->header_bytes &&
	       a->payload_bytes == b->payload_bytes && a->seq_len == b->seq_len &&
	       a->bidirectional == b->bidirectional;
}

static inline size_t sample_row_bytes(const struct sample_shape *shape)
{
	return (size_t)shape->header_bytes + shape->payload_bytes;
}

/* H bytes, then Y payload bytes. */
static inline uint8_t *sample_row(const struct flow_sample *s, const struct sample_packet *p)
{
	return s->bytes + p->byte_slot * sample_row_bytes(&s->shape);
}

static inline size_t flow_sample_size(const struct sample_shape *shape)
{
	return sizeof(struct flow_sample) + shape->seq_len * sizeof(struct sample_packet) +
	       shape->packets * sample_row_bytes(shape);
}

/* NULL when memory is short. */
static inline struct flow_sample *flow_sample_new(const struct sample_shape *shape)
{
	struct flow_sample *s = calloc(1, flow_sample_size(shape));

	if (!s)
		return NULL;
	s->shape = *shape;
	s->bytes = (uint8_t *)&s->packets[shape->seq_len];
	return s;
}

static inline void flow_sample_free(struct flow_sample *s)
{
	free(s);
}
