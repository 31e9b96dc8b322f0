/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a network's logits on a validation set to the calibration that a model file carries. What is
 * decided of a flow is model/decide.c's word: nothing here repeats it.
 *
 * Order matters: the temperature first, then the out-of-distribution score and its threshold, then
 * the classes' thresholds over the flows which that one lets through.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/nmtrain/metrics.h"
#include "agent/nmtrain/ranking.h"
#include "model/decide.h"
#include "model/model_file.h"

#define CALIBRATE_BINS   15
#define CALIBRATE_SCORES 4 /* of enum ood_score */

/* What a model said of n flows, and the truth. Nothing is owned. */
struct judged {
	size_t n;
	uint32_t n_classes;
	const float *logits;    /* (n, n_classes) */
	const int16_t *label;   /* the model's class, or NO_CLASS: a flow of none of its classes */
	const uint32_t *group;  /* the capture */
	const uint32_t *source; /* where that came from, by number */
	const uint32_t *kind;   /* of a flow of no class: what it is, by number */
};

/* decide() with a calibration that no model file holds yet. */
void calibrate_decide(const struct calibration *c, uint32_t n_classes, const float *logits,
		      struct decision *ret_decision);

/* Mean negative log-likelihood of the known flows' classes; NAN without any. */
double calibrate_nll(const struct judged *j, double temperature);
/* Where that is least, within 0.05 .. 20; 1 without known flows. */
float calibrate_temperature(const struct judged *j);

/* Expected calibration error: known flows in bins of equal width by their confidence. */
struct reliability {
	double ece; /* NAN without known flows */
	struct {
		uint64_t n;
		double confidence, accuracy; /* means; 0 when the bin is empty */
	} bin[CALIBRATE_BINS];
};
void calibrate_reliability(const struct judged *j, const struct calibration *c,
			   struct reliability *ret_reliability);

/* Unknown flows against known ones by each score, at c's temperature. -ENOMEM. */
int calibrate_rank(const struct judged *j, const struct calibration *c,
		   struct ranking ranking[CALIBRATE_SCORES]);

/*
 * Sets the score with the best AUROC on j (c's own stays when j lacks known or unknown flows), and
 * its threshold so that a share `kept` of j's known flows stays at or below it. -ENOMEM.
 */
int calibrate_unknown(const struct judged *j, const struct ranking ranking[CALIBRATE_SCORES],
		      double kept, struct calibration *c);

enum threshold_found {
	THRESHOLD_FITTED,
	THRESHOLD_NO_FLOWS,  /* validation has no flow of the class */
	THRESHOLD_FEW_FLOWS, /* fewer than CALIBRATE_MIN_FLOWS of them would be decided */
	THRESHOLD_NOT_HELD,  /* the asked precision is reached nowhere */
};

#define CALIBRATE_MIN_FLOWS 10

/*
 * Each class's threshold: the lowest at which a share `precision` of the flows that are decided as
 * the class are of it. A flow of no class that comes through counts as a mistake. A class without
 * such a threshold keeps 0.5 and becomes watch_only. found (n_classes). -ENOMEM.
 */
int calibrate_thresholds(const struct judged *j, double precision, struct calibration *c,
			 enum threshold_found *found);
