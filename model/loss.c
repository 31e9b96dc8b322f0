/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See loss.h. Of one sample with target y among C classes of weights w, smoothing e,
 *   p = softmax(scale * (logits - margin at y)):
 *
 *   loss = (1 - e) w_y (-log p_y) + e / C * sum over c of w_c (-log p_c)
 *        = sum over c of share_c (-log p_c)
 *   d loss / d logit_c = scale * (total p_c - share_c), total = sum of the shares
 */
#include "model/loss.h"
#include <assert.h>
#include <math.h>

struct loss_config loss_default_config(void)
{
	return (struct loss_config){.kind = LOSS_LDAM,
				    .scale = 30,
				    .max_margin = 0.5F,
				    .label_smoothing = 0.1F,
				    .balanced = true,
				    .beta = 0.999F};
}

/* n^(-1/4), the largest max_margin: generalises best for rare classes (arXiv 1906.07413). */
static void set_margins(struct loss *l, double max_margin, const uint64_t *counts)
{
	double largest = 0;

	for (uint32_t c = 0; c < l->n_classes; c++)
		if (counts[c])
			largest = fmax(largest, pow((double)counts[c], -0.25));
	for (uint32_t c = 0; c < l->n_classes; c++)
		if (counts[c])
			l->margin[c] = pow((double)counts[c], -0.25) / largest * max_margin;
}

/* The effective number of n samples is (1 - b^n) / (1 - b) (arXiv 1901.05555). */
static void set_balanced_weights(struct loss *l, double beta, const uint64_t *counts)
{
	double weight[MODEL_MAX_CLASSES] = {0}, sum = 0;
	uint32_t n_present = 0;

	for (uint32_t c = 0; c < l->n_classes; c++) {
		if (!counts[c])
			continue;
		weight[c] = (1 - beta) / -expm1((double)counts[c] * log(beta));
		sum += weight[c];
		n_present++;
	}
	for (uint32_t c = 0; c < l->n_classes; c++)
		l->weight[c] = counts[c] ? weight[c] / sum * n_present : 0;
}

void loss_init(struct loss *l, const struct loss_config *config, const uint64_t *class_counts,
	       uint32_t n_classes)
{
	double sum = 0;

	assert(n_classes >= 1 && n_classes <= MODEL_MAX_CLASSES);
	*l = (struct loss){.n_classes = n_classes,
			   .scale = config->kind == LOSS_LDAM ? config->scale : 1,
			   .label_smoothing = config->label_smoothing};
	for (uint32_t c = 0; c < n_classes; c++)
		l->weight[c] = 1;
	if (config->kind == LOSS_LDAM)
		set_margins(l, config->max_margin, class_counts);
	if (config->balanced)
		set_balanced_weights(l, config->beta, class_counts);
	for (uint32_t c = 0; c < n_classes; c++)
		sum += l->weight[c];
	l->smoothed_weight = l->label_smoothing / n_classes * sum;
}

double loss_weight_sum(const struct loss *l, const uint32_t *labels, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += l->weight[labels[i]];
	return sum;
}

/* z (n_classes) becomes log softmax of the scaled logits less the target's margin. */
static void log_probabilities(const struct loss *l, const float *logits, uint32_t target, double *z)
{
	double largest = -INFINITY, sum = 0;

	for (uint32_t c = 0; c < l->n_classes; c++) {
		z[c] = l->scale * ((double)logits[c] - (c == target ? l->margin[c] : 0));
		largest = fmax(largest, z[c]);
	}
	for (uint32_t c = 0; c < l->n_classes; c++)
		sum += exp(z[c] - largest);
	sum = largest + log(sum);
	for (uint32_t c = 0; c < l->n_classes; c++)
		z[c] -= sum;
}

/* What -log p_c counts in the loss of one sample. */
static double share(const struct loss *l, uint32_t c, uint32_t target)
{
	double smoothing = l->label_smoothing;

	return l->weight[c] * (smoothing / l->n_classes + (c == target ? 1 - smoothing : 0));
}

static double gradient_of_one(const struct loss *l, const float *logits, uint32_t target,
			      double denominator, float *d_logits)
{
	double log_p[MODEL_MAX_CLASSES], loss = 0;
	double total = (1 - (double)l->label_smoothing) * l->weight[target] + l->smoothed_weight;

	log_probabilities(l, logits, target, log_p);
	for (uint32_t c = 0; c < l->n_classes; c++) {
		double of_class = share(l, c, target);

		loss -= of_class * log_p[c];
		if (d_logits)
			d_logits[c] = l->scale * (total * exp(log_p[c]) - of_class) / denominator;
	}
	return loss / denominator;
}

double loss_gradient(const struct loss *l, const float *logits, const uint32_t *labels, size_t n,
		     double denominator, float *d_logits)
{
	size_t C = l->n_classes;
	double loss = 0;

	if (denominator <= 0)
		denominator = INFINITY;
	for (size_t i = 0; i < n; i++)
		loss += gradient_of_one(l, logits + i * C, labels[i], denominator,
					d_logits ? d_logits + i * C : NULL);
	return loss;
}
