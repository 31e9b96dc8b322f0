/* SPDX-License-Identifier: BSD-2-Clause */
/* See finetune.h. Everything random about a sample comes from (seed, epoch, sample). */
#include "model/finetune.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "model/batch.h"
#include "model/decide.h"
#include "model/sample_edit.h"

/* Tokens of a pass: activations of more do not stay in the second-level cache. */
#define PASS_TOKENS 512
#define PART_FLOWS  16

struct finetune {
	struct finetune_config config;
	struct network net;
	struct layout *layout;
	struct loss loss;
	float *validation_logits;
};

struct finetune_worker {
	struct finetune *f;
	struct flow_sample *wide, *narrow; /* scratch */
	struct batch *batch;
	struct pass *pass;
	uint32_t label[PART_FLOWS];
	struct rng rng[PART_FLOWS];
	float *logits, *d_logits; /* (PART_FLOWS, n_classes) */
	float *drop;              /* (depth, PART_FLOWS) */
};

static int check_samples(const struct labelled_samples *s, const struct finetune_config *c,
			 struct error *e)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (s->label[i] >= c->n_classes)
			return error_set(e, -EINVAL, "sample %u: class %u of %u", i, s->label[i],
					 c->n_classes);
	return samples_check(s->sample, s->n, &c->tokens.shape, e);
}

static void prepare_loss(struct finetune *f)
{
	uint64_t counts[MODEL_MAX_CLASSES] = {0};

	for (uint32_t i = 0; i < f->config.train.n; i++)
		counts[f->config.train.label[i]]++;
	loss_init(&f->loss, &f->config.loss, counts, f->config.n_classes);
}

int finetune_new(const struct finetune_config *config, struct finetune **ret_finetune,
		 struct error *e)
{
	struct finetune *f;
	int r = config->train.n ? check_samples(&config->train, config, e)
				: error_set(e, -EINVAL, "no samples to fine-tune on");

	if (!r)
		r = check_samples(&config->validation, config, e);
	if (r)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f)
		return error_set(e, -ENOMEM, "no memory to fine-tune");
	f->config = *config;
	network_init(&f->net, &config->architecture, &config->tokens, config->n_classes, true);
	prepare_loss(f);
	f->validation_logits =
		malloc(((size_t)config->validation.n * config->n_classes + 1) * sizeof(float));
	r = layout_classifier(&config->architecture, &config->tokens, config->n_classes,
			      &f->layout);
	if (r || !f->validation_logits) {
		finetune_free(f);
		return error_set(e, -ENOMEM, "no memory to fine-tune");
	}
	*ret_finetune = f;
	return 0;
}

void finetune_free(struct finetune *f)
{
	if (!f)
		return;
	layout_free(f->layout);
	free(f->validation_logits);
	free(f);
}

const struct layout *finetune_layout(const struct finetune *f)
{
	return f->layout;
}

static void worker_free(void *worker)
{
	struct finetune_worker *w = worker;

	if (!w)
		return;
	flow_sample_free(w->wide);
	flow_sample_free(w->narrow);
	batch_free(w->batch);
	pass_free(w->pass);
	free(w->logits);
	free(w->d_logits);
	free(w->drop);
	free(w);
}

static int worker_new(void *ctx, void **ret_worker)
{
	struct finetune *f = ctx;
	const struct finetune_config *c = &f->config;
	struct finetune_worker *w = calloc(1, sizeof(*w));
	size_t n_logits = (size_t)PART_FLOWS * c->n_classes;

	if (!w)
		return -ENOMEM;
	w->f = f;
	w->wide = flow_sample_new(&c->train.sample[0]->shape);
	w->narrow = flow_sample_new(&c->tokens.shape);
	w->logits = malloc(n_logits * sizeof(float));
	w->d_logits = malloc(n_logits * sizeof(float));
	w->drop = malloc((size_t)PART_FLOWS * c->architecture.depth * sizeof(float));
	if (!w->wide || !w->narrow || !w->logits || !w->d_logits || !w->drop ||
	    batch_new(&c->tokens, c->architecture.stride, PART_FLOWS, &w->batch) ||
	    pass_new(&f->net, PART_FLOWS, PASS_TOKENS, &w->pass)) {
		worker_free(w);
		return -ENOMEM;
	}
	*ret_worker = w;
	return 0;
}

static double begin(void *ctx, const struct train_batch *batch)
{
	const struct finetune *f = ctx;
	double sum = 0;

	for (uint32_t i = 0; i < batch->n; i++)
		sum += f->loss.weight[f->config.train.label[batch->index[i]]];
	return sum;
}

/* Tokens that augmentation drops, CLS never. */
static void drop_tokens(struct batch *b, uint32_t i, float probability, struct rng *rng)
{
	uint16_t *place = b->places + (size_t)i * b->n_tokens, n = 0;

	for (uint16_t k = 0; k < b->n_places[i]; k++) {
		uint16_t p = place[k];

		if (place_is_cls(b->shape.seq_len, b->n_tokens, p) ||
		    rng_uniform(rng) >= probability)
			place[n++] = p;
	}
	b->n_places[i] = n;
}

