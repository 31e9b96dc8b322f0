/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attention without its matrix (arXiv 2205.14135, algorithms 1 and 4). A tile of queries walks over
 * tiles of keys and keeps each query's largest score and sum so far; when a tile brings a larger
 * score, what was summed before is scaled down. The backward makes each tile of probabilities again
 * from the scores and log_sums.
 *
 * Scores lie turned, (keys, queries): eight lanes are eight queries, so that largest score and sum
 * need no step across lanes, and of all factors only the queries (and d_out) have to be turned, a
 * tile of them once for all keys; the others are read where they lie. Scores are in units of log2:
 * the queries carry log2(e) / sqrt(head_dim).
 *
 * In memory beside the arguments are a few tiles on the stack, of 16 KB up to a head_dim of 256.
 * Products of tiles are OpenBLAS' small ones. Forward, 443 tokens, head_dim 16, 32, 64, softmax
 * included, in shares of the peak of large products on an EPYC with AVX-512: 50, 73, 84%; a kernel
 * in lanes.h's eight lanes 50, 63, 69%, and without AVX-512 the two were equal. Tiles of 48 or 96
 * rows are slower, of 128 by 3% faster.
 */
#include <cblas.h>
#include <math.h>
#include <string.h>
#include "model/lanes.h"
#include "model/model_file.h"
#include "model/ops.h"

#define LOG2_E 1.44269504088896341F
#define LN_2   0.693147180559945309F

#define TILE          64 /* keys, and queries at most */
#define LEAST_QUERIES 16
#define TURNED_FLOATS (LEAST_QUERIES * MODEL_MAX_EMBED_DIM)

/* c (m, n) = a (m, k) b (k, n), or += when add; rows begin c_row, a_row, b_row floats apart. */
struct product {
	float *c;
	const float *a, *b;
	size_t c_row, a_row, b_row;
	size_t m, n, k;
	bool a_turned; /* a lies as (k, m) */
	bool add;
};

static void multiply(const struct product *p)
{
	cblas_sgemm(CblasRowMajor, p->a_turned ? CblasTrans : CblasNoTrans, CblasNoTrans,
		    (blasint)p->m, (blasint)p->n, (blasint)p->k, 1.0F, p->a, (blasint)p->a_row,
		    p->b, (blasint)p->b_row, p->add ? 1.0F : 0.0F, p->c, (blasint)p->c_row);
}

/* One head of one flow: q, k, v with rows of 3 D floats, out with rows of D. */
struct head {
	const float *q, *k, *v;
	size_t L, D, dim;
};

static struct head head_at(const float *qkv, size_t L, size_t D, size_t heads, size_t h)
{
	const float *q = qkv + h * (D / heads);

	return (struct head){.q = q, .k = q + D, .v = q + 2 * D, .L = L, .D = D, .dim = D / heads};
}

/* Rows first .. first + n - 1 turned to (dim, stride), zeros from n on. */
struct turned {
	size_t first, n, stride;
	float at[TURNED_FLOATS] __attribute__((aligned(64)));
};

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* As many as keep a turned tile at 16 KB. */
static size_t tile_queries(size_t dim)
{
	size_t n = smaller(TILE, TILE * TILE / dim / LANES * LANES);

	return n > LEAST_QUERIES ? n : LEAST_QUERIES;
}

static void turn(struct turned *t, const float *rows, size_t row_stride, size_t first,
		 const struct head *head, float scale)
{
	t->first = first;
	t->n = smaller(tile_queries(head->dim), head->L - first);
	t->stride = (t->n + LANES - 1) / LANES * LANES;
	memset(t->at, 0, head->dim * t->stride * sizeof(float));
	for (size_t i = 0; i < t->n; i++)
		for (size_t d = 0; d < head->dim; d++)
			t->at[d * t->stride + i] = rows[(first + i) * row_stride + d] * scale;
}

static void turn_queries(struct turned *t, size_t first, const struct head *head)
{
	turn(t, head->q, 3 * head->D, first, head, LOG2_E / sqrtf((float)head->dim));
}

/* tile (n_keys, stride) = each row, of k or v, by each turned row. */
static void multiply_turned(float *tile, const float *rows, size_t n_keys, const struct turned *t,
			    const struct head *head)
{
	multiply(&(struct product){
		.c = tile,
		.a = rows,
		.b = t->at,
		.c_row = t->stride,
		.a_row = 3 * head->D,
		.b_row = t->stride,
		.m = n_keys,
		.n = t->stride,
		.k = head->dim,
	});
}

