/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine over odd shapes against the network written down once more: in double, a token at a
 * time, one loop a letter, straight from the formulas. Shared with the engine are the float32
 * frequencies and angles only, since sin(3000 w) is not defined by its formula in float32.
 */
#include <errno.h>
#include <math.h>
#include "model/batch.h"
#include "model/engine.h"
#include "model/ops.h"
#include "tests/model/model_builder.h"

#define MAX_D 24
#define MAX_E (4 * MAX_D)
#define MAX_N 16
#define MAX_L 128

/* float32 sums of a few hundred terms against double; seen: 2e-6 of the largest logit. */
#define TOLERANCE 2e-5

static const float *weights(const struct model *m, const char *name)
{
	const struct tensor *t = model_tensor(m, name);

	assert_non_null(t);
	return t->data;
}

static const float *block_weights(const struct model *m, uint32_t block, const char *name)
{
	char full[80];

	snprintf(full, sizeof(full), "encoder_blocks.%u.%s", block, name);
	return weights(m, full);
}

/* out (n_out) = W (n_out, n_in) in */
static void multiply(double *out, const float *W, const double *in, size_t n_out, size_t n_in)
{
	for (size_t o = 0; o < n_out; o++) {
		out[o] = 0;
		for (size_t i = 0; i < n_in; i++)
			out[o] += W[o * n_in + i] * in[i];
	}
}

static void rms_norm(double *out, const double *in, const float *weight, size_t D)
{
	double squares = 0;

	for (size_t i = 0; i < D; i++)
		squares += in[i] * in[i];
	for (size_t i = 0; i < D; i++)
		out[i] = in[i] / sqrt(squares / (double)D + 1e-5) * weight[i];
}

static double silu(double x)
{
	return x / (1 + exp(-x));
}

static void sinusoid(double *token, float value, size_t D)
{
	float frequency[MAX_D];

	sinusoid_frequency(frequency, D);
	for (size_t i = 0; i < D; i++) {
		float angle = value * frequency[i / 2];

		token[i] = i % 2 ? cos((double)angle) : sin((double)angle);
	}
}

static void add_token(double *token, const struct model *m, const char *indicator, size_t place)
{
	size_t D = m->architecture.embed_dim;

	for (size_t i = 0; i < D; i++)
		token[i] += weights(m, indicator)[i] + weights(m, "pos_embed")[place * D + i];
}

static void cls_token(double *token, const struct model *m, const char *name)
{
	for (size_t i = 0; i < m->architecture.embed_dim; i++)
		token[i] = weights(m, name)[i];
}

static void byte_token(double *token, const struct model *m, const uint8_t *bytes)
{
	size_t D = m->architecture.embed_dim, stride = m->architecture.stride;

	for (size_t i = 0; i < D; i++) {
		token[i] = weights(m, "byte_embed.proj.bias")[i];
		for (size_t k = 0; k < stride; k++)
			token[i] += weights(m, "byte_embed.proj.weight")[i * stride + k] *
				    (bytes[k] * m->tokens.byte_scale + m->tokens.byte_offset);
	}
}

static void embed(double (*h)[MAX_D], const struct model *m, const uint8_t *bytes,
		  const float *sizes, const float *iats)
{
	size_t D = m->architecture.embed_dim, S = m->tokens.shape.seq_len, place = 0;

	for (size_t t = 0; t <= S; t++, place++) {
		if (t < S)
			sinusoid(h[place], sizes[t], D);
		else
			cls_token(h[place], m, "size_cls_token");
		add_token(h[place], m, "size_indicator", place);
	}
	for (size_t t = 0; t <= S; t++, place++) {
		if (t < S)
			sinusoid(h[place], iats[t], D);
		else
			cls_token(h[place], m, "iat_cls_token");
		add_token(h[place], m, "iat_indicator", place);
	}
	for (size_t t = 0; t <= model_byte_tokens(m); t++, place++) {
		if (t < model_byte_tokens(m))
			byte_token(h[place], m, bytes + t * m->architecture.stride);
		else
			cls_token(h[place], m, "byte_cls_token");
		add_token(h[place], m, "byte_indicator", place);
	}
}

/* One token through the mixer's state: x after the convolution, and z, to the gated output. */
static void scan_step(double *y, double (*state)[MAX_N], const double *x, const double *z,
		      const struct model *m, uint32_t block)
{
	const struct architecture *a = &m->architecture;
	size_t E = a->expand * a->embed_dim, N = a->d_state, R = a->dt_rank;
	double dbc[2 + 2 * MAX_N], dt[MAX_E];

	multiply(dbc, block_weights(m, block, "mixer.x_proj.weight"), x, R + 2 * N, E);
	multiply(dt, block_weights(m, block, "mixer.dt_proj.weight"), dbc, E, R);
	for (size_t e = 0; e < E; e++) {
		double step = log1p(exp(dt[e] + block_weights(m, block, "mixer.dt_proj.bias")[e]));

		y[e] = block_weights(m, block, "mixer.D")[e] * x[e];
		for (size_t n = 0; n < N; n++) {
			double A = -exp(block_weights(m, block, "mixer.A_log")[e * N + n]);

			state[e][n] = exp(step * A) * state[e][n] + step * x[e] * dbc[R + n];
			y[e] += dbc[R + N + n] * state[e][n];
		}
		y[e] *= silu(z[e]);
	}
}

