/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Eight float32 lanes, or sixteen, and the few functions of them that the operators share, in
 * compiler vector extensions: no intrinsics, any processor. SIMD_CLONES builds a function for AVX2
 * with FMA and for the baseline, and picks when the program starts; not under sanitizers, which
 * cannot run before that, nor with clang 14. Why eight (shipped model, one core of an EPYC with
 * AVX-512, flows/s): AVX2 560, AVX-512 540, baseline 190. Sixteen lanes make AVX-512 680, but gcc
 * 12 takes them apart badly for AVX2 (210): a file that is worth it is compiled for both
 * (ops_scan_wide.c), and says LANES 16 before it includes this.
 *
 * Pointers, not values, go in and out: passing vectors has no ABI without AVX.
 *
 * exp2 is a polynomial on [-1/2, 1/2] (Chebyshev nodes, relative error 3e-9, below float32's
 * rounding) times an exponent; log1p goes by atanh, so that it keeps its relative accuracy at 0.
 * sin and cos are libm's: arguments reach 3000 radians.
 */
#pragma once
#include <string.h>

#ifndef LANES
#define LANES 8
#endif
typedef float lanes __attribute__((vector_size(LANES * 4)));
typedef int lanes_int __attribute__((vector_size(LANES * 4)));
typedef unsigned lanes_bits __attribute__((vector_size(LANES * 4)));

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
	!defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SIMD_CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define SIMD_CLONES
#endif
#define LANES_INLINE static inline __attribute__((always_inline))

/* Anywhere in memory. */
typedef float lanes_unaligned __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

/* n of LANES lanes; the others load as 0 and are not stored. A constant n of LANES makes it one
 * move: of memcpy gcc 12 makes two halves where v is in memory, which a whole load then waits for.
 */
LANES_INLINE void lanes_load(lanes *v, const float *from, unsigned n)
{
	if (n == LANES) {
		*v = *(const lanes_unaligned *)from;
		return;
	}
	*v = (lanes){0};
	memcpy(v, from, n * sizeof(float));
}

LANES_INLINE void lanes_store(float *to, const lanes *v, unsigned n)
{
	if (n == LANES)
		*(lanes_unaligned *)to = *v;
	else
		memcpy(to, v, n * sizeof(float));
}

LANES_INLINE float lanes_sum(const lanes *v)
{
	float sum = 0;

	for (int i = 0; i < LANES; i++)
		sum += (*v)[i];
	return sum;
}

LANES_INLINE void lanes_max(lanes *v, float least)
{
	lanes_int below = *v < least;

	*v = (lanes)((~below & (lanes_int)*v) | (below & (lanes_int)((lanes){0} + least)));
}

LANES_INLINE void lanes_min(lanes *v, float most)
{
	lanes_int above = *v > most;

	*v = (lanes)((~above & (lanes_int)*v) | (above & (lanes_int)((lanes){0} + most)));
}

/* v = 2^v for v <= 127; below -126 it gives 2^-126, which no sum here can tell from 0: negative
 * floats grow like unsigned numbers, whose minimum is one instruction. Adding 1.5 * 2^23 leaves the
 * nearest whole number in the low bits of the sum, ready to be shifted into the exponent. */
LANES_INLINE void lanes_exp2(lanes *v)
{
	const unsigned least = 0xc2fc0000U; /* -126 */
	lanes_bits bits = (lanes_bits)*v;
	lanes x, shifted, f, p;

	for (int i = 0; i < LANES; i++)
		bits[i] = bits[i] < least ? bits[i] : least;
	x = (lanes)bits;
	shifted = x + 12582912.0F;
	f = x - (shifted - 12582912.0F);
	p = 1.546144470e-04F * f + 1.340042818e-03F;
	p = p * f + 9.618056679e-03F;
	p = p * f + 5.550327227e-02F;
	p = p * f + 2.402265092e-01F;
	p = p * f + 6.931472067e-01F;
	p = p * f + 1.0F;
	*v = (lanes)((lanes_int)p + ((lanes_int)shifted << 23));
}

LANES_INLINE void lanes_exp(lanes *v)
{
	lanes_min(v, 88.0F);
	*v *= 1.44269504088896341F;
	lanes_exp2(v);
}

/* v = v / (1 + e^-v) */
LANES_INLINE void lanes_silu(lanes *v)
{
	lanes e = -*v;

	lanes_exp(&e);
	*v /= 1.0F + e;
}

/* silu = v s and slope = its derivative s + v s (1 - s), s = 1 / (1 + e^-v). */
LANES_INLINE void lanes_silu_slope(lanes *silu, lanes *slope, const lanes *v)
{
	lanes s = -*v;

	lanes_exp(&s);
	s = 1.0F / (1.0F + s);
	*silu = *v * s;
	*slope = s + *silu * (1.0F - s);
}

/* v = ln(1 + e^v) = max(v, 0) + log1p(e^-|v|); log1p(u) = 2 atanh(u / (2 + u)), u in (0, 1]. */
LANES_INLINE void lanes_softplus(lanes *v)
{
	lanes u = *v, s, q, p;

	lanes_max(v, 0.0F);
	u -= 2.0F * *v; /* -|v| */
	lanes_exp(&u);
	s = u / (2.0F + u);
	q = s * s;
	p = 1.219695394e-01F * q + 1.069928029e-01F;
	p = p * q + 1.431010370e-01F;
	p = p * q + 1.999935562e-01F;
	p = p * q + 3.333333951e-01F;
	p = p * q + 1.0F;
	*v += 2.0F * s * p;
}
