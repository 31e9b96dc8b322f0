/* SPDX-License-Identifier: BSD-2-Clause */
/* See tokens.h. */
#include "model/tokens.h"
#include <errno.h>
#include <string.h>
#include "model/batch.h"
#include "model/debias.h"

#define MAX_SIZE   1500 /* an Ethernet MTU; jumbo and offloaded packets are clipped to it */
#define IAT_PADDED 1.0F

/* The counts come from records: never more than a row has, whoever filled them. */
static void packet_row(uint8_t *row, const struct token_config *tokens,
		       const struct flow_sample *sample, const struct sample_packet *p)
{
	const struct sample_shape *shape = &sample->shape;
	size_t header =
		p->header_bytes < shape->header_bytes ? p->header_bytes : shape->header_bytes;
	size_t payload =
		p->payload_bytes < shape->payload_bytes ? p->payload_bytes : shape->payload_bytes;

	if (p->byte_slot >= shape->packets || header + payload == 0)
		return;
	memcpy(row, sample_row(sample, p), header);
	memcpy(row + shape->header_bytes, sample_row(sample, p) + shape->header_bytes, payload);
	debias_packet(row, header, row + shape->header_bytes, payload, tokens->debias);
}

void tokens_bytes(uint8_t *bytes, const struct token_config *tokens,
		  const struct flow_sample *sample)
{
	const struct sample_shape *shape = &sample->shape;
	size_t row_bytes = sample_row_bytes(shape);

	memset(bytes, 0, shape->packets * row_bytes);
	for (uint16_t i = 0; i < sample->n_packets && i < shape->packets; i++)
		packet_row(bytes + i * row_bytes, tokens, sample, &sample->packets[i]);
}

void tokens_sizes(float *sizes, const struct flow_sample *sample)
{
	bool bi = sample->shape.bidirectional;
	uint16_t i;

	for (i = 0; i < sample->n_packets; i++) {
		const struct sample_packet *p = &sample->packets[i];
		int length = p->ip_len_bytes < MAX_SIZE ? (int)p->ip_len_bytes : MAX_SIZE;

		if (bi)
			length = MAX_SIZE + (p->against ? -length : length);
		sizes[i] = (float)length;
	}
	for (; i < sample->shape.seq_len; i++)
		sizes[i] = bi ? 2 * MAX_SIZE : MAX_SIZE;
}

void tokens_iats(float *iats, const struct flow_sample *sample)
{
	uint64_t before_ns = sample->n_packets ? sample->packets[0].time_ns : 0;
	uint16_t i;

	for (i = 0; i < sample->n_packets; i++) {
		uint64_t now_ns = sample->packets[i].time_ns;
		float t = now_ns > before_ns ? (float)((double)(now_ns - before_ns) * 1e-9) : 0;

		iats[i] = 1.0F / (1.0F + 1.0F / (1.0F + t));
		before_ns = now_ns;
	}
	for (; i < sample->shape.seq_len; i++)
		iats[i] = IAT_PADDED;
}

int batch_add(struct batch *b, const struct token_config *tokens, const struct flow_sample *sample)
{
	size_t S = b->shape.seq_len, n_bytes = b->shape.packets * sample_row_bytes(&b->shape);
	uint8_t bytes[MODEL_MAX_PACKETS * (MODEL_MAX_HEADER_BYTES + MODEL_MAX_PAYLOAD_BYTES)];
	float *out = b->bytes + b->n * n_bytes;

	if (!sample_shape_equal(&b->shape, &sample->shape) || sample->n_packets > S ||
	    n_bytes > sizeof(bytes))
		return -EINVAL;
	if (b->n == b->capacity)
		return -ENOSPC;
	tokens_bytes(bytes, tokens, sample);
	for (size_t i = 0; i < n_bytes; i++)
		out[i] = bytes[i] * tokens->byte_scale + tokens->byte_offset;
	tokens_sizes(b->sizes + b->n * S, sample);
	tokens_iats(b->iats + b->n * S, sample);
	b->n++;
	return 0;
}
