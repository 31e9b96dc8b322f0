/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The network's operators and their gradients on plain arrays, row-major, shapes first in the
 * comments. Letters as in the paper (arXiv 2601.21792, and arXiv 2312.00752 for the mixer): B
 * flows, L tokens, M rows (tokens of any flows), D width of the model, E = expand * D inner width,
 * N states, K taps of the convolution, R rank of dt. Weights come in the official layout. None of
 * them allocates, fails or keeps state.
 *
 * Gradients: d_NAME is the loss's derivative by NAME and has its shape. Of weights it is added to;
 * of inputs it is written, unless the comment says added.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ops_linear.c: out (M, n_out) = in (M, n_in) W^T, W (n_out, n_in); rows of in begin in_stride
 * floats apart. */
void linear_forward(float *out, const float *in, size_t in_stride, const float *weight, size_t M,
		    size_t n_in, size_t n_out);
/* d_in (M, n_in; rows begin d_in_stride floats apart; NULL = not wanted) = d_out W, or += when add;
 * d_weight (n_out, n_in; NULL = not wanted) += d_out^T in. */
void linear_backward(float *d_in, size_t d_in_stride, bool add, float *d_weight, const float *d_out,
		     const float *in, size_t in_stride, const float *weight, size_t M, size_t n_in,
		     size_t n_out);
/* out (M, n) += bias (n);  d_bias (n) += sum of the rows of d_out (M, n). */
void bias_forward(float *out, const float *bias, size_t M, size_t n);
void bias_backward(float *d_bias, const float *d_out, size_t M, size_t n);
/* OpenBLAS computes in the caller's thread from here on, and its own threads end: engines run in
 * threads of their own. */
void linear_single_thread(void);
/* What OpenBLAS took the processor for, such as "SkylakeX". */
const char *linear_library(void);

/* ops_norm.c: residual (M, D) += h (or = h when first); out = residual / rms(residual) * weight. */
void add_norm_forward(float *out, float *residual, const float *h, const float *weight, size_t M,
		      size_t D, int first);

/* residual (M, D) as the forward left it. d_residual += what comes through the norm: afterwards it
 * is the gradient of both addends. */
void norm_backward(float *d_residual, float *d_weight, const float *d_out, const float *residual,
		   const float *weight, size_t M, size_t D);

/* ops_conv.c: out (B, L, E) = silu(bias + causal depthwise convolution of in), weight (E, K). */
void conv_silu_forward(float *out, const float *in, const float *weight, const float *bias,
		       size_t B, size_t L, size_t E, size_t K);

/* in as the forward had it; the convolution is done again rather than kept. */
void conv_silu_backward(float *d_in, float *d_weight, float *d_bias, const float *d_out,
			const float *in, const float *weight, const float *bias, size_t B, size_t L,
			size_t E, size_t K);

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
/* states: NULL, or B * scan_chunks(L) * E * N floats, in an order of their own: the state before
 * each chunk of SCAN_CHUNK tokens, for scan_backward. */
#define SCAN_CHUNK 16
static inline size_t scan_chunks(size_t L)
{
	return (L + SCAN_CHUNK - 1) / SCAN_CHUNK;
}
void scan_forward(float *out, float *states, const struct scan_inputs *in, size_t B, size_t L,
		  size_t E, size_t N);

/* Inputs' gradients in the layout of struct scan_inputs; bc's rows begin bc_stride floats apart.
 * None may be one of the inputs. */
struct scan_gradients {
	float *x, *z, *dt, *bc;
	size_t bc_stride;
	float *A_log, *D, *dt_bias;
};
void scan_backward(const struct scan_gradients *d, const float *d_out, const float *states,
		   const struct scan_inputs *in, size_t B, size_t L, size_t E, size_t N);

/* ops_embed.c: out (D) = sinusoid of a value, frequency (ceil(D / 2)). */
void sinusoid_forward(float *out, float value, const float *frequency, size_t D);
/* frequency k = 10000^(-2k/D) */
void sinusoid_frequency(float *frequency, size_t D);
/* out (M, D): row m is the sum over i of table[i][bytes[m * stride + i]], table (stride, 256, D).
 */
void byte_table_forward(float *out, const uint8_t *bytes, const float *table, size_t M,
			size_t stride, size_t D);
void byte_table_backward(float *d_table, const float *d_out, const uint8_t *bytes, size_t M,
			 size_t stride, size_t D);

/*
 * ops_attention.c: softmax(q k^T / sqrt(D / heads)) v, every token with every other of its flow, in
 * tiles, so that no L x L matrix is ever in memory (arXiv 2205.14135).
 *   qkv (B, L, 3 D): q, k, v of a row one after the other, each head's D / heads together;
 *   out (B, L, D); log_sums (B, heads, L): each row's log-sum-exp, for the backward.
 */
void attention_forward(float *out, float *log_sums, const float *qkv, size_t B, size_t L, size_t D,
		       size_t heads);
void attention_backward(float *d_qkv, const float *d_out, const float *out, const float *log_sums,
			const float *qkv, size_t B, size_t L, size_t D, size_t heads);
/* out (M, F) = silu(in[:, :F]) in[:, F:], in (M, 2 F) */
void gate_forward(float *out, const float *in, size_t M, size_t F);
void gate_backward(float *d_in, const float *d_out, const float *in, size_t M, size_t F);
