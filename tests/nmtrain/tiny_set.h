/* SPDX-License-Identifier: BSD-2-Clause */
/* A data set in memory: small flows whose bytes tell their class, dealt to captures and folds in
 * turn. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmtrain/dataset_build.h"
#include "model/rng.h"

struct tiny_config {
	uint32_t n_flows, n_classes, n_captures, n_folds;
	uint64_t seed;
	bool shuffled; /* labels that have nothing to do with the flows */
};

static inline struct flow_sample *tiny_sample(const struct sample_shape *shape, unsigned kind,
					      struct rng *rng)
{
	struct flow_sample *s = flow_sample_new(shape);

	s->n_packets = (uint16_t)(2 + rng_below(rng, shape->seq_len - 1));
	for (unsigned i = 0; i < s->n_packets; i++) {
		struct sample_packet *p = &s->packets[i];

		p->time_ns = rng_below(rng, 1000000) + (i ? p[-1].time_ns : 1700000000000000000);
		p->ip_len_bytes = 40 + (uint32_t)rng_below(rng, 100) + 100 * kind;
		p->packet_index = i;
		p->against = i % 2;
		if (i >= shape->packets)
			continue;
		p->byte_slot = (uint16_t)i;
		p->header_bytes = shape->header_bytes;
		p->payload_bytes = shape->payload_bytes;
		for (size_t k = 0; k < sample_row_bytes(shape); k++)
			sample_row(s, p)[k] = (uint8_t)(40 * kind + rng_below(rng, 40));
		sample_row(s, p)[0] = 0x45;
	}
	return s;
}

static inline void tiny_fill_flow(struct dataset *set, const struct tiny_config *c, uint32_t i,
				  struct rng *rng)
{
	struct dataset_flow *f = &set->flow[i];
	unsigned kind = i % c->n_classes;

	f->sample = tiny_sample(&set->shape, kind, rng);
	f->class_index = (int16_t)(c->shuffled ? rng_below(rng, c->n_classes) : kind);
	f->capture = (i / c->n_classes) % c->n_captures;
	f->fold = (uint8_t)(f->capture % c->n_folds);
	f->first_ns = f->sample->packets[0].time_ns;
	f->packets = f->sample->n_packets;
	f->bytes = 1000;
	set->capture[f->capture].n_flows++;
}

static inline struct dataset *tiny_set(const struct tiny_config *c)
{
	struct dataset *set = calloc(1, sizeof(*set));
	struct rng rng = rng_stream(c->seed, 0, 0);

	set->shape = (struct sample_shape){4, 20, 12, 8, true};
	set->n_flows = c->n_flows;
	set->n_captures = c->n_captures;
	set->n_classes = c->n_classes;
	set->n_labels = 1;
	set->n_folds = c->n_folds;
	set->flow = calloc(c->n_flows, sizeof(*set->flow));
	set->capture = calloc(c->n_captures, sizeof(*set->capture));
	set->class_name = calloc(c->n_classes, sizeof(*set->class_name));
	set->label_name = calloc(1, sizeof(*set->label_name));
	set->label_name[0] = strdup("a-label");
	set->provenance = strdup("{}");
	for (uint32_t i = 0; i < c->n_classes; i++)
		snprintf(set->class_name[i], MODEL_CLASS_NAME, "class-%c", 'a' + (int)i);
	for (uint32_t i = 0; i < c->n_captures; i++) {
		set->capture[i].name = malloc(32);
		snprintf(set->capture[i].name, 32, "capture-%u.pcap", i);
		set->capture[i].source = strdup("tiny");
		snprintf(set->capture[i].sha256, sizeof(set->capture[i].sha256), "%064x", i + 1);
	}
	for (uint32_t i = 0; i < c->n_flows; i++)
		tiny_fill_flow(set, c, i, &rng);
	return set;
}
