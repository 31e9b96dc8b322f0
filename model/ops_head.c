/* SPDX-License-Identifier: BSD-2-Clause */
/* From the last tokens to logits: the sum of the CLS tokens; the head itself is linear_forward. */
#include <string.h>
#include "model/ops.h"

void pool_forward(float *out, const float *tokens, const size_t *place, size_t n_places, size_t B,
		  size_t L, size_t D)
{
	memset(out, 0, B * D * sizeof(float));
	for (size_t b = 0; b < B; b++)
		for (size_t p = 0; p < n_places; p++)
			for (size_t i = 0; i < D; i++)
				out[b * D + i] += tokens[(b * L + place[p]) * D + i];
}

void add_bias_forward(float *out, const float *bias, size_t B, size_t n)
{
	for (size_t b = 0; b < B; b++)
		for (size_t i = 0; i < n; i++)
			out[b * n + i] += bias[i];
}
