/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Losses of fine-tuning: cross-entropy and the label distribution aware LDAM (golden formulas,
 * "Fine-tuning"), either with class-balanced weights, smoothed as PyTorch's CrossEntropyLoss does
 * with weight and label_smoothing together. Pure functions; struct loss is immutable after
 * loss_init.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "model/model_file.h"

enum loss_kind { LOSS_CROSS_ENTROPY, LOSS_LDAM };

struct loss_config {
	enum loss_kind kind;
	float scale;           /* LDAM: of logits less margins; 30 */
	float max_margin;      /* LDAM: the rarest class's; 0.5 */
	float label_smoothing; /* [0, 1); 0.1 */
	bool balanced;         /* weigh classes by their effective number of samples */
	float beta;            /* balanced: [0, 1); 0.999 */
};

struct loss {
	uint32_t n_classes;
	float scale, label_smoothing;
	float margin[MODEL_MAX_CLASSES];
	float weight[MODEL_MAX_CLASSES];
	double smoothed_weight; /* label_smoothing / n_classes * sum of the weights */
};

/* Plain LDAM with balanced weights, as the paper has it. */
struct loss_config loss_default_config(void);

/* A class without samples gets margin 0, and weight 0 when weights are balanced. n_classes is 1 ..
 * MODEL_MAX_CLASSES. */
void loss_init(struct loss *l, const struct loss_config *config, const uint64_t *class_counts,
	       uint32_t n_classes);

/* Sum of the targets' weights of a whole batch: what its mean divides by, so that parts of the
 * batch can be computed apart. labels (n), each below n_classes. */
double loss_weight_sum(const struct loss *l, const uint32_t *labels, size_t n);

/*
 * logits, d_logits (n, n_classes; d_logits is written, NULL = not wanted). Returns these samples'
 * share of the batch's mean, and the gradient of that mean; with a denominator of 0 (nothing in the
 * batch has weight) both are 0.
 */
double loss_gradient(const struct loss *l, const float *logits, const uint32_t *labels, size_t n,
		     double denominator, float *d_logits);
