/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Folds. What must stay together is a unit: all captures that share flows (a group), or one piece
 * of them by time. Groups are found by the flows' marks; a group that holds more than half of a
 * class is cut, at times that part its flows of that class evenly, and all of its captures at the
 * same times: a flow that two of them have is then in one piece.
 *
 * Units are dealt class by class, those with the fewest units first, since they have the least
 * choice, the largest unit first (the order of the iterative stratification of Sechidis, Tsoumakas,
 * Vlahavas 2011), each to the fold where it evens out all of its classes best.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmtrain/dataset_build.h"
#include "model/rng.h"

/* So many flows of one class (n_classes: of none) are in a unit, or in a group. */
struct run {
	uint32_t class_slot, unit, n;
	uint64_t luck; /* order among equals */
};

struct dealer {
	struct dataset *set;
	uint64_t seed;
	uint32_t n_slots;  /* classes, and one for flows without */
	int unlisted;      /* its index, -1 */
	uint32_t *parent;  /* (captures) of the union-find: groups are their first captures */
	uint64_t *total;   /* (slots) flows */
	uint32_t *n_units; /* (slots) */
	struct run *runs, *by_unit;
	size_t n_runs;
	int8_t *unit_fold; /* (captures, folds); -1 = not dealt */
	double *lack;      /* (slots, folds) */
	uint64_t fold_flows[DATASET_MAX_FOLDS];
};

static uint32_t slot_of(const struct dealer *d, const struct dataset_flow *f)
{
	return f->class_index < 0 ? d->n_slots - 1 : (uint32_t)f->class_index;
}

static uint32_t group_of(struct dealer *d, uint32_t capture)
{
	uint32_t *parent = d->parent;

	while (parent[capture] != capture)
		capture = parent[capture] = parent[parent[capture]];
	return capture;
}

static void unite(struct dealer *d, uint32_t a, uint32_t b)
{
	a = group_of(d, a);
	b = group_of(d, b);
	d->parent[a > b ? a : b] = a < b ? a : b;
}

struct marked {
	struct dataset_mark mark;
	uint32_t capture;
};

static int compare_marks(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct dataset_mark));
}

static int find_groups(struct dealer *d)
{
	const struct dataset *set = d->set;
	struct marked *marked = malloc((set->n_flows + 1) * sizeof(*marked));

	if (!marked)
		return -ENOMEM;
	for (uint32_t i = 0; i < set->n_captures; i++)
		d->parent[i] = i;
	for (uint32_t i = 0; i < set->n_flows; i++) {
		dataset_flow_mark(&set->flow[i], &marked[i].mark);
		marked[i].capture = set->flow[i].capture;
	}
	qsort(marked, set->n_flows, sizeof(*marked), compare_marks);
	for (uint32_t i = 1; i < set->n_flows; i++)
		if (!compare_marks(&marked[i - 1], &marked[i]))
			unite(d, marked[i - 1].capture, marked[i].capture);
	free(marked);
	return 0;
}

static uint32_t unit_of(struct dealer *d, const struct dataset_flow *f)
{
	return group_of(d, f->capture) * d->set->n_folds + f->piece;
}

static int by_class_and_unit(const void *a, const void *b)
{
	const struct run *x = a, *y = b;

	if (x->class_slot != y->class_slot)
		return x->class_slot < y->class_slot ? -1 : 1;
	return (x->unit > y->unit) - (x->unit < y->unit);
}

/* The flows' (class, unit) pairs, each once with its number. */
static void count_runs(struct dealer *d)
{
	const struct dataset *set = d->set;
	size_t n = 0;

	for (uint32_t i = 0; i < set->n_flows; i++)
		d->runs[i] = (struct run){.class_slot = slot_of(d, &set->flow[i]),
					  .unit = unit_of(d, &set->flow[i]),
					  .n = 1};
	qsort(d->runs, set->n_flows, sizeof(*d->runs), by_class_and_unit);
	for (uint32_t i = 0; i < set->n_flows; i++) {
		if (n && !by_class_and_unit(&d->runs[n - 1], &d->runs[i]))
			d->runs[n - 1].n++;
		else
			d->runs[n++] = d->runs[i];
	}
	d->n_runs = n;
}

