/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One model's figures on one split: everything fitted is fitted on validation flows, everything
 * told is measured on test flows. Plain arrays in, plain numbers out; reports print them.
 * Owner: the caller; evaluation_free. Immutable once evaluation_add_prefix was called for each.
 */
#pragma once
#include "agent/nmtrain/calibrate.h"
#include "model/error.h"

#define EVALUATION_MAX_PREFIXES 16

struct evaluation_config {
	double precision; /* asked of each class's decisions */
	double kept;      /* share of known flows that the unknown threshold lets through */
	struct bootstrap bootstrap;
	uint32_t n_sources;        /* judged.source is below */
	uint32_t n_kinds;          /* judged.kind is below */
	struct calibration before; /* the model's own: used as it is without validation flows */
};

/* Flows that the fitted calibration decides as a class. */
struct decided_figures {
	uint64_t known, right; /* known flows decided, and of those as their own class */
	uint64_t unknown;      /* flows of no class decided as one: mistakes */
	double coverage;       /* known decided of all known; NAN without any, as below */
	double precision;      /* right of all decided */
	struct interval precision_95;
};

struct evaluation {
	uint32_t n_classes, n_groups; /* groups: captures with known test flows */
	uint64_t n_known, n_unknown;  /* test flows */
	uint64_t n_validation_known, n_validation_unknown;
	bool fitted; /* on validation flows; otherwise the calibration is the model's own */
	double asked_precision, asked_kept;
	struct calibration calibration;
	enum threshold_found found[MODEL_MAX_CLASSES]; /* when fitted */

	struct overall_figures overall; /* the nearest class, whatever its confidence */
	struct interval macro_f1_95;
	struct class_figures class_figures[MODEL_MAX_CLASSES];
	uint64_t *confusion;                         /* (n_classes, n_classes): true, judged */
	uint64_t unknown_nearest[MODEL_MAX_CLASSES]; /* what flows of no class are nearest to */

	double nll_before, nll_after; /* temperature 1, and calibration.temperature */
	struct reliability before, after;

	struct ranking validation_rank[CALIBRATE_SCORES], rank[CALIBRATE_SCORES];
	struct decided_figures decided; /* as any class */
	struct decided_figures acted;   /* as a class that is not watch_only */
	struct decided_figures
		class_decided[MODEL_MAX_CLASSES]; /* coverage: of the class's flows */
	uint64_t known_refused, unknown_refused;  /* by the out-of-distribution threshold */

	uint32_t n_sources, n_kinds;
	struct overall_figures *source; /* (n_sources) */
	struct kind_figures {
		uint64_t n, decided;
	} * kind; /* (n_kinds) flows of no class, by what they are */

	uint32_t n_prefixes;
	struct {
		uint32_t packets;
		struct overall_figures figures;
	} prefix[EVALUATION_MAX_PREFIXES];
};

/* validation may be NULL. source and kind of test are needed, those of validation are not. */
int evaluation_new(const struct judged *validation, const struct judged *test,
		   const struct evaluation_config *config, struct evaluation **ret_evaluation,
		   struct error *e);
void evaluation_free(struct evaluation *ev); /* accepts NULL */

/* The same test flows as far as their first packets tell. -ENOSPC, -ENOMEM. */
int evaluation_add_prefix(struct evaluation *ev, uint32_t packets, const struct judged *test);
