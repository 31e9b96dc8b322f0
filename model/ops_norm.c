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

/* squares += residual^2, along += residual * weight * d_out */
LANES_INLINE void measure_lanes(lanes *squares, lanes *along, const float *d_out,
				const float *residual, const float *weight, unsigned n)
{
	lanes d, r, w;

	lanes_load(&d, d_out, n);
	lanes_load(&r, residual, n);
	lanes_load(&w, weight, n);
	*squares += r * r;
	*along += r * w * d;
}

LANES_INLINE void spread_lanes(float *d_residual, float *d_weight, const float *d_out,
			       const float *residual, const float *weight, float scale, float along,
			       unsigned n)
{
	lanes d_r, d_w, d, r, w;

	lanes_load(&d_r, d_residual, n);
	lanes_load(&d_w, d_weight, n);
	lanes_load(&d, d_out, n);
	lanes_load(&r, residual, n);
	lanes_load(&w, weight, n);
	r *= scale;
	d_w += d * r;
	d_r += scale * (d * w) - along * r;
	lanes_store(d_residual, &d_r, n);
	lanes_store(d_weight, &d_w, n);
}

/* With s = 1 / rms: d_r = s (d w - r s^2 mean(d w r)). */
SIMD_CLONES void norm_backward(float *d_residual, float *d_weight, const float *d_out,
			       const float *residual, const float *weight, size_t M, size_t D)
{
	size_t whole = D - D % LANES;

	for (size_t row = 0; row < M; row++, d_residual += D, d_out += D, residual += D) {
		lanes squares = {0}, dot = {0};
		float scale, along;

		for (size_t i = 0; i < whole; i += LANES)
			measure_lanes(&squares, &dot, d_out + i, residual + i, weight + i, LANES);
		measure_lanes(&squares, &dot, d_out + whole, residual + whole, weight + whole,
			      D % LANES);
		scale = 1.0F / sqrtf(lanes_sum(&squares) / (float)D + NORM_EPSILON);
		along = scale * scale * lanes_sum(&dot) / (float)D;
		for (size_t i = 0; i < whole; i += LANES)
			spread_lanes(d_residual + i, d_weight + i, d_out + i, residual + i,
				     weight + i, scale, along, LANES);
		spread_lanes(d_residual + whole, d_weight + whole, d_out + whole, residual + whole,
			     weight + whole, scale, along, D % LANES);
	}
}
