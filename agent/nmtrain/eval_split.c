/* SPDX-License-Identifier: BSD-2-Clause */
/* See eval_split.h. */
#include "agent/nmtrain/eval_split.h"
#include <errno.h>
#include <stdlib.h>
#include "agent/nmtrain/dataset_build.h"
#include "agent/nmtrain/metrics.h"

#define MAX_SOURCES 4096

/* Labelled flows of the fold; what has moved leaves an empty place in from. */
static int move_flows(struct eval_split *split, struct dataset *from, int fold)
{
	struct dataset *set = &split->set;

	*set = *from;
	set->n_flows = 0;
	set->flow = calloc((size_t)from->n_flows + 1, sizeof(*set->flow));
	if (!set->flow)
		return -ENOMEM;
	for (uint32_t i = 0; i < from->n_flows; i++) {
		struct dataset_flow *f = &from->flow[i];

		if (!f->sample || (fold != EVAL_ALL_FOLDS && f->fold != fold))
			continue;
		if (f->class_index == DATASET_NO_CLASS) {
			split->n_unlabelled++;
			continue;
		}
		set->flow[set->n_flows++] = *f;
		f->sample = NULL;
	}
	return 0;
}

static int describe_flows(struct eval_split *split, struct names *sources)
{
	const struct dataset *set = &split->set;

	split->every = calloc((size_t)set->n_flows + 1, sizeof(*split->every));
	split->group = calloc((size_t)set->n_flows + 1, sizeof(*split->group));
	split->source = calloc((size_t)set->n_flows + 1, sizeof(*split->source));
	split->kind = calloc((size_t)set->n_flows + 1, sizeof(*split->kind));
	if (!split->every || !split->group || !split->source || !split->kind)
		return -ENOMEM;
	for (uint32_t i = 0; i < set->n_flows; i++) {
		const struct dataset_flow *f = &set->flow[i];
		int source = names_add(sources, set->capture[f->capture].source, MAX_SOURCES);

		if (source < 0)
			return source;
		split->every[i] = i;
		split->group[i] = f->capture;
		split->source[i] = (uint32_t)source;
		split->kind[i] = (uint32_t)f->class_index;
	}
	return 0;
}

int eval_split_take(struct eval_split *split, struct dataset *from, int fold, uint32_t cap,
		    uint64_t seed, struct names *sources)
{
	int r;

	*split = (struct eval_split){0};
	r = move_flows(split, from, fold);
	if (!r && cap)
		r = dataset_limit_classes(&split->set, cap, seed, &split->n_over_cap);
	return r ? r : describe_flows(split, sources);
}

void eval_split_fini(struct eval_split *split)
{
	for (uint32_t i = 0; split->set.flow && i < split->set.n_flows; i++)
		flow_sample_free(split->set.flow[i].sample);
	free(split->set.flow);
	free(split->every);
	free(split->group);
	free(split->source);
	free(split->kind);
}

int16_t *eval_split_labels(const struct eval_split *split, const struct model *m)
{
	const struct dataset *set = &split->set;
	int16_t *label = calloc((size_t)set->n_flows + 1, sizeof(*label));

	for (uint32_t i = 0; label && i < set->n_flows; i++) {
		int c = model_class_index(m, set->class_name[set->flow[i].class_index]);

		label[i] = (int16_t)(c < 0 ? NO_CLASS : c);
	}
	return label;
}
