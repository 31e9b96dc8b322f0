/* SPDX-License-Identifier: BSD-2-Clause */
/* First values of all tensors of all kinds of networks. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "model/initialise.h"

#define D      64
#define STRIDE 4

struct network_values {
	struct layout *layout;
	float *values;
};

static struct architecture architecture(const char *backbone)
{
	struct architecture a = {.embed_dim = D,
				 .depth = 4,
				 .d_state = 16,
				 .d_conv = 4,
				 .expand = 2,
				 .dt_rank = 4,
				 .stride = STRIDE,
				 .heads = 4,
				 .head_bias = true,
				 .project_values = true};

	strcpy(a.backbone, backbone);
	return a;
}

static const struct token_config tokens = {
	.shape = {.packets = 5, .header_bytes = 80, .payload_bytes = 80, .seq_len = 20}};

static void draw(struct network_values *n, uint64_t seed)
{
	struct rng rng = rng_stream(seed, 0, 0);

	n->values = malloc(n->layout->n_values * sizeof(float));
	assert_non_null(n->values);
	for (size_t i = 0; i < n->layout->n_values; i++)
		n->values[i] = NAN;
	initialise(n->layout, n->values, &rng);
}

static struct network_values classifier(const char *backbone, bool byte_table, uint64_t seed)
{
	struct architecture a = architecture(backbone);
	struct network_values n = {0};

	a.byte_table = byte_table;
	assert_int_equal(layout_classifier(&a, &tokens, 10, &n.layout), 0);
	draw(&n, seed);
	return n;
}

static void release(struct network_values *n)
{
	layout_free(n->layout);
	free(n->values);
}

static const float *need(const struct network_values *n, const char *name, size_t *ret_n)
{
	const struct parameter *p = layout_find(n->layout, name);

	if (!p)
		fail_msg("no parameter %s", name);
	*ret_n = p->n_values;
	return n->values + p->offset;
}

static double deviation(const float *values, size_t n)
{
	double sum = 0, squares = 0;

	for (size_t i = 0; i < n; i++) {
		sum += values[i];
		squares += (double)values[i] * values[i];
	}
	return sqrt(squares / n - pow(sum / n, 2));
}

/* Five standard errors of a deviation, and as many of the mean. */
static void assert_spread(const struct network_values *net, const char *name, double want)
{
	double sum = 0;
	size_t n;
	const float *values = need(net, name, &n);

	for (size_t i = 0; i < n; i++)
		sum += values[i];
	if (!(fabs(deviation(values, n) / want - 1) < 5 / sqrt(2.0 * n)))
		fail_msg("%s: deviation %g, want %g", name, deviation(values, n), want);
	if (!(fabs(sum / n) < 5 * want / sqrt(n)))
		fail_msg("%s: mean %g", name, sum / n);
}

static void assert_all(const struct network_values *net, const char *name, float want)
{
	size_t n;
	const float *values = need(net, name, &n);

	for (size_t i = 0; i < n; i++)
		if (values[i] != want)
			fail_msg("%s[%zu] is %g", name, i, values[i]);
}

static void embeddings_begin_as_the_official_code_has_them(void **state)
{
	struct network_values net = classifier("mamba", false, 1);

	(void)state;
	assert_spread(&net, "pos_embed", 0.02);
	assert_spread(&net, "byte_cls_token", 0.02);
	assert_spread(&net, "size_indicator", 0.02);
	assert_spread(&net, "byte_embed.proj.weight", 0.5);
	assert_all(&net, "byte_embed.proj.bias", 0);
	assert_spread(&net, "iat_embed.proj.weight", sqrt(1.0 / D));
	assert_all(&net, "iat_embed.proj.bias", 0);
	release(&net);
}

static void a_mamba_block_begins_as_mamba_does(void **state)
{
	struct network_values net = classifier("mamba", false, 2);
	size_t n;
	const float *A_log = need(&net, "encoder_blocks.3.mixer.A_log", &n);

	(void)state;
	for (size_t i = 0; i < n; i++)
		assert_true(A_log[i] == logf(1.0F + i % 16));
	assert_all(&net, "encoder_blocks.3.mixer.D", 1);
	assert_all(&net, "encoder_blocks.3.norm.weight", 1);
	assert_all(&net, "norm_f.weight", 1);
	assert_spread(&net, "encoder_blocks.0.mixer.conv1d.weight", 0.5);
	assert_all(&net, "encoder_blocks.0.mixer.conv1d.bias", 0);
	assert_spread(&net, "encoder_blocks.0.mixer.in_proj.weight", sqrt(2.0 / (5 * D)));
	assert_spread(&net, "encoder_blocks.0.mixer.out_proj.weight", sqrt(2.0 / (3 * D) / 4));
	assert_spread(&net, "encoder_blocks.0.mixer.dt_proj.weight", 0.5 / sqrt(3));
	release(&net);
}

