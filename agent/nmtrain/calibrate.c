/* SPDX-License-Identifier: BSD-2-Clause */
/* See calibrate.h. Logits that are not finite say nothing: such flows are left out of what is
 * fitted, and decide() refuses them. */
#include "agent/nmtrain/calibrate.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "model/error.h"

#define MIN_TEMPERATURE 0.05
#define MAX_TEMPERATURE 20

static void drop_memory(void *p)
{
	free(*(void **)p);
}

void calibrate_decide(const struct calibration *c, uint32_t n_classes, const float *logits,
		      struct decision *ret_decision)
{
	struct model m = {.n_classes = n_classes, .calibration = *c};

	decide(&m, logits, ret_decision);
}

static const float *logits_of(const struct judged *j, size_t i)
{
	return j->logits + i * j->n_classes;
}

static bool is_usable(const struct judged *j, size_t i)
{
	const float *z = logits_of(j, i);

	if (j->label[i] == NO_CLASS)
		return false;
	for (uint32_t c = 0; c < j->n_classes; c++)
		if (!isfinite(z[c]))
			return false;
	return true;
}

/* Of one flow at b = 1 / T: -log p of its class, and the derivative by b, E_p[z] - z_label. */
static double flow_nll(const float *z, uint32_t n, int16_t label, double b, double *ret_slope)
{
	double largest = z[0], sum = 0, weighted = 0;

	for (uint32_t c = 1; c < n; c++)
		largest = fmax(largest, z[c]);
	for (uint32_t c = 0; c < n; c++) {
		double e = exp(b * (z[c] - largest));

		sum += e;
		weighted += e * z[c];
	}
	*ret_slope = weighted / sum - z[label];
	return log(sum) + b * (largest - z[label]);
}

static double mean_nll(const struct judged *j, double b, double *ret_slope)
{
	double nll = 0, slope = 0, one;
	size_t n = 0;

	for (size_t i = 0; i < j->n; i++) {
		if (!is_usable(j, i))
			continue;
		nll += flow_nll(logits_of(j, i), j->n_classes, j->label[i], b, &one);
		slope += one;
		n++;
	}
	*ret_slope = n ? slope / n : NAN;
	return n ? nll / n : NAN;
}

double calibrate_nll(const struct judged *j, double temperature)
{
	double slope;

	return mean_nll(j, 1 / temperature, &slope);
}

/* The likelihood is concave in 1 / T, so its slope crosses zero once: halving finds it. */
float calibrate_temperature(const struct judged *j)
{
	double low = 1.0 / MAX_TEMPERATURE, high = 1.0 / MIN_TEMPERATURE, slope;

	if (isnan(mean_nll(j, 1, &slope)))
		return 1;
	for (int i = 0; i < 40; i++) {
		double middle = sqrt(low * high);

		mean_nll(j, middle, &slope);
		if (slope > 0)
			high = middle;
		else
			low = middle;
	}
	return (float)(1 / sqrt(low * high));
}

void calibrate_reliability(const struct judged *j, const struct calibration *c,
			   struct reliability *ret_reliability)
{
	struct reliability *r = ret_reliability;
	struct decision d;
	size_t n = 0;

	memset(r, 0, sizeof(*r));
	for (size_t i = 0; i < j->n; i++) {
		int b;

		if (!is_usable(j, i))
			continue;
		calibrate_decide(c, j->n_classes, logits_of(j, i), &d);
		b = (int)ceil(d.confidence * CALIBRATE_BINS) - 1; /* bins are (low, high] */
		b = b < 0 ? 0 : b >= CALIBRATE_BINS ? CALIBRATE_BINS - 1 : b;
		r->bin[b].n++;
		r->bin[b].confidence += d.confidence;
		r->bin[b].accuracy += d.class_index == j->label[i];
		n++;
	}
	for (int b = 0; b < CALIBRATE_BINS; b++) {
		if (!r->bin[b].n)
			continue;
		r->ece += fabs(r->bin[b].accuracy - r->bin[b].confidence) / n;
		r->bin[b].confidence /= r->bin[b].n;
		r->bin[b].accuracy /= r->bin[b].n;
	}
	if (!n)
		r->ece = NAN;
}

int calibrate_rank(const struct judged *j, const struct calibration *c,
		   struct ranking ranking[CALIBRATE_SCORES])
{
	cleanup(drop_memory) float *score = calloc(j->n + 1, sizeof(*score));
	cleanup(drop_memory) bool *unknown = calloc(j->n + 1, sizeof(*unknown));
	struct calibration one = *c;
	struct decision d;
	int r = 0;

