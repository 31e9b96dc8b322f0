/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fine-tuning as a task of train.h: labelled wide samples, augmented, narrowed to the network's
 * shape, through the network, to a label distribution aware loss.
 */
#pragma once
#include "model/augment.h"
#include "model/loss.h"
#include "model/network.h"
#include "model/train.h"

/* Borrowed, in the order of numbers; labels below n_classes. */
struct labelled_samples {
	const struct flow_sample *const *sample;
	const uint32_t *label;
	uint32_t n;
};

struct finetune_config {
	struct architecture architecture;
	struct token_config tokens;
	uint32_t n_classes;
	struct loss_config loss;
	struct augment_config augment;
	float drop_path; /* of the last block; rises from 0 with depth */
	struct labelled_samples train, validation;
};

struct finetune;

/* Copies config; the samples stay the caller's. -EINVAL when there is none to train on, one cannot
 * be narrowed, or its label is none. */
int finetune_new(const struct finetune_config *config, struct finetune **ret_finetune,
		 struct error *e);
void finetune_free(struct finetune *f); /* accepts NULL */
const struct layout *finetune_layout(const struct finetune *f);
/* Valid as long as f. Its score is the macro-F1 over the classes of the validation samples. */
struct train_task finetune_task(struct finetune *f);
