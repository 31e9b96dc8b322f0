/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attention in tiles against the plainest one in double, with its whole matrix; gradients against
 * that one's central differences. Lengths and head dimensions lie on both sides of the tiles'
 * sizes.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "model/model_file.h"
#include "model/ops.h"
#include "model/rng.h"

/* float32 against double, relative to the array's norm; seen: 1.2e-6 and 6e-7. */
#define FORWARD_TOLERANCE  5e-6
#define GRADIENT_TOLERANCE 5e-6

struct shape {
	size_t B, L, heads, dim;
};

/* The loss is the sum of out * d_out. */
struct attention {
	struct shape s;
	size_t D, n;
	double *qkv;
	float *qkv32, *out, *log_sums, *d_out, *d_qkv;
};

static void *array(size_t n, size_t size)
{
	void *a = calloc(n, size);

	assert_non_null(a);
	return a;
}

static void attention_begin(struct attention *a, const struct shape *s, double scale)
{
	struct rng rng = rng_stream(5, s->L, s->dim);

	*a = (struct attention){.s = *s, .D = s->heads * s->dim};
	a->n = s->B * s->L * a->D;
	a->qkv = array(3 * a->n, sizeof(double));
	a->qkv32 = array(3 * a->n, sizeof(float));
	a->d_qkv = array(3 * a->n, sizeof(float));
	a->out = array(a->n, sizeof(float));
	a->d_out = array(a->n, sizeof(float));
	a->log_sums = array(s->B * s->heads * s->L, sizeof(float));
	for (size_t i = 0; i < 3 * a->n; i++) {
		a->qkv32[i] = (float)(scale * rng_normal(&rng));
		a->qkv[i] = a->qkv32[i];
		a->d_qkv[i] = NAN; /* this and out are written, not added to */
	}
	for (size_t i = 0; i < a->n; i++) {
		a->d_out[i] = (float)rng_normal(&rng);
		a->out[i] = NAN;
	}
}

static void attention_end(struct attention *a)
{
	free(a->qkv);
	free(a->qkv32);
	free(a->d_qkv);
	free(a->out);
	free(a->d_out);
	free(a->log_sums);
}

static void run_forward(struct attention *a)
{
	attention_forward(a->out, a->log_sums, a->qkv32, a->s.B, a->s.L, a->D, a->s.heads);
}

static void run_backward(struct attention *a)
{
	attention_backward(a->d_qkv, a->d_out, a->out, a->log_sums, a->qkv32, a->s.B, a->s.L, a->D,
			   a->s.heads);
}

/* out (dim) of one query of a head that begins at q; returns the log-sum-exp. */
static double plain_query(double *out, const double *q, const double *k, const double *v,
			  const struct shape *s, size_t row)
{
	double score[1024], most = -INFINITY, sum = 0;

	memset(out, 0, s->dim * sizeof(*out));
	for (size_t j = 0; j < s->L; j++) {
		score[j] = 0;
		for (size_t d = 0; d < s->dim; d++)
			score[j] += q[d] * k[j * row + d];
		score[j] /= sqrt((double)s->dim);
		most = fmax(most, score[j]);
	}
	for (size_t j = 0; j < s->L; j++)
		sum += exp(score[j] - most);
	for (size_t j = 0; j < s->L; j++)
		for (size_t d = 0; d < s->dim; d++)
			out[d] += exp(score[j] - most) / sum * v[j * row + d];
	return most + log(sum);
}

/* out (L, D), log_sums (heads, L) of flow b. */
static void plain_flow(double *out, double *log_sums, const struct attention *a, size_t b)
{
	size_t D = a->D, row = 3 * D;
	const double *qkv = a->qkv + b * a->s.L * row;

	for (size_t h = 0; h < a->s.heads; h++)
		for (size_t i = 0; i < a->s.L; i++) {
			const double *head = qkv + h * a->s.dim;

			log_sums[h * a->s.L + i] =
				plain_query(out + i * D + h * a->s.dim, head + i * row, head + D,
					    head + 2 * D, &a->s, row);
		}
}