	if (!score || !unknown)
		return -ENOMEM;
	for (int s = 0; s < CALIBRATE_SCORES && !r; s++) {
		one.score = (enum ood_score)s;
		for (size_t i = 0; i < j->n; i++) {
			calibrate_decide(&one, j->n_classes, logits_of(j, i), &d);
			score[i] = d.ood_score;
			unknown[i] = j->label[i] == NO_CLASS;
		}
		r = ranking_measure(score, unknown, j->n, &ranking[s]);
	}
	return r;
}

static int by_value(const void *a, const void *b)
{
	float left = *(const float *)a, right = *(const float *)b;

	return left < right ? -1 : left > right;
}

int calibrate_unknown(const struct judged *j, const struct ranking ranking[CALIBRATE_SCORES],
		      double kept, struct calibration *c)
{
	cleanup(drop_memory) float *score = calloc(j->n + 1, sizeof(*score));
	struct decision d;
	size_t n = 0, at;

	if (!score)
		return -ENOMEM;
	for (int s = 0; s < CALIBRATE_SCORES; s++)
		if (ranking[s].auroc > ranking[c->score].auroc)
			c->score = (enum ood_score)s;
	for (size_t i = 0; i < j->n; i++) {
		if (j->label[i] == NO_CLASS)
			continue;
		calibrate_decide(c, j->n_classes, logits_of(j, i), &d);
		score[n++] = d.ood_score;
	}
	if (!n)
		return 0;
	qsort(score, n, sizeof(*score), by_value);
	at = (size_t)ceil(kept * n);
	c->ood_threshold = score[at ? at - 1 : 0];
	return 0;
}

/* A flow that is not refused as unknown, by its nearest class. */
struct nearest {
	int class_index;
	float confidence;
	bool right;
};

static int by_class_then_confidence_down(const void *a, const void *b)
{
	const struct nearest *left = a, *right = b;

	if (left->class_index != right->class_index)
		return left->class_index < right->class_index ? -1 : 1;
	return left->confidence > right->confidence ? -1 : left->confidence < right->confidence;
}

/* list is one class's, confident ones first; equal confidences are taken together. */
static enum threshold_found find_threshold(const struct nearest *list, size_t n, double precision,
					   float *threshold)
{
	enum threshold_found found =
		n < CALIBRATE_MIN_FLOWS ? THRESHOLD_FEW_FLOWS : THRESHOLD_NOT_HELD;
	size_t right = 0;

	for (size_t i = 0; i < n; i++) {
		right += list[i].right;
		if (i + 1 < n && list[i + 1].confidence == list[i].confidence)
			continue;
		if (right < precision * (i + 1))
			continue;
		if (i + 1 >= CALIBRATE_MIN_FLOWS) {
			*threshold = list[i].confidence;
			found = THRESHOLD_FITTED;
		} else if (found == THRESHOLD_NOT_HELD) {
			found = THRESHOLD_FEW_FLOWS;
		}
	}
	return found;
}

static size_t list_nearest(const struct judged *j, const struct calibration *c,
			   struct nearest *list, uint64_t *support)
{
	struct decision d;
	size_t n = 0;

	for (size_t i = 0; i < j->n; i++) {
		if (j->label[i] != NO_CLASS)
			support[j->label[i]]++;
		calibrate_decide(c, j->n_classes, logits_of(j, i), &d);
		if (d.by != DECIDED_UNKNOWN)
			list[n++] = (struct nearest){d.class_index, d.confidence,
						     d.class_index == j->label[i]};
	}
	qsort(list, n, sizeof(*list), by_class_then_confidence_down);
	return n;
}

int calibrate_thresholds(const struct judged *j, double precision, struct calibration *c,
			 enum threshold_found *found)
{
	cleanup(drop_memory) struct nearest *list = calloc(j->n + 1, sizeof(*list));
	uint64_t support[MODEL_MAX_CLASSES] = {0};
	size_t n, begin = 0;

	if (!list)
		return -ENOMEM;
	n = list_nearest(j, c, list, support);
	for (uint32_t k = 0; k < j->n_classes; k++) {
		size_t end = begin;

		while (end < n && list[end].class_index == (int)k)
			end++;
		c->threshold[k] = 0.5F;
		found[k] = THRESHOLD_NO_FLOWS;
		if (support[k])
			found[k] = find_threshold(list + begin, end - begin, precision,
						  &c->threshold[k]);
		c->watch_only[k] = found[k] != THRESHOLD_FITTED;
		begin = end;
	}
	return 0;
}