static double convolve(double (*xz)[2 * MAX_E], size_t t, size_t e, const struct model *m,
		       uint32_t block)
{
	size_t K = m->architecture.d_conv;
	double sum = block_weights(m, block, "mixer.conv1d.bias")[e];

	for (size_t k = 0; k < K; k++)
		if (t + k + 1 >= K)
			sum += block_weights(m, block, "mixer.conv1d.weight")[e * K + k] *
			       xz[t + k + 1 - K][e];
	return silu(sum);
}

static void mixer(double (*h)[MAX_D], double (*residual)[MAX_D], const struct model *m,
		  uint32_t block)
{
	static double xz[MAX_L][2 * MAX_E];
	double state[MAX_E][MAX_N] = {0}, u[MAX_D], x[MAX_E], y[MAX_E];
	size_t D = m->architecture.embed_dim, E = m->architecture.expand * D;

	for (size_t t = 0; t < model_sequence_length(m); t++) {
		for (size_t i = 0; i < D; i++)
			residual[t][i] += h[t][i];
		rms_norm(u, residual[t], block_weights(m, block, "norm.weight"), D);
		multiply(xz[t], block_weights(m, block, "mixer.in_proj.weight"), u, 2 * E, D);
		for (size_t e = 0; e < E; e++)
			x[e] = convolve(xz, t, e, m, block);
		scan_step(y, state, x, xz[t] + E, m, block);
		multiply(h[t], block_weights(m, block, "mixer.out_proj.weight"), y, D, E);
	}
}

static void reference(double *logits, const struct model *m, const uint8_t *bytes,
		      const float *sizes, const float *iats)
{
	static double h[MAX_L][MAX_D], residual[MAX_L][MAX_D];
	size_t D = m->architecture.embed_dim, S = m->tokens.shape.seq_len;
	const size_t cls[] = {S, 2 * S + 1, model_sequence_length(m) - 1};
	double pooled[MAX_D] = {0}, last[MAX_D];

	memset(residual, 0, sizeof(residual));
	embed(h, m, bytes, sizes, iats);
	for (uint32_t b = 0; b < m->architecture.depth; b++)
		mixer(h, residual, m, b);
	for (size_t c = 0; c < 3; c++) {
		for (size_t i = 0; i < D; i++)
			last[i] = h[cls[c]][i] + residual[cls[c]][i];
		rms_norm(last, last, weights(m, "norm_f.weight"), D);
		for (size_t i = 0; i < D; i++)
			pooled[i] += last[i];
	}
	multiply(logits, weights(m, "head.weight"), pooled, m->n_classes, D);
	if (m->architecture.head_bias)
		for (uint32_t c = 0; c < m->n_classes; c++)
			logits[c] += weights(m, "head.bias")[c];
}

static void fill(struct batch *b, const struct model *m, uint32_t n)
{
	size_t n_bytes = model_byte_tokens(m) * m->architecture.stride;
	size_t S = m->tokens.shape.seq_len;
	struct built_tensors random = {.seed = 7};

	b->n = n;
	for (size_t i = 0; i < n * n_bytes; i++)
		b->bytes[i] = (uint8_t)(256 * (built_random(&random) + 0.5F));
	for (size_t i = 0; i < n * S; i++) {
		b->sizes[i] = roundf(3000 * (built_random(&random) + 0.5F));
		b->iats[i] = 0.75F + 0.5F * built_random(&random);
	}
}

static void compare(const struct model *m, const struct batch *b, const float *logits,
		    const char *shape)
{
	size_t n_bytes = model_byte_tokens(m) * m->architecture.stride;
	size_t S = m->tokens.shape.seq_len;
	double want[8], largest = 0, worst = 0;

	for (size_t i = 0; i < b->n; i++) {
		reference(want, m, b->bytes + i * n_bytes, b->sizes + i * S, b->iats + i * S);
		for (uint32_t c = 0; c < m->n_classes; c++) {
			double d = fabs(want[c] - logits[i * m->n_classes + c]);

			largest = fmax(largest, fabs(want[c]));
			worst = d > worst || isnan(d) ? d : worst;
		}
	}
	if (!(worst <= TOLERANCE * largest))
		fail_msg("%s: logits deviate by %g of %g", shape, worst, largest);
}