LANES_INLINE void lanes_larger(lanes *v, const lanes *other)
{
	lanes_int below = *v < *other;

	*v = (lanes)((~below & (lanes_int)*v) | (below & (lanes_int)*other));
}

/* scores (n_keys, stride) to 2^(score - largest so far); largest and sum (stride) go on, and
 * rescale is what sums of earlier tiles are to be multiplied by. */
SIMD_CLONES static void soften(float *scores, float *largest, float *sum, float *rescale,
			       size_t n_keys, size_t stride)
{
	for (size_t i = 0; i < stride; i += LANES) {
		lanes most, before, total = {0}, s;

		lanes_load(&before, largest + i, LANES);
		most = before;
		for (size_t j = 0; j < n_keys; j++) {
			lanes_load(&s, scores + j * stride + i, LANES);
			lanes_larger(&most, &s);
		}
		for (size_t j = 0; j < n_keys; j++) {
			lanes_load(&s, scores + j * stride + i, LANES);
			s -= most;
			lanes_exp2(&s);
			lanes_store(scores + j * stride + i, &s, LANES);
			total += s;
		}
		before -= most;
		lanes_exp2(&before);
		lanes_load(&s, sum + i, LANES);
		total += s * before;
		lanes_store(largest + i, &most, LANES);
		lanes_store(sum + i, &total, LANES);
		lanes_store(rescale + i, &before, LANES);
	}
}

static void scale_rows(float *rows, const float *scale, size_t n, size_t dim, size_t row_stride)
{
	for (size_t i = 0; i < n; i++, rows += row_stride)
		for (size_t d = 0; d < dim; d++)
			rows[d] *= scale[i];
}

static void forward_queries(float *out, float *log_sums, const struct turned *q,
			    const struct head *head)
{
	float scores[TILE * TILE] __attribute__((aligned(64)));
	float largest[TILE], sum[TILE] = {0}, scale[TILE];

	for (size_t i = 0; i < q->stride; i++)
		largest[i] = -INFINITY;
	for (size_t key = 0; key < head->L; key += TILE) {
		size_t n_keys = smaller(TILE, head->L - key);

		multiply_turned(scores, head->k + key * 3 * head->D, n_keys, q, head);
		soften(scores, largest, sum, scale, n_keys, q->stride);
		if (key > 0)
			scale_rows(out, scale, q->n, head->dim, head->D);
		multiply(&(struct product){
			.c = out,
			.a = scores,
			.b = head->v + key * 3 * head->D,
			.c_row = head->D,
			.a_row = q->stride,
			.b_row = 3 * head->D,
			.m = q->n,
			.n = head->dim,
			.k = n_keys,
			.a_turned = true,
			.add = key > 0,
		});
	}
	for (size_t i = 0; i < q->n; i++) {
		log_sums[i] = (largest[i] + log2f(sum[i])) * LN_2;
		scale[i] = 1.0F / sum[i];
	}
	scale_rows(out, scale, q->n, head->dim, head->D);
}

void attention_forward(float *out, float *log_sums, const float *qkv, size_t B, size_t L, size_t D,
		       size_t heads)
{
	struct turned q;

	for (size_t b = 0; b < B; b++, qkv += L * 3 * D, out += L * D)
		for (size_t h = 0; h < heads; h++, log_sums += L) {
			struct head head = head_at(qkv, L, D, heads, h);

			for (size_t i = 0; i < L; i += q.n) {
				turn_queries(&q, i, &head);
				forward_queries(out + i * D + h * head.dim, log_sums + i, &q,
						&head);
			}
		}
}

/* What one tile of queries needs on its way back. */
struct backward {
	struct head head;
	const float *d_out;        /* of the tile's first query, as q */
	float *d_q, *d_k, *d_v;    /* d_q of the tile's first query */
	struct turned q, d_turned; /* queries and d_out */
	float log2_sums[TILE];
	float through[TILE]; /* d_out . out: what the softmax takes off all of d_probabilities */
};

