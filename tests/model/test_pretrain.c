/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pre-training as a task of the loop. Masks are drawn inside it, so they are looked for in what
 * comes out: weights of zero make each loss a mean over what was masked, and a token that the
 * encoder did not see leaves no gradient in its place.
 */
#include <errno.h>
#include <math.h>
#include <string.h>
#include "model/initialise.h"
#include "model/ops.h"
#include "model/pretrain.h"
#include "tests/model/made_flows.h"

#define MAX_SET   24
#define S         10
#define N_BYTES   12 /* tokens: 3 packets of (12 + 4) bytes, 4 each */
#define N_CLASSES 3003
#define N_EPOCHS  40

static const struct sample_shape wide = {4, 16, 8, 12, true};

struct set {
	const struct flow_sample *sample[MAX_SET];
	uint32_t n;
};

struct fixture {
	struct pretrain *p;
	struct train_task task;
	struct train_batch batch;
	uint32_t index[MAX_SET];
	void *worker;
	float *weights, *gradient;
};

static void add(struct set *set, uint16_t n_packets, bool with_bytes)
{
	struct rng rng = rng_stream(3, set->n, 0);

	set->sample[set->n++] = made_flow(&wide, n_packets, with_bytes, &rng);
}

/* Flows of every length, some without bytes. */
static void set_init(struct set *set, uint32_t n)
{
	*set = (struct set){0};
	for (uint32_t i = 0; i < n; i++)
		add(set, (uint16_t)(1 + i % wide.seq_len), i % 5 != 3);
}

static void set_fini(struct set *set)
{
	for (uint32_t i = 0; i < set->n; i++)
		flow_sample_free((struct flow_sample *)set->sample[i]);
}

static struct pretrain_config config_of(const struct set *set, bool packed)
{
	return (struct pretrain_config){
		.architecture = {.backbone = "mamba",
				 .embed_dim = 16,
				 .depth = 1,
				 .d_state = 4,
				 .d_conv = 4,
				 .expand = 2,
				 .dt_rank = 1,
				 .stride = 4},
		.tokens = {.shape = {3, 12, 4, S, true},
			   .packed = packed,
			   .byte_scale = 1.0F / 255},
		.decoder = {.embed_dim = 8, .depth = 1},
		.byte_mask = 0.5,
		.size_mask = 0.15,
		.iat_mask = 0.15,
		.augment = augment_none(),
		.sample = set->sample,
		.n_samples = set->n,
	};
}

/* Every token that is there reaches every loss. */
static void use_attention(struct pretrain_config *config)
{
	strcpy(config->architecture.backbone, "attention");
	config->architecture.heads = 2;
}

static void fixture_init(struct fixture *x, const struct pretrain_config *config)
{
	struct rng rng = rng_stream(3, 0, 0);
	size_t n_values;
	struct error e = {0};

	*x = (struct fixture){0};
	if (pretrain_new(config, &x->p, &e))
		fail_msg("%s", e.text);
	x->task = pretrain_task(x->p);
	assert_int_equal(x->task.worker_new(x->task.ctx, &x->worker), 0);
	n_values = pretrain_layout(x->p)->n_values;
	x->weights = calloc(n_values, sizeof(float));
	x->gradient = calloc(n_values, sizeof(float));
	assert_true(x->weights && x->gradient);
	initialise(x->task.layout, x->weights, &rng);
	for (uint32_t i = 0; i < config->n_samples; i++)
		x->index[i] = i;
	x->batch = (struct train_batch){.seed = 1, .index = x->index, .n = config->n_samples};
}

static void fixture_fini(struct fixture *x)
{
	x->task.worker_free(x->worker);
	pretrain_free(x->p);
	free(x->weights);
	free(x->gradient);
}

static float *tensor(const struct fixture *x, float *block, const char *name)
{
	const struct parameter *p = layout_find(x->task.layout, name);

	assert_non_null(p);
	return block + p->offset;
}

static void zero_heads(struct fixture *x)
{
	static const char *const heads[] = {"byte_decoder_pred.weight", "size_decoder_pred.weight",
					    "iat_decoder_pred.weight"};

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		memset(tensor(x, x->weights, heads[i]), 0,
		       layout_find(x->task.layout, heads[i])->n_values * sizeof(float));
}

