/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tokens from numbers: the sinusoid of a VALUE, not of a place (arXiv 2601.21792, embedding), and a
 * learned vector for each byte value. The stride embedding of the paper is linear_forward with n_in
 * = stride.
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
void sinusoid_forward(float *out, float value, const float *frequency, size_t D)
{
	for (size_t i = 0; i < D; i += 2) {
		float angle = value * frequency[i / 2];

		out[i] = sinf(angle);
		if (i + 1 < D)
			out[i + 1] = cosf(angle);
	}
}

void byte_table_forward(float *out, const uint8_t *bytes, const float *table, size_t M,
			size_t stride, size_t D)
{
	memset(out, 0, M * D * sizeof(float));
	for (size_t m = 0; m < M; m++, out += D, bytes += stride) {
		for (size_t i = 0; i < stride; i++) {
			const float *row = table + (i * 256 + bytes[i]) * D;

			for (size_t d = 0; d < D; d++)
				out[d] += row[d];
		}
	}
}

void byte_table_backward(float *d_table, const float *d_out, const uint8_t *bytes, size_t M,
			 size_t stride, size_t D)
{
	for (size_t m = 0; m < M; m++, d_out += D, bytes += stride) {
		for (size_t i = 0; i < stride; i++) {
			float *row = d_table + (i * 256 + bytes[i]) * D;

			for (size_t d = 0; d < D; d++)
				row[d] += d_out[d];
		}
	}
}