static double plain_loss(const struct attention *a, size_t b, double *out, double *log_sums)
{
	size_t n = a->s.L * a->D;
	double loss = 0;

	plain_flow(out, log_sums, a, b);
	for (size_t i = 0; i < n; i++)
		loss += out[i] * a->d_out[b * n + i];
	return loss;
}

static void check_forward(const struct shape *s, double scale)
{
	struct attention a;
	double *out, *log_sums, off = 0, norm = 0, sums_off = 0;

	attention_begin(&a, s, scale);
	out = array(s->L * a.D, sizeof(double));
	log_sums = array(s->heads * s->L, sizeof(double));
	run_forward(&a);
	for (size_t b = 0; b < s->B; b++) {
		const float *got = a.out + b * s->L * a.D, *got_sums = a.log_sums;

		got_sums += b * s->heads * s->L;
		plain_flow(out, log_sums, &a, b);
		for (size_t i = 0; i < s->L * a.D; i++) {
			off += (got[i] - out[i]) * (got[i] - out[i]);
			norm += out[i] * out[i];
		}
		for (size_t i = 0; i < s->heads * s->L; i++) {
			double d = fabs(got_sums[i] - log_sums[i]) / fmax(1, fabs(log_sums[i]));

			sums_off = d > sums_off || isnan(d) ? d : sums_off;
		}
	}
	if (!(sqrt(off / norm) <= FORWARD_TOLERANCE) || !(sums_off <= FORWARD_TOLERANCE))
		fail_msg("B %zu L %zu heads %zu dim %zu: out is off by %g, log_sums by %g", s->B,
			 s->L, s->heads, s->dim, sqrt(off / norm), sums_off);
	free(out);
	free(log_sums);
	attention_end(&a);
}

static void every_length_and_head_gives_the_plain_softmax(void **state)
{
	static const size_t lengths[] = {1, 2, 7, 8, 9, 16, 63, 64, 65, 100, 128, 200};
	static const size_t dims[] = {1, 3, 8, 16, 24, 32, 64, 100, 256};

	(void)state;
	for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++)
		for (size_t d = 0; d < sizeof(dims) / sizeof(dims[0]); d++)
			check_forward(&(struct shape){1, lengths[l], 2, dims[d]}, 1);
}

static void flows_of_a_batch_do_not_see_each_other(void **state)
{
	(void)state;
	check_forward(&(struct shape){3, 70, 3, 5}, 1);
}

/* Scores up to about 400: e^400 is far beyond float32. */
static void scores_of_hundreds_do_not_overflow(void **state)
{
	(void)state;
	check_forward(&(struct shape){1, 150, 2, 16}, 10);
}

/* Each tile of keys brings larger scores than all before, and then the other way round; all are so
 * small that e to them is 0 in float32. */
static void the_order_of_scores_does_not_matter(void **state)
{
	struct shape s = {1, 200, 1, 4};
	struct attention a;
	double out[4], want;

	(void)state;
	for (int sign = -1; sign <= 1; sign += 2) {
		attention_begin(&a, &s, 1);
		for (size_t i = 0; i < s.L; i++)
			for (size_t d = 0; d < s.dim; d++) {
				a.qkv32[i * 12 + d] = 1;
				a.qkv32[i * 12 + 4 + d] = (float)sign * 0.25F * (float)i - 100;
			}
		for (size_t i = 0; i < 3 * a.n; i++)
			a.qkv[i] = a.qkv32[i];
		run_forward(&a);
		for (size_t i = 0; i < s.L; i += 33) {
			want = plain_query(out, a.qkv + i * 12, a.qkv + 4, a.qkv + 8, &s, 12);
			assert_true(fabs(a.log_sums[i] - want) <= 1e-6 * fabs(want));
			for (size_t d = 0; d < s.dim; d++)
				assert_true(fabs(a.out[i * 4 + d] - out[d]) <= 1e-4);
		}
		attention_end(&a);
	}
}