/* The whole batch's loss, in two parts as two threads would; its gradient is written. */
static double loss_of_epoch(struct fixture *x, uint32_t epoch)
{
	uint32_t part = x->batch.n / 3;
	double loss;

	x->batch.epoch = epoch;
	x->batch.denominator = x->task.begin(x->task.ctx, &x->batch);
	memset(x->gradient, 0, x->task.layout->n_values * sizeof(float));
	loss = x->task.gradient(x->worker, &x->batch, 0, part, x->weights, x->gradient);
	return loss + x->task.gradient(x->worker, &x->batch, part, x->batch.n - part, x->weights,
				       x->gradient);
}

/* Whether the encoder saw byte token i, of one flow. */
static bool was_seen(struct fixture *x, uint32_t i)
{
	const float *row = tensor(x, x->gradient, "pos_embed") + (2 * (S + 1) + i) * 16;

	for (size_t d = 0; d < 16; d++)
		if (row[d] != 0)
			return true;
	return false;
}

/* Every byte 255, every time the same: 1, log(classes) and 0.25 for what begin counted, when that
 * is what the workers masked. */
static void check_means(const struct augment_config *augment)
{
	struct set set;
	struct pretrain_config config;
	struct fixture x;

	set_init(&set, 21);
	for (uint32_t i = 0; i < set.n; i++) {
		struct flow_sample *s = (struct flow_sample *)set.sample[i];

		memset(s->bytes, 255, wide.packets * sample_row_bytes(&wide));
		for (uint16_t k = 0; k < s->n_packets; k++)
			s->packets[k].time_ns = 5;
	}
	config = config_of(&set, true); /* padding would have other times and bytes */
	config.augment = *augment;
	fixture_init(&x, &config);
	zero_heads(&x);
	for (uint32_t epoch = 0; epoch < 5; epoch++)
		assert_true(fabs(loss_of_epoch(&x, epoch) - (1 + log(N_CLASSES) + 0.25)) < 1e-5);
	fixture_fini(&x);
	set_fini(&set);
}

static void losses_are_means_over_what_a_batch_masked(void **state)
{
	struct augment_config none = augment_none(), some = none;

	(void)state;
	some.cut = some.one_direction = some.first_missing = 0.5F;
	some.max_missing = 3;
	check_means(&none);
	check_means(&some);
}

/* One flow: the size of each packet is its own, so that each masked one lowers its own class. */
static uint32_t count_masked_sizes(struct fixture *x)
{
	const float *bias = tensor(x, x->gradient, "size_decoder_pred.bias");
	uint32_t n = 0;

	for (size_t c = 0; c < N_CLASSES; c++)
		n += bias[c] < 0;
	return n;
}

static void masks_take_their_share_at_random_places(void **state)
{
	struct set set = {0};
	struct pretrain_config config;
	struct fixture x;
	uint32_t times_seen[N_BYTES] = {0};

	(void)state;
	add(&set, S, true);
	for (uint16_t i = 0; i < S; i++) {
		((struct flow_sample *)set.sample[0])->packets[i].ip_len_bytes = 100 + i;
		((struct flow_sample *)set.sample[0])->packets[i].against = false;
	}
	config = config_of(&set, true);
	use_attention(&config);
	config.byte_mask = 0.7;
	config.size_mask = 0.36; /* of 10, to the nearest */
	fixture_init(&x, &config);
	for (uint32_t epoch = 0; epoch < N_EPOCHS; epoch++) {
		uint32_t n_seen = 0;

		loss_of_epoch(&x, epoch);
		assert_int_equal(count_masked_sizes(&x), 4);
		for (uint32_t i = 0; i < N_BYTES; i++) {
			n_seen += was_seen(&x, i);
			times_seen[i] += was_seen(&x, i);
		}
		assert_int_equal(n_seen, 3); /* of 12, 0.3 and no part of a token */
	}
	for (uint32_t i = 0; i < N_BYTES; i++) /* 10 expected, deviation 2.7 */
		assert_in_range(times_seen[i], 1, 22);
	fixture_fini(&x);
	set_fini(&set);
}

