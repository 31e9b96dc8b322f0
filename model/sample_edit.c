/* SPDX-License-Identifier: BSD-2-Clause */
/* See sample_edit.h; the headers' edits are in sample_stack.c. */
#include "model/sample_edit.h"
#include <errno.h>
#include <math.h>
#include <string.h>

static uint16_t min_u16(uint16_t a, uint16_t b)
{
	return a < b ? a : b;
}

static uint16_t packets_of(const struct flow_sample *s)
{
	return min_u16(s->n_packets, s->shape.seq_len);
}

int sample_copy(struct flow_sample *to, const struct flow_sample *from)
{
	const struct sample_shape *a = &to->shape;

	if (!sample_shape_equal(a, &from->shape))
		return -EINVAL;
	to->n_packets = packets_of(from);
	memcpy(to->packets, from->packets, to->n_packets * sizeof(to->packets[0]));
	memcpy(to->bytes, from->bytes, a->packets * sample_row_bytes(a));
	return 0;
}

/* Packet i of `to` from p of the wide sample, with what of its bytes has a place. */
static void take_packet(struct flow_sample *to, uint16_t i, const struct flow_sample *wide,
			const struct sample_packet *p)
{
	struct sample_packet *mine = &to->packets[i];
	uint8_t *row;

	*mine = *p;
	mine->header_bytes = mine->payload_bytes = mine->byte_slot = 0;
	if (i >= to->shape.packets || p->byte_slot >= wide->shape.packets)
		return;
	mine->byte_slot = i;
	mine->header_bytes = min_u16(p->header_bytes, to->shape.header_bytes);
	mine->payload_bytes = min_u16(p->payload_bytes, to->shape.payload_bytes);
	row = sample_row(to, mine);
	memcpy(row, sample_row(wide, p), mine->header_bytes);
	memcpy(row + to->shape.header_bytes, sample_row(wide, p) + wide->shape.header_bytes,
	       mine->payload_bytes);
}

/* `against` is told from the first packet, whichever that has become. */
static void renew_directions(struct flow_sample *s)
{
	bool turned = s->n_packets && s->packets[0].against;

	for (uint16_t i = 0; i < s->n_packets; i++)
		s->packets[i].against ^= turned;
}

static bool can_narrow(const struct sample_shape *narrow, const struct sample_shape *wide)
{
	return narrow->packets <= wide->packets && narrow->header_bytes <= wide->header_bytes &&
	       narrow->payload_bytes <= wide->payload_bytes && narrow->seq_len <= wide->seq_len &&
	       narrow->packets <= narrow->seq_len && narrow->bidirectional <= wide->bidirectional;
}

int samples_check(const struct flow_sample *const *sample, uint32_t n,
		  const struct sample_shape *narrow, struct error *e)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct sample_shape *shape = &sample[i]->shape;

		if (!sample_shape_equal(shape, &sample[0]->shape))
			return error_set(e, -EINVAL, "sample %u is not of the first one's shape",
					 i);
		if (!can_narrow(narrow, shape))
			return error_set(e, -EINVAL,
					 "sample %u holds less than the network reads: %u packets "
					 "of %u + %u bytes and %u sizes",
					 i, shape->packets, shape->header_bytes,
					 shape->payload_bytes, shape->seq_len);
	}
	return 0;
}

int sample_narrow(struct flow_sample *to, const struct flow_sample *wide)
{
	const struct sample_shape *narrow = &to->shape;
	uint16_t n = packets_of(wide);

	if (!can_narrow(narrow, &wide->shape))
		return -EINVAL;
	to->n_packets = 0;
	memset(to->bytes, 0, narrow->packets * sample_row_bytes(narrow));
	for (uint16_t i = 0; i < n && to->n_packets < narrow->seq_len; i++)
		if (narrow->bidirectional || wide->packets[i].against == wide->packets[0].against)
			take_packet(to, to->n_packets++, wide, &wide->packets[i]);
	renew_directions(to);
	return 0;
}

void sample_cut(struct flow_sample *s, uint16_t n)
{
	s->n_packets = min_u16(packets_of(s), n);
}

void sample_drop_first(struct flow_sample *s, uint16_t n)
{
	uint16_t have = packets_of(s);

	if (have == 0)
		return;
	n = min_u16(n, have - 1);
	s->n_packets = have - n;
	memmove(s->packets, s->packets + n, s->n_packets * sizeof(s->packets[0]));
	renew_directions(s);
}

void sample_drop_direction(struct flow_sample *s, bool against)
{
	uint16_t have = packets_of(s), n_kept = 0;

	for (uint16_t i = 0; i < have; i++)
		n_kept += s->packets[i].against != against;
	if (n_kept == 0)
		return;
	s->n_packets = 0;
	for (uint16_t i = 0; i < have; i++)
		if (s->packets[i].against != against)
			s->packets[s->n_packets++] = s->packets[i];
	renew_directions(s);
}

/* base + extra, at most the largest there is. */
static uint64_t add_ns(uint64_t base, double extra)
{
	uint64_t sum;

	if (!(extra < 0x1p64) || __builtin_add_overflow(base, (uint64_t)extra, &sum))
		return UINT64_MAX;
	return sum;
}

void sample_scale_times(struct flow_sample *s, double factor)
{
	uint16_t n = packets_of(s);

	for (uint16_t i = 1; i < n; i++) {
		uint64_t first_ns = s->packets[0].time_ns, *time_ns = &s->packets[i].time_ns;

		if (*time_ns > first_ns)
			*time_ns = add_ns(first_ns, (double)(*time_ns - first_ns) * factor);
	}
}

void sample_jitter_times(struct flow_sample *s, double deviation, struct rng *rng)
{
	uint16_t n = packets_of(s);
	uint64_t before_ns = n ? s->packets[0].time_ns : 0;

	for (uint16_t i = 1; i < n; i++) {
		uint64_t now_ns = s->packets[i].time_ns;
		double gap = now_ns > before_ns ? (double)(now_ns - before_ns) : 0;

		before_ns = now_ns;
		s->packets[i].time_ns =
			add_ns(s->packets[i - 1].time_ns, gap * exp(deviation * rng_normal(rng)));
	}
}
