/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a classifier is measured by, from plain arrays: true and judged class of each flow. Nothing
 * here knows models, sets or reports.
 *
 * A class is a number below n_classes. NO_CLASS as the judged one is a flow of which the model said
 * nothing: it counts against recall. Flows whose true class is NO_CLASS are not looked at.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define NO_CLASS (-1)

struct interval {
	double low, high;
};

struct class_figures {
	uint64_t support, judged, right;
	double precision; /* NAN when no flow was judged so */
	double recall;    /* NAN without support, as is f1 */
	double f1;
	struct interval precision_95, recall_95; /* Wilson; 0 to 1 where nothing is known */
};

struct overall_figures {
	uint64_t n, right;
	uint32_t n_classes; /* that have flows: the macro mean is over these alone */
	double accuracy, macro_f1, weighted_f1; /* NAN without flows */
	struct interval accuracy_95;
};

/* Wilson's score interval at 95% for k of n. */
struct interval metrics_wilson(uint64_t k, uint64_t n);

/* Adds to count (n_classes, n_classes): rows are true classes, columns judged ones. */
void metrics_confusion(uint64_t *count, uint32_t n_classes, const int16_t *label,
		       const int16_t *judged, size_t n);

/* figures (n_classes), overall may be NULL. */
void metrics_figures(const int16_t *label, const int16_t *judged, size_t n, uint32_t n_classes,
		     struct class_figures *figures, struct overall_figures *overall);

/*
 * 95% interval of macro F1 when whole groups (captures) are drawn anew: percentiles of n_draws
 * draws of as many groups as there are, with replacement. The flows of a capture are alike, so
 * drawing flows would give an interval that is far too narrow. NAN when there are no flows.
 * -ENOMEM.
 */
struct bootstrap {
	uint32_t n_draws;
	uint64_t seed;
};
int metrics_bootstrap(const int16_t *label, const int16_t *judged, const uint32_t *group, size_t n,
		      uint32_t n_classes, const struct bootstrap *how,
		      struct interval *ret_interval);
