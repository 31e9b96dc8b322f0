/* SPDX-License-Identifier: BSD-2-Clause */
/* See pretrain.h. Everything random about a sample comes from (seed, epoch, sample), so that begin
 * can count masks that the workers draw again. */
#include "model/pretrain.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "model/sample_edit.h"

#define PART_FLOWS 8

struct masking; /* a worker's scratch, and begin's */

struct pretrain {
	struct pretrain_config config;
	struct masked_network network;
	struct layout *layout;
	struct masking *counting;
	struct masked_counts counts; /* of the batch being computed */
};

struct masking {
	const struct pretrain *pretrain;
	struct flow_sample *wide, *narrow;
	struct batch *batch;
	struct flow_mask mask[PART_FLOWS];
	uint16_t *lists; /* those of mask */
	float *values;
};

struct pretrain_worker {
	struct pretrain *pretrain;
	struct masking *masking;
	struct masked_pass *pass;
};

static void masking_free(struct masking *k)
{
	if (!k)
		return;
	flow_sample_free(k->wide);
	flow_sample_free(k->narrow);
	batch_free(k->batch);
	free(k->lists);
	free(k->values);
	free(k);
}

static struct masking *masking_new(const struct pretrain *p)
{
	const struct pretrain_config *c = &p->config;
	size_t N = p->network.net.n_byte_tokens, S = p->network.net.S;
	struct masking *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->pretrain = p;
	k->wide = flow_sample_new(&c->sample[0]->shape);
	k->narrow = flow_sample_new(&c->tokens.shape);
	k->lists = calloc(PART_FLOWS * (N + 2 * S), sizeof(*k->lists));
	k->values = calloc(PART_FLOWS * 2 * S, sizeof(*k->values));
	if (!k->wide || !k->narrow || !k->lists || !k->values ||
	    batch_new(&c->tokens, c->architecture.stride, PART_FLOWS, &k->batch)) {
		masking_free(k);
		return NULL;
	}
	for (size_t i = 0; i < PART_FLOWS; i++) {
		k->mask[i].byte = k->lists + i * (N + 2 * S);
		k->mask[i].size = k->mask[i].byte + N;
		k->mask[i].iat = k->mask[i].size + S;
		k->mask[i].true_size = k->values + i * 2 * S;
		k->mask[i].true_iat = k->mask[i].true_size + S;
	}
	return k;
}

static void shuffle(uint16_t *list, uint16_t n, struct rng *rng)
{
	for (uint16_t i = n; i > 1; i--) {
		uint16_t j = rng_below(rng, i), swapped = list[i - 1];

		list[i - 1] = list[j];
		list[j] = swapped;
	}
}

/* Chooses which of n values are masked, in order, and puts `instead` in their places. */
static uint16_t mask_values(float *values, uint16_t n, double share, float instead, uint16_t *place,
			    float *true_value, struct rng *rng)
{
	uint16_t n_masked = (uint16_t)(n * share + 0.5), n_left = n_masked, k = 0;

	for (uint16_t i = 0; i < n; i++) {
		if (rng_below(rng, n - i) >= n_left)
			continue;
		n_left--;
		place[k] = i;
		true_value[k++] = values[i];
		values[i] = instead;
	}
	return n_masked;
}

/* Takes from flow i of the batch what is masked. */
static void mask_flow(struct masking *k, uint32_t i, struct rng *rng)
{
	const struct pretrain *p = k->pretrain;
	struct batch *b = k->batch;
	struct flow_mask *mask = &k->mask[i];
	uint16_t S = b->shape.seq_len, first_byte = 2 * (S + 1), n = 0, n_packets = 0, n_other = 0;
	uint16_t *place = b->places + (size_t)i * b->n_tokens;

	for (uint16_t t = 0; t < b->n_places[i]; t++) {
		n_packets += place[t] < S;
		if (place[t] >= first_byte && place[t] != b->n_tokens - 1)
			mask->byte[n++] = place[t] - first_byte;
		else if (place[t] < first_byte)
			n_other++;
	}
	shuffle(mask->byte, n, rng);
	mask->n_bytes = n;
	mask->n_kept = (uint16_t)(n * (1 - p->config.byte_mask));
	if (n > 0 && mask->n_kept == 0)
		mask->n_kept = 1;
	for (uint16_t t = 0; t < mask->n_kept; t++)
		place[n_other + t] = first_byte + mask->byte[t];
	place[n_other + mask->n_kept] = b->n_tokens - 1;
	b->n_places[i] = n_other + mask->n_kept + 1;
	mask->n_sizes = mask_values(b->sizes + (size_t)i * S, n_packets, p->config.size_mask,
				    p->network.size_mask_id, mask->size, mask->true_size, rng);
	mask->n_iats = mask_values(b->iats + (size_t)i * S, n_packets, p->config.iat_mask, 0,
				   mask->iat, mask->true_iat, rng);
}

