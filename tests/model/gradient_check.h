/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Gradients of a whole network against differences of its loss. A float32 loss is too coarse for
 * one weight at a time; so each tensor's values move together, each up or down at random. The
 * derivative along such a direction is off by about the norm of whatever is wrong in the tensor's
 * gradient, however many values that is spread over.
 */
#pragma once
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "model/layout.h"
#include "model/rng.h"

#define GRADIENT_DIRECTIONS 3

struct gradient_check {
	const struct layout *layout;
	float *values;
	const float *gradient;
	double (*loss)(void *ctx, const float *values);
	void *ctx;
	double step;      /* of the loss, relative to its own size */
	double tolerance; /* of a derivative, relative to the gradient's norm */
};

static inline double loss_along(const struct gradient_check *c, const struct parameter *p,
				const float *direction, double by)
{
	float *moved = malloc(c->layout->n_values * sizeof(*moved));
	double loss;

	assert_non_null(moved);
	memcpy(moved, c->values, c->layout->n_values * sizeof(*moved));
	for (size_t i = 0; i < p->n_values; i++)
		moved[p->offset + i] += (float)by * direction[i];
	loss = c->loss(c->ctx, moved);
	free(moved);
	return loss;
}

/* Five points, so that steps can be large. */
static inline double derivative_along(const struct gradient_check *c, const struct parameter *p,
				      const float *direction, double by)
{
	double near = loss_along(c, p, direction, by) - loss_along(c, p, direction, -by);
	double far = loss_along(c, p, direction, 2 * by) - loss_along(c, p, direction, -2 * by);

	return (8 * near - far) / (12 * by);
}

/* Returns by how much the worst direction is off, relative to the norm; there may be no gradient at
 * all. */
static inline double gradient_error(const struct gradient_check *c, const struct parameter *p,
				    struct rng *rng)
{
	const float *g = c->gradient + p->offset;
	float *direction = malloc(p->n_values * sizeof(*direction));
	double norm = 0, worst = 0, scale = fabs(c->loss(c->ctx, c->values));

	assert_non_null(direction);
	for (size_t i = 0; i < p->n_values; i++)
		norm += (double)g[i] * g[i];
	norm = sqrt(norm);
	for (int k = 0; k < GRADIENT_DIRECTIONS; k++) {
		double want, have = 0;

		for (size_t i = 0; i < p->n_values; i++) {
			direction[i] = rng_below(rng, 2) ? 1.0F : -1.0F;
			have += (double)direction[i] * g[i];
		}
		want = derivative_along(c, p, direction, fmin(0.02, c->step * scale / norm));
		worst = fmax(worst, fabs(have - want) / (norm > 0 ? norm : 1));
	}
	free(direction);
	return worst;
}

static inline void check_gradient(const struct gradient_check *c)
{
	struct rng rng = rng_stream(3, 1, 4);
	double worst = 0;

	for (size_t i = 0; i < c->layout->n; i++) {
		double off = gradient_error(c, &c->layout->list[i], &rng);

		if (!(off <= c->tolerance))
			fail_msg("the gradient of %s is off by %.2g", c->layout->list[i].name, off);
		worst = fmax(worst, off);
	}
	print_message("%zu gradients, the worst off by %.2g\n", c->layout->n, worst);
}