/* probabilities (n_keys, stride) from scores; d_scores from d_probabilities. */
SIMD_CLONES static void soften_backward(float *scores, float *d_scores, const struct backward *b,
					size_t n_keys)
{
	size_t stride = b->q.stride;
	float scale = 1.0F / sqrtf((float)b->head.dim);

	for (size_t i = 0; i < stride; i += LANES) {
		lanes sums, through, p, d;

		lanes_load(&sums, b->log2_sums + i, LANES);
		lanes_load(&through, b->through + i, LANES);
		for (size_t j = 0; j < n_keys; j++) {
			lanes_load(&p, scores + j * stride + i, LANES);
			lanes_load(&d, d_scores + j * stride + i, LANES);
			p -= sums;
			lanes_exp2(&p);
			d = (d - through) * p * scale;
			lanes_store(scores + j * stride + i, &p, LANES);
			lanes_store(d_scores + j * stride + i, &d, LANES);
		}
	}
}

/* d_rows (n_keys, dim; of k or v) += tile (n_keys, queries) rows (queries, dim). */
static void add_to_keys(float *d_rows, const float *tile, const float *rows, size_t row_stride,
			const struct backward *b, size_t n_keys)
{
	multiply(&(struct product){
		.c = d_rows,
		.a = tile,
		.b = rows,
		.c_row = 3 * b->head.D,
		.a_row = b->q.stride,
		.b_row = row_stride,
		.m = n_keys,
		.n = b->head.dim,
		.k = b->q.n,
		.add = true,
	});
}

static void add_to_queries(const float *d_scores, const struct backward *b, size_t key,
			   size_t n_keys)
{
	size_t qkv_row = 3 * b->head.D;

	multiply(&(struct product){
		.c = b->d_q,
		.a = d_scores,
		.b = b->head.k + key * qkv_row,
		.c_row = qkv_row,
		.a_row = b->q.stride,
		.b_row = qkv_row,
		.m = b->q.n,
		.n = b->head.dim,
		.k = n_keys,
		.a_turned = true,
		.add = true,
	});
}

static void backward_queries(const struct backward *b)
{
	float p[TILE * TILE] __attribute__((aligned(64)));
	float d[TILE * TILE] __attribute__((aligned(64)));
	size_t D = b->head.D;

	for (size_t key = 0; key < b->head.L; key += TILE) {
		size_t n_keys = smaller(TILE, b->head.L - key), at = key * 3 * D;

		multiply_turned(p, b->head.k + at, n_keys, &b->q, &b->head);
		multiply_turned(d, b->head.v + at, n_keys, &b->d_turned, &b->head);
		soften_backward(p, d, b, n_keys);
		add_to_keys(b->d_v + at, p, b->d_out, D, b, n_keys);
		add_to_keys(b->d_k + at, d, b->head.q + b->q.first * 3 * D, 3 * D, b, n_keys);
		add_to_queries(d, b, key, n_keys);
	}
}

static void load_sums(struct backward *b, const float *out, const float *log_sums)
{
	for (size_t i = 0; i < b->q.stride; i++) {
		b->log2_sums[i] = i < b->q.n ? log_sums[i] * LOG2_E : 0.0F;
		b->through[i] = 0.0F;
		for (size_t d = 0; i < b->q.n && d < b->head.dim; d++)
			b->through[i] += b->d_out[i * b->head.D + d] * out[i * b->head.D + d];
	}
}

void attention_backward(float *d_qkv, const float *d_out, const float *out, const float *log_sums,
			const float *qkv, size_t B, size_t L, size_t D, size_t heads)
{
	struct backward b;

	memset(d_qkv, 0, B * L * 3 * D * sizeof(float));
	for (size_t flow = 0; flow < B; flow++, qkv += L * 3 * D, d_qkv += L * 3 * D)
		for (size_t h = 0; h < heads; h++, log_sums += L) {
			size_t column = flow * L * D + h * (D / heads);

			b.head = head_at(qkv, L, D, heads, h);
			b.d_k = d_qkv + D + h * b.head.dim;
			b.d_v = b.d_k + D;
			for (size_t i = 0; i < L; i += b.q.n) {
				b.d_q = d_qkv + i * 3 * D + h * b.head.dim;
				b.d_out = d_out + column + i * D;
				turn_queries(&b.q, i, &b.head);
				turn(&b.d_turned, d_out + column, D, i, &b.head, 1.0F);
				load_sums(&b, out + column + i * D, log_sums + i);
				backward_queries(&b);
			}
		}
}
