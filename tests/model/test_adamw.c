/* SPDX-License-Identifier: BSD-2-Clause */
/* AdamW against its formulas in double; the ten golden steps need the network, and are tested
 * there. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "model/adamw.h"

#define N 5

static struct parameter parameters[] = {
	{.name = "pos_embed", .offset = 0, .n_values = 2, .layer = 0},
	{.name = "weight", .offset = 2, .n_values = 2, .layer = 1, .decayed = true},
	{.name = "head.weight", .offset = 4, .n_values = 1, .layer = 3, .decayed = true},
};
static const struct layout layout = {.list = parameters, .n = 3, .n_values = N, .n_layers = 4};

struct block {
	float values[N], moment1[N], moment2[N];
};

static struct block new_block(void)
{
	return (struct block){.values = {1, -2, 0.5F, 3, -0.25F}};
}

static void step(struct block *b, const struct adamw_config *config, double rate, uint64_t number,
		 const float *gradients)
{
	adamw_step(config, &layout, rate, number, b->values, b->moment1, b->moment2, gradients);
}

static void assert_near(double have, double want)
{
	if (!(fabs(have - want) <= 1e-6 * fmax(fabs(want), 1e-3)))
		fail_msg("%.9g, want %.9g", have, want);
}

/* Bias correction makes it so, whatever the gradient's size; decay comes on top. */
static void the_first_step_is_as_long_as_the_rate(void **state)
{
	static const float gradients[N] = {1e-3F, -1e3F, 5, -5, 1};
	struct adamw_config config = adamw_finetune_config();
	struct block b = new_block();

	(void)state;
	config.layer_decay = 1;
	config.weight_decay = 0;
	step(&b, &config, 0.01, 1, gradients);
	assert_near(b.values[0], 1 - 0.01 / (1 + 1e-5));
	assert_near(b.values[1], -2 + 0.01);
	assert_near(b.values[2], 0.5 - 0.01);
	assert_near(b.values[3], 3 + 0.01);
	assert_near(b.values[4], -0.25 - 0.01);
}

static void later_steps_follow_the_moments(void **state)
{
	const struct adamw_config config = {.beta1 = 0.5F,
					    .beta2 = 0.75F,
					    .eps = 0.125F,
					    .weight_decay = 0.25F,
					    .layer_decay = 1};
	double value = 3, m = 0, v = 0;
	struct block b = new_block();

	(void)state;
	for (int t = 1; t <= 10; t++) {
		float g = sinf(t) * 2, gradients[N] = {0, 0, 0, g, 0};

		m = 0.5 * m + 0.5 * g;
		v = 0.75 * v + 0.25 * g * g;
		value -= 0.1 * 0.25 * value;
		value -= 0.1 * m / (1 - pow(0.5, t)) / (sqrt(v / (1 - pow(0.75, t))) + 0.125);
		step(&b, &config, 0.1, t, gradients);
	}
	assert_near(b.values[3], value);
	assert_near(b.moment1[3], m);
	assert_near(b.moment2[3], v);
}

static void only_decayed_parameters_decay(void **state)
{
	static const float gradients[N];
	struct adamw_config config = adamw_finetune_config();
	struct block b = new_block();

	(void)state;
	config.layer_decay = 1;
	step(&b, &config, 0.1, 1, gradients);
	assert_true(b.values[0] == 1 && b.values[1] == -2);
	assert_near(b.values[2], 0.5 * (1 - 0.1 * 0.05));
	assert_near(b.values[4], -0.25 * (1 - 0.1 * 0.05));
}

static void layers_further_from_the_head_learn_slower(void **state)
{
	static const float gradients[N] = {1, 1, 1, 1, 1};
	struct adamw_config config = adamw_finetune_config();
	struct block b = new_block();

	(void)state;
	config.weight_decay = 0;
	config.layer_decay = 0.5;
	step(&b, &config, 0.1, 1, gradients);
	assert_near(b.values[4], -0.25 - 0.1);   /* layer 3 of 0 .. 3 */
	assert_near(b.values[2], 0.5 - 0.1 / 4); /* layer 1 */
	assert_near(b.values[0], 1 - 0.1 / 8);   /* layer 0 */
}

static void a_rate_of_nothing_moves_only_the_moments(void **state)
{
	static const float gradients[N] = {1, 2, 3, 4, 5};
	const struct adamw_config config = adamw_finetune_config();
	struct block b = new_block(), before = b;

	(void)state;
	step(&b, &config, 0, 1, gradients);
	assert_memory_equal(b.values, before.values, sizeof(b.values));
	assert_near(b.moment1[4], 0.5);
	assert_near(b.moment2[4], 0.025);
}

static void gradients_are_clipped_to_the_norm(void **state)
{
	float gradients[] = {3, 0, -4};

	(void)state;
	assert_true(gradient_clip(gradients, 3, 10) == 5);
	assert_true(gradients[0] == 3 && gradients[2] == -4);
	assert_true(gradient_clip(gradients, 3, 0) == 5);
	assert_true(gradients[0] == 3);
	assert_true(gradient_clip(gradients, 3, 1) == 5);
	assert_near(gradients[0], 0.6);
	assert_near(gradients[2], -0.8);
}

static void a_norm_of_nothing_divides_nothing(void **state)
{
	float gradients[] = {0, 0};

	(void)state;
	assert_true(gradient_clip(gradients, 2, 1) == 0);
	assert_true(gradients[0] == 0 && gradients[1] == 0);
}

/* Squares that overflow float, or vanish in it, do neither in double. */
static void the_norm_is_summed_in_double(void **state)
{
	static const float large[] = {3e30F, 4e30F}, little[] = {3e-30F, 4e-30F};

	(void)state;
	assert_true(fabs(gradient_norm(large, 2) - 5e30) < 1e24);
	assert_true(fabs(gradient_norm(little, 2) - 5e-30) < 1e-36);
}

static void gradients_that_are_not_finite_are_told_and_left(void **state)
{
	float not_a_number[] = {100, NAN}, infinite[] = {100, -INFINITY};

	(void)state;
	assert_false(isfinite(gradient_clip(not_a_number, 2, 1)));
	assert_false(isfinite(gradient_clip(infinite, 2, 1)));
	assert_true(not_a_number[0] == 100 && infinite[0] == 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_step_is_as_long_as_the_rate),
		cmocka_unit_test(later_steps_follow_the_moments),
		cmocka_unit_test(only_decayed_parameters_decay),
		cmocka_unit_test(layers_further_from_the_head_learn_slower),
		cmocka_unit_test(a_rate_of_nothing_moves_only_the_moments),
		cmocka_unit_test(gradients_are_clipped_to_the_norm),
		cmocka_unit_test(a_norm_of_nothing_divides_nothing),
		cmocka_unit_test(the_norm_is_summed_in_double),
		cmocka_unit_test(gradients_that_are_not_finite_are_told_and_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
