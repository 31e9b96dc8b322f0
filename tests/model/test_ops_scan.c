/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The selective scan against the plainest scan in double, and its gradients against that one's
 * central differences: every element of every input and weight, over shapes that are no multiples
 * of the lanes, the chunk or the tile. As compiled for eight lanes and for sixteen.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "model/ops.h"
#include "model/rng.h"
#include "model/scan_kernels.h"

#define GAP 3 /* floats between rows of bc: there is something else, such as dt's R */

static const struct shape {
	size_t B, L, E, N;
} shapes[] = {
	{2, 33, 11, 16}, {1, 16, 8, 16}, {3, 7, 9, 3},   {1, 1, 1, 1},
	{2, 40, 16, 2},  {1, 47, 5, 17}, {1, 5, 267, 2}, {2, 18, 129, 1},
};
#define N_SHAPES (sizeof(shapes) / sizeof(shapes[0]))

enum { X, Z, DT, BC, A_LOG, D, DT_BIAS, N_ARRAYS };
static const char *const names[] = {"x", "z", "dt", "bc", "A_log", "D", "dt_bias"};

/* A scan with all of its arrays. The loss is the sum of out * d_out. */
struct scan {
	struct shape shape;
	size_t length[N_ARRAYS];
	float *array[N_ARRAYS], *gradient[N_ARRAYS];
	float *out, *d_out, *states;
	size_t n_states;
	struct scan_inputs in;
	struct scan_gradients d;
};

static float *values(struct rng *rng, size_t n, float scale, float offset)
{
	float *v = calloc(n, sizeof(*v));

	assert_non_null(v);
	for (size_t i = 0; i < n; i++)
		v[i] = offset + scale * (2 * rng_uniform(rng) - 1);
	return v;
}

static void scan_begin(struct scan *s, const struct shape *shape)
{
	static const float scale[] = {1, 2, 2, 1, 1, 1, 1}, offset[] = {0, 0, -1, 0, 0, 0, -1};
	size_t M = shape->B * shape->L, stride = 2 * shape->N + GAP, E = shape->E, N = shape->N;
	const size_t length[] = {M * E, M * E, M * E, M * stride, E * N, E, E};
	struct rng rng = rng_stream(7, 0, 0);

	s->shape = *shape;
	for (int i = 0; i < N_ARRAYS; i++) {
		s->length[i] = length[i];
		s->array[i] = values(&rng, length[i], scale[i], offset[i]);
		s->gradient[i] = values(&rng, length[i], 0, 0);
	}
	s->out = values(&rng, M * E, 0, 0);
	s->d_out = values(&rng, M * E, 1, 0);
	s->n_states = shape->B * scan_chunks(shape->L) * E * N;
	s->states = values(&rng, s->n_states, 0, 0);
	s->in = (struct scan_inputs){s->array[X], s->array[Z],     s->array[DT], s->array[BC],
				     stride,      s->array[A_LOG], s->array[D],  s->array[DT_BIAS]};
	s->d = (struct scan_gradients){
		s->gradient[X], s->gradient[Z],     s->gradient[DT], s->gradient[BC],
		stride,         s->gradient[A_LOG], s->gradient[D],  s->gradient[DT_BIAS]};
}

static void scan_end(struct scan *s)
{
	for (int i = 0; i < N_ARRAYS; i++) {
		free(s->array[i]);
		free(s->gradient[i]);
	}
	free(s->out);
	free(s->d_out);
	free(s->states);
}

static const struct scan_kernel *kernel; /* under test */

static void forward(struct scan *s, float *states)
{
	kernel->forward(s->out, states, &s->in, s->shape.B, s->shape.L, s->shape.E, s->shape.N);
}

static void backward(struct scan *s)
{
	kernel->backward(&s->d, s->d_out, s->states, &s->in, s->shape.B, s->shape.L, s->shape.E,
			 s->shape.N);
}

/* out of one channel of one flow, in double. */
static void channel_forward(double *out, double *const v[], const struct shape *p, size_t b,
			    size_t e)
{
	size_t N = p->N;
	double state[32] = {0};

	for (size_t t = b * p->L; t < (b + 1) * p->L; t++) {
		size_t at = t * p->E + e;
		const double *B = v[BC] + t * (2 * N + GAP), *C = B + N;
		double dt = log1p(exp(v[DT][at] + v[DT_BIAS][e])), y = v[D][e] * v[X][at];

		for (size_t k = 0; k < N; k++) {
			state[k] = exp(-dt * exp(v[A_LOG][e * N + k])) * state[k] +
				   dt * v[X][at] * B[k];
			y += C[k] * state[k];
		}
		out[t - b * p->L] = y * v[Z][at] / (1 + exp(-v[Z][at]));
	}
}

