/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operators of one line each against their formulas in double, and their gradients against those
 * formulas' central differences: every element of every input and weight, over shapes that are no
 * multiples of the lanes.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "model/ops.h"
#include "model/rng.h"

#define MAX_ARRAYS 3
#define GAP        3 /* floats between rows of the linear operator's input: something else's */

/* M = B * L rows of n; m is what the operator has besides: outputs of linear, taps. */
struct shape {
	size_t B, L, n, m;
};

static const struct shape shapes[] = {
	{2, 5, 11, 4}, {1, 7, 16, 4}, {3, 2, 9, 3},   {1, 1, 1, 1},   {2, 3, 8, 5},
	{1, 9, 5, 16}, {2, 17, 3, 1}, {1, 3, 67, 13}, {1, 2, 129, 4},
};
#define N_SHAPES (sizeof(shapes) / sizeof(shapes[0]))

struct array {
	const char *name;
	bool added; /* its gradient is added to; else written */
};

struct op {
	const char *name;
	struct array array[MAX_ARRAYS]; /* the first is the input, or the only weight */
	void (*lengths)(size_t *length, size_t *out_length, const struct shape *p);
	void (*plain)(double *out, double *const v[], const struct shape *p);
	void (*forward)(float *out, float *const v[], const struct shape *p);
	void (*backward)(float *const d[], const float *d_out, float *const v[],
			 const struct shape *p);
	size_t gap;
};

static void linear_lengths(size_t *length, size_t *out_length, const struct shape *p)
{
	length[0] = p->B * p->L * (p->n + GAP);
	length[1] = p->m * p->n;
	*out_length = p->B * p->L * p->m;
}

static void linear_plain(double *out, double *const v[], const struct shape *p)
{
	for (size_t i = 0; i < p->B * p->L * p->m; i++) {
		const double *in = v[0] + i / p->m * (p->n + GAP), *w = v[1] + i % p->m * p->n;

		out[i] = 0;
		for (size_t j = 0; j < p->n; j++)
			out[i] += in[j] * w[j];
	}
}

static void linear_run(float *out, float *const v[], const struct shape *p)
{
	linear_forward(out, v[0], p->n + GAP, v[1], p->B * p->L, p->n, p->m);
}

static void linear_run_backward(float *const d[], const float *d_out, float *const v[],
				const struct shape *p)
{
	linear_backward(d[0], p->n + GAP, false, d[1], d_out, v[0], p->n + GAP, v[1], p->B * p->L,
			p->n, p->m);
}

/* The two gradients in a call each. */
static void linear_run_backward_adding(float *const d[], const float *d_out, float *const v[],
				       const struct shape *p)
{
	linear_backward(d[0], p->n + GAP, true, NULL, d_out, NULL, 0, v[1], p->B * p->L, p->n,
			p->m);
	linear_backward(NULL, 0, true, d[1], d_out, v[0], p->n + GAP, NULL, p->B * p->L, p->n,
			p->m);
}

static void bias_lengths(size_t *length, size_t *out_length, const struct shape *p)
{
	length[0] = p->n;
	*out_length = p->B * p->L * p->n;
}

static void bias_plain(double *out, double *const v[], const struct shape *p)
{
	for (size_t i = 0; i < p->B * p->L * p->n; i++)
		out[i] = (double)i + v[0][i % p->n];
}

static void bias_run(float *out, float *const v[], const struct shape *p)
{
	for (size_t i = 0; i < p->B * p->L * p->n; i++)
		out[i] = (float)i;
	bias_forward(out, v[0], p->B * p->L, p->n);
}

static void bias_run_backward(float *const d[], const float *d_out, float *const v[],
			      const struct shape *p)
{
	(void)v;
	bias_backward(d[0], d_out, p->B * p->L, p->n);
}

static void norm_lengths(size_t *length, size_t *out_length, const struct shape *p)
{
	*out_length = length[0] = p->B * p->L * p->n;
	length[1] = p->n;
}

static void norm_plain(double *out, double *const v[], const struct shape *p)
{
	for (size_t row = 0; row < p->B * p->L; row++) {
		const double *r = v[0] + row * p->n;
		double squares = 0;

		for (size_t i = 0; i < p->n; i++)
			squares += r[i] * r[i];
		for (size_t i = 0; i < p->n; i++)
			out[row * p->n + i] = r[i] * v[1][i] / sqrt(squares / (double)p->n + 1e-5);
	}
}

