/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tokens from numbers (arXiv 2601.21792, embedding): the sinusoid of a VALUE, not of a place, and
 * what is added to every token. The stride embedding of bytes is linear_forward with n_in = stride.
 */
#include <math.h>
#include <string.h>
#include "model/ops.h"

/* 10000^(-2k/D) as the networks' authors round it, by a float32 exponent: sizes multiply the last
 * bit by 3000, and the exact power is off by 1e-4 in a token, this by 1e-5. */
void sinusoid_frequency(float *frequency, size_t D)
{
	float step = (float)(-log(10000.0) / (double)D);

	for (size_t k = 0; k < (D + 1) / 2; k++)
		frequency[k] = expf((float)(2 * k) * step);
}

/* libm's sine: raw sizes reach 3000 radians, where fast ones fail. */
static void sinusoid(float *token, float value, const float *frequency, size_t D)
{
	for (size_t i = 0; i < D; i += 2) {
		float angle = value * frequency[i / 2];

		token[i] = sinf(angle);
		if (i + 1 < D)
			token[i + 1] = cosf(angle);
	}
}

/* Most flows are short and end in padding, one value again and again: that costs a copy. */
void sinusoid_forward(float *tokens, size_t flow_stride, const float *values,
		      const float *frequency, size_t B, size_t L, size_t D)
{
	for (size_t b = 0; b < B; b++, values += L) {
		float *token = tokens + b * flow_stride;

		for (size_t t = 0; t < L; t++, token += D) {
			if (t > 0 && values[t] == values[t - 1])
				memcpy(token, token - D, D * sizeof(float));
			else
				sinusoid(token, values[t], frequency, D);
		}
	}
}

void set_token_forward(float *tokens, size_t flow_stride, const float *token, size_t B, size_t D)
{
	for (size_t b = 0; b < B; b++)
		memcpy(tokens + b * flow_stride, token, D * sizeof(float));
}

void add_position_forward(float *tokens, size_t flow_stride, const float *bias,
			  const float *indicator, const float *position, size_t B, size_t L,
			  size_t D)
{
	for (size_t b = 0; b < B; b++) {
		float *token = tokens + b * flow_stride;

		for (size_t t = 0; t < L; t++)
			for (size_t i = 0; i < D; i++)
				token[t * D + i] += (bias ? bias[i] : 0.0F) + indicator[i] +
						    position[t * D + i];
	}
}