/* The loss of one channel of one flow. */
static double channel_loss(const struct scan *s, double *const v[], size_t b, size_t e)
{
	const struct shape *p = &s->shape;
	double out[64], loss = 0;

	channel_forward(out, v, p, b, e);
	for (size_t t = 0; t < p->L; t++)
		loss += out[t] * s->d_out[(b * p->L + t) * p->E + e];
	return loss;
}

/* Of the channels and flows that an element of an array acts on. */
static double loss(const struct scan *s, double *const v[], int array, size_t i)
{
	const struct shape *p = &s->shape;
	size_t first_b = 0, end_b = p->B, first_e = 0, end_e = p->E;
	double sum = 0;

	if (array == BC)
		first_b = i / (2 * p->N + GAP) / p->L;
	else if (array < BC)
		first_b = i / p->E / p->L;
	if (array <= BC)
		end_b = first_b + 1;
	if (array != BC) {
		first_e = array == A_LOG ? i / p->N : i % p->E;
		end_e = first_e + 1;
	}
	for (size_t b = first_b; b < end_b; b++)
		for (size_t e = first_e; e < end_e; e++)
			sum += channel_loss(s, v, b, e);
	return sum;
}

static void widen(double *v[], const struct scan *s)
{
	for (int i = 0; i < N_ARRAYS; i++) {
		v[i] = calloc(s->length[i], sizeof(**v));
		assert_non_null(v[i]);
		for (size_t j = 0; j < s->length[i]; j++)
			v[i][j] = s->array[i][j];
	}
}

/* An element may be wrong by float32's rounding of the array's largest. */
static void expect_gradient(const struct scan *s, double *const v[], int array)
{
	const double h = 1e-5;
	double most = 0, error = 0;

	for (size_t i = 0; i < s->length[array]; i++) {
		double kept = v[array][i], up, want;

		v[array][i] = kept + h;
		up = loss(s, v, array, i);
		v[array][i] = kept - h;
		want = (up - loss(s, v, array, i)) / (2 * h);
		v[array][i] = kept;
		most = fmax(most, fabs(want));
		error = fmax(error, fabs(want - s->gradient[array][i]));
	}
	if (!(error <= 2e-6 * most))
		fail_msg("B %zu, L %zu, E %zu, N %zu, %s: error %g of %g", s->shape.B, s->shape.L,
			 s->shape.E, s->shape.N, names[array], error, most);
}

static void test_gradients_are_the_derivatives_of_the_plain_scan(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_SHAPES; i++) {
		struct scan s;
		double *v[N_ARRAYS];

		scan_begin(&s, &shapes[i]);
		widen(v, &s);
		forward(&s, s.states);
		backward(&s);
		for (int j = 0; j < N_ARRAYS; j++)
			expect_gradient(&s, v, j);
		for (int j = 0; j < N_ARRAYS; j++)
			free(v[j]);
		scan_end(&s);
	}
}

static void expect_forward(struct scan *s)
{
	const struct shape *p = &s->shape;
	double *v[N_ARRAYS], want[64];

	widen(v, s);
	forward(s, NULL);
	for (size_t j = 0; j < p->B * p->E; j++) {
		size_t b = j / p->E, e = j % p->E;

		channel_forward(want, v, p, b, e);
		for (size_t t = 0; t < p->L; t++)
			assert_true(fabs(s->out[(b * p->L + t) * p->E + e] - want[t]) < 1e-5);
	}
	for (int j = 0; j < N_ARRAYS; j++)
		free(v[j]);
}

static void test_forward_agrees_with_the_plain_scan(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_SHAPES; i++) {
		struct scan s;

		scan_begin(&s, &shapes[i]);
		expect_forward(&s);
		scan_end(&s);
	}
}

/* Decays far below 2^-126, where the exponent of a float ends: down to e^-10000. */
static void test_a_state_that_decays_to_nothing_is_forgotten(void **state)
{
	struct scan s;

	(void)state;
	scan_begin(&s, &shapes[0]);
	for (size_t i = 0; i < s.length[A_LOG]; i++)
		s.array[A_LOG][i] += (float)(i % 9);
	expect_forward(&s);
	scan_end(&s);
}

