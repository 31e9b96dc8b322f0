/* SPDX-License-Identifier: BSD-2-Clause */
/* The lists of tensors, held against the golden files: those are what the official modules save. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "model/layout.h"
#include "model/safetensors.h"

static const struct architecture tiny = {.backbone = "mamba",
					 .embed_dim = 64,
					 .depth = 2,
					 .d_state = 16,
					 .d_conv = 4,
					 .expand = 2,
					 .dt_rank = 4,
					 .stride = 4,
					 .heads = 4};
static const struct token_config uni = {
	.shape = {.packets = 5, .header_bytes = 80, .payload_bytes = 80, .seq_len = 20}};
static const struct token_config bi = {.shape = {.packets = 10,
						 .header_bytes = 80,
						 .payload_bytes = 80,
						 .seq_len = 50,
						 .bidirectional = true}};

static void expect_same_tensors(const struct layout *l, const char *path)
{
	struct safetensors *file = NULL;
	size_t n;

	assert_int_equal(safetensors_open(path, &file, NULL), 0);
	safetensors_tensors(file, &n);
	assert_int_equal(l->n, n);
	for (size_t i = 0; i < l->n; i++) {
		const struct parameter *p = &l->list[i];
		const struct raw_tensor *t = safetensors_find(file, p->name);

		if (!t)
			fail_msg("%s has no %s", path, p->name);
		assert_int_equal(p->n_dims, t->n_dims);
		assert_int_equal(p->n_values, t->n_values);
		assert_memory_equal(p->shape, t->shape, p->n_dims * sizeof(*p->shape));
	}
	safetensors_close(file);
}

/* Offsets leave neither hole nor overlap, layers never go back. */
static void expect_one_block(const struct layout *l)
{
	size_t next = 0;
	uint32_t layer = 0;

	for (size_t i = 0; i < l->n; i++) {
		assert_int_equal(l->list[i].offset, next);
		assert_true(l->list[i].layer == layer || l->list[i].layer == layer + 1);
		assert_ptr_equal(layout_find(l, l->list[i].name), &l->list[i]);
		layer = l->list[i].layer;
		next += l->list[i].n_values;
	}
	assert_int_equal(l->n_values, next);
	assert_int_equal(layer + 1, l->n_layers);
}

static void a_classifier_has_the_official_tensors(void **state)
{
	struct layout *l = NULL;

	(void)state;
	assert_int_equal(layout_classifier(&tiny, &uni, 5, &l), 0);
	expect_same_tensors(l, "tests/golden/tiny.weights.safetensors");
	expect_one_block(l);
	layout_free(l);
	assert_int_equal(layout_classifier(&tiny, &bi, 5, &l), 0);
	expect_same_tensors(l, "tests/golden/tiny-bi.weights.safetensors");
	layout_free(l);
}

static void a_pretrainer_has_the_official_tensors(void **state)
{
	const struct decoder_config decoder = {.embed_dim = 32, .depth = 1};
	struct layout *l = NULL;

	(void)state;
	assert_int_equal(layout_pretrain(&tiny, &uni, &decoder, &l), 0);
	expect_same_tensors(l, "tests/golden/tiny-pretrain.weights.safetensors");
	expect_one_block(l);
	layout_free(l);
}

/* Sizes against either direction, 0 .. 3000, and the mask 3002 (golden formulas). */
static void signed_sizes_are_guessed_among_3003(void **state)
{
	const struct decoder_config decoder = {.embed_dim = 32, .depth = 1};
	struct layout *l = NULL;

	(void)state;
	assert_int_equal(layout_pretrain(&tiny, &bi, &decoder, &l), 0);
	assert_int_equal(layout_find(l, "size_decoder_pred.weight")->shape[0], 3003);
	assert_int_equal(layout_find(l, "byte_decoder_pos_embed")->shape[1], 401);
	layout_free(l);
}

static void expect_shape(const struct layout *l, const char *name, uint64_t rows, uint64_t columns)
{
	const struct parameter *p = layout_find(l, name);

	assert_non_null(p);
	assert_int_equal(p->n_dims, columns ? 2 : 1);
	assert_int_equal(p->shape[0], rows);
	assert_int_equal(p->shape[1], columns);
}

