/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The report of an evaluation: one or several models on the same flows, in three forms of the same
 * numbers. The first model is told whole, the others are compared with it. Nothing is owned.
 */
#pragma once
#include <jansson.h>
#include <stdio.h>
#include "agent/nmtrain/evaluation.h"

#define REPORT_MAX_MODELS 16

struct report_model {
	const char *name; /* as the operator said it */
	const struct model *model;
	const struct evaluation *evaluation;
	/* It trained on flows of the test split, as its file says: its figures are too good. */
	bool saw_test;
};

struct report {
	const char *set_name, *set_sha256;
	uint32_t n_folds, fold, validation_fold;
	const char *split; /* "test", "validation" or "all" */
	uint32_t cap;      /* at most so many flows of a class, 0: all */
	uint64_t n_unlabelled, n_over_cap;
	const char *const *source_name; /* of evaluation.source */
	const char *const *kind_name;   /* of evaluation.kind */
	uint64_t seed;
	uint32_t n_draws;
	const char *time; /* when, in words */
	uint32_t n_models;
	struct report_model model[REPORT_MAX_MODELS];
};

/* report_text.c: score names as in the model file, and why a class has no threshold of its own. */
extern const char *const report_score_names[CALIBRATE_SCORES];
const char *report_threshold_note(enum threshold_found found);
/* The i-th model's name without the folders that all have in common. */
const char *report_short_name(const struct report *r, uint32_t i);

/* Tables for people, then `figure NAME VALUE UNIT` lines. */
void report_text(FILE *out, const struct report *r);
/* New reference, NULL when memory is short. A number that there is none of is null. */
json_t *report_to_json(const struct report *r);
/* One page that needs nothing else. */
void report_html(FILE *out, const struct report *r);
