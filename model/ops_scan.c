/* SPDX-License-Identifier: BSD-2-Clause */
/* The selective scan (scan_lanes.h) on eight lanes, and the choice between these and sixteen. */
#include "model/scan_kernels.h"
#include "model/scan_lanes.h"

SIMD_CLONES static void forward(float *out, float *states, const struct scan_inputs *in, size_t B,
				size_t L, size_t E, size_t N)
{
	scan_forward_lanes(out, states, in, B, L, E, N);
}

SIMD_CLONES static void backward(const struct scan_gradients *d, const float *d_out,
				 const float *states, const struct scan_inputs *in, size_t B,
				 size_t L, size_t E, size_t N)
{
	scan_backward_lanes(d, d_out, states, in, B, L, E, N);
}

const struct scan_kernel scan_eight = {forward, backward};

static const struct scan_kernel *kernel(void)
{
	return scan_sixteen_runs() ? &scan_sixteen : &scan_eight;
}

void scan_forward(float *out, float *states, const struct scan_inputs *in, size_t B, size_t L,
		  size_t E, size_t N)
{
	kernel()->forward(out, states, in, B, L, E, N);
}

void scan_backward(const struct scan_gradients *d, const float *d_out, const float *states,
		   const struct scan_inputs *in, size_t B, size_t L, size_t E, size_t N)
{
	kernel()->backward(d, d_out, states, in, B, L, E, N);
}
