/* SPDX-License-Identifier: BSD-2-Clause */
/* See ranking.h. One walk down the sorted scores: trapezoids under the curve are ranks with ties
 * counted half. */
#include "agent/nmtrain/ranking.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A point is kept when the curve has gone so far since the last: at most 2 / 0.01 are. */
#define POINT_DISTANCE 0.01

struct scored {
	float score;
	bool positive;
};

static int by_score_down(const void *a, const void *b)
{
	float left = ((const struct scored *)a)->score, right = ((const struct scored *)b)->score;

	return left > right ? -1 : left < right;
}

static void add_point(struct ranking *r, double fpr, double tpr)
{
	bool end = fpr >= 1 && tpr >= 1;

	if (r->n_points) {
		double gone =
			fpr - r->point[r->n_points - 1].fpr + tpr - r->point[r->n_points - 1].tpr;

		if (gone < POINT_DISTANCE && !end)
			return;
	}
	r->point[r->n_points].fpr = (float)fpr;
	r->point[r->n_points++].tpr = (float)tpr;
}

static void walk(const struct scored *list, size_t n, struct ranking *r)
{
	uint64_t tp = 0, fp = 0;
	bool caught = false;

	add_point(r, 0, 0);
	for (size_t i = 0, end; i < n; i = end) {
		uint64_t tp_before = tp, fp_before = fp;

		for (end = i; end < n && list[end].score == list[i].score; end++) {
			tp += list[end].positive;
			fp += !list[end].positive;
		}
		r->auroc += (double)(fp - fp_before) * (tp + tp_before) / 2;
		if (!caught && 20 * tp >= 19 * r->n_positive) {
			caught = true;
			r->fpr95 = (double)fp / r->n_negative;
		}
		add_point(r, (double)fp / r->n_negative, (double)tp / r->n_positive);
	}
	r->auroc /= (double)r->n_positive * r->n_negative;
}

int ranking_measure(const float *score, const bool *positive, size_t n, struct ranking *ret_ranking)
{
	struct scored *list = calloc(n + 1, sizeof(*list));
	struct ranking *r = ret_ranking;

	if (!list)
		return -ENOMEM;
	memset(r, 0, sizeof(*r));
	for (size_t i = 0; i < n; i++) {
		list[i] = (struct scored){score[i], positive[i]};
		r->n_positive += positive[i];
	}
	r->n_negative = n - r->n_positive;
	if (r->n_positive && r->n_negative) {
		qsort(list, n, sizeof(*list), by_score_down);
		walk(list, n, r);
	} else {
		r->auroc = r->fpr95 = NAN;
	}
	free(list);
	return 0;
}
