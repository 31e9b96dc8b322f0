/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What of a data set trains and what validates, as the training loop wants it: samples and labels
 * by number. Folds decide: the test fold is never looked at, the validation fold never trains.
 *
 * Owner: the caller; train_data_free. Samples stay the data set's, which must outlive this.
 */
#pragma once
#include <stdint.h>
#include "agent/nmtrain/dataset.h"
#include "agent/nmtrain/settings.h"

#define TRAIN_NO_FOLD (-1)

struct train_split {
	int test, validation; /* folds, or TRAIN_NO_FOLD */
};

/*
 * --fold and --validation as typed, NULL when they were not: fold N tests, the one after it
 * validates, all others train. "none" as fold: nothing is kept back, and nothing validates unless a
 * validation fold is named. Not given: 0.
 */
int train_split_parse(const char *fold, const char *validation, uint32_t n_folds,
		      struct train_split *ret_split, struct error *e);

struct train_list {
	const struct flow_sample **sample; /* wide */
	uint32_t *label;                   /* of the model's classes; all 0 in pre-training */
	uint32_t *flow;                    /* which of the data set's */
	uint32_t n;
};

struct train_data {
	struct train_list train, validation;
	uint32_t n_classes;
	char class_name[MODEL_MAX_CLASSES][MODEL_CLASS_NAME];
	/* Flows of the training folds that do not train, and why. */
	uint32_t n_unlabelled, n_left_out, n_short, n_over_limit;
	/* Flows of the validation fold that are of no class of the model. */
	uint32_t n_strange;
};

/*
 * For fine-tuning. Classes are those that have training flows, in the data set's order, without
 * `unlisted` and those that train.leave_out names. Beyond max_flows_per_class flows are chosen by
 * train.seed, as few from one capture as can be. -EINVAL: a shape that the set does not hold, a
 * class that it does not have, or fewer than two classes.
 */
int train_data_new(const struct dataset *set, const struct train_settings *s,
		   const struct train_split *split, struct train_data **ret_data, struct error *e);

/* For pre-training: every flow with or without a class, but those of classes left out. */
int train_data_new_unlabelled(const struct dataset *set, const struct train_settings *s,
			      const struct train_split *split, struct train_data **ret_data,
			      struct error *e);
void train_data_free(struct train_data *d); /* accepts NULL */
