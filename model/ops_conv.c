/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Causal depthwise convolution and SiLU (arXiv 2312.00752, 3.4): out_t = silu(b + sum_k w_k
 * x_(t-K+1+k)), x before the sequence is 0. Eight channels at a time; their weights are turned
 * to (K, lanes) once and serve all tokens.
 */
#include "model/lanes.h"
#include "model/model_file.h"
#include "model/ops.h"

LANES_INLINE void load_taps(lanes *w, const float *weight, size_t K, unsigned n)
{
	for (size_t k = 0; k < K; k++) {
		w[k] = (lanes){0};
		for (unsigned i = 0; i < n; i++)
			w[k][i] = weight[i * K + k];
	}
}

LANES_INLINE void conv_lanes(float *out, const float *in, const float *weight, const float *bias,
			     size_t L, size_t E, size_t K, unsigned n)
{
	lanes w[MODEL_MAX_CONV], b, x, y;

	lanes_load(&b, bias, n);
	load_taps(w, weight, K, n);
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

/* What eight channels keep from token to token: x under the taps, and the gradients of those x as
 * far as they have come. The loops over taps are unrolled: only then does it stay in registers (2.4
 * times as fast). */
struct window {
	lanes w[MODEL_MAX_CONV], x[MODEL_MAX_CONV], d_x[MODEL_MAX_CONV], d_w[MODEL_MAX_CONV];
	lanes bias, d_bias;
};

LANES_INLINE void window_begin(struct window *v, const float *weight, const float *bias, size_t K,
			       unsigned n)
{
	load_taps(v->w, weight, K, n);
	lanes_load(&v->bias, bias, n);
	v->d_bias = (lanes){0};
#pragma GCC unroll 4
	for (size_t k = 0; k < K; k++)
		v->x[k] = v->d_x[k] = v->d_w[k] = (lanes){0};
}

/* The next token comes in under the last tap. */
LANES_INLINE void window_move(struct window *v, size_t K)
{
#pragma GCC unroll 4
	for (size_t k = 0; k + 1 < K; k++) {
		v->x[k] = v->x[k + 1];
		v->d_x[k] = v->d_x[k + 1];
	}
	v->d_x[K - 1] = (lanes){0};
}

LANES_INLINE void window_backward(struct window *v, const lanes *d_out, size_t K)
{
	lanes y = v->bias, silu, d_y;

#pragma GCC unroll 4
	for (size_t k = 0; k < K; k++)
		y += v->w[k] * v->x[k];
	lanes_silu_slope(&silu, &d_y, &y);
	d_y *= *d_out;
	v->d_bias += d_y;
#pragma GCC unroll 4
	for (size_t k = 0; k < K; k++) {
		v->d_w[k] += d_y * v->x[k];
		v->d_x[k] += d_y * v->w[k];
	}
}

LANES_INLINE void window_end(const struct window *v, float *d_weight, float *d_bias, size_t K,
			     unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		d_bias[i] += v->d_bias[i];
#pragma GCC unroll 4
		for (size_t k = 0; k < K; k++)
			d_weight[i * K + k] += v->d_w[k][i];
	}
}

LANES_INLINE void conv_lanes_backward(float *d_in, float *d_weight, float *d_bias,
				      const float *d_out, const float *in, const float *weight,
				      const float *bias, size_t L, size_t E, size_t K, unsigned n)
{
	struct window v;
	lanes d;

	window_begin(&v, weight, bias, K, n);
	for (size_t t = 0; t < L; t++) {
		window_move(&v, K);
		lanes_load(&v.x[K - 1], in + t * E, n);
		lanes_load(&d, d_out + t * E, n);
		window_backward(&v, &d, K);
		if (t + 1 >= K)
			lanes_store(d_in + (t + 1 - K) * E, &v.d_x[0], n);
	}
	for (size_t k = L < K ? K - L : 1; k < K; k++)
		lanes_store(d_in + (L + k - K) * E, &v.d_x[k], n);
	window_end(&v, d_weight, d_bias, K, n);
}

/* The official d_conv is 4: a constant keeps the window in registers. */
SIMD_CLONES void conv_silu_backward(float *d_in, float *d_weight, float *d_bias, const float *d_out,
				    const float *in, const float *weight, const float *bias,
				    size_t B, size_t L, size_t E, size_t K)
{
	size_t whole = E - E % LANES;

	for (size_t b = 0; b < B; b++, d_in += L * E, d_out += L * E, in += L * E) {
		for (size_t e = 0; e < whole; e += LANES) {
			if (K == 4)
				conv_lanes_backward(d_in + e, d_weight + e * 4, d_bias + e,
						    d_out + e, in + e, weight + e * 4, bias + e, L,
						    E, 4, LANES);
			else
				conv_lanes_backward(d_in + e, d_weight + e * K, d_bias + e,
						    d_out + e, in + e, weight + e * K, bias + e, L,
						    E, K, LANES);
		}
		if (whole < E)
			conv_lanes_backward(d_in + whole, d_weight + whole * K, d_bias + whole,
					    d_out + whole, in + whole, weight + whole * K,
					    bias + whole, L, E, K, E % LANES);
	}
}
