/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The leak check: what may not stand in two folds. A capture is known by its content, a piece of it
 * by its number, and the pieces of a capture must follow each other in time, else one could be any
 * choice of flows. A flow is known by its mark, whatever capture it is in.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmtrain/dataset_build.h"

struct marked {
	struct dataset_mark mark;
	uint32_t flow;
};

static int compare_contents(const void *a, const void *b, void *ctx)
{
	const struct dataset *set = ctx;

	return strcmp(set->capture[*(const uint32_t *)a].sha256,
		      set->capture[*(const uint32_t *)b].sha256);
}

static int compare_times(const void *a, const void *b, void *ctx)
{
	const struct dataset *set = ctx;
	const struct dataset_flow *x = &set->flow[*(const uint32_t *)a];
	const struct dataset_flow *y = &set->flow[*(const uint32_t *)b];

	if (x->capture != y->capture)
		return x->capture < y->capture ? -1 : 1;
	if (x->first_ns != y->first_ns)
		return x->first_ns < y->first_ns ? -1 : 1;
	return (x->piece > y->piece) - (x->piece < y->piece);
}

static int compare_marks(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct dataset_mark));
}

static uint32_t *numbers(uint32_t n)
{
	uint32_t *list = malloc((n + 1) * sizeof(*list));

	for (uint32_t i = 0; list && i < n; i++)
		list[i] = i;
	return list;
}

static int check_contents(const struct dataset *set, uint32_t *order, const char *path,
			  struct error *e)
{
	qsort_r(order, set->n_captures, sizeof(*order), compare_contents, (void *)set);
	for (uint32_t i = 1; i < set->n_captures; i++) {
		const struct dataset_capture *a = &set->capture[order[i - 1]];
		const struct dataset_capture *b = &set->capture[order[i]];

		if (!strcmp(a->sha256, b->sha256))
			return error_set(e, -EINVAL,
					 "%.80s: captures %.60s and %.60s are the same file", path,
					 a->name, b->name);
	}
	return 0;
}

static int check_pieces(const struct dataset *set, uint32_t *order, const char *path,
			struct error *e)
{
	qsort_r(order, set->n_flows, sizeof(*order), compare_times, (void *)set);
	for (uint32_t i = 1; i < set->n_flows; i++) {
		const struct dataset_flow *a = &set->flow[order[i - 1]], *b = &set->flow[order[i]];
		const char *name = set->capture[a->capture].name;

		if (a->capture != b->capture)
			continue;
		if (a->piece == b->piece && a->fold != b->fold)
			return error_set(e, -EINVAL,
					 "%.100s: leak: piece %" PRIu32
					 " of capture %.60s stands in folds %u and %u",
					 path, a->piece, name, a->fold, b->fold);
		if (a->piece > b->piece || (a->piece != b->piece && a->first_ns == b->first_ns))
			return error_set(e, -EINVAL,
					 "%.100s: leak: pieces %" PRIu32 " and %" PRIu32
					 " of capture %.60s overlap in time",
					 path, a->piece, b->piece, name);
	}
	return 0;
}

static int check_flows(const struct dataset *set, struct marked *marked, const char *path,
		       struct error *e)
{
	qsort(marked, set->n_flows, sizeof(*marked), compare_marks);
	for (uint32_t i = 1; i < set->n_flows; i++) {
		const struct dataset_flow *a = &set->flow[marked[i - 1].flow];
		const struct dataset_flow *b = &set->flow[marked[i].flow];

		if (a->fold != b->fold && !compare_marks(&marked[i - 1], &marked[i]))
			return error_set(e, -EINVAL,
					 "%.80s: leak: one flow stands in captures %.50s (fold %u) "
					 "and %.50s (fold %u)",
					 path, set->capture[a->capture].name, a->fold,
					 set->capture[b->capture].name, b->fold);
	}
	return 0;
}

int dataset_check_folds(const struct dataset *set, const char *path, struct error *e)
{
	uint32_t *captures = numbers(set->n_captures), *flows = numbers(set->n_flows);
	struct marked *marked = malloc((set->n_flows + 1) * sizeof(*marked));
	int status;

	if (!captures || !flows || !marked) {
		status = error_set(e, -ENOMEM, "%.100s: no memory to check the folds", path);
	} else {
		for (uint32_t i = 0; i < set->n_flows; i++) {
			dataset_flow_mark(&set->flow[i], &marked[i].mark);
			marked[i].flow = i;
		}
		status = check_contents(set, captures, path, e);
		if (!status)
			status = check_pieces(set, flows, path, e);
		if (!status)
			status = check_flows(set, marked, path, e);
	}
	free(captures);
	free(flows);
	free(marked);
	return status;
}
