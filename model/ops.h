/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The network's operators on plain arrays, row-major, shapes first in the comments. Letters as in
 * the paper (arXiv 2601.21792, and arXiv 2312.00752 for the mixer): B flows, L tokens, D width of
 * the model, E = expand * D inner width, N states, K taps of the convolution, R rank of dt.
 * Weights come in the official layout. None of them allocates, fails or keeps state.
 */
#pragma once
#include <stddef.h>

/* ops_linear.c: out (M, n_out) = in (M, n_in) W^T, W (n_out, n_in); rows of in begin in_stride
 * floats apart. */
void linear_forward(float *out, const float *in, size_t in_stride, const float *weight, size_t M,
		    size_t n_in, size_t n_out);
/* OpenBLAS computes in the caller's thread from here on, and its own threads end: engines run in
 * threads of their own. */
void linear_single_thread(void);
/* What OpenBLAS took the processor for, such as "SkylakeX". */
const char *linear_library(void);

/* ops_norm.c: residual (M, D) += h (or = h when first); out = residual / rms(residual) * weight. */
void add_norm_forward(float *out, float *residual, const float *h, const float *weight, size_t M,
		      size_t D, int first);

/* ops_conv.c: out (B, L, E) = silu(bias + causal depthwise convolution of in), weight (E, K). */
void conv_silu_forward(float *out, const float *in, const float *weight, const float *bias,
		       size_t B, size_t L, size_t E, size_t K);

/*
 * ops_scan.c: the selective scan with its gate.
 *   x, z, dt (B, L, E): dt before bias and softplus;
 *   bc: row (b, t) holds B_t (N) then C_t (N) and begins at bc + (b * L + t) * bc_stride;
 *   A_log (E, N), D, dt_bias (E);  out (B, L, E), may be x.
 */
struct scan_inputs {
	const float *x, *z, *dt, *bc;
	size_t bc_stride;
	const float *A_log, *D, *dt_bias;
};
void scan_forward(float *out, const struct scan_inputs *in, size_t B, size_t L, size_t E, size_t N);

/* ops_embed.c: each fills part of tokens, whose flows begin flow_stride floats apart. */
/* tokens (B; L, D): sinusoid of the values (B, L), frequency (ceil(D / 2)). */
void sinusoid_forward(float *tokens, size_t flow_stride, const float *values,
		      const float *frequency, size_t B, size_t L, size_t D);
/* frequency k = 10000^(-2k/D) */
void sinusoid_frequency(float *frequency, size_t D);
/* tokens (B; 1, D) = token (D), as for CLS */
void set_token_forward(float *tokens, size_t flow_stride, const float *token, size_t B, size_t D);
/* tokens (B; L, D) += bias (D, or NULL) + indicator (D) + position (L, D) */
void add_position_forward(float *tokens, size_t flow_stride, const float *bias,
			  const float *indicator, const float *position, size_t B, size_t L,
			  size_t D);

/* ops_head.c: out (B, D) = sum of the rows place[0..n_places) of each flow's tokens (L, D). */
void pool_forward(float *out, const float *tokens, const size_t *place, size_t n_places, size_t B,
		  size_t L, size_t D);
/* out (B, n) += bias (n) */
void add_bias_forward(float *out, const float *bias, size_t B, size_t n);