static void flows_are_augmented_before_they_are_masked(void **state)
{
	struct set set = {0};
	struct pretrain_config config;
	struct fixture x;

	(void)state;
	add(&set, S, true);
	for (uint16_t i = 0; i < S; i++)
		((struct flow_sample *)set.sample[0])->packets[i].ip_len_bytes = 100 + i;
	config = config_of(&set, true);
	config.size_mask = 1;
	config.augment.cut = 1;
	fixture_init(&x, &config);
	for (uint32_t epoch = 0; epoch < 5; epoch++) {
		loss_of_epoch(&x, epoch);
		assert_in_range(count_masked_sizes(&x), 1, S - 1);
	}
	fixture_fini(&x);
	set_fini(&set);
}

/* A second between packets 4 and 5, none between the others: 0.25 and (2/3)^2 of them, if masked.
 */
static void times_are_masked_by_their_share(void **state)
{
	struct set set = {0};
	struct pretrain_config config;
	struct fixture x;
	uint32_t n_masked = 0;

	(void)state;
	add(&set, S, false);
	for (uint16_t i = 0; i < S; i++)
		((struct flow_sample *)set.sample[0])->packets[i].time_ns = i < 5 ? 0 : 1000000000;
	config = config_of(&set, true);
	config.size_mask = 0;
	config.iat_mask = 0.3;
	fixture_init(&x, &config);
	zero_heads(&x);
	for (uint32_t epoch = 0; epoch < N_EPOCHS; epoch++) {
		double loss = loss_of_epoch(&x, epoch);
		bool masked = fabs(loss - 0.25) > 1e-6;

		n_masked += masked;
		if (masked) /* one of three */
			assert_true(fabs(loss - (2 * 0.25 + 4.0 / 9) / 3) < 1e-6);
	}
	assert_in_range(n_masked, 3, 21); /* 12 expected, deviation 2.9 */
	fixture_fini(&x);
	set_fini(&set);
}

/* One token is of ones, the others are 0: with no prediction the loss is there exactly when that
 * token was removed, and then the encoder has not seen it. */
static void what_is_to_be_told_is_what_was_not_seen(void **state)
{
	struct set set = {0};
	struct pretrain_config config;
	struct flow_sample *s;
	struct fixture x;
	uint32_t n_removed = 0;

	(void)state;
	add(&set, 3, true);
	s = (struct flow_sample *)set.sample[0];
	memset(s->bytes, 0, wide.packets * sample_row_bytes(&wide));
	memset(sample_row(s, &s->packets[1]) + 4, 255, 4); /* token 5 */
	config = config_of(&set, true);
	use_attention(&config);
	config.size_mask = config.iat_mask = 0;
	fixture_init(&x, &config);
	for (uint32_t epoch = 0; epoch < N_EPOCHS; epoch++) {
		float *head = tensor(&x, x.weights, "byte_decoder_pred.weight");
		double loss;
		bool seen;

		for (size_t i = 0; i < 32; i++)
			head[i] = 0.1F;
		loss_of_epoch(&x, epoch);
		seen = was_seen(&x, 5);
		memset(head, 0, 32 * sizeof(float));
		loss = loss_of_epoch(&x, epoch);
		assert_true(fabs(loss - (seen ? 0 : 1.0 / 6)) < 1e-6);
		n_removed += !seen;
	}
	assert_in_range(n_removed, 10, 30);
	fixture_fini(&x);
	set_fini(&set);
}

static void one_byte_token_is_always_kept(void **state)
{
	struct set set = {0};
	struct pretrain_config config;
	struct fixture x;
	uint32_t n_seen = 0;

	(void)state;
	add(&set, 3, true);
	config = config_of(&set, true);
	use_attention(&config);
	config.byte_mask = 1;
	fixture_init(&x, &config);
	assert_true(isfinite(loss_of_epoch(&x, 0)));
	for (uint32_t i = 0; i < N_BYTES; i++)
		n_seen += was_seen(&x, i);
	assert_int_equal(n_seen, 1);
	fixture_fini(&x);
	set_fini(&set);
}

/* All of them masked, others put in: the rest of the network must not notice. Heads of zero let
 * nothing of the masked ones' own loss into it. */