static void add_augmented(struct finetune_worker *w, const struct train_batch *batch,
			  uint32_t sample)
{
	const struct finetune_config *c = &w->f->config;
	uint32_t i = w->batch->n;
	struct rng *rng = &w->rng[i];

	*rng = rng_stream(batch->seed, batch->epoch, sample);
	sample_copy(w->wide, c->train.sample[sample]);
	augment_sample(&c->augment, rng, w->wide);
	sample_narrow(w->narrow, w->wide);
	batch_add(w->batch, &c->tokens, w->narrow);
	if (c->augment.token_drop > 0)
		drop_tokens(w->batch, i, c->augment.token_drop, rng);
	w->label[i] = c->train.label[sample];
}

/* What survives is scaled up, so that the expectation stays. */
static void draw_drop_path(struct finetune_worker *w, uint32_t first, uint32_t n)
{
	uint32_t depth = w->f->config.architecture.depth;

	for (uint32_t block = 0; block < depth; block++) {
		float p = depth > 1 ? w->f->config.drop_path * (float)block / (float)(depth - 1)
				    : w->f->config.drop_path;

		for (uint32_t b = 0; b < n; b++) {
			bool dropped = rng_uniform(&w->rng[first + b]) < p;

			w->drop[block * n + b] = dropped ? 0.0F : 1.0F / (1.0F - p);
		}
	}
}

static double gradient(void *worker, const struct train_batch *batch, uint32_t first, uint32_t n,
		       const float *weights, float *gradient_values)
{
	struct finetune_worker *w = worker;
	struct finetune *f = w->f;
	struct network_weights values, gradients;
	double loss = 0;

	network_bind_block(&values, &f->net, f->layout, (float *)weights);
	network_bind_block(&gradients, &f->net, f->layout, gradient_values);
	for (uint32_t done = 0, part; done < n; done += part) {
		part = n - done < PART_FLOWS ? n - done : PART_FLOWS;
		batch_reset(w->batch);
		for (uint32_t i = 0; i < part; i++)
			add_augmented(w, batch, batch->index[first + done + i]);
		for (uint32_t b = 0, fit; b < part; b += fit) {
			fit = pass_fit(w->pass, w->batch, b, part);
			draw_drop_path(w, b, fit);
			w->pass->stack->drop = f->config.drop_path > 0 ? w->drop : NULL;
			network_encode(w->pass, &values, w->batch, b, fit);
			network_classify(w->pass, &values, w->logits);
			loss += loss_gradient(&f->loss, w->logits, w->label + b, fit,
					      batch->denominator, w->d_logits);
			network_classify_backward(w->pass, &values, &gradients, w->d_logits);
		}
	}
	return loss;
}

static void validate(void *worker, uint32_t first, uint32_t n, const float *weights)
{
	struct finetune_worker *w = worker;
	struct finetune *f = w->f;
	struct network_weights values;

	network_bind_block(&values, &f->net, f->layout, (float *)weights);
	w->pass->stack->drop = NULL;
	for (uint32_t done = 0, part; done < n; done += part) {
		part = n - done < PART_FLOWS ? n - done : PART_FLOWS;
		batch_reset(w->batch);
		for (uint32_t i = 0; i < part; i++) {
			sample_narrow(w->narrow, f->config.validation.sample[first + done + i]);
			batch_add(w->batch, &f->config.tokens, w->narrow);
		}
		for (uint32_t b = 0, fit; b < part; b += fit) {
			fit = pass_fit(w->pass, w->batch, b, part);
			network_encode(w->pass, &values, w->batch, b, fit);
			network_classify(w->pass, &values,
					 f->validation_logits +
						 (size_t)(first + done + b) * f->config.n_classes);
		}
	}
}

/* Macro-F1 over the classes that have validation samples: a rare class counts like any other. */
static struct train_score score(void *ctx)
{
	struct finetune *f = ctx;
	const struct labelled_samples *v = &f->config.validation;
	uint32_t n_classes = f->config.n_classes, n_present = 0, n_right = 0;
	uint32_t right[MODEL_MAX_CLASSES] = {0}, said[MODEL_MAX_CLASSES] = {0},
		 is[MODEL_MAX_CLASSES] = {0};
	struct train_score s = {0};

	for (uint32_t i = 0; i < v->n; i++) {
		uint32_t best =
			decide_nearest(f->validation_logits + (size_t)i * n_classes, n_classes);

		said[best]++;
		is[v->label[i]]++;
		right[best] += best == v->label[i];
		n_right += best == v->label[i];
	}
	for (uint32_t c = 0; c < n_classes; c++) {
		if (is[c] == 0)
			continue;
		n_present++;
		s.score += 2.0 * right[c] / (said[c] + is[c]);
	}
	s.score /= n_present;
	s.accuracy = (double)n_right / v->n;
	s.loss = loss_gradient(&f->loss, f->validation_logits, v->label, v->n,
			       loss_weight_sum(&f->loss, v->label, v->n), NULL);
	return s;
}

struct train_task finetune_task(struct finetune *f)
{
	return (struct train_task){
		.ctx = f,
		.layout = f->layout,
		.n_samples = f->config.train.n,
		.n_validation = f->config.validation.n,
		.worker_new = worker_new,
		.worker_free = worker_free,
		.begin = begin,
		.gradient = gradient,
		.validate = validate,
		.score = score,
	};
}
