/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Augmentation for real hosts, which see flows late, one-sidedly, for a few packets only, over
 * other paths and from other stacks than the captures that trained the model.
 */
#pragma once
#include <stdint.h>
#include "model/flow_sample.h"
#include "model/rng.h"

/* Probabilities a sample, each drawn apart; 0 = never. */
struct augment_config {
	float one_direction; /* only one direction was seen, either */
	float first_missing; /* the first 1 .. max_missing packets were missed */
	uint16_t max_missing;
	float cut;                   /* judged early, after min_packets or more */
	uint16_t min_packets;        /* at least 1 */
	float time_scale;            /* all times slower or faster, up to max_time_factor */
	float max_time_factor;       /* >= 1; the factor is log-uniform on 1/max .. max */
	float time_jitter;           /* each gap apart */
	float time_jitter_deviation; /* of the gap's logarithm */
	float stack;                 /* sample_randomise_stack */
	float token_drop;            /* of each token of a batch; augment_sample leaves it alone */
};

struct augment_config augment_default_config(void);
struct augment_config augment_none(void);

/* Never leaves a sample that has packets without any. */
void augment_sample(const struct augment_config *config, struct rng *rng,
		    struct flow_sample *sample);
