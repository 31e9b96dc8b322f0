/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The attention block against the same in double, written from its formulas with the whole matrix
 * of scores; gradients of both inputs and of all weights against that one's central differences.
 * The loss takes both outputs, h and the residual stream, so that every way through is in it.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "model/block.h"
#include "model/rng.h"

/* float32 against double, relative to the array's norm; seen: 2.5e-7 and 9e-7. */
#define FORWARD_TOLERANCE  2e-6
#define GRADIENT_TOLERANCE 1e-5

#define GUARD     16 /* floats behind kept and scratch that must stay as they are */
#define UNTOUCHED 12345.0F

enum { U, RESIDUAL, IN_PROJ, OUT_PROJ, NORM2, FC1, FC2, N_ARRAYS };
static const char *const names[] = {"u", "residual", "in_proj", "out_proj", "norm2", "fc1", "fc2"};

/* A block and flows, and what is computed of them. */
struct problem {
	struct block_shape s;
	struct rows rows;
	size_t n[N_ARRAYS], n_kept, n_scratch;
	double *value[N_ARRAYS];
	float *value32[N_ARRAYS], *gradient[N_ARRAYS];
	float *h, *residual, *d_h, *d_residual, *kept, *scratch;
};

static void *array(size_t n, size_t size)
{
	void *a = calloc(n, size);

	assert_non_null(a);
	return a;
}

static float *guarded(size_t n)
{
	float *a = array(n + GUARD, sizeof(*a));

	for (size_t i = 0; i < n + GUARD; i++)
		a[i] = UNTOUCHED;
	return a;
}

static void check_guard(const float *a, size_t n)
{
	for (size_t i = n; i < n + GUARD; i++)
		assert_true(a[i] == UNTOUCHED);
}

static float *random_array(struct rng *rng, size_t n)
{
	float *a = array(n, sizeof(*a));

	for (size_t i = 0; i < n; i++)
		a[i] = (float)rng_normal(rng);
	return a;
}

static void problem_begin(struct problem *p, const struct block_shape *s, const size_t *start,
			  size_t n_flows)
{
	size_t M = start[n_flows], D = s->D, F = s->F;
	const size_t n[] = {M * D, M * D, 3 * D * D, D * D, D, 2 * F * D, D * F};
	struct rng rng = rng_stream(11, D, M);

	*p = (struct problem){.s = *s, .rows = {M, n_flows, start}};
	memcpy(p->n, n, sizeof(n));
	for (int i = 0; i < N_ARRAYS; i++) {
		float scale = i < IN_PROJ || i == NORM2 ? 1.0F : 1.0F / sqrtf((float)D);

		p->value32[i] = random_array(&rng, n[i]);
		p->value[i] = array(n[i], sizeof(double));
		p->gradient[i] = array(n[i], sizeof(float));
		for (size_t j = 0; j < n[i]; j++) {
			p->value[i][j] = p->value32[i][j] *= scale;
			p->gradient[i][j] = 0.5F; /* weights' are added to */
		}
	}
	p->h = array(M * D, sizeof(float));
	p->residual = array(M * D, sizeof(float));
	memcpy(p->residual, p->value32[RESIDUAL], M * D * sizeof(float));
	p->d_h = random_array(&rng, M * D);
	p->d_residual = random_array(&rng, M * D);
	p->n_kept = attention_block.kept_floats(s, M, n_flows);
	p->n_scratch = attention_block.scratch_floats(s, M, n_flows);
	p->kept = guarded(p->n_kept);
	p->scratch = guarded(p->n_scratch);
}

static void problem_end(struct problem *p)
{
	for (int i = 0; i < N_ARRAYS; i++) {
		free(p->value[i]);
		free(p->value32[i]);
		free(p->gradient[i]);
	}
	free(p->h);
	free(p->residual);
	free(p->d_h);
	free(p->d_residual);
	free(p->kept);
	free(p->scratch);
}

static struct block_weights weights(float *const array[N_ARRAYS])
{
	return (struct block_weights){
		.in_proj = array[IN_PROJ],
		.out_proj = array[OUT_PROJ],
		.norm2 = array[NORM2],
		.fc1 = array[FC1],
		.fc2 = array[FC2],
	};
}

static void run_forward(struct problem *p)
{
	struct block_weights w = weights(p->value32);

	attention_block.forward(&p->s, &w, p->kept, &p->rows, p->residual, p->value32[U], p->h);
	check_guard(p->kept, p->n_kept);
}

