/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * At most so many flows of a class: the first of each capture by lot, then the second of each, and
 * so on, so that as many captures as can be stay in. Flows without a class are one more class.
 */
#include <errno.h>
#include <stdlib.h>
#include "agent/nmtrain/dataset_build.h"
#include "model/rng.h"

struct lot {
	int16_t class_index;
	uint32_t capture, flow, rank;
	uint64_t luck;
};

static int compare_lots(const struct lot *x, const struct lot *y)
{
	if (x->luck != y->luck)
		return x->luck < y->luck ? -1 : 1;
	return (x->flow > y->flow) - (x->flow < y->flow);
}

static int by_capture(const void *a, const void *b)
{
	const struct lot *x = a, *y = b;

	if (x->class_index != y->class_index)
		return x->class_index < y->class_index ? -1 : 1;
	if (x->capture != y->capture)
		return x->capture < y->capture ? -1 : 1;
	return compare_lots(x, y);
}

static int by_rank(const void *a, const void *b)
{
	const struct lot *x = a, *y = b;

	if (x->class_index != y->class_index)
		return x->class_index < y->class_index ? -1 : 1;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return compare_lots(x, y);
}

static void draw(const struct dataset *set, struct lot *lots, uint64_t seed)
{
	for (uint32_t i = 0; i < set->n_flows; i++) {
		struct rng r = rng_stream(seed, i, 1);

		lots[i] = (struct lot){.class_index = set->flow[i].class_index,
				       .capture = set->flow[i].capture,
				       .flow = i,
				       .luck = rng_next(&r)};
	}
	qsort(lots, set->n_flows, sizeof(*lots), by_capture);
	for (uint32_t i = 1; i < set->n_flows; i++)
		if (lots[i].class_index == lots[i - 1].class_index &&
		    lots[i].capture == lots[i - 1].capture)
			lots[i].rank = lots[i - 1].rank + 1;
	qsort(lots, set->n_flows, sizeof(*lots), by_rank);
}

int dataset_limit_classes(struct dataset *set, uint32_t max, uint64_t seed, uint64_t *dropped)
{
	struct lot *lots = malloc((set->n_flows + 1) * sizeof(*lots));
	uint32_t n_class = 0, n = 0;

	if (!lots)
		return -ENOMEM;
	draw(set, lots, seed);
	for (uint32_t i = 0; i < set->n_flows; i++) {
		if (i && lots[i].class_index != lots[i - 1].class_index)
			n_class = 0;
		if (n_class++ < max)
			continue;
		flow_sample_free(take_ptr(set->flow[lots[i].flow].sample));
		(*dropped)++;
	}
	for (uint32_t i = 0; i < set->n_flows; i++)
		if (set->flow[i].sample)
			set->flow[n++] = set->flow[i];
	set->n_flows = n;
	free(lots);
	return 0;
}