/* Every element of small shapes, some of large ones. */
static void check_gradients(const struct shape *s, size_t step)
{
	struct attention a;
	double *out, *log_sums, off = 0, norm = 0, h = 1e-5;
	size_t flow = s->L * s->heads * s->dim * 3;

	attention_begin(&a, s, 1);
	out = array(s->L * a.D, sizeof(double));
	log_sums = array(s->heads * s->L, sizeof(double));
	run_forward(&a);
	run_backward(&a);
	for (size_t i = 0; i < 3 * a.n; i += step) {
		double kept = a.qkv[i], want, d;

		a.qkv[i] = kept + h;
		want = plain_loss(&a, i / flow, out, log_sums);
		a.qkv[i] = kept - h;
		want = (want - plain_loss(&a, i / flow, out, log_sums)) / (2 * h);
		a.qkv[i] = kept;
		d = a.d_qkv[i] - want;
		off += d * d;
		norm += want * want;
	}
	if (!(sqrt(off / norm) <= GRADIENT_TOLERANCE))
		fail_msg("B %zu L %zu heads %zu dim %zu: d_qkv is off by %g", s->B, s->L, s->heads,
			 s->dim, sqrt(off / norm));
	free(out);
	free(log_sums);
	attention_end(&a);
}

static void gradients_are_the_central_differences(void **state)
{
	static const struct {
		struct shape s;
		size_t step;
	} list[] = {
		{{1, 1, 1, 3}, 1},      {{1, 2, 2, 1}, 1},      {{2, 9, 2, 8}, 1},
		{{3, 17, 3, 4}, 1},     {{1, 65, 1, 2}, 1},     {{1, 64, 2, 16}, 97},
		{{2, 70, 2, 24}, 307},  {{1, 130, 1, 32}, 401}, {{1, 129, 1, 64}, 787},
		{{1, 40, 1, 100}, 199}, {{1, 35, 1, 256}, 509},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		check_gradients(&list[i].s, list[i].step);
}

/* Tiles of queries are then as low as they get. */
static void one_head_of_the_widest_model_fits_the_tiles(void **state)
{
	struct shape s = {1, 20, 1, MODEL_MAX_EMBED_DIM};

	(void)state;
	check_forward(&s, 1);
	check_gradients(&s, 2003);
}

/* Its only probability is 1, whatever its query and key are. */
static void a_single_token_passes_its_value_and_its_gradient(void **state)
{
	struct shape s = {4, 1, 2, 5};
	struct attention a;

	(void)state;
	attention_begin(&a, &s, 1);
	run_forward(&a);
	run_backward(&a);
	for (size_t b = 0; b < s.B; b++)
		for (size_t i = 0; i < a.D; i++) {
			const float *d = a.d_qkv + b * 3 * a.D;

			assert_true(fabsf(a.out[b * a.D + i] - a.qkv32[b * 3 * a.D + 2 * a.D + i]) <
				    1e-6F);
			assert_true(fabsf(d[i]) < 1e-5F && fabsf(d[a.D + i]) < 1e-5F);
			assert_true(fabsf(d[2 * a.D + i] - a.d_out[b * a.D + i]) < 1e-6F);
		}
	attention_end(&a);
}

static void what_is_not_a_number_does_not_get_lost(void **state)
{
	struct shape s = {2, 70, 1, 4};
	struct attention a;

	(void)state;
	attention_begin(&a, &s, 1);
	a.qkv32[3 * 12 + 4] = NAN; /* k of token 3 of flow 0: every query of that flow */
	run_forward(&a);
	for (size_t i = 0; i < a.n; i++)
		assert_int_equal(isnan(a.out[i]) != 0, i < s.L * a.D);
	attention_end(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_length_and_head_gives_the_plain_softmax),
		cmocka_unit_test(flows_of_a_batch_do_not_see_each_other),
		cmocka_unit_test(scores_of_hundreds_do_not_overflow),
		cmocka_unit_test(the_order_of_scores_does_not_matter),
		cmocka_unit_test(gradients_are_the_central_differences),
		cmocka_unit_test(one_head_of_the_widest_model_fits_the_tiles),
		cmocka_unit_test(a_single_token_passes_its_value_and_its_gradient),
		cmocka_unit_test(what_is_not_a_number_does_not_get_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