/* d_residual is changed in place: the gradient of RESIDUAL starts as what comes from behind. */
static void run_backward(struct problem *p)
{
	struct block_weights w = weights(p->value32), d = weights(p->gradient);

	memcpy(p->gradient[RESIDUAL], p->d_residual, p->n[RESIDUAL] * sizeof(float));
	attention_block.backward(&p->s, &w, &d, p->kept, p->scratch, &p->rows, p->value32[U],
				 p->d_h, p->gradient[RESIDUAL], p->gradient[U]);
	check_guard(p->scratch, p->n_scratch);
	for (int i = IN_PROJ; i < N_ARRAYS; i++)
		for (size_t j = 0; j < p->n[i]; j++)
			p->gradient[i][j] -= 0.5F;
}

/* out (n_out) = W (n_out, n_in) in */
static void multiply(double *out, const double *W, const double *in, size_t n_out, size_t n_in)
{
	for (size_t o = 0; o < n_out; o++) {
		out[o] = 0;
		for (size_t i = 0; i < n_in; i++)
			out[o] += W[o * n_in + i] * in[i];
	}
}

/* out (D) of one query among the L tokens of a flow, qkv (L, 3 D). */
static void plain_attention(double *out, const double *qkv, size_t query, size_t L,
			    const struct block_shape *s)
{
	size_t D = s->D, dim = D / s->heads;
	double score[256];

	for (size_t h = 0; h < s->heads; h++) {
		const double *q = qkv + query * 3 * D + h * dim;
		double sum = 0;

		for (size_t j = 0; j < L; j++) {
			const double *k = qkv + j * 3 * D + D + h * dim;

			score[j] = 0;
			for (size_t i = 0; i < dim; i++)
				score[j] += q[i] * k[i];
			score[j] = exp(score[j] / sqrt((double)dim));
			sum += score[j];
		}
		for (size_t i = 0; i < dim; i++) {
			out[h * dim + i] = 0;
			for (size_t j = 0; j < L; j++)
				out[h * dim + i] +=
					score[j] / sum * qkv[j * 3 * D + 2 * D + h * dim + i];
		}
	}
}

/* One row from its attention's output on: residual, h (D). */
static void plain_row(double *h, double *residual, const double *attended, const struct problem *p)
{
	size_t D = p->s.D, F = p->s.F;
	double add[64], normed[64], fc1[256], squares = 0;

	multiply(add, p->value[OUT_PROJ], attended, D, D);
	for (size_t i = 0; i < D; i++) {
		residual[i] += add[i];
		squares += residual[i] * residual[i];
	}
	for (size_t i = 0; i < D; i++)
		normed[i] = residual[i] / sqrt(squares / (double)D + 1e-5) * p->value[NORM2][i];
	multiply(fc1, p->value[FC1], normed, 2 * F, D);
	for (size_t i = 0; i < F; i++)
		fc1[i] = fc1[i] / (1 + exp(-fc1[i])) * fc1[F + i];
	multiply(h, p->value[FC2], fc1, D, F);
}

/* h and residual (rows, D) of flow b only. */
static void plain_flow(double *h, double *residual, const struct problem *p, size_t b)
{
	size_t D = p->s.D, first = p->rows.start[b], L = p->rows.start[b + 1] - first;
	double *qkv = array(L * 3 * D, sizeof(*qkv)), attended[64];

	for (size_t t = 0; t < L; t++)
		multiply(qkv + t * 3 * D, p->value[IN_PROJ], p->value[U] + (first + t) * D, 3 * D,
			 D);
	for (size_t t = 0; t < L; t++) {
		size_t at = (first + t) * D;

		memcpy(residual + at, p->value[RESIDUAL] + at, D * sizeof(double));
		plain_attention(attended, qkv, t, L, &p->s);
		plain_row(h + at, residual + at, attended, p);
	}
	free(qkv);
}

static double plain_loss(const struct problem *p, double *h, double *residual)
{
	double loss = 0;

	for (size_t b = 0; b < p->rows.n_flows; b++)
		plain_flow(h, residual, p, b);
	for (size_t i = 0; i < p->rows.n_rows * p->s.D; i++)
		loss += h[i] * p->d_h[i] + residual[i] * p->d_residual[i];
	return loss;
}

static double distance(const float *got, const double *want, size_t n)
{
	double off = 0, norm = 0;

	for (size_t i = 0; i < n; i++) {
		off += (got[i] - want[i]) * (got[i] - want[i]);
		norm += want[i] * want[i];
	}
	return sqrt(off / norm);
}

