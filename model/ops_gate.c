/* SPDX-License-Identifier: BSD-2-Clause */
/* The gated half of an MLP (SwiGLU, arXiv 2002.05202): each row holds what passes through SiLU,
 * then what that multiplies. */
#include "model/lanes.h"
#include "model/ops.h"

LANES_INLINE void gate_lanes(float *out, const float *in, size_t F, unsigned n)
{
	lanes a, b;

	lanes_load(&a, in, n);
	lanes_load(&b, in + F, n);
	lanes_silu(&a);
	a *= b;
	lanes_store(out, &a, n);
}

SIMD_CLONES void gate_forward(float *out, const float *in, size_t M, size_t F)
{
	size_t whole = F - F % LANES;

	for (size_t m = 0; m < M; m++, out += F, in += 2 * F) {
		for (size_t i = 0; i < whole; i += LANES)
			gate_lanes(out + i, in + i, F, LANES);
		gate_lanes(out + whole, in + whole, F, F % LANES);
	}
}

LANES_INLINE void gate_lanes_backward(float *d_in, const float *d_out, const float *in, size_t F,
				      unsigned n)
{
	lanes a, b, d, silu, slope;

	lanes_load(&a, in, n);
	lanes_load(&b, in + F, n);
	lanes_load(&d, d_out, n);
	lanes_silu_slope(&silu, &slope, &a);
	b *= d * slope;
	silu *= d;
	lanes_store(d_in, &b, n);
	lanes_store(d_in + F, &silu, n);
}

SIMD_CLONES void gate_backward(float *d_in, const float *d_out, const float *in, size_t M, size_t F)
{
	size_t whole = F - F % LANES;

	for (size_t m = 0; m < M; m++, d_in += 2 * F, d_out += F, in += 2 * F) {
		for (size_t i = 0; i < whole; i += LANES)
			gate_lanes_backward(d_in + i, d_out + i, in + i, F, LANES);
		gate_lanes_backward(d_in + whole, d_out + whole, in + whole, F, F % LANES);
	}
}
