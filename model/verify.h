/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Holds a loaded model against recorded vectors: a plain safetensors file with `sizes` (n, S),
 * `iat` (n, S) as fed, `bytes` (n, P(H+Y), U8, scaled by the model's byte_scale and byte_offset)
 * and `logits` (n, classes). Files of another shape are refused with the shape that would be right.
 */
#pragma once
#include <stdint.h>
#include "model/error.h"
#include "model/model_file.h"

struct verify_result {
	uint32_t n_samples;
	/* largest |ours - recorded|, divided by the largest |recorded| */
	double logits_deviation;
	double largest_logit; /* largest |recorded| */
	uint32_t worst_sample, worst_class;
	uint32_t n_other_class; /* samples whose best class is another one than recorded */
};

/* What float32 engines must hold (golden vectors). */
#define VERIFY_TOLERANCE 1e-4

/* 0 when it ran, whatever the deviation. */
int model_verify_vectors(struct model *m, const char *io_path, struct verify_result *ret_result,
			 struct error *e);
