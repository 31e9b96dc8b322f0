/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records into a sample. A record may stand for several packets: the stack hands one large buffer
 * down and the card (or the stack, later) cuts it; sizes must be those of the wire, or a host would
 * judge its own uploads by packets that nobody else ever sees. Only the first has bytes: the
 * others' payload was not copied.
 *
 * The first P packets in time order own a row of bytes each. A packet that comes late and belongs
 * among them takes the row of the one that it pushes out, so nothing is moved but the small
 * entries.
 */
#include <string.h>
#include "agent/flow/sample_fill.h"

uint32_t record_wire_packets(const struct packet_record *record)
{
	uint32_t n = record->gso_segments;

	if (n < 2 || !record->gso_size_bytes || record->ip_len_bytes < record->header_len)
		return 1;
	/* Contradictory numbers: better one odd packet than many invented ones. */
	if (record->ip_len_bytes - record->header_len <= (n - 1) * record->gso_size_bytes)
		return 1;
	return n;
}

uint64_t record_wire_bytes(const struct packet_record *record)
{
	uint32_t n = record_wire_packets(record);

	return record->ip_len_bytes + (uint64_t)(n - 1) * record->header_len;
}

void sample_clear(struct flow_sample *s)
{
	s->n_packets = 0;
	memset(s->bytes, 0, s->shape.packets * sample_row_bytes(&s->shape));
}

static uint16_t find_place(const struct flow_sample *s, const struct packet_record *record)
{
	uint16_t place = s->n_packets;

	while (place > 0) {
		const struct sample_packet *before = &s->packets[place - 1];

		if (before->time_ns < record->time_ns ||
		    (before->time_ns == record->time_ns &&
		     before->packet_index <= record->packet_index))
			break;
		place--;
	}
	return place;
}

static void turn_round(struct flow_sample *s)
{
	if (!s->shape.bidirectional) {
		s->n_packets = 0;
		return;
	}
	for (uint16_t i = 0; i < s->n_packets; i++)
		s->packets[i].against = !s->packets[i].against;
}

static uint16_t min_u16(uint16_t a, uint16_t b)
{
	return a < b ? a : b;
}

static void copy_bytes(struct flow_sample *s, struct sample_packet *packet,
		       const struct packet_record *record, const uint8_t *data)
{
	uint8_t *row = sample_row(s, packet);

	memset(row, 0, sample_row_bytes(&s->shape));
	if (!data)
		return;
	packet->header_bytes = min_u16(record->header_bytes, s->shape.header_bytes);
	packet->payload_bytes = min_u16(record->payload_bytes, s->shape.payload_bytes);
	memcpy(row, data, packet->header_bytes);
	memcpy(row + s->shape.header_bytes, data + record->header_bytes, packet->payload_bytes);
}

/* The row for a packet at this place; takes it from the packet that is pushed past the first P. */
static uint16_t take_row(struct flow_sample *s)
{
	struct sample_packet *pushed;

	if (s->n_packets < s->shape.packets)
		return s->n_packets;
	pushed = &s->packets[s->shape.packets - 1];
	pushed->header_bytes = 0;
	pushed->payload_bytes = 0;
	return pushed->byte_slot;
}

/* data NULL: no bytes. */
static void insert(struct flow_sample *s, uint16_t place, bool against, uint32_t len_bytes,
		   const struct packet_record *record, const uint8_t *data)
{
	bool has_row = place < s->shape.packets;
	uint16_t row = has_row ? take_row(s) : 0;
	struct sample_packet *packet = &s->packets[place];

	memmove(packet + 1, packet, (s->n_packets - place) * sizeof(*packet));
	s->n_packets++;
	*packet = (struct sample_packet){
		.time_ns = record->time_ns,
		.ip_len_bytes = len_bytes,
		.packet_index = record->packet_index,
		.byte_slot = row,
		.against = against,
	};
	if (has_row)
		copy_bytes(s, packet, record, data);
}

void sample_add_record(struct flow_sample *s, uint8_t *first_direction,
		       const struct packet_record *record, const uint8_t *data)
{
	uint32_t n = record_wire_packets(record);
	uint32_t left = record->ip_len_bytes, len_bytes;
	uint16_t place = find_place(s, record);
	bool against;

	if (place == 0 && s->n_packets && record->direction != *first_direction)
		turn_round(s);
	if (place == 0)
		*first_direction = record->direction;
	against = record->direction != *first_direction;
	if (against && !s->shape.bidirectional)
		return;
	for (uint32_t i = 0; i < n && s->n_packets < s->shape.seq_len; i++) {
		len_bytes = i + 1 < n ? record->header_len + record->gso_size_bytes : left;
		insert(s, place + i, against, len_bytes, record, i ? NULL : data);
		left -= record->gso_size_bytes;
	}
}
