/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fine-tuning as a task of the loop: it learns each kind of input, nothing from shuffled labels,
 * and the same from the same seed; what it refuses; what it counts.
 */
#include <errno.h>
#include "model/ops.h"
#include "tests/model/labelled_flows.h"

static int on_step(void *ctx, const struct train_report *report)
{
	(void)ctx, (void)report;
	return 0;
}

static int on_save(void *ctx, const struct train_state *state, struct error *e)
{
	(void)ctx, (void)state, (void)e;
	return 0;
}

/* Epochs of three batches. The caller frees. */
static struct train_state *train(const struct finetune_config *config, uint32_t threads,
				 uint32_t epochs, uint64_t seed)
{
	struct finetune *f = NULL;
	struct train_state *s = NULL;
	struct train_hooks hooks = {NULL, on_step, on_save};
	struct train_config loop = {
		.seed = seed,
		.threads = threads,
		.batch = (config->train.n + 2) / 3,
		.total_steps = (uint64_t)epochs * 3,
		.schedule = {.peak = 3e-3, .minimum = 1e-4, .warm_up = 2, .total = epochs},
		.adamw = adamw_finetune_config(),
		.clip_norm = 5,
		.validate_every = epochs};
	struct rng rng = rng_stream(seed, 0, 1);
	struct train_task task;
	struct error e = {0};

	if (finetune_new(config, &f, &e))
		fail_msg("%s", e.text);
	assert_int_equal(train_state_new(finetune_layout(f), false, &s), 0);
	initialise(finetune_layout(f), s->weights, &rng);
	task = finetune_task(f);
	if (train_run(&task, &loop, s, &hooks, &e))
		fail_msg("%s", e.text);
	finetune_free(f);
	return s;
}

/* What weights score on the validation set of a configuration. */
static struct train_score score_of(const struct finetune_config *config, const float *weights)
{
	struct finetune *f = NULL;
	struct train_score score;
	struct train_task task;
	void *worker = NULL;

	assert_int_equal(finetune_new(config, &f, NULL), 0);
	task = finetune_task(f);
	assert_int_equal(task.worker_new(task.ctx, &worker), 0);
	task.validate(worker, 0, task.n_validation, weights);
	score = task.score(task.ctx);
	task.worker_free(worker);
	finetune_free(f);
	return score;
}

/* Three standard errors over what guessing gets. */
static double by_chance(uint32_t n)
{
	double chance = 1.0 / N_CLASSES;

	return chance + 3 * sqrt(chance * (1 - chance) / n);
}

static void check_overfits(const char *backbone, unsigned telling)
{
	struct set train_set, others;
	struct finetune_config config;
	struct train_state *s;
	double unseen;

	set_init(&train_set, 24, telling, 1);
	set_init(&others, 60, telling, 2);
	config = config_of(backbone, &train_set, &train_set);
	s = train(&config, 1, 30, 1);
	assert_true(s->best_score.accuracy == 1);
	assert_true(s->best_score.score == 1);
	/* and it is what tells the classes apart that was learnt */
	config.validation = samples_of(&others);
	unseen = score_of(&config, train_result(s)).accuracy;
	print_message("%s: %.3f of flows never seen\n", backbone, unseen);
	assert_true(unseen > by_chance(others.n));
	train_state_free(s);
	set_fini(&train_set);
	set_fini(&others);
}

static void mamba_overfits_a_tiny_set_by_bytes_sizes_or_times(void **state)
{
	(void)state;
	check_overfits("mamba", BY_BYTES);
	check_overfits("mamba", BY_SIZES);
	check_overfits("mamba", BY_TIMES);
}

static void attention_overfits_a_tiny_set_by_bytes_sizes_or_times(void **state)
{
	(void)state;
	check_overfits("attention", BY_BYTES);
	check_overfits("attention", BY_SIZES);
	check_overfits("attention", BY_TIMES);
}

static void shuffle_labels(struct set *set, uint64_t seed)
{
	struct rng rng = rng_stream(seed, 7, 7);

	for (uint32_t i = set->n - 1; i > 0; i--) {
		uint32_t j = (uint32_t)rng_below(&rng, i + 1), label = set->label[i];

		set->label[i] = set->label[j];
		set->label[j] = label;
	}
}

/* The flows tell their classes, the labels are others': they can be learnt by heart only. */
static void check_shuffled(const char *backbone)
{
	struct set train_set, validation;
	struct finetune_config config;
	struct train_state *s;
	struct train_score by_heart, unseen;

	set_init(&train_set, 30, BY_ALL, 1);
	set_init(&validation, MAX_SET, BY_ALL, 2);
	shuffle_labels(&train_set, 1);
	shuffle_labels(&validation, 2);
	config = config_of(backbone, &train_set, &validation);
	s = train(&config, 1, 50, 1);
	unseen = score_of(&config, s->weights);
	config.validation = samples_of(&train_set);
	by_heart = score_of(&config, s->weights);
	print_message("%s: %.3f by heart, %.3f of flows never seen\n", backbone, by_heart.accuracy,
		      unseen.accuracy);
	assert_true(by_heart.accuracy > by_chance(train_set.n));
	assert_true(unseen.accuracy <= by_chance(validation.n));
	train_state_free(s);
	set_fini(&train_set);
	set_fini(&validation);
}

static void shuffled_labels_are_learnt_by_heart_only(void **state)
{
	(void)state;
	check_shuffled("mamba");
	check_shuffled("attention");
}

