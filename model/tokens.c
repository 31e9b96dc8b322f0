/* SPDX-License-Identifier: BSD-2-Clause */
/* See tokens.h. */
#include "model/tokens.h"
#include <errno.h>
#include <math.h>
#include <string.h>
#include "model/batch.h"
#include "model/debias.h"

#define MAX_SIZE       1500 /* an Ethernet MTU; jumbo and offloaded packets are clipped to it */
#define IAT_PADDED     1.0F
#define IAT_LOG_PADDED 1000.0F

/* The counts come from records: never more than a row has, whoever filled them. */
static void recorded_bytes(const struct flow_sample *sample, const struct sample_packet *p,
			   size_t *ret_header, size_t *ret_payload)
{
	const struct sample_shape *shape = &sample->shape;
	bool has_row = p->byte_slot < shape->packets;

	*ret_header = !has_row                                ? 0
		      : p->header_bytes < shape->header_bytes ? p->header_bytes
							      : shape->header_bytes;
	*ret_payload = !has_row                                  ? 0
		       : p->payload_bytes < shape->payload_bytes ? p->payload_bytes
								 : shape->payload_bytes;
}

static void packet_row(uint8_t *row, const struct token_config *tokens,
		       const struct flow_sample *sample, const struct sample_packet *p)
{
	const struct sample_shape *shape = &sample->shape;
	size_t header, payload;

	recorded_bytes(sample, p, &header, &payload);
	if (header + payload == 0)
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

/* Seconds since the packet before, never negative: captures have times that run backward. */
static float iat(const struct token_config *tokens, uint64_t before_ns, uint64_t now_ns)
{
	double t = now_ns > before_ns ? (double)(now_ns - before_ns) * 1e-9 : 0;

	if (tokens->iat_log)
		return (float)(100 * log10(1 + t * 1e6));
	return 1.0F / (1.0F + 1.0F / (1.0F + (float)t));
}

void tokens_iats(float *iats, const struct token_config *tokens, const struct flow_sample *sample)
{
	uint64_t before_ns = sample->n_packets ? sample->packets[0].time_ns : 0;
	uint16_t i;

	for (i = 0; i < sample->n_packets; i++) {
		iats[i] = iat(tokens, before_ns, sample->packets[i].time_ns);
		before_ns = sample->packets[i].time_ns;
	}
	for (; i < sample->shape.seq_len; i++)
		iats[i] = tokens->iat_log ? IAT_LOG_PADDED : IAT_PADDED;
}

/* The tokens of a part of a row, from byte `from` on, behind place[n - 1]; one that begins in the
 * part before is taken already. */
static uint16_t place_bytes(uint16_t *place, uint16_t n, uint32_t first_token, uint32_t stride,
			    size_t from, size_t n_bytes)
{
	uint32_t token = from / stride;

	if (n_bytes == 0)
		return n;
	for (; token <= (from + n_bytes - 1) / stride; token++)
		if (place[n - 1] < first_token + token)
			place[n++] = first_token + token;
	return n;
}

/* Tokens that exist: a size and a time for each packet, bytes that were recorded, the three CLS. */
static void place_real(struct batch *b, uint32_t i, const struct flow_sample *sample)
{
	const struct sample_shape *shape = &b->shape;
	uint16_t *place = b->places + (size_t)i * b->n_tokens, n = 0, S = shape->seq_len;
	uint32_t first_byte_token = 2 * (S + 1U);

	for (uint16_t p = 0; p < sample->n_packets; p++)
		place[n++] = p;
	place[n++] = S;
	for (uint16_t p = 0; p < sample->n_packets; p++)
		place[n++] = S + 1 + p;
	place[n++] = 2 * S + 1;
	for (uint16_t p = 0; p < sample->n_packets && p < shape->packets; p++) {
		size_t row = p * sample_row_bytes(shape), header, payload;

		recorded_bytes(sample, &sample->packets[p], &header, &payload);
		n = place_bytes(place, n, first_byte_token, b->stride, row, header);
		n = place_bytes(place, n, first_byte_token, b->stride, row + shape->header_bytes,
				payload);
	}
	place[n++] = b->n_tokens - 1;
	b->n_places[i] = n;
}

int batch_add(struct batch *b, const struct token_config *tokens, const struct flow_sample *sample)
{
	size_t S = b->shape.seq_len, n_bytes = b->shape.packets * sample_row_bytes(&b->shape);

	if (!sample_shape_equal(&b->shape, &sample->shape) || sample->n_packets > S)
		return -EINVAL;
	if (b->n == b->capacity)
		return -ENOSPC;
	tokens_bytes(b->bytes + b->n * n_bytes, tokens, sample);
	tokens_sizes(b->sizes + b->n * S, sample);
	tokens_iats(b->iats + b->n * S, tokens, sample);
	if (tokens->packed)
		place_real(b, b->n, sample);
	else
		batch_place_all(b, b->n);
	b->n++;
	return 0;
}