/* The logarithm of softplus(bias) is uniform: mean -4.6, deviation ln(100) / sqrt(12). */
static void dt_begins_log_uniform_over_its_decades(void **state)
{
	struct network_values net = classifier("mamba", false, 3);
	double sum = 0;
	size_t n;
	const float *bias = need(&net, "encoder_blocks.1.mixer.dt_proj.bias", &n);
	float logs[2 * D];

	(void)state;
	assert_int_equal(n, 2 * D);
	for (size_t i = 0; i < n; i++) {
		double dt = log1p(exp(bias[i]));

		assert_true(dt > 0.999e-3 && dt < 1.001e-1);
		logs[i] = log(dt);
		sum += logs[i];
	}
	assert_true(fabs(sum / n + 4.605) < 0.6);
	assert_true(fabs(deviation(logs, n) - 1.33) < 0.3);
	release(&net);
}

static void attention_begins_scaled_by_its_widths(void **state)
{
	struct network_values net = classifier("attention", false, 4);

	(void)state;
	assert_all(&net, "encoder_blocks.2.norm2.weight", 1);
	assert_spread(&net, "encoder_blocks.2.mixer.in_proj.weight", sqrt(2.0 / (4 * D)));
	assert_spread(&net, "encoder_blocks.2.mixer.out_proj.weight", sqrt(2.0 / (2 * D) / 4));
	assert_spread(&net, "encoder_blocks.2.mlp.fc1.weight", sqrt(2.0 / (5 * D)));
	assert_spread(&net, "encoder_blocks.2.mlp.fc2.weight", sqrt(2.0 / (3 * D) / 4));
	release(&net);
}

static void the_sum_of_a_byte_token_is_as_large_as_a_sinusoid(void **state)
{
	struct network_values net = classifier("mamba", true, 5);

	(void)state;
	assert_spread(&net, "byte_embed.table", sqrt(0.5 / STRIDE));
	release(&net);
}

static void a_new_head_is_close_to_nothing(void **state)
{
	struct network_values net = classifier("mamba", false, 6);
	struct rng rng = rng_stream(7, 0, 0);
	size_t n_head, n_bias, n_before;
	float *head, *bias, *before;

	(void)state;
	assert_spread(&net, "head.weight", 2e-5);
	head = (float *)need(&net, "head.weight", &n_head);
	bias = (float *)need(&net, "head.bias", &n_bias);
	n_before = head - net.values;
	before = malloc(n_before * sizeof(float));
	assert_non_null(before);
	memcpy(before, net.values, n_before * sizeof(float));
	head[0] = bias[0] = 3;
	initialise_head(net.layout, net.values, &rng);
	assert_spread(&net, "head.weight", 2e-5);
	assert_all(&net, "head.bias", 0);
	assert_memory_equal(before, net.values, n_before * sizeof(float));
	free(before);
	release(&net);
}

static void every_value_of_pre_training_is_written(void **state)
{
	const struct decoder_config decoder = {.embed_dim = 32, .depth = 2};
	const struct architecture a = architecture("mamba");
	struct network_values net = {0};

	(void)state;
	assert_int_equal(layout_pretrain(&a, &tokens, &decoder, &net.layout), 0);
	draw(&net, 8);
	for (size_t i = 0; i < net.layout->n_values; i++)
		assert_true(isfinite(net.values[i]));
	assert_spread(&net, "byte_mask_token", 0.02);
	assert_spread(&net, "byte_decoder_pos_embed", 0.02);
	assert_all(&net, "decoder_norm_f.weight", 1);
	assert_all(&net, "size_decoder_pred.bias", 0);
	assert_spread(&net, "size_decoder_pred.weight", sqrt(2.0 / (D + 1503)));
	release(&net);
}

static void a_seed_gives_its_values_and_no_others(void **state)
{
	struct network_values one = classifier("mamba", false, 9);
	struct network_values same = classifier("mamba", false, 9);
	struct network_values other = classifier("mamba", false, 10);
	size_t n_bytes = one.layout->n_values * sizeof(float);

	(void)state;
	assert_memory_equal(one.values, same.values, n_bytes);
	assert_memory_not_equal(one.values, other.values, n_bytes);
	release(&one);
	release(&same);
	release(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(embeddings_begin_as_the_official_code_has_them),
		cmocka_unit_test(a_mamba_block_begins_as_mamba_does),
		cmocka_unit_test(dt_begins_log_uniform_over_its_decades),
		cmocka_unit_test(attention_begins_scaled_by_its_widths),
		cmocka_unit_test(the_sum_of_a_byte_token_is_as_large_as_a_sinusoid),
		cmocka_unit_test(a_new_head_is_close_to_nothing),
		cmocka_unit_test(every_value_of_pre_training_is_written),
		cmocka_unit_test(a_seed_gives_its_values_and_no_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