static void an_attention_block_has_its_own_tensors(void **state)
{
	struct architecture a = tiny;
	struct layout *l = NULL;

	(void)state;
	strcpy(a.backbone, "attention");
	assert_int_equal(layout_classifier(&a, &uni, 5, &l), 0);
	expect_one_block(l);
	expect_shape(l, "encoder_blocks.1.norm.weight", 64, 0);
	expect_shape(l, "encoder_blocks.1.mixer.in_proj.weight", 192, 64);
	expect_shape(l, "encoder_blocks.1.mixer.out_proj.weight", 64, 64);
	expect_shape(l, "encoder_blocks.1.norm2.weight", 64, 0);
	expect_shape(l, "encoder_blocks.1.mlp.fc1.weight", 256, 64);
	expect_shape(l, "encoder_blocks.1.mlp.fc2.weight", 64, 128);
	assert_null(layout_find(l, "encoder_blocks.0.mixer.A_log"));
	assert_int_equal(l->n, 9 + 2 * 6 + 2);
	layout_free(l);
}

static void options_add_their_tensors(void **state)
{
	struct architecture a = tiny;
	const struct parameter *table;
	struct layout *l = NULL;

	(void)state;
	a.byte_table = a.project_values = a.head_bias = true;
	assert_int_equal(layout_classifier(&a, &uni, 5, &l), 0);
	expect_one_block(l);
	table = layout_find(l, "byte_embed.table");
	assert_non_null(table);
	assert_int_equal(table->n_values, 4 * 256 * 64);
	assert_null(layout_find(l, "byte_embed.proj.weight"));
	expect_shape(l, "byte_embed.proj.bias", 64, 0);
	expect_shape(l, "size_embed.proj.weight", 64, 64);
	expect_shape(l, "iat_embed.proj.bias", 64, 0);
	expect_shape(l, "head.bias", 5, 0);
	layout_free(l);
}

static void vectors_positions_and_cls_tokens_do_not_decay(void **state)
{
	static const char *const still[] = {"byte_cls_token",
					    "size_cls_token",
					    "iat_cls_token",
					    "pos_embed",
					    "byte_decoder_pos_embed",
					    "norm_f.weight",
					    "encoder_blocks.0.mixer.D",
					    "encoder_blocks.0.mixer.conv1d.bias",
					    "byte_decoder_pred.bias"};
	static const char *const decayed[] = {"byte_indicator",
					      "encoder_blocks.0.mixer.A_log",
					      "encoder_blocks.0.mixer.in_proj.weight",
					      "byte_embed.proj.weight",
					      "byte_decoder_embed.weight",
					      "byte_mask_token"};
	const struct decoder_config decoder = {.embed_dim = 32, .depth = 1};
	struct layout *l = NULL;

	(void)state;
	assert_int_equal(layout_pretrain(&tiny, &uni, &decoder, &l), 0);
	for (size_t i = 0; i < sizeof(still) / sizeof(still[0]); i++)
		assert_false(layout_find(l, still[i])->decayed);
	for (size_t i = 0; i < sizeof(decayed) / sizeof(decayed[0]); i++)
		assert_true(layout_find(l, decayed[i])->decayed);
	layout_free(l);
}

static void layers_are_embeddings_blocks_and_the_rest(void **state)
{
	struct layout *l = NULL;

	(void)state;
	assert_int_equal(layout_classifier(&tiny, &uni, 5, &l), 0);
	assert_int_equal(l->n_layers, 4);
	assert_int_equal(layout_find(l, "pos_embed")->layer, 0);
	assert_int_equal(layout_find(l, "encoder_blocks.0.norm.weight")->layer, 1);
	assert_int_equal(layout_find(l, "encoder_blocks.1.mixer.D")->layer, 2);
	assert_int_equal(layout_find(l, "norm_f.weight")->layer, 3);
	assert_int_equal(layout_find(l, "head.weight")->layer, 3);
	layout_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_classifier_has_the_official_tensors),
		cmocka_unit_test(a_pretrainer_has_the_official_tensors),
		cmocka_unit_test(signed_sizes_are_guessed_among_3003),
		cmocka_unit_test(an_attention_block_has_its_own_tensors),
		cmocka_unit_test(options_add_their_tensors),
		cmocka_unit_test(vectors_positions_and_cls_tokens_do_not_decay),
		cmocka_unit_test(layers_are_embeddings_blocks_and_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
