/* SPDX-License-Identifier: BSD-2-Clause */
/* See metrics.h. All of it comes from three counts a class: flows of it, judged so, both. */
#include "agent/nmtrain/metrics.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "model/error.h"
#include "model/model_file.h"
#include "model/rng.h"

#define Z_95 1.959963984540054 /* of the normal distribution, both sides */

struct tally {
	uint64_t support[MODEL_MAX_CLASSES], judged[MODEL_MAX_CLASSES], right[MODEL_MAX_CLASSES];
};

struct interval metrics_wilson(uint64_t k, uint64_t n)
{
	double p, z2, middle, half;

	if (!n)
		return (struct interval){0, 1};
	p = (double)k / n;
	z2 = Z_95 * Z_95 / n;
	middle = (p + z2 / 2) / (1 + z2);
	half = sqrt(z2 * (p * (1 - p) + z2 / 4)) / (1 + z2);
	return (struct interval){fmax(0, middle - half), fmin(1, middle + half)};
}

void metrics_confusion(uint64_t *count, uint32_t n_classes, const int16_t *label,
		       const int16_t *judged, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (label[i] != NO_CLASS && judged[i] != NO_CLASS)
			count[(size_t)label[i] * n_classes + judged[i]]++;
}

static void tally_add(struct tally *t, int16_t label, int16_t judged)
{
	if (label == NO_CLASS)
		return;
	t->support[label]++;
	if (judged == NO_CLASS)
		return;
	t->judged[judged]++;
	t->right[label] += label == judged;
}

/* support + judged is not 0. */
static double tally_f1(const struct tally *t, uint32_t c)
{
	return 2.0 * t->right[c] / (t->support[c] + t->judged[c]);
}

static double tally_macro_f1(const struct tally *t, uint32_t n_classes)
{
	double sum = 0;
	uint32_t n = 0;

	for (uint32_t c = 0; c < n_classes; c++) {
		if (!t->support[c])
			continue;
		sum += tally_f1(t, c);
		n++;
	}
	return n ? sum / n : NAN;
}

static void fill_class(const struct tally *t, uint32_t c, struct class_figures *f)
{
	f->support = t->support[c];
	f->judged = t->judged[c];
	f->right = t->right[c];
	f->precision = f->judged ? (double)f->right / f->judged : NAN;
	f->recall = f->support ? (double)f->right / f->support : NAN;
	f->f1 = f->support ? tally_f1(t, c) : NAN;
	f->precision_95 = metrics_wilson(f->right, f->judged);
	f->recall_95 = metrics_wilson(f->right, f->support);
}

static void fill_overall(const struct tally *t, uint32_t n_classes, struct overall_figures *o)
{
	double weighted = 0;

	memset(o, 0, sizeof(*o));
	for (uint32_t c = 0; c < n_classes; c++) {
		if (!t->support[c])
			continue;
		o->n += t->support[c];
		o->right += t->right[c];
		o->n_classes++;
		weighted += t->support[c] * tally_f1(t, c);
	}
	o->accuracy = o->n ? (double)o->right / o->n : NAN;
	o->weighted_f1 = o->n ? weighted / o->n : NAN;
	o->macro_f1 = tally_macro_f1(t, n_classes);
	o->accuracy_95 = metrics_wilson(o->right, o->n);
}

void metrics_figures(const int16_t *label, const int16_t *judged, size_t n, uint32_t n_classes,
		     struct class_figures *figures, struct overall_figures *overall)
{
	struct tally t = {0};

	for (size_t i = 0; i < n; i++)
		tally_add(&t, label[i], judged[i]);
	for (uint32_t c = 0; figures && c < n_classes; c++)
		fill_class(&t, c, &figures[c]);
	if (overall)
		fill_overall(&t, n_classes, overall);
}

/* A flow's place in the order of groups. */
struct place {
	uint32_t group;
	uint32_t flow;
};

static int by_group(const void *a, const void *b)
{
	const struct place *left = a, *right = b;

	if (left->group != right->group)
		return left->group < right->group ? -1 : 1;
	return left->flow < right->flow ? -1 : left->flow > right->flow;
}

static int by_value(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return left < right ? -1 : left > right;
}

static void drop_memory(void *p)
{
	free(*(void **)p);
}

/* Flows with a class, in order of their groups; start (n_groups + 1) says where each begins. */
static size_t sort_groups(struct place *place, size_t *start, const int16_t *label,
			  const uint32_t *group, size_t n)
{
	size_t n_flows = 0, n_groups = 0;

	for (size_t i = 0; i < n; i++)
		if (label[i] != NO_CLASS)
			place[n_flows++] = (struct place){group[i], (uint32_t)i};
	qsort(place, n_flows, sizeof(*place), by_group);
	for (size_t i = 0; i < n_flows; i++)
		if (i == 0 || place[i].group != place[i - 1].group)
			start[n_groups++] = i;
	start[n_groups] = n_flows;
	return n_groups;
}

int metrics_bootstrap(const int16_t *label, const int16_t *judged, const uint32_t *group, size_t n,
		      uint32_t n_classes, const struct bootstrap *how,
		      struct interval *ret_interval)
{
	cleanup(drop_memory) struct place *place = calloc(n + 1, sizeof(*place));
	cleanup(drop_memory) size_t *start = calloc(n + 1, sizeof(*start));
	cleanup(drop_memory) double *macro = calloc(how->n_draws + 1, sizeof(*macro));
	size_t n_groups;

	if (!place || !start || !macro)
		return -ENOMEM;
	n_groups = sort_groups(place, start, label, group, n);
	if (!n_groups || !how->n_draws) {
		*ret_interval = (struct interval){NAN, NAN};
		return 0;
	}
	for (uint32_t draw = 0; draw < how->n_draws; draw++) {
		struct rng rng = rng_stream(how->seed, draw, 0);
		struct tally t = {0};

		for (size_t i = 0; i < n_groups; i++) {
			size_t g = rng_below(&rng, n_groups);

			for (size_t j = start[g]; j < start[g + 1]; j++)
				tally_add(&t, label[place[j].flow], judged[place[j].flow]);
		}
		macro[draw] = tally_macro_f1(&t, n_classes);
	}
	qsort(macro, how->n_draws, sizeof(*macro), by_value);
	ret_interval->low = macro[(size_t)(0.025 * (how->n_draws - 1) + 0.5)];
	ret_interval->high = macro[(size_t)(0.975 * (how->n_draws - 1) + 0.5)];
	return 0;
}