static void norm_run(float *out, float *const v[], const struct shape *p)
{
	add_norm_forward(out, v[0], v[0], v[1], p->B * p->L, p->n, 1);
}

static void norm_run_backward(float *const d[], const float *d_out, float *const v[],
			      const struct shape *p)
{
	norm_backward(d[0], d[1], d_out, v[0], v[1], p->B * p->L, p->n);
}

static double silu(double v)
{
	return v / (1 + exp(-v));
}

static void conv_lengths(size_t *length, size_t *out_length, const struct shape *p)
{
	*out_length = length[0] = p->B * p->L * p->n;
	length[1] = p->n * p->m;
	length[2] = p->n;
}

static void conv_plain(double *out, double *const v[], const struct shape *p)
{
	for (size_t i = 0; i < p->B * p->L * p->n; i++) {
		size_t t = i / p->n % p->L, e = i % p->n;
		double sum = v[2][e];

		for (size_t back = 0; back < p->m && back <= t; back++)
			sum += v[1][e * p->m + p->m - 1 - back] * v[0][i - back * p->n];
		out[i] = silu(sum);
	}
}

static void conv_run(float *out, float *const v[], const struct shape *p)
{
	conv_silu_forward(out, v[0], v[1], v[2], p->B, p->L, p->n, p->m);
}

static void conv_run_backward(float *const d[], const float *d_out, float *const v[],
			      const struct shape *p)
{
	conv_silu_backward(d[0], d[1], d[2], d_out, v[0], v[1], v[2], p->B, p->L, p->n, p->m);
}

static void gate_lengths(size_t *length, size_t *out_length, const struct shape *p)
{
	*out_length = p->B * p->L * p->n;
	length[0] = 2 * *out_length;
}

static void gate_plain(double *out, double *const v[], const struct shape *p)
{
	for (size_t i = 0; i < p->B * p->L * p->n; i++) {
		const double *in = v[0] + i / p->n * 2 * p->n + i % p->n;

		out[i] = silu(in[0]) * in[p->n];
	}
}

static void gate_run(float *out, float *const v[], const struct shape *p)
{
	gate_forward(out, v[0], p->B * p->L, p->n);
}

static void gate_run_backward(float *const d[], const float *d_out, float *const v[],
			      const struct shape *p)
{
	gate_backward(d[0], d_out, v[0], p->B * p->L, p->n);
}

static const struct op operators[] = {
	{"linear",
	 {{"in", false}, {"weight", true}},
	 linear_lengths,
	 linear_plain,
	 linear_run,
	 linear_run_backward,
	 GAP},
	{"linear, adding",
	 {{"in", true}, {"weight", true}},
	 linear_lengths,
	 linear_plain,
	 linear_run,
	 linear_run_backward_adding,
	 GAP},
	{"bias", {{"bias", true}}, bias_lengths, bias_plain, bias_run, bias_run_backward, 0},
	{"norm",
	 {{"residual", true}, {"weight", true}},
	 norm_lengths,
	 norm_plain,
	 norm_run,
	 norm_run_backward,
	 0},
	{"conv",
	 {{"in", false}, {"weight", true}, {"bias", true}},
	 conv_lengths,
	 conv_plain,
	 conv_run,
	 conv_run_backward,
	 0},
	{"gate", {{"in", false}}, gate_lengths, gate_plain, gate_run, gate_run_backward, 0},
};
#define N_OPERATORS (sizeof(operators) / sizeof(operators[0]))

/* An operator with all of its arrays. The loss is the sum of out * d_out. */
struct trial {
	const struct op *op;
	struct shape shape;
	size_t length[MAX_ARRAYS], out_length;
	double *plain[MAX_ARRAYS], *plain_out;
	float *array[MAX_ARRAYS], *out, *d_out;
	float *before[MAX_ARRAYS], *gradient[MAX_ARRAYS];
};

static void *zeros(size_t n, size_t size)
{
	void *v = calloc(n, size);

	assert_non_null(v);
	return v;
}

static float *values(struct rng *rng, size_t n, float scale)
{
	float *v = zeros(n, sizeof(*v));

	for (size_t i = 0; i < n; i++)
		v[i] = scale * (float)(2 * rng_uniform(rng) - 1);
	return v;
}

