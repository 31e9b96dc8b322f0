/* SPDX-License-Identifier: BSD-2-Clause */
/* See decide.h. Sums of exponentials subtract the largest logit first, in double: no overflow. */
#include "model/decide.h"
#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

uint32_t decide_nearest(const float *logits, uint32_t n_classes)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < n_classes; i++)
		if (logits[i] > logits[best])
			best = i;
	return best;
}

/* Fills probability and class_index; returns log(sum exp(z / T)). */
static double softmax(const struct model *m, const float *logits, struct decision *d)
{
	double temperature = m->calibration.temperature, sum = 0;
	uint32_t best = decide_nearest(logits, m->n_classes);

	for (uint32_t i = 0; i < m->n_classes; i++)
		sum += exp(((double)logits[i] - logits[best]) / temperature);
	for (uint32_t i = 0; i < m->n_classes; i++)
		d->probability[i] =
			(float)(exp(((double)logits[i] - logits[best]) / temperature) / sum);
	d->class_index = (int)best;
	d->confidence = d->probability[best];
	return log(sum) + logits[best] / temperature;
}

static double entropy(const struct decision *d, uint32_t n)
{
	double h = 0;

	for (uint32_t i = 0; i < n; i++)
		if (d->probability[i] > 0)
			h -= d->probability[i] * log(d->probability[i]);
	return h;
}

static double ood_score(const struct model *m, const float *logits, const struct decision *d,
			double log_sum)
{
	switch (m->calibration.score) {
	case OOD_ENERGY:
		return -log_sum;
	case OOD_MAX_LOGIT:
		return -logits[d->class_index] / (double)m->calibration.temperature;
	case OOD_MAX_PROBABILITY:
		return -d->confidence;
	case OOD_ENTROPY:
		return entropy(d, m->n_classes);
	}
	assert(!"model_load lets only these scores through");
	return FLT_MAX;
}

static bool all_finite(const float *logits, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (!isfinite(logits[i]))
			return false;
	return true;
}

void decide(const struct model *m, const float *logits, struct decision *ret_decision)
{
	struct decision *d = ret_decision;
	double log_sum;

	memset(d, 0, sizeof(*d));
	if (!all_finite(logits, m->n_classes)) {
		/* Weights can be finite and still overflow: such a model knows nothing. */
		d->ood_score = FLT_MAX;
		d->unknown = true;
		d->by = DECIDED_UNKNOWN;
		return;
	}
	log_sum = softmax(m, logits, d);
	/* A small temperature can carry a score past float. */
	d->ood_score = (float)fmax(fmin(ood_score(m, logits, d, log_sum), FLT_MAX), -FLT_MAX);
	d->unknown = d->ood_score > m->calibration.ood_threshold;
	if (d->unknown)
		d->by = DECIDED_UNKNOWN;
	else if (d->confidence < m->calibration.threshold[d->class_index])
		d->by = DECIDED_THRESHOLD;
	else
		d->by = DECIDED_CLASS;
}

const char *decided_by_name(enum decided_by by)
{
	static const char *const names[] = {
		[DECIDED_CLASS] = "class",
		[DECIDED_THRESHOLD] = "threshold",
		[DECIDED_UNKNOWN] = "unknown",
	};

	return names[by];
}
