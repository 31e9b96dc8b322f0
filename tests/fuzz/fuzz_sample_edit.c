/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Edits on any sample: counts, slots, times and headers are the fuzzer's. The first 8 bytes are the
 * seed; then six packets of 12 bytes; the rest fills the rows. Payload must stay as it is.
 */
#include <assert.h>
#include <string.h>
#include "model/augment.h"
#include "model/sample_edit.h"

#define PACKET_BYTES 12

static const struct sample_shape wide_shape = {3, 80, 16, 6, true};

static uint16_t get16(const uint8_t *b)
{
	return b[0] | b[1] << 8;
}

static void fill(struct flow_sample *s, const uint8_t *bytes, size_t n)
{
	size_t n_rows = wide_shape.packets * sample_row_bytes(&wide_shape);
	uint16_t i;

	for (i = 0; i < wide_shape.seq_len && n >= PACKET_BYTES; i++) {
		s->packets[i] = (struct sample_packet){
			.time_ns = (uint64_t)get16(bytes) << (bytes[2] & 63),
			.ip_len_bytes = get16(bytes + 4),
			.packet_index = bytes[3],
			.header_bytes = bytes[6] == 255 ? 65535 : bytes[6],
			.payload_bytes = bytes[7] == 255 ? 65535 : bytes[7],
			.byte_slot = bytes[8] & 0x40 ? get16(bytes + 9) : bytes[8] & 3,
			.against = bytes[8] & 0x80};
		s->n_packets = bytes[11] == 255 ? 65535 : i + 1;
		bytes += PACKET_BYTES;
		n -= PACKET_BYTES;
	}
	memcpy(s->bytes, bytes, n < n_rows ? n : n_rows);
}

static void check(const struct flow_sample *s, bool had_packets)
{
	assert(s->n_packets <= s->shape.seq_len);
	assert(!had_packets || s->n_packets > 0);
}

static void narrow(const struct flow_sample *wide, bool bidirectional)
{
	const struct sample_shape shape = {2, 60, 9, 5, bidirectional};
	struct flow_sample *s = flow_sample_new(&shape);

	assert(s && sample_narrow(s, wide) == 0);
	check(s, wide->n_packets > 0);
	assert(s->n_packets == 0 || !s->packets[0].against || bidirectional);
	for (uint16_t i = 0; i < s->n_packets; i++) {
		const struct sample_packet *p = &s->packets[i];

		assert(p->header_bytes <= 60 && p->payload_bytes <= 9 && p->byte_slot < 2);
		assert(i < 2 || p->header_bytes + p->payload_bytes == 0);
	}
	flow_sample_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const struct augment_config all = {.one_direction = 0.5F,
					   .first_missing = 0.5F,
					   .max_missing = 4,
					   .cut = 0.5F,
					   .time_scale = 0.5F,
					   .max_time_factor = 1e6F,
					   .time_jitter = 0.5F,
					   .time_jitter_deviation = 10,
					   .stack = 0.5F};
	struct flow_sample *wide, *s;
	struct rng rng = {0};
	uint8_t payload[3][16];

	if (size < sizeof(rng.state))
		return 0;
	memcpy(&rng.state, bytes, sizeof(rng.state));
	wide = flow_sample_new(&wide_shape);
	s = flow_sample_new(&wide_shape);
	assert(wide && s);
	fill(wide, bytes + sizeof(rng.state), size - sizeof(rng.state));
	narrow(wide, true);
	narrow(wide, false);
	assert(sample_copy(s, wide) == 0);
	sample_randomise_stack(wide, &rng); /* with its hostile count */
	for (int i = 0; i < 3; i++)
		memcpy(payload[i], s->bytes + i * 96 + 80, 16);
	augment_sample(&all, &rng, s);
	check(s, wide->n_packets > 0);
	for (int i = 0; i < 3; i++)
		assert(!memcmp(payload[i], s->bytes + i * 96 + 80, 16));
	assert(s->n_packets == 0 || wide->packets[0].against || !s->packets[0].against);
	augment_sample(&all, &rng, wide);
	flow_sample_free(wide);
	flow_sample_free(s);
	return 0;
}