static void trial_begin(struct trial *t, const struct op *op, const struct shape *shape)
{
	struct rng rng = rng_stream(7, 0, 0);

	*t = (struct trial){.op = op, .shape = *shape};
	op->lengths(t->length, &t->out_length, shape);
	for (int i = 0; i < MAX_ARRAYS; i++) {
		t->array[i] = values(&rng, t->length[i], 2);
		t->before[i] = values(&rng, t->length[i], 1);
		t->gradient[i] = zeros(t->length[i], sizeof(float));
		t->plain[i] = zeros(t->length[i], sizeof(double));
		for (size_t j = 0; j < t->length[i]; j++) {
			t->gradient[i][j] = t->before[i][j];
			t->plain[i][j] = t->array[i][j];
		}
	}
	t->out = values(&rng, t->out_length, 9);
	t->d_out = values(&rng, t->out_length, 1);
	t->plain_out = zeros(t->out_length, sizeof(double));
}

static void trial_end(struct trial *t)
{
	for (int i = 0; i < MAX_ARRAYS; i++) {
		free(t->array[i]);
		free(t->before[i]);
		free(t->gradient[i]);
		free(t->plain[i]);
	}
	free(t->out);
	free(t->d_out);
	free(t->plain_out);
}

static double loss(const struct trial *t)
{
	double sum = 0;

	t->op->plain(t->plain_out, t->plain, &t->shape);
	for (size_t i = 0; i < t->out_length; i++)
		sum += t->plain_out[i] * t->d_out[i];
	return sum;
}

static double derivative(const struct trial *t, double *v)
{
	const double h = 1e-5, kept = *v;
	double up, down;

	*v = kept + h;
	up = loss(t);
	*v = kept - h;
	down = loss(t);
	*v = kept;
	return (up - down) / (2 * h);
}

static void expect_gradient(const struct trial *t, int array)
{
	const struct shape *p = &t->shape;
	const struct array *a = &t->op->array[array];
	double most = 0, error = 0;

	for (size_t i = 0; i < t->length[array]; i++) {
		bool in_gap = array == 0 && i % (p->n + t->op->gap) >= p->n;
		double want = derivative(t, &t->plain[array][i]);

		if (a->added || in_gap)
			want += t->before[array][i];
		most = fmax(most, fabs(want));
		error = fmax(error, fabs(want - t->gradient[array][i]));
	}
	if (!(error <= 2e-6 * most))
		fail_msg("%s, B %zu, L %zu, n %zu, m %zu, %s: error %g of %g", t->op->name, p->B,
			 p->L, p->n, p->m, a->name, error, most);
}

static void test_gradients_are_the_derivatives_of_the_formulas(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OPERATORS * N_SHAPES; i++) {
		struct trial t;

		trial_begin(&t, &operators[i / N_SHAPES], &shapes[i % N_SHAPES]);
		t.op->backward(t.gradient, t.d_out, t.array, &t.shape);
		for (int j = 0; j < MAX_ARRAYS && t.op->array[j].name; j++)
			expect_gradient(&t, j);
		trial_end(&t);
	}
}

static void test_forwards_agree_with_the_formulas(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OPERATORS * N_SHAPES; i++) {
		struct trial t;

		trial_begin(&t, &operators[i / N_SHAPES], &shapes[i % N_SHAPES]);
		t.op->forward(t.out, t.array, &t.shape);
		loss(&t);
		for (size_t j = 0; j < t.out_length; j++)
			if (!(fabs(t.out[j] - t.plain_out[j]) <=
			      2e-6 * fmax(10, fabs(t.plain_out[j]))))
				fail_msg("%s, shape %zu: %g, not %g", t.op->name, i % N_SHAPES,
					 t.out[j], t.plain_out[j]);
		trial_end(&t);
	}
}

static void test_silu_far_from_zero_has_slope_0_or_1(void **state)
{
	static const float in[] = {-1e4F, -100, -88, 88, 100, 1e4F, 1, 1, 1, 1, 1, 1};
	static const float d_out[] = {1, 1, 1, 1, 1, 1};
	float d_in[12];

	(void)state;
	gate_backward(d_in, d_out, in, 1, 6);
	for (int i = 0; i < 6; i++) {
		assert_true(fabsf(d_in[i] - (i < 3 ? 0 : 1)) < 1e-30F);
		assert_true(fabsf(d_in[6 + i] - (i < 3 ? 0 : in[i])) < 1e-30F);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forwards_agree_with_the_formulas),
		cmocka_unit_test(test_gradients_are_the_derivatives_of_the_formulas),
		cmocka_unit_test(test_silu_far_from_zero_has_slope_0_or_1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