static void the_same_seed_gives_the_same_weights(void **state)
{
	struct set set;
	struct finetune_config config;
	struct train_state *a, *b, *other;

	(void)state;
	set_init(&set, 24, BY_ALL, 1);
	config = random_config(&set);
	for (uint32_t threads = 1; threads <= 2; threads++) {
		size_t n_bytes;
		struct finetune *f = NULL;

		assert_int_equal(finetune_new(&config, &f, NULL), 0);
		n_bytes = finetune_layout(f)->n_values * sizeof(float);
		a = train(&config, threads, 2, 5);
		b = train(&config, threads, 2, 5);
		other = train(&config, threads, 2, 6);
		assert_memory_equal(a->weights, b->weights, n_bytes);
		assert_memory_not_equal(a->weights, other->weights, n_bytes);
		train_state_free(a);
		train_state_free(b);
		train_state_free(other);
		finetune_free(f);
	}
	set_fini(&set);
}

/* The sum of the classes' weights: 3 of class 0, 2 of 1, 1 of 2. */
static void a_batch_is_divided_by_the_weights_of_its_labels(void **state)
{
	static const uint32_t labels[] = {0, 0, 1, 2, 1, 0};
	static const uint64_t counts[] = {3, 2, 1};
	struct loss loss;
	struct set set;
	struct finetune_config config;
	struct fixture x;

	(void)state;
	set_init(&set, 6, BY_ALL, 1);
	memcpy(set.label, labels, sizeof(labels));
	config = config_of("mamba", &set, &set);
	config.loss.balanced = true;
	loss_init(&loss, &config.loss, counts, N_CLASSES);
	fixture_init(&x, &config);
	assert_true(fabs(x.batch.denominator - loss_weight_sum(&loss, labels, 6)) < 1e-6);
	fixture_fini(&x);
	set_fini(&set);
}

/* All are said to be of class 0: F1 of 0 is 2 * 2 / (3 + 2), of 1 is 0; nothing is of class 2. */
static void the_score_is_the_mean_f1_of_the_classes_that_are_there(void **state)
{
	struct set set;
	struct finetune_config config;
	struct fixture x;
	struct train_score score;
	const struct parameter *bias;

	(void)state;
	set_init(&set, 3, BY_ALL, 1);
	set.label[0] = set.label[1] = 0;
	set.label[2] = 1;
	config = config_of("mamba", &set, &set);
	config.architecture.head_bias = true;
	fixture_init(&x, &config);
	bias = layout_find(x.task.layout, "head.bias");
	x.weights[bias->offset] = 1000;
	x.task.validate(x.worker, 0, 3, x.weights);
	score = x.task.score(x.task.ctx);
	assert_true(fabs(score.score - 0.4) < 1e-12);
	assert_true(fabs(score.accuracy - 2.0 / 3) < 1e-12);
	assert_true(score.loss > 0);
	fixture_fini(&x);
	set_fini(&set);
}

/* 33 are two parts and one, of several passes each. */
static void validation_in_parts_is_the_validation_of_the_whole(void **state)
{
	struct set set;
	struct finetune_config config;
	struct fixture x;
	struct train_score whole, parts;

	(void)state;
	set_init(&set, 33, BY_ALL, 1);
	config = config_of("attention", &set, &set);
	config.tokens.shape = wide;
	config.tokens.packed = false;
	fixture_init(&x, &config);
	x.task.validate(x.worker, 0, 33, x.weights);
	whole = x.task.score(x.task.ctx);
	x.task.validate(x.worker, 20, 13, x.weights);
	x.task.validate(x.worker, 0, 20, x.weights);
	parts = x.task.score(x.task.ctx);
	assert_true(fabs(whole.loss - parts.loss) < 1e-5 * whole.loss);
	assert_true(whole.accuracy == parts.accuracy);
	fixture_fini(&x);
	set_fini(&set);
}

static void check_refused(const struct finetune_config *config, const char *why)
{
	struct finetune *f = NULL;
	struct error e = {0};

	assert_int_equal(finetune_new(config, &f, &e), -EINVAL);
	assert_null(f);
	if (!strstr(e.text, why))
		fail_msg("\"%s\" does not say \"%s\"", e.text, why);
}

static void what_cannot_be_trained_on_is_refused(void **state)
{
	struct set set, empty = {.n = 0};
	struct finetune_config good, config;
	struct flow_sample *narrower;
	struct sample_shape shape = wide;
	struct rng rng = rng_stream(1, 0, 0);

	(void)state;
	set_init(&set, 6, BY_ALL, 1);
	good = config_of("mamba", &set, &empty);
	config = good;
	config.n_classes = 2;
	check_refused(&config, "sample 2: class 2 of 2");
	config = good;
	config.tokens.shape.seq_len = 11;
	check_refused(&config, "sample 0 holds less than the network reads");
	config = good;
	config.train.n = 0;
	check_refused(&config, "no samples");
	config = config_of("mamba", &set, &set);
	shape.header_bytes = 11;
	narrower = made_flow(&shape, 3, true, &rng);
	flow_sample_free(set.sample[5]);
	set.sample[5] = narrower;
	check_refused(&config, "sample 5 is not of the first one's shape");
	set_fini(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mamba_overfits_a_tiny_set_by_bytes_sizes_or_times),
		cmocka_unit_test(attention_overfits_a_tiny_set_by_bytes_sizes_or_times),
		cmocka_unit_test(shuffled_labels_are_learnt_by_heart_only),
		cmocka_unit_test(the_same_seed_gives_the_same_weights),
		cmocka_unit_test(a_batch_is_divided_by_the_weights_of_its_labels),
		cmocka_unit_test(the_score_is_the_mean_f1_of_the_classes_that_are_there),
		cmocka_unit_test(validation_in_parts_is_the_validation_of_the_whole),
		cmocka_unit_test(what_cannot_be_trained_on_is_refused),
	};

	linear_single_thread();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
