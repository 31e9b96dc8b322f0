/* SPDX-License-Identifier: BSD-2-Clause */
/* What fine-tuning draws at random for each flow and epoch: augmentation, dropped tokens, dropped
 * blocks; the same however a batch is cut, and nothing of it in validation. */
#include "model/ops.h"
#include "tests/model/labelled_flows.h"

static double norm_of(const struct fixture *x, const char *name)
{
	const struct parameter *p = layout_find(x->task.layout, name);
	double sum = 0;

	assert_non_null(p);
	for (size_t i = 0; i < p->n_values; i++)
		sum += pow((double)x->gradient[p->offset + i], 2);
	return sqrt(sum);
}

static void parts_of_a_batch_add_up_to_the_whole(void **state)
{
	struct set set;
	struct finetune_config config;
	struct fixture whole, parts;
	double want, have, off = 0, norm = 0;

	(void)state;
	set_init(&set, 41, BY_ALL, 1);
	config = random_config(&set);
	config.tokens.shape = wide; /* of which a pass takes fewer than a part has */
	config.tokens.packed = false;
	fixture_init(&whole, &config);
	fixture_init(&parts, &config);
	want = gradient(&whole, 0, 41);
	have = gradient(&parts, 0, 1) + gradient(&parts, 1, 19) + gradient(&parts, 20, 21);
	assert_true(fabs(have - want) < 1e-5 * want);
	for (size_t i = 0; i < whole.task.layout->n_values; i++) {
		off += pow((double)parts.gradient[i] - (double)whole.gradient[i], 2);
		norm += pow((double)whole.gradient[i], 2);
	}
	assert_true(sqrt(off) < 1e-5 * sqrt(norm));
	fixture_fini(&whole);
	fixture_fini(&parts);
	set_fini(&set);
}

static void drop_path_rises_from_no_block_to_the_last(void **state)
{
	struct set set;
	struct finetune_config config;
	struct fixture x;

	(void)state;
	set_init(&set, 24, BY_ALL, 1);
	config = config_of("mamba", &set, &set);
	config.drop_path = 1;
	fixture_init(&x, &config);
	gradient(&x, 0, 24);
	assert_true(norm_of(&x, "encoder_blocks.0.mixer.in_proj.weight") > 0);
	assert_true(norm_of(&x, "encoder_blocks.1.mixer.in_proj.weight") == 0);
	fixture_fini(&x);
	set_fini(&set);
}

/* One flow, one block, a chance of one half: its output is left out or counts twice. */
static void blocks_that_are_not_dropped_make_up_for_those_that_are(void **state)
{
	struct set set;
	struct finetune_config config;
	struct fixture without, twice, x;
	const struct parameter *p;
	double loss[2];
	uint32_t n_dropped = 0;

	(void)state;
	set_init(&set, 1, BY_ALL, 1);
	config = config_of("mamba", &set, &set);
	config.architecture.depth = 1;
	fixture_init(&without, &config);
	fixture_init(&twice, &config);
	config.drop_path = 0.5F;
	fixture_init(&x, &config);
	p = layout_find(x.task.layout, "encoder_blocks.0.mixer.out_proj.weight");
	for (size_t i = p->offset; i < p->offset + p->n_values; i++) {
		without.weights[i] = 0;
		twice.weights[i] *= 2;
	}
	loss[0] = gradient(&without, 0, 1);
	loss[1] = gradient(&twice, 0, 1);
	assert_true(fabs(loss[0] - loss[1]) > 0.01);
	for (x.batch.epoch = 0; x.batch.epoch < 20; x.batch.epoch++) {
		double have = gradient(&x, 0, 1);
		bool dropped = fabs(have - loss[0]) < fabs(have - loss[1]);

		assert_true(fabs(have - loss[!dropped]) < 1e-4);
		n_dropped += dropped;
	}
	assert_in_range(n_dropped, 3, 17);
	fixture_fini(&without);
	fixture_fini(&twice);
	fixture_fini(&x);
	set_fini(&set);
}

static void check_drawn_anew(const struct finetune_config *config)
{
	struct fixture x;
	double first, again, later;

	fixture_init(&x, config);
	first = gradient(&x, 0, x.batch.n);
	again = gradient(&x, 0, x.batch.n);
	x.batch.epoch = 1;
	later = gradient(&x, 0, x.batch.n);
	assert_true(first == again);
	assert_true(first != later);
	fixture_fini(&x);
}

static void every_epoch_draws_anew(void **state)
{
	struct set set;
	struct finetune_config config;

	(void)state;
	set_init(&set, 20, BY_ALL, 1);
	config = config_of("mamba", &set, &set);
	config.drop_path = 0.5F;
	check_drawn_anew(&config);
	config.drop_path = 0;
	config.augment.token_drop = 0.5F;
	check_drawn_anew(&config);
	config.augment = augment_none();
	config.augment.cut = 0.5F;
	check_drawn_anew(&config);
	set_fini(&set);
}

/* Attention reads every token: one without a gradient in its place was not there. */
static void tokens_are_dropped_by_their_chance_but_never_a_cls(void **state)
{
	struct set set;
	struct finetune_config config;
	struct fixture x;
	const struct parameter *p;
	uint32_t n_dropped = 0;

	(void)state;
	set_init(&set, 1, BY_ALL, 1);
	config = config_of("attention", &set, &set);
	config.tokens.packed = false;
	config.augment.token_drop = 0.25F;
	fixture_init(&x, &config);
	p = layout_find(x.task.layout, "pos_embed");
	assert_int_equal(p->n_values, 21 * 24); /* CLS 5, 11 and 20 */
	for (x.batch.epoch = 0; x.batch.epoch < 40; x.batch.epoch++) {
		memset(x.gradient, 0, x.task.layout->n_values * sizeof(float));
		gradient(&x, 0, 1);
		for (uint32_t i = 0; i < 21; i++) {
			bool dropped = x.gradient[p->offset + (size_t)i * 24] == 0;

			assert_false(dropped && (i == 5 || i == 11 || i == 20));
			n_dropped += dropped;
		}
	}
	assert_in_range(n_dropped, 144, 216); /* 180 expected, deviation 12 */
	fixture_fini(&x);
	set_fini(&set);
}

static void validation_drops_nothing(void **state)
{
	struct set set;
	struct finetune_config config;
	struct fixture x;
	struct train_score calm, after;

	(void)state;
	set_init(&set, 24, BY_ALL, 1);
	config = random_config(&set);
	config.drop_path = 0.9F;
	fixture_init(&x, &config);
	x.task.validate(x.worker, 0, 24, x.weights);
	calm = x.task.score(x.task.ctx);
	gradient(&x, 0, 24); /* leaves its drops behind */
	x.task.validate(x.worker, 0, 24, x.weights);
	after = x.task.score(x.task.ctx);
	assert_true(calm.loss == after.loss && calm.score == after.score);
	fixture_fini(&x);
	set_fini(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_of_a_batch_add_up_to_the_whole),
		cmocka_unit_test(drop_path_rises_from_no_block_to_the_last),
		cmocka_unit_test(blocks_that_are_not_dropped_make_up_for_those_that_are),
		cmocka_unit_test(every_epoch_draws_anew),
		cmocka_unit_test(tokens_are_dropped_by_their_chance_but_never_a_cls),
		cmocka_unit_test(validation_drops_nothing),
	};

	linear_single_thread();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
