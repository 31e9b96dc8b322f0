/* SPDX-License-Identifier: BSD-2-Clause */
/* Sets of made-up flows with labels, a network that suits them, and one gradient of it at a time.
 */
#pragma once
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "model/finetune.h"
#include "model/initialise.h"
#include "tests/model/made_flows.h"

#define N_CLASSES 3
#define MAX_SET   160

static const struct sample_shape wide = {4, 16, 8, 10, true};

/* Flows of classes that differ in what `telling` says. */
enum telling { BY_BYTES = 1, BY_SIZES = 2, BY_TIMES = 4, BY_ALL = 7 };

struct set {
	struct flow_sample *sample[MAX_SET];
	uint32_t label[MAX_SET];
	uint32_t n;
};

static inline void mark(struct flow_sample *s, uint32_t class, unsigned telling)
{
	for (uint16_t i = 0; i < s->n_packets; i++) {
		struct sample_packet *p = &s->packets[i];

		if (telling & BY_SIZES)
			p->ip_len_bytes = 100 + 400 * class + p->ip_len_bytes % 100;
		if (telling & BY_TIMES)
			p->time_ns = i * (uint64_t)(pow(30, class) * 1e6) + p->time_ns % 1000;
		for (size_t k = 0; telling & BY_BYTES && k < p->header_bytes; k++)
			sample_row(s, p)[k] = (uint8_t)(85 * class + sample_row(s, p)[k] % 85);
	}
}

static inline void set_init(struct set *set, uint32_t n, unsigned telling, uint64_t seed)
{
	struct rng rng = rng_stream(seed, 0, 0);

	set->n = n;
	for (uint32_t i = 0; i < n; i++) {
		uint16_t n_packets = (uint16_t)(3 + rng_below(&rng, 4));

		set->label[i] = i % N_CLASSES;
		set->sample[i] = made_flow(&wide, n_packets, true, &rng);
		mark(set->sample[i], set->label[i], telling);
	}
}

static inline void set_fini(struct set *set)
{
	for (uint32_t i = 0; i < set->n; i++)
		flow_sample_free(set->sample[i]);
}

static inline struct labelled_samples samples_of(const struct set *set)
{
	return (struct labelled_samples){(const struct flow_sample *const *)set->sample, set->label,
					 set->n};
}

static inline struct finetune_config config_of(const char *backbone, const struct set *train,
					       const struct set *validation)
{
	struct finetune_config c = {
		.architecture = {.embed_dim = 24,
				 .depth = 2,
				 .d_state = 4,
				 .d_conv = 4,
				 .expand = 2,
				 .dt_rank = 2,
				 .stride = 4,
				 .heads = 2},
		.tokens = {.shape = {2, 12, 4, 5, true},
			   .packed = true,
			   .iat_log = true,
			   .byte_scale = 2.0F / 255,
			   .byte_offset = -1},
		.n_classes = N_CLASSES,
		.loss = loss_default_config(),
		.augment = augment_none(),
		.train = samples_of(train),
		.validation = samples_of(validation),
	};

	snprintf(c.architecture.backbone, sizeof(c.architecture.backbone), "%s", backbone);
	return c;
}

/* All that is drawn at random, on. */
static inline struct finetune_config random_config(const struct set *set)
{
	struct finetune_config c = config_of("mamba", set, set);

	c.augment = augment_default_config();
	c.augment.token_drop = 0.2F;
	c.drop_path = 0.5F;
	return c;
}

/* A worker with a batch of the whole set, for one gradient at a time. */
struct fixture {
	struct finetune *f;
	struct train_task task;
	struct train_batch batch;
	uint32_t index[MAX_SET];
	void *worker;
	float *weights, *gradient;
};

static inline void fixture_init(struct fixture *x, const struct finetune_config *config)
{
	struct rng rng = rng_stream(3, 0, 0);
	size_t n_values;

	*x = (struct fixture){0};
	assert_int_equal(finetune_new(config, &x->f, NULL), 0);
	x->task = finetune_task(x->f);
	assert_int_equal(x->task.worker_new(x->task.ctx, &x->worker), 0);
	n_values = x->task.layout->n_values;
	x->weights = calloc(n_values, sizeof(float));
	x->gradient = calloc(n_values, sizeof(float));
	assert_true(x->weights && x->gradient);
	initialise(x->task.layout, x->weights, &rng);
	for (size_t i = 0; i < n_values; i++)
		x->weights[i] += 0.1F * (float)rng_normal(&rng);
	for (uint32_t i = 0; i < config->train.n; i++)
		x->index[i] = i;
	x->batch = (struct train_batch){.seed = 1, .index = x->index, .n = config->train.n};
	x->batch.denominator = x->task.begin(x->task.ctx, &x->batch);
}

static inline void fixture_fini(struct fixture *x)
{
	x->task.worker_free(x->worker);
	finetune_free(x->f);
	free(x->weights);
	free(x->gradient);
}

static inline double gradient(struct fixture *x, uint32_t first, uint32_t n)
{
	return x->task.gradient(x->worker, &x->batch, first, n, x->weights, x->gradient);
}