/* Samples index[0 .. n), n <= PART_FLOWS, into the batch and its masks. */
static void mask_samples(struct masking *k, const struct train_batch *batch, const uint32_t *index,
			 uint32_t n)
{
	const struct pretrain_config *c = &k->pretrain->config;

	batch_reset(k->batch);
	for (uint32_t i = 0; i < n; i++) {
		struct rng rng = rng_stream(batch->seed, batch->epoch, index[i]);

		sample_copy(k->wide, c->sample[index[i]]);
		augment_sample(&c->augment, &rng, k->wide);
		sample_narrow(k->narrow, k->wide);
		batch_add(k->batch, &c->tokens, k->narrow);
		mask_flow(k, i, &rng);
	}
}

static int check_decoder(const struct pretrain_config *c, struct error *e)
{
	const struct architecture *a = &c->architecture;
	bool attention = strcmp(a->backbone, attention_block.backbone) == 0;

	if (attention && c->decoder.embed_dim % a->heads)
		return error_set(e, -EINVAL,
				 "the decoder's width %u cannot be parted into the encoder's %u "
				 "heads; make it a multiple",
				 c->decoder.embed_dim, a->heads);
	return 0;
}

int pretrain_new(const struct pretrain_config *config, struct pretrain **ret_pretrain,
		 struct error *e)
{
	struct pretrain *p;
	int r = check_decoder(config, e);

	if (!r && config->n_samples == 0)
		r = error_set(e, -EINVAL, "no samples to pre-train on");
	if (!r)
		r = samples_check(config->sample, config->n_samples, &config->tokens.shape, e);
	if (r)
		return r;
	p = calloc(1, sizeof(*p));
	if (!p)
		return error_set(e, -ENOMEM, "no memory to pre-train");
	p->config = *config;
	masked_network_init(&p->network, &config->architecture, &config->tokens, &config->decoder);
	p->counting = masking_new(p);
	if (!p->counting ||
	    layout_pretrain(&config->architecture, &config->tokens, &config->decoder, &p->layout)) {
		pretrain_free(p);
		return error_set(e, -ENOMEM, "no memory to pre-train");
	}
	*ret_pretrain = p;
	return 0;
}

void pretrain_free(struct pretrain *p)
{
	if (!p)
		return;
	masking_free(p->counting);
	layout_free(p->layout);
	free(p);
}

const struct layout *pretrain_layout(const struct pretrain *p)
{
	return p->layout;
}

static void worker_free(void *worker)
{
	struct pretrain_worker *w = worker;

	masking_free(w->masking);
	masked_pass_free(w->pass);
	free(w);
}

static int worker_new(void *ctx, void **ret_worker)
{
	struct pretrain *p = ctx;
	struct pretrain_worker *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->pretrain = p;
	w->masking = masking_new(p);
	if (!w->masking || masked_pass_new(&p->network, PART_FLOWS, &w->pass)) {
		worker_free(w);
		return -ENOMEM;
	}
	*ret_worker = w;
	return 0;
}

static uint32_t part_size(uint32_t n_left)
{
	return n_left < PART_FLOWS ? n_left : PART_FLOWS;
}

static double begin(void *ctx, const struct train_batch *batch)
{
	struct pretrain *p = ctx;

	p->counts = (struct masked_counts){0};
	for (uint32_t done = 0, part; done < batch->n; done += part) {
		part = part_size(batch->n - done);
		mask_samples(p->counting, batch, batch->index + done, part);
		for (uint32_t i = 0; i < part; i++) {
			const struct flow_mask *mask = &p->counting->mask[i];

			p->counts.bytes += mask->n_bytes - mask->n_kept;
			p->counts.sizes += mask->n_sizes;
			p->counts.iats += mask->n_iats;
		}
	}
	return batch->n;
}

static double gradient(void *worker, const struct train_batch *batch, uint32_t first, uint32_t n,
		       const float *weights, float *gradient_values)
{
	struct pretrain_worker *w = worker;
	struct pretrain *p = w->pretrain;
	double loss = 0;

	for (uint32_t done = 0, part; done < n; done += part) {
		struct masked_losses losses;

		part = part_size(n - done);
		mask_samples(w->masking, batch, batch->index + first + done, part);
		losses = masked_network_gradient(w->pass, p->layout, w->masking->batch, 0, part,
						 w->masking->mask, &p->counts, weights,
						 gradient_values);
		loss += losses.bytes + losses.sizes + losses.iats;
	}
	return loss;
}

struct train_task pretrain_task(struct pretrain *p)
{
	return (struct train_task){
		.ctx = p,
		.layout = p->layout,
		.n_samples = p->config.n_samples,
		.worker_new = worker_new,
		.worker_free = worker_free,
		.begin = begin,
		.gradient = gradient,
	};
}