static void check_forward(struct problem *p)
{
	size_t n = p->rows.n_rows * p->s.D;
	double *h = array(n, sizeof(*h)), *residual = array(n, sizeof(*residual));

	plain_loss(p, h, residual);
	if (!(distance(p->h, h, n) <= FORWARD_TOLERANCE) ||
	    !(distance(p->residual, residual, n) <= FORWARD_TOLERANCE))
		fail_msg("D %zu heads %zu rows %zu: h is off by %g, residual by %g", p->s.D,
			 p->s.heads, p->rows.n_rows, distance(p->h, h, n),
			 distance(p->residual, residual, n));
	free(h);
	free(residual);
}

/* Every step-th element of one array. */
static void check_gradient(struct problem *p, int which, size_t step)
{
	size_t n = p->rows.n_rows * p->s.D;
	double *h = array(n, sizeof(*h)), *residual = array(n, sizeof(*residual));
	double off = 0, norm = 0, e = 1e-5;

	for (size_t i = 0; i < p->n[which]; i += step) {
		double *value = &p->value[which][i], kept = *value, want, d;

		*value = kept + e;
		want = plain_loss(p, h, residual);
		*value = kept - e;
		want = (want - plain_loss(p, h, residual)) / (2 * e);
		*value = kept;
		d = p->gradient[which][i] - want;
		off += d * d;
		norm += want * want;
	}
	if (!(sqrt(off / norm) <= GRADIENT_TOLERANCE))
		fail_msg("D %zu heads %zu rows %zu: gradient of %s is off by %g", p->s.D,
			 p->s.heads, p->rows.n_rows, names[which], sqrt(off / norm));
	free(h);
	free(residual);
}

static void check_block(const struct block_shape *s, const size_t *start, size_t n_flows,
			size_t step)
{
	struct problem p;

	problem_begin(&p, s, start, n_flows);
	run_forward(&p);
	check_forward(&p);
	run_backward(&p);
	for (int i = 0; i < N_ARRAYS; i++)
		check_gradient(&p, i, i == NORM2 ? 1 : step);
	problem_end(&p);
}

static const struct block_shape small = {.D = 6, .heads = 2, .F = 12, .training = true};

static void a_single_token_has_the_formulas_output_and_gradients(void **state)
{
	static const size_t start[] = {0, 1};

	(void)state;
	check_block(&small, start, 1, 1);
}

static void flows_of_different_lengths_have_the_formulas_outputs_and_gradients(void **state)
{
	static const size_t start[] = {0, 5, 6, 17};

	(void)state;
	check_block(&small, start, 3, 1);
}

static void flows_beyond_one_tile_have_the_formulas_outputs_and_gradients(void **state)
{
	static const size_t start[] = {0, 3, 76, 141};
	struct block_shape one_head = {.D = 5, .heads = 1, .F = 5, .training = true};
	struct block_shape wide = {.D = 32, .heads = 2, .F = 64, .training = true};

	(void)state;
	check_block(&small, start, 3, 13);
	check_block(&one_head, start, 3, 11);
	check_block(&wide, start, 3, 1013);
}

static void without_training_the_outputs_are_the_same_and_less_is_kept(void **state)
{
	static const size_t start[] = {0, 4, 74};
	struct block_shape serving = small;
	struct problem a, b;
	size_t bytes = start[2] * small.D * sizeof(float);

	(void)state;
	serving.training = false;
	problem_begin(&a, &small, start, 2);
	problem_begin(&b, &serving, start, 2);
	run_forward(&a);
	run_forward(&b);
	assert_memory_equal(a.h, b.h, bytes);
	assert_memory_equal(a.residual, b.residual, bytes);
	assert_true(b.n_kept < a.n_kept);
	problem_end(&a);
	problem_end(&b);
}

/* There is no room for a matrix of scores: a flow of 4096 tokens takes what 4096 flows of one do.
 */
static void memory_grows_with_the_tokens_and_not_with_their_square(void **state)
{
	const struct block_shape *s = &small;

	(void)state;
	for (size_t L = 1; L <= 4096; L *= 2) {
		assert_int_equal(attention_block.kept_floats(s, L, 1),
				 L * attention_block.kept_floats(s, 1, 1));
		assert_int_equal(attention_block.scratch_floats(s, L, 1),
				 L * attention_block.scratch_floats(s, 1, 1));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_single_token_has_the_formulas_output_and_gradients),
		cmocka_unit_test(
			flows_of_different_lengths_have_the_formulas_outputs_and_gradients),
		cmocka_unit_test(flows_beyond_one_tile_have_the_formulas_outputs_and_gradients),
		cmocka_unit_test(without_training_the_outputs_are_the_same_and_less_is_kept),
		cmocka_unit_test(memory_grows_with_the_tokens_and_not_with_their_square),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