static void test_keeping_states_does_not_change_a_bit_of_the_output(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_SHAPES; i++) {
		size_t bytes = shapes[i].B * shapes[i].L * shapes[i].E * sizeof(float);
		struct scan s;
		float *without = malloc(bytes);

		assert_non_null(without);
		scan_begin(&s, &shapes[i]);
		forward(&s, NULL);
		memcpy(without, s.out, bytes);
		memset(s.out, 0, bytes);
		forward(&s, s.states);
		assert_memory_equal(s.out, without, bytes);
		free(without);
		scan_end(&s);
	}
}

static void test_output_may_take_the_place_of_x(void **state)
{
	const struct shape *p = &shapes[0];
	size_t bytes = p->B * p->L * p->E * sizeof(float);
	struct scan s;

	(void)state;
	scan_begin(&s, p);
	forward(&s, NULL);
	kernel->forward(s.array[X], NULL, &s.in, p->B, p->L, p->E, p->N);
	assert_memory_equal(s.array[X], s.out, bytes);
	scan_end(&s);
}

/* A second run over what the first left: inputs' gradients are the same to the bit, weights' twice
 * as much, and the floats between the rows of bc are as they were. */
static void test_gradients_of_inputs_are_written_and_of_weights_added(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_SHAPES; i++) {
		size_t stride = 2 * shapes[i].N + GAP;
		struct scan s, once;

		scan_begin(&s, &shapes[i]);
		scan_begin(&once, &shapes[i]);
		forward(&once, once.states);
		backward(&once);
		forward(&s, s.states);
		for (int j = X; j <= BC; j++)
			for (size_t k = 0; k < s.length[j]; k++)
				s.gradient[j][k] = 99;
		backward(&s);
		backward(&s);
		for (int j = X; j <= DT; j++)
			assert_memory_equal(s.gradient[j], once.gradient[j],
					    s.length[j] * sizeof(float));
		for (size_t k = 0; k < s.length[BC]; k++)
			assert_true(s.gradient[BC][k] ==
				    (k % stride < stride - GAP ? once.gradient[BC][k] : 99));
		for (int j = A_LOG; j < N_ARRAYS; j++)
			for (size_t k = 0; k < s.length[j]; k++)
				assert_true(s.gradient[j][k] == 2 * once.gradient[j][k]);
		scan_end(&once);
		scan_end(&s);
	}
}

/* Weights' sums over many tokens: the same flow many times gives so many times its gradients. */
static void test_weight_gradients_keep_their_accuracy_over_many_flows(void **state)
{
	const struct shape one = {1, 50, 3, 16}, many = {200, 50, 3, 16};
	struct scan s, m;

	(void)state;
	scan_begin(&s, &one);
	scan_begin(&m, &many);
	for (size_t b = 0; b < many.B; b++) {
		for (int j = X; j <= BC; j++)
			memcpy(m.array[j] + b * s.length[j], s.array[j],
			       s.length[j] * sizeof(float));
		memcpy(m.d_out + b * s.length[X], s.d_out, s.length[X] * sizeof(float));
	}
	for (int j = A_LOG; j < N_ARRAYS; j++)
		memcpy(m.array[j], s.array[j], s.length[j] * sizeof(float));
	forward(&s, s.states);
	backward(&s);
	forward(&m, m.states);
	backward(&m);
	for (int j = A_LOG; j < N_ARRAYS; j++) {
		double difference = 0, norm = 0;

		for (size_t k = 0; k < s.length[j]; k++) {
			double want = 200.0 * s.gradient[j][k];

			difference += pow(m.gradient[j][k] - want, 2);
			norm += want * want;
		}
		assert_true(sqrt(difference) <= 1e-5 * sqrt(norm));
	}
	scan_end(&m);
	scan_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forward_agrees_with_the_plain_scan),
		cmocka_unit_test(test_a_state_that_decays_to_nothing_is_forgotten),
		cmocka_unit_test(test_keeping_states_does_not_change_a_bit_of_the_output),
		cmocka_unit_test(test_output_may_take_the_place_of_x),
		cmocka_unit_test(test_gradients_are_the_derivatives_of_the_plain_scan),
		cmocka_unit_test(test_gradients_of_inputs_are_written_and_of_weights_added),
		cmocka_unit_test(test_weight_gradients_keep_their_accuracy_over_many_flows),
	};

	int failed;

	kernel = &scan_eight;
	failed = cmocka_run_group_tests_name("eight lanes", tests, NULL, NULL);
	if (!scan_sixteen_runs()) {
		printf("sixteen lanes: not tested, this processor has no AVX-512\n");
		return failed;
	}
	kernel = &scan_sixteen;
	return failed + cmocka_run_group_tests_name("sixteen lanes", tests, NULL, NULL);
}
