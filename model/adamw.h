/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AdamW (arXiv 1711.05101) as PyTorch computes it, over one block of values in a layout's order,
 * with layer-wise decay of the rate and clipping by the global norm. Pure functions, no allocation.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "model/layout.h"

struct adamw_config {
	double beta1, beta2, eps;
	double weight_decay; /* of the parameters that are `decayed` */
	double layer_decay;  /* each layer's rate is the next one's times this */
};

/* Fine-tuning: 0.9, 0.999, 1e-8, 0.05, 0.75. Pre-training: 0.9, 0.95, 1e-8, 0.05, 1. */
struct adamw_config adamw_finetune_config(void);
struct adamw_config adamw_pretrain_config(void);

/* All blocks are (layout->n_values), moments zero before the first step; steps count from 1. */
void adamw_step(const struct adamw_config *config, const struct layout *layout, double rate,
		uint64_t step, float *values, float *moment1, float *moment2,
		const float *gradients);

/* Euclidean norm, summed in double: Inf or NaN exactly when a gradient is. */
double gradient_norm(const float *gradients, size_t n);
/* Scales to at most max_norm (0 = leaves alone); returns the norm before. Where that is not finite,
 * nothing is changed and the caller must not step. */
double gradient_clip(float *gradients, size_t n, double max_norm);