static void check_hidden(const char *head, bool sizes)
{
	struct set set;
	struct pretrain_config config;
	struct fixture x;
	const struct parameter *p;
	float *before;

	set_init(&set, 12);
	config = config_of(&set, true);
	config.size_mask = sizes ? 1 : 0;
	config.iat_mask = sizes ? 0 : 1;
	fixture_init(&x, &config);
	p = layout_find(x.task.layout, head);
	memset(x.weights + p->offset, 0, p->n_values * sizeof(float));
	p = layout_find(x.task.layout, "byte_decoder_embed.weight");
	before = calloc(p->n_values, sizeof(float));
	assert_non_null(before);
	loss_of_epoch(&x, 0);
	memcpy(before, x.gradient + p->offset, p->n_values * sizeof(float));
	assert_true(before[0] != 0);
	for (uint32_t i = 0; i < set.n; i++)
		for (uint16_t k = 0; k < set.sample[i]->n_packets; k++) {
			struct flow_sample *s = (struct flow_sample *)set.sample[i];

			if (sizes)
				s->packets[k].ip_len_bytes = 77;
			else
				s->packets[k].time_ns = k;
		}
	loss_of_epoch(&x, 0);
	assert_memory_equal(before, x.gradient + p->offset, p->n_values * sizeof(float));
	free(before);
	fixture_fini(&x);
	set_fini(&set);
}

static void masked_sizes_and_times_are_hidden(void **state)
{
	(void)state;
	check_hidden("size_decoder_pred.weight", true);
	check_hidden("iat_decoder_pred.weight", false);
}

static void flows_of_one_packet_or_without_bytes_can_be_trained_on(void **state)
{
	(void)state;
	for (int packed = 0; packed < 2; packed++)
		for (int with_bytes = 0; with_bytes < 2; with_bytes++) {
			struct set set = {0};
			struct pretrain_config config;
			struct fixture x;

			for (int i = 0; i < 9; i++)
				add(&set, i < 8, with_bytes);
			config = config_of(&set, packed);
			fixture_init(&x, &config);
			assert_true(isfinite(loss_of_epoch(&x, 0)));
			for (size_t i = 0; i < x.task.layout->n_values; i++)
				assert_true(isfinite(x.gradient[i]));
			fixture_fini(&x);
			set_fini(&set);
		}
}

static int on_step(void *ctx, const struct train_report *report)
{
	double *loss = ctx;

	if (report->epoch_end)
		loss[report->epoch] = report->loss;
	return 0;
}

static int on_save(void *ctx, const struct train_state *state, struct error *e)
{
	(void)ctx, (void)state, (void)e;
	return 0;
}

/* Epochs of three batches; the mean loss of each. The caller frees. */
static struct train_state *train(const struct pretrain_config *config, uint32_t threads,
				 uint32_t epochs, uint64_t seed, double *loss)
{
	struct pretrain *p = NULL;
	struct train_state *s = NULL;
	struct train_hooks hooks = {loss, on_step, on_save};
	struct train_config loop = {
		.seed = seed,
		.threads = threads,
		.batch = (config->n_samples + 2) / 3,
		.total_steps = (uint64_t)epochs * 3,
		.schedule = {.peak = 1e-2, .minimum = 1e-3, .warm_up = 1, .total = epochs},
		.adamw = adamw_pretrain_config()};
	struct rng rng = rng_stream(seed, 0, 1);
	struct train_task task;
	struct error e = {0};

	assert_int_equal(pretrain_new(config, &p, NULL), 0);
	assert_int_equal(train_state_new(pretrain_layout(p), false, &s), 0);
	initialise(pretrain_layout(p), s->weights, &rng);
	task = pretrain_task(p);
	if (train_run(&task, &loop, s, &hooks, &e))
		fail_msg("%s", e.text);
	pretrain_free(p);
	return s;
}

