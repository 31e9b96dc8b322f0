/* SPDX-License-Identifier: BSD-2-Clause */
/* See augment.h. */
#include "model/augment.h"
#include <math.h>
#include "model/sample_edit.h"

struct augment_config augment_none(void)
{
	return (struct augment_config){.min_packets = 1, .max_time_factor = 1};
}

struct augment_config augment_default_config(void)
{
	return (struct augment_config){.one_direction = 0.15F,
				       .first_missing = 0.1F,
				       .max_missing = 4,
				       .cut = 0.2F,
				       .min_packets = 3,
				       .time_scale = 0.3F,
				       .max_time_factor = 3,
				       .time_jitter = 0.3F,
				       .time_jitter_deviation = 0.3F,
				       .stack = 0.3F};
}

static bool chance(float probability, struct rng *rng)
{
	return rng_uniform(rng) < probability;
}

static void cut(uint16_t least, struct rng *rng, struct flow_sample *sample)
{
	if (least == 0)
		least = 1;
	if (sample->n_packets > least)
		sample_cut(sample, least + rng_below(rng, sample->n_packets - least));
}

/* In the order of the way: what hosts and path do to the packets, then what of them is seen. */
void augment_sample(const struct augment_config *config, struct rng *rng,
		    struct flow_sample *sample)
{
	if (chance(config->stack, rng))
		sample_randomise_stack(sample, rng);
	if (chance(config->time_scale, rng))
		sample_scale_times(sample, pow(config->max_time_factor, 2 * rng_uniform(rng) - 1));
	if (chance(config->time_jitter, rng))
		sample_jitter_times(sample, config->time_jitter_deviation, rng);
	if (chance(config->one_direction, rng))
		sample_drop_direction(sample, rng_below(rng, 2));
	if (config->max_missing && chance(config->first_missing, rng))
		sample_drop_first(sample, 1 + rng_below(rng, config->max_missing));
	if (chance(config->cut, rng))
		cut(config->min_packets, rng, sample);
}
