/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How well a score parts two kinds of flows: unknown ones, which should score high, from known
 * ones. Rank based: only the order of scores counts, and equal scores are one step.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RANKING_POINTS 256

struct ranking {
	uint64_t n_positive, n_negative;
	double auroc; /* a pair of equal scores counts half; NAN when one kind is missing */
	double fpr95; /* share of negatives at or above the score that catches 95% of positives */
	/* The ROC curve from (0, 0) to (1, 1), thinned; none when one kind is missing. */
	uint32_t n_points;
	struct {
		float fpr, tpr;
	} point[RANKING_POINTS];
};

/* Scores are not NAN. -ENOMEM. */
int ranking_measure(const float *score, const bool *positive, size_t n,
		    struct ranking *ret_ranking);