/* Rows of bytes that repeat, sizes that take turns: what is missing can be told from the rest. */
static void check_learns(bool packed, const char *which)
{
	struct set set;
	struct pretrain_config config;
	double loss[20];
	bool all = strcmp(which, "all") == 0;

	set_init(&set, MAX_SET);
	for (uint32_t i = 0; i < set.n; i++) {
		struct flow_sample *s = (struct flow_sample *)set.sample[i];

		for (size_t k = 0; k < wide.packets * sample_row_bytes(&wide); k++)
			s->bytes[k] = i % 2 ? 255 : (uint8_t)(k % 4 * 60);
		for (uint16_t k = 0; k < s->n_packets; k++) {
			s->packets[k].ip_len_bytes = k % 2 ? 1000 : 60;
			s->packets[k].time_ns = k * 1000000000ULL;
		}
	}
	config = config_of(&set, packed);
	config.byte_mask = all || strcmp(which, "bytes") == 0 ? 0.5 : 0;
	config.size_mask = all || strcmp(which, "sizes") == 0 ? 0.3 : 0;
	config.iat_mask = all || strcmp(which, "times") == 0 ? 0.3 : 0;
	train_state_free(train(&config, 1, 20, 1, loss));
	print_message("%s%s: %.3f to %.3f\n", which, packed ? ", packed" : "", loss[0], loss[19]);
	assert_true(loss[19] < 0.5 * loss[0]);
	set_fini(&set);
}

static void losses_of_structured_flows_fall(void **state)
{
	(void)state;
	check_learns(true, "all");
	check_learns(false, "all");
	check_learns(true, "bytes");
	check_learns(true, "sizes");
	check_learns(true, "times");
}

static void the_same_seed_gives_the_same_weights(void **state)
{
	struct set set;
	struct pretrain_config config;
	struct pretrain *p = NULL;

	(void)state;
	set_init(&set, MAX_SET);
	config = config_of(&set, true);
	config.augment = augment_default_config();
	assert_int_equal(pretrain_new(&config, &p, NULL), 0);
	for (uint32_t threads = 1; threads <= 2; threads++) {
		size_t n_bytes = pretrain_layout(p)->n_values * sizeof(float);
		double loss[2];
		struct train_state *a = train(&config, threads, 2, 5, loss);
		struct train_state *b = train(&config, threads, 2, 5, loss);
		struct train_state *other = train(&config, threads, 2, 6, loss);

		assert_memory_equal(a->weights, b->weights, n_bytes);
		assert_memory_not_equal(a->weights, other->weights, n_bytes);
		train_state_free(a);
		train_state_free(b);
		train_state_free(other);
	}
	pretrain_free(p);
	set_fini(&set);
}

static void what_cannot_be_trained_on_is_refused(void **state)
{
	struct set set;
	struct pretrain_config good, config;
	struct pretrain *p = NULL;
	struct error e = {0};

	(void)state;
	set_init(&set, 3);
	good = config_of(&set, true);
	config = good;
	config.n_samples = 0;
	assert_int_equal(pretrain_new(&config, &p, &e), -EINVAL);
	assert_non_null(strstr(e.text, "no samples"));
	config = good;
	config.tokens.shape.packets = 5;
	assert_int_equal(pretrain_new(&config, &p, &e), -EINVAL);
	assert_non_null(strstr(e.text, "sample 0"));
	((struct flow_sample *)set.sample[2])->shape.bidirectional = false;
	assert_int_equal(pretrain_new(&good, &p, &e), -EINVAL);
	assert_non_null(strstr(e.text, "sample 2"));
	assert_null(p);
	set_fini(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(losses_are_means_over_what_a_batch_masked),
		cmocka_unit_test(masks_take_their_share_at_random_places),
		cmocka_unit_test(flows_are_augmented_before_they_are_masked),
		cmocka_unit_test(times_are_masked_by_their_share),
		cmocka_unit_test(what_is_to_be_told_is_what_was_not_seen),
		cmocka_unit_test(one_byte_token_is_always_kept),
		cmocka_unit_test(masked_sizes_and_times_are_hidden),
		cmocka_unit_test(flows_of_one_packet_or_without_bytes_can_be_trained_on),
		cmocka_unit_test(losses_of_structured_flows_fall),
		cmocka_unit_test(the_same_seed_gives_the_same_weights),
		cmocka_unit_test(what_cannot_be_trained_on_is_refused),
	};

	linear_single_thread();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
