/* SPDX-License-Identifier: BSD-2-Clause */
/* Flow samples of random packets for tests of networks and training. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "model/flow_sample.h"
#include "model/rng.h"

/* The first packets have all their bytes, or none of them has any. */
static inline struct flow_sample *made_flow(const struct sample_shape *shape, uint16_t n_packets,
					    bool with_bytes, struct rng *rng)
{
	struct flow_sample *s = flow_sample_new(shape);
	uint64_t now_ns = 1000000;

	if (!s)
		fail_msg("no memory for a flow");
	s->n_packets = n_packets;
	for (uint16_t i = 0; i < n_packets; i++) {
		struct sample_packet *p = &s->packets[i];

		now_ns += i ? 1000 + rng_below(rng, 3000000000) : 0;
		*p = (struct sample_packet){.time_ns = now_ns,
					    .ip_len_bytes = 40 + (uint32_t)rng_below(rng, 1400),
					    .packet_index = i,
					    .against = i > 0 && shape->bidirectional &&
						       rng_below(rng, 2)};
		if (i >= shape->packets || !with_bytes)
			continue;
		p->byte_slot = i;
		p->header_bytes = shape->header_bytes;
		p->payload_bytes = shape->payload_bytes;
		for (size_t k = 0; k < sample_row_bytes(shape); k++)
			sample_row(s, p)[k] = (uint8_t)rng_next(rng);
	}
	return s;
}
