/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fine-tuning as a task of the loop: it learns each kind of input, nothing from shuffled labels,
 * and the same from the same seed; what it refuses; what it counts.
 */
#include <errno.h>
#include <math.h>
#include <string.h>
#include "model/finetune.h"
#include "model/initialise.h"
#include "model/ops.h"
#include "tests/model/made_flows.h"

#define N_CLASSES 3
#define MAX_SET   160

static const struct sample_shape wide = {3, 16, 8, 8, true};

/* Flows of classes that differ in what `telling` says. */
enum telling { BY_BYTES = 1, BY_SIZES = 2, BY_TIMES = 4, BY_ALL = 7 };

struct set {
	struct flow_sample *sample[MAX_SET];
	uint32_t label[MAX_SET];
	uint32_t n;
};

static void mark(struct flow_sample *s, uint32_t class, unsigned telling)
{
	for (uint16_t i = 0; i < s->n_packets; i++) {
		struct sample_packet *p = &s->packets[i];

		if (telling & BY_SIZES)
			p->ip_len_bytes = 100 + 400 * class + p->ip_len_bytes % 100;
		if (telling & BY_TIMES)
			p->time_ns = i * (uint64_t)(pow(30, class) * 1e6) + p->time_ns % 1000;
		for (size_t k = 0; telling & BY_BYTES && k < p->header_bytes; k++)
			sample_row(s, p)[k] = (uint8_t)(85 * class + sample_row(s, p)[k] % 85);
	}
}

static void set_init(struct set *set, uint32_t n, unsigned telling, uint64_t seed)
{
	struct rng rng = rng_stream(seed, 0, 0);

	set->n = n;
	for (uint32_t i = 0; i < n; i++) {
		uint16_t n_packets = (uint16_t)(3 + rng_below(&rng, 4));

		set->label[i] = i % N_CLASSES;
		set->sample[i] = made_flow(&wide, n_packets, true, &rng);
		mark(set->sample[i], set->label[i], telling);
	}
}

static void set_fini(struct set *set)
{
	for (uint32_t i = 0; i < set->n; i++)
		flow_sample_free(set->sample[i]);
}

static struct labelled_samples samples_of(const struct set *set)
{
	return (struct labelled_samples){(const struct flow_sample *const *)set->sample, set->label,
					 set->n};
}

static struct finetune_config config_of(const char *backbone, const struct set *train,
					const struct set *validation)
{
	struct finetune_config c = {
		.architecture = {.embed_dim = 24,
				 .depth = 2,
				 .d_state = 4,
				 .d_conv = 4,
				 .expand = 2,
				 .dt_rank = 2,
				 .stride = 4,
				 .heads = 2},
		.tokens = {.shape = {2, 12, 4, 5, true},
			   .packed = true,
			   .iat_log = true,
			   .byte_scale = 2.0F / 255,
			   .byte_offset = -1},
		.n_classes = N_CLASSES,
		.loss = loss_default_config(),
		.augment = augment_none(),
		.train = samples_of(train),
		.validation = samples_of(validation),
	};

	snprintf(c.architecture.backbone, sizeof(c.architecture.backbone), "%s", backbone);
	return c;
}

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
	s = train(&config, 2, 30, 1);
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
	s = train(&config, 2, 50, 1);
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

/* All that is drawn at random, on. */
static struct finetune_config random_config(const struct set *set)
{
	struct finetune_config c = config_of("mamba", set, set);

	c.augment = augment_default_config();
	c.augment.token_drop = 0.2F;
	c.drop_path = 0.5F;
	return c;
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

/* A worker with a batch of the whole set, for one gradient at a time. */
struct fixture {
	struct finetune *f;
	struct train_task task;
	struct train_batch batch;
	uint32_t index[MAX_SET];
	void *worker;
	float *weights, *gradient;
};

static void fixture_init(struct fixture *x, const struct finetune_config *config)
{
	struct rng rng = rng_stream(3, 0, 0);
	size_t n_values;

	*x = (struct fixture){0};
	assert_int_equal(finetune_new(config, &x->f, NULL), 0);
	x->task = finetune_task(x->f);
	assert_int_equal(x->task.worker_new(x->task.ctx, &x->worker), 0);
	n_values = x->task.layout->n_values;
	x->weights = calloc(n_values, sizeof(float));
	x->gradient = calloc(n_values, sizeof(float));
	assert_true(x->weights && x->gradient);
	initialise(x->task.layout, x->weights, &rng);
	for (size_t i = 0; i < n_values; i++)
		x->weights[i] += 0.1F * (float)rng_normal(&rng);
	for (uint32_t i = 0; i < config->train.n; i++)
		x->index[i] = i;
	x->batch = (struct train_batch){.seed = 1, .index = x->index, .n = config->train.n};
	x->batch.denominator = x->task.begin(x->task.ctx, &x->batch);
}

static void fixture_fini(struct fixture *x)
{
	x->task.worker_free(x->worker);
	finetune_free(x->f);
	free(x->weights);
	free(x->gradient);
}

static double gradient(struct fixture *x, uint32_t first, uint32_t n)
{
	return x->task.gradient(x->worker, &x->batch, first, n, x->weights, x->gradient);
}

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
	config.tokens.shape.seq_len = 9;
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
		cmocka_unit_test(parts_of_a_batch_add_up_to_the_whole),
		cmocka_unit_test(a_batch_is_divided_by_the_weights_of_its_labels),
		cmocka_unit_test(drop_path_rises_from_no_block_to_the_last),
		cmocka_unit_test(validation_drops_nothing),
		cmocka_unit_test(the_score_is_the_mean_f1_of_the_classes_that_are_there),
		cmocka_unit_test(validation_in_parts_is_the_validation_of_the_whole),
		cmocka_unit_test(what_cannot_be_trained_on_is_refused),
	};

	linear_single_thread();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
