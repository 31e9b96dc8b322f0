/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random numbers that depend on nothing but their seed and stream, the same on every machine:
 * splitmix64 (Steele, Lea, Flood 2014). Not for secrets.
 */
#pragma once
#include <math.h>
#include <stdint.h>

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* A stream of its own for each (seed, a, b): for instance seed, epoch, sample. */
static inline struct rng rng_stream(uint64_t seed, uint64_t a, uint64_t b)
{
	struct rng r = {seed};

	r.state = rng_next(&r) ^ (a + 1) * 0xd1342543de82ef95ULL;
	r.state = rng_next(&r) ^ (b + 1) * 0x2545f4914f6cdd1dULL;
	rng_next(&r);
	return r;
}

/* [0, 1) */
static inline double rng_uniform(struct rng *r)
{
	return (double)(rng_next(r) >> 11) * 0x1p-53;
}

/* 0 .. n - 1, n > 0; the bias, n / 2^64, is of no account here. */
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return (uint64_t)((unsigned __int128)rng_next(r) * n >> 64);
}

/* Mean 0, deviation 1. */
static inline double rng_normal(struct rng *r)
{
	double u = 1.0 - rng_uniform(r);

	return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * rng_uniform(r));
}
