/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Causal depthwise convolution and SiLU (arXiv 2312.00752, 3.4): out_t = silu(b + sum_k w_k
 * x_(t-K+1+k)), x before the sequence is 0. Eight channels at a time; their weights are turned
 * to (K, lanes) once and serve all tokens.
 */
#include "model/lanes.h"
#include "model/model_file.h"
#include "model/ops.h"

LANES_INLINE void conv_lanes(float *out, const float *in, const float *weight, const float *bias,
			     size_t L, size_t E, size_t K, unsigned n)
{
	lanes w[MODEL_MAX_CONV], b, x, y;

	lanes_load(&b, bias, n);
	for (size_t k = 0; k < K; k++) {
		w[k] = (lanes){0};
		for (unsigned i = 0; i < n; i++)
			w[k][i] = weight[i * K + k];
	}
	for (size_t t = 0; t < L; t++) {
		y = b;
		for (size_t k = t + 1 < K ? K - 1 - t : 0; k < K; k++) {
			lanes_load(&x, in + (t + k + 1 - K) * E, n);
			y += w[k] * x;
		}
		lanes_silu(&y);
		lanes_store(out + t * E, &y, n);
	}
}

SIMD_CLONES void conv_silu_forward(float *out, const float *in, const float *weight,
				   const float *bias, size_t B, size_t L, size_t E, size_t K)
{
	size_t whole = E - E % LANES;

	for (size_t b = 0; b < B; b++, out += L * E, in += L * E) {
		for (size_t e = 0; e < whole; e += LANES)
			conv_lanes(out + e, in + e, weight + e * K, bias + e, L, E, K, LANES);
		if (whole < E)
			conv_lanes(out + whole, in + whole, weight + whole * K, bias + whole, L, E,
				   K, E % LANES);
	}
}