static void check_shape(const struct built_shape *s, uint32_t n)
{
	char path[] = "/tmp/nm-model-XXXXXX", shape[160];
	struct model *m = NULL;
	struct batch *b = NULL;
	struct engine *engine = NULL;
	struct error e = {0};
	float *logits = calloc(n * s->n_classes, sizeof(*logits));

	snprintf(shape, sizeof(shape),
		 "D %u depth %u N %u K %u expand %u stride %u P %u H %u Y %u S %u classes %u bi %d "
		 "bias %d batch %u",
		 s->embed_dim, s->depth, s->d_state, s->d_conv, s->expand, s->stride, s->packets,
		 s->header_bytes, s->payload_bytes, s->seq_len, s->n_classes, s->bi, s->head_bias,
		 n);
	write_built_model(path, s, n);
	if (model_load(path, &m, &e) || engine_open("cpu", m, &engine, &e))
		fail_msg("%s: %s", shape, e.text);
	unlink(path);
	assert_true(model_sequence_length(m) <= MAX_L);
	assert_int_equal(batch_new(&m->tokens, m->architecture.stride, n, &b), 0);
	fill(b, m, n);
	if (engine_run(engine, b, logits, &e))
		fail_msg("%s: %s", shape, e.text);
	compare(m, b, logits, shape);
	free(logits);
	batch_free(b);
	engine_close(engine);
	model_unref(m);
}

static void every_combination_of_small_sizes_gives_the_formulas_logits(void **state)
{
	static const uint32_t widths[] = {1, 2, 3}, states[] = {1, 16}, batches[] = {1, 7};

	(void)state;
	for (size_t d = 0; d < 3; d++)
		for (size_t n = 0; n < 2; n++)
			for (size_t b = 0; b < 2; b++)
				for (int bi = 0; bi < 2; bi++) {
					struct built_shape s = {
						.embed_dim = widths[d],
						.depth = 2,
						.d_state = states[n],
						.d_conv = 4,
						.expand = 2,
						.stride = 4,
						.packets = 2,
						.header_bytes = 12,
						.payload_bytes = 2,
						.seq_len = 3,
						.n_classes = 3,
						.bi = bi,
						.head_bias = bi,
					};

					check_shape(&s, batches[b]);
				}
}

static void sizes_around_the_vector_width_give_the_formulas_logits(void **state)
{
	static const struct built_shape shapes[] = {
		/* D, depth, N, K, expand, stride, P, H, Y, S, classes, bi, bias */
		{4, 1, 16, 4, 2, 4, 1, 4, 0, 1, 1, 0, 0}, /* E 8: one vector, shortest sequence */
		{7, 1, 16, 4, 1, 4, 1, 0, 4, 1, 2, 1, 0}, /* E 7 */
		{9, 1, 15, 1, 1, 1, 1, 1, 0, 2, 2, 1, 0}, /* E 9, K 1, stride 1 */
		{17, 3, 5, 2, 1, 2, 3, 5, 1, 4, 5, 0, 1}, /* R 2, three blocks */
		{24, 2, 16, 4, 4, 4, 4, 40, 40, 12, 8, 1, 0}, /* E 96 */
		{3, 1, 16, 16, 3, 4, 1, 4, 0, 1, 2, 0, 0},    /* K beyond the sequence's start */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		check_shape(&shapes[i], 1);
		check_shape(&shapes[i], 7);
	}
}

/* More flows than one pass of the engine takes: the last pass is a part. */
static void a_batch_of_several_passes_gives_the_formulas_logits(void **state)
{
	struct built_shape s = {8, 1, 4, 4, 2, 4, 4, 40, 40, 12, 3, 1, 0};

	(void)state;
	check_shape(&s, 11);
}

static void a_batch_of_another_shape_is_refused(void **state)
{
	struct built_shape s = {4, 1, 16, 4, 2, 4, 1, 4, 0, 1, 1, 0, 0};
	char path[] = "/tmp/nm-model-XXXXXX";
	struct model *m = NULL;
	struct engine *engine = NULL;
	struct batch *b = NULL;
	struct token_config other;
	struct error e = {0};
	float logits[1];

	(void)state;
	write_built_model(path, &s, 1);
	assert_int_equal(model_load(path, &m, &e), 0);
	unlink(path);
	assert_int_equal(engine_open("fast", m, &engine, &e), -EINVAL);
	assert_string_equal(e.text, "engine \"fast\" is not known; use cpu or auto");
	assert_int_equal(engine_open("auto", m, &engine, &e), 0);
	other = m->tokens;
	other.shape.seq_len = 2;
	assert_int_equal(batch_new(&other, m->architecture.stride, 1, &b), 0);
	assert_int_equal(engine_run(engine, b, logits, &e), -EINVAL);
	batch_free(b);
	model_unref(m); /* the engine keeps its own reference */
	engine_close(engine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_combination_of_small_sizes_gives_the_formulas_logits),
		cmocka_unit_test(sizes_around_the_vector_width_give_the_formulas_logits),
		cmocka_unit_test(a_batch_of_several_passes_gives_the_formulas_logits),
		cmocka_unit_test(a_batch_of_another_shape_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