static int compare_times(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static bool is_class(const struct dealer *d, uint32_t slot)
{
	return slot + 1 < d->n_slots && (int)slot != d->unlisted;
}

/* Whether the group (a unit of which nothing is cut yet) holds more than half of the class. */
static bool holds_most(const struct dealer *d, const struct run *r)
{
	return is_class(d, r->class_slot) && r->n > 1 && 2ULL * r->n > d->total[r->class_slot];
}

/* times: of the flows of the classes that the group holds most of. */
static void cut_group(struct dealer *d, uint32_t group, uint64_t *times, size_t n)
{
	struct dataset *set = d->set;

	qsort(times, n, sizeof(*times), compare_times);
	for (uint32_t i = 0; i < set->n_flows; i++) {
		struct dataset_flow *f = &set->flow[i];

		if (group_of(d, f->capture) != group)
			continue;
		for (uint32_t k = 1; k < set->n_folds; k++)
			f->piece += times[k * n / set->n_folds] <= f->first_ns;
	}
}

static size_t times_of_held(struct dealer *d, uint32_t group, const bool *held, uint64_t *times)
{
	const struct dataset *set = d->set;
	size_t n = 0;

	for (uint32_t i = 0; i < set->n_flows; i++)
		if (held[slot_of(d, &set->flow[i])] && group_of(d, set->flow[i].capture) == group)
			times[n++] = set->flow[i].first_ns;
	return n;
}

/* At most one group holds most of a class, so there are few. */
static int cut_groups(struct dealer *d)
{
	uint64_t *times = malloc((d->set->n_flows + 1) * sizeof(*times));
	bool *cut = calloc(d->set->n_captures + 1, sizeof(*cut));
	bool held[MODEL_MAX_CLASSES + 2];

	for (size_t i = 0; times && cut && i < d->n_runs; i++) {
		uint32_t unit = d->runs[i].unit, group = unit / d->set->n_folds;

		if (!holds_most(d, &d->runs[i]) || cut[group])
			continue;
		memset(held, 0, sizeof(held));
		for (size_t k = 0; k < d->n_runs; k++)
			if (d->runs[k].unit == unit && holds_most(d, &d->runs[k]))
				held[d->runs[k].class_slot] = true;
		cut_group(d, group, times, times_of_held(d, group, held, times));
		cut[group] = true;
	}
	free(times);
	free(cut);
	return times && cut ? 0 : -ENOMEM;
}

static int by_unit(const void *a, const void *b)
{
	const struct run *x = a, *y = b;

	if (x->unit != y->unit)
		return x->unit < y->unit ? -1 : 1;
	return (x->class_slot > y->class_slot) - (x->class_slot < y->class_slot);
}

static int by_size_and_luck(const void *a, const void *b)
{
	const struct run *x = a, *y = b;

	if (x->class_slot != y->class_slot)
		return x->class_slot < y->class_slot ? -1 : 1;
	if (x->n != y->n)
		return x->n > y->n ? -1 : 1;
	if (x->luck != y->luck)
		return x->luck < y->luck ? -1 : 1;
	return (x->unit > y->unit) - (x->unit < y->unit);
}

static void prepare_dealing(struct dealer *d)
{
	uint32_t n_folds = d->set->n_folds;

	count_runs(d);
	for (size_t i = 0; i < d->n_runs; i++) {
		struct rng r = rng_stream(d->seed, d->runs[i].unit, 0);

		d->runs[i].luck = rng_next(&r);
		d->n_units[d->runs[i].class_slot]++;
	}
	memcpy(d->by_unit, d->runs, d->n_runs * sizeof(*d->runs));
	qsort(d->by_unit, d->n_runs, sizeof(*d->runs), by_unit);
	qsort(d->runs, d->n_runs, sizeof(*d->runs), by_size_and_luck);
	for (uint32_t s = 0; s < d->n_slots; s++)
		for (uint32_t k = 0; k < n_folds; k++)
			d->lack[s * n_folds + k] = (double)d->total[s] / n_folds;
	memset(d->unit_fold, -1, (size_t)d->set->n_captures * n_folds);
}

/* The runs of a unit, one for each of its classes. */
static const struct run *runs_of(const struct dealer *d, uint32_t unit, size_t *ret_n)
{
	struct run first = {.unit = unit};
	size_t low = 0, high = d->n_runs, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (by_unit(&d->by_unit[middle], &first) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	while (high < d->n_runs && d->by_unit[high].unit == unit)
		high++;
	*ret_n = high - low;
	return &d->by_unit[low];
}

/* The fold that the unit leaves with the least squares of what each class lacks, as shares of the
 * class: rare ones count no less than frequent ones. */
static uint32_t best_fold(const struct dealer *d, const struct run *runs, size_t n)
{
	double best_gain = -INFINITY;
	uint32_t best = 0;

	for (uint32_t k = 0; k < d->set->n_folds; k++) {
		double gain = 0;

		for (size_t i = 0; i < n; i++) {
			uint32_t slot = runs[i].class_slot;
			double total = (double)d->total[slot];

			gain += runs[i].n * d->lack[(size_t)slot * d->set->n_folds + k] /
				(total * total);
		}
		if (gain > best_gain ||
		    (gain == best_gain && d->fold_flows[k] < d->fold_flows[best])) {
			best_gain = gain;
			best = k;
		}
	}
	return best;
}

static void deal_unit(struct dealer *d, uint32_t unit)
{
	size_t n;
	const struct run *runs = runs_of(d, unit, &n);
	uint32_t fold = best_fold(d, runs, n);

	for (size_t i = 0; i < n; i++) {
		d->lack[(size_t)runs[i].class_slot * d->set->n_folds + fold] -= runs[i].n;
		d->fold_flows[fold] += runs[i].n;
	}
	d->unit_fold[unit] = (int8_t)fold;
}

/* Classes with fewer units come first, then unlisted flows, then those without a class. */
static bool comes_before(const struct dealer *d, uint32_t a, uint32_t b)
{
	if (is_class(d, a) != is_class(d, b))
		return is_class(d, a);
	if (!is_class(d, a))
		return a < b;
	return d->n_units[a] != d->n_units[b] ? d->n_units[a] < d->n_units[b] : a < b;
}

static void deal_class(struct dealer *d, uint32_t slot)
{
	for (size_t i = 0; i < d->n_runs; i++)
		if (d->runs[i].class_slot == slot && d->unit_fold[d->runs[i].unit] < 0)
			deal_unit(d, d->runs[i].unit);
}

static void deal(struct dealer *d)
{
	uint32_t order[MODEL_MAX_CLASSES + 2], at;

	prepare_dealing(d);
	for (uint32_t s = 0; s < d->n_slots; s++) {
		for (at = s; at > 0 && comes_before(d, s, order[at - 1]); at--)
			order[at] = order[at - 1];
		order[at] = s;
	}
	for (uint32_t s = 0; s < d->n_slots; s++)
		deal_class(d, order[s]);
	for (uint32_t i = 0; i < d->set->n_flows; i++)
		d->set->flow[i].fold = (uint8_t)d->unit_fold[unit_of(d, &d->set->flow[i])];
}

static void count(struct dealer *d, struct dataset_counts *counts)
{
	bool *cut = (bool *)d->unit_fold; /* done with, and large enough */

	memset(cut, 0, d->set->n_captures);
	for (uint32_t i = 0; i < d->set->n_flows; i++)
		cut[d->set->flow[i].capture] |= d->set->flow[i].piece > 0;
	for (uint32_t i = 0; i < d->set->n_captures; i++) {
		counts->cut_captures += cut[i];
		counts->groups += group_of(d, i) == i;
	}
}

static int allocate(struct dealer *d)
{
	const struct dataset *set = d->set;

	d->parent = calloc(set->n_captures + 1, sizeof(*d->parent));
	d->total = calloc(d->n_slots, sizeof(*d->total));
	d->n_units = calloc(d->n_slots, sizeof(*d->n_units));
	d->runs = calloc(set->n_flows + 1, sizeof(*d->runs));
	d->by_unit = calloc(set->n_flows + 1, sizeof(*d->by_unit));
	d->unit_fold = calloc(set->n_captures + 1, set->n_folds);
	d->lack = calloc((size_t)d->n_slots * set->n_folds, sizeof(*d->lack));
	return d->parent && d->total && d->n_units && d->runs && d->by_unit && d->unit_fold &&
			       d->lack
		       ? 0
		       : -ENOMEM;
}

static void fini(struct dealer *d)
{
	free(d->parent);
	free(d->total);
	free(d->n_units);
	free(d->runs);
	free(d->by_unit);
	free(d->unit_fold);
	free(d->lack);
}

int dataset_deal_folds(struct dataset *set, uint64_t seed, struct dataset_counts *counts)
{
	cleanup(fini) struct dealer d = {
		.set = set,
		.seed = seed,
		.n_slots = set->n_classes + 1,
		.unlisted = dataset_class_index(set, LABELS_UNLISTED),
	};
	int status = allocate(&d);

	if (!status)
		status = find_groups(&d);
	if (status)
		return status;
	for (uint32_t i = 0; i < set->n_flows; i++) {
		set->flow[i].piece = 0;
		d.total[slot_of(&d, &set->flow[i])]++;
	}
	count_runs(&d);
	if (set->n_folds > 1)
		status = cut_groups(&d);
	if (status)
		return status;
	deal(&d);
	count(&d, counts);
	return 0;
}
