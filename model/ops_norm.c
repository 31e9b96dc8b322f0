/* SPDX-License-Identifier: BSD-2-Clause */
/* RMSNorm (arXiv 1910.07467) with the residual stream's addition before it. */
#include <math.h>
#include "model/lanes.h"
#include "model/ops.h"

#define NORM_EPSILON 1e-5F

LANES_INLINE void add_lanes(float *residual, const float *h, lanes *squares, unsigned n, int first)
{
	lanes r, add;

	lanes_load(&r, h, n);
	if (!first) {
		lanes_load(&add, residual, n);
		r += add;
	}
	lanes_store(residual, &r, n);
	*squares += r * r;
}

LANES_INLINE void scale_lanes(float *out, const float *residual, const float *weight, float scale,
			      unsigned n)
{
	lanes r, w;

	lanes_load(&r, residual, n);
	lanes_load(&w, weight, n);
	r = r * scale * w;
	lanes_store(out, &r, n);
}

SIMD_CLONES void add_norm_forward(float *out, float *residual, const float *h, const float *weight,
				  size_t M, size_t D, int first)
{
	size_t whole = D - D % LANES;

	for (size_t row = 0; row < M; row++, out += D, residual += D, h += D) {
		lanes squares = {0};
		float scale;

		for (size_t i = 0; i < whole; i += LANES)
			add_lanes(residual + i, h + i, &squares, LANES, first);
		add_lanes(residual + whole, h + whole, &squares, D % LANES, first);
		scale = 1.0F / sqrtf(lanes_sum(&squares) / (float)D + NORM_EPSILON);
		for (size_t i = 0; i < whole; i += LANES)
			scale_lanes(out + i, residual + i, weight + i, scale, LANES);
		scale_lanes(out + whole, residual + whole, weight + whole, scale, D % LANES);
	}
}
