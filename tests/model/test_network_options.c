/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the golden vectors do not have: attention, byte tables, projected values, the logarithmic
 * scale of times, packed flows of different lengths, dropped blocks, a biased head, other depths.
 * Gradients of whole networks by differences, and the ways of running one that must agree.
 */
#include <unistd.h>
#include "model/engine.h"
#include "model/initialise.h"
#include "model/model_write.h"
#include "model/network.h"
#include "model/ops.h"
#include "tests/model/gradient_check.h"
#include "tests/model/made_flows.h"

#define N_FLOWS   6
#define N_CLASSES 3
#define N_LOGITS  (N_FLOWS * N_CLASSES)
#define MAX_DEPTH 3

#define STEP               3e-3
#define GRADIENT_TOLERANCE 3e-3
/* Matrix products of other heights sum in another order. */
#define ROUNDING 1e-5F

struct options {
	const char *backbone;
	uint32_t depth;
	bool byte_table, project_values, head_bias, packed, iat_log, drop;
};

struct fixture {
	struct network net;
	struct layout *layout;
	float *values;
	struct batch *batch;
	float d_logits[N_LOGITS];
	float drop[MAX_DEPTH][N_FLOWS];
	bool dropping;
	uint32_t part;     /* flows of a pass */
	struct pass *pass; /* with training */
};

static struct architecture architecture_of(const struct options *o)
{
	struct architecture a = {.embed_dim = 18,
				 .depth = o->depth,
				 .d_state = 4,
				 .d_conv = 4,
				 .expand = 2,
				 .dt_rank = 2,
				 .stride = 4,
				 .heads = 3,
				 .head_bias = o->head_bias,
				 .byte_table = o->byte_table,
				 .project_values = o->project_values};

	snprintf(a.backbone, sizeof(a.backbone), "%s", o->backbone);
	return a;
}

static struct token_config tokens_of(const struct options *o)
{
	return (struct token_config){.shape = {3, 8, 4, 5, true},
				     .packed = o->packed,
				     .iat_log = o->iat_log,
				     .byte_scale = 2.0F / 255,
				     .byte_offset = -1};
}

/* One packet, none, all, without bytes, ... */
static void add_flows(struct batch *batch, const struct token_config *tokens)
{
	static const struct {
		uint16_t n_packets;
		bool with_bytes;
	} kinds[N_FLOWS] = {{5, true}, {1, true}, {3, false}, {0, false}, {2, true}, {4, true}};
	struct rng rng = rng_stream(5, 0, 0);

	for (uint32_t i = 0; i < N_FLOWS; i++) {
		struct flow_sample *s =
			made_flow(&tokens->shape, kinds[i].n_packets, kinds[i].with_bytes, &rng);

		assert_int_equal(batch_add(batch, tokens, s), 0);
		flow_sample_free(s);
	}
}

static void begin(struct fixture *f, const struct options *o, uint32_t part)
{
	struct architecture a = architecture_of(o);
	struct token_config tokens = tokens_of(o);
	struct rng rng = rng_stream(8, o->depth, 0);

	*f = (struct fixture){.part = part, .dropping = o->drop};
	network_init(&f->net, &a, &tokens, N_CLASSES, true);
	assert_int_equal(layout_classifier(&a, &tokens, N_CLASSES, &f->layout), 0);
	assert_int_equal(pass_new(&f->net, part, part * f->net.L, &f->pass), 0);
	assert_int_equal(batch_new(&tokens, a.stride, N_FLOWS, &f->batch), 0);
	add_flows(f->batch, &tokens);
	f->values = calloc(f->layout->n_values, sizeof(float));
	assert_non_null(f->values);
	initialise(f->layout, f->values, &rng);
	for (size_t i = 0; i < f->layout->n_values; i++)
		f->values[i] += 0.2F * (float)rng_normal(&rng);
	for (size_t i = 0; i < N_LOGITS; i++)
		f->d_logits[i] = (float)rng_normal(&rng);
	for (size_t i = 0; i < MAX_DEPTH; i++)
		for (size_t b = 0; b < N_FLOWS; b++)
			f->drop[i][b] = (float)rng_below(&rng, 4) * 0.5F;
}

static void end(struct fixture *f)
{
	pass_free(f->pass);
	layout_free(f->layout);
	batch_free(f->batch);
	free(f->values);
}

/* The factors of a pass's flows, as stack.h has them. */
static void set_drop(struct fixture *f, float *drop, uint32_t first, uint32_t n)
{
	f->pass->stack->drop = f->dropping ? drop : NULL;
	for (uint32_t i = 0; i < f->net.architecture.depth; i++)
		for (uint32_t b = 0; b < n; b++)
			drop[i * n + b] = f->drop[i][first + b];
}

/* In passes; gradient NULL = logits only. */
static void run(struct fixture *f, const float *values, float *logits, float *gradient)
{
	struct network_weights w, d;
	float drop[MAX_DEPTH * N_FLOWS];

	network_bind_block(&w, &f->net, f->layout, (float *)values);
	if (gradient)
		network_bind_block(&d, &f->net, f->layout, gradient);
	for (uint32_t first = 0, n; first < N_FLOWS; first += n) {
		n = pass_fit(f->pass, f->batch, first, N_FLOWS);
		set_drop(f, drop, first, n);
		network_encode(f->pass, &w, f->batch, first, n);
		network_classify(f->pass, &w, logits + first * N_CLASSES);
		if (gradient)
			network_classify_backward(f->pass, &w, &d, f->d_logits + first * N_CLASSES);
	}
}

/* A loss of every logit, with an offset that keeps it from being near 0. */
static double loss(void *ctx, const float *values)
{
	struct fixture *f = ctx;
	float logits[N_LOGITS];
	double sum = 10;

	run(f, values, logits, NULL);
	for (size_t i = 0; i < N_LOGITS; i++)
		sum += (double)logits[i] * f->d_logits[i];
	return sum;
}

static void check_gradients(const struct options *o)
{
	struct fixture f;
	float logits[N_LOGITS], *gradient;

	begin(&f, o, 4);
	gradient = calloc(f.layout->n_values, sizeof(float));
	assert_non_null(gradient);
	run(&f, f.values, logits, gradient);
	check_gradient(&(struct gradient_check){.layout = f.layout,
						.values = f.values,
						.gradient = gradient,
						.loss = loss,
						.ctx = &f,
						.step = STEP,
						.tolerance = GRADIENT_TOLERANCE});
	free(gradient);
	end(&f);
}

static void gradients_of_the_plain_network_are_those_of_its_loss(void **state)
{
	(void)state;
	check_gradients(&(struct options){.backbone = "mamba", .depth = 1});
}

static void gradients_of_packed_flows_with_dropped_blocks_are(void **state)
{
	(void)state;
	check_gradients(&(struct options){
		.backbone = "mamba", .depth = 3, .packed = true, .drop = true, .iat_log = true});
}

static void gradients_of_tables_projections_and_biases_are(void **state)
{
	(void)state;
	check_gradients(&(struct options){.backbone = "mamba",
					  .depth = 1,
					  .byte_table = true,
					  .project_values = true,
					  .head_bias = true});
}

static void gradients_of_attention_are(void **state)
{
	(void)state;
	check_gradients(&(struct options){.backbone = "attention", .depth = 1});
}

static void gradients_of_attention_with_everything_are(void **state)
{
	(void)state;
	check_gradients(&(struct options){.backbone = "attention",
					  .depth = 3,
					  .byte_table = true,
					  .project_values = true,
					  .head_bias = true,
					  .packed = true,
					  .iat_log = true,
					  .drop = true});
}

static const struct options all_kinds[] = {
	{.backbone = "mamba", .depth = 1},
	{.backbone = "mamba", .depth = 3, .packed = true, .iat_log = true},
	{.backbone = "mamba", .depth = 1, .byte_table = true, .packed = true, .head_bias = true},
	{.backbone = "mamba", .depth = 1, .project_values = true},
	{.backbone = "attention", .depth = 3, .head_bias = true},
	{.backbone = "attention", .depth = 1, .packed = true, .project_values = true},
	{.backbone = "attention", .depth = 1, .byte_table = true, .iat_log = true},
};
#define N_KINDS (sizeof(all_kinds) / sizeof(all_kinds[0]))

static void expect_near(const float *have, const float *want, size_t n, const char *what,
			size_t kind)
{
	float largest = 0, off = 0;

	for (size_t i = 0; i < n; i++) {
		largest = fmaxf(largest, fabsf(want[i]));
		off = fmaxf(off, fabsf(have[i] - want[i]));
	}
	assert_true(largest > 0.01F);
	if (!(off <= ROUNDING * largest))
		fail_msg("kind %zu: %s are off by %g of %g", kind, what, (double)off,
			 (double)largest);
}

static void logits_do_not_depend_on_the_cut_into_passes(void **state)
{
	(void)state;
	for (size_t k = 0; k < N_KINDS; k++) {
		float want[N_LOGITS], have[N_LOGITS];

		for (uint32_t part = 1; part <= N_FLOWS; part++) {
			struct fixture f;

			begin(&f, &all_kinds[k], part);
			f.dropping = true;
			run(&f, f.values, part == 1 ? want : have, NULL);
			if (part > 1)
				expect_near(have, want, N_LOGITS, "logits", k);
			end(&f);
		}
	}
}

static void swap_flows(struct batch *b, uint32_t i, uint32_t j)
{
	struct {
		void *base;
		size_t size;
	} list[] = {
		{b->bytes, b->shape.packets * sample_row_bytes(&b->shape)},
		{b->sizes, b->shape.seq_len * sizeof(float)},
		{b->iats, b->shape.seq_len * sizeof(float)},
		{b->places, b->n_tokens * sizeof(uint16_t)},
		{b->n_places, sizeof(uint16_t)},
	};
	uint8_t kept[4096];

	for (size_t k = 0; k < sizeof(list) / sizeof(list[0]); k++) {
		uint8_t *base = list[k].base;

		assert_true(list[k].size <= sizeof(kept));
		memcpy(kept, base + i * list[k].size, list[k].size);
		memcpy(base + i * list[k].size, base + j * list[k].size, list[k].size);
		memcpy(base + j * list[k].size, kept, list[k].size);
	}
}

static void a_flows_logits_do_not_depend_on_its_neighbours(void **state)
{
	(void)state;
	for (size_t k = 0; k < N_KINDS; k++) {
		struct fixture f;
		float want[N_LOGITS], have[N_LOGITS];

		begin(&f, &all_kinds[k], N_FLOWS);
		run(&f, f.values, want, NULL);
		for (uint32_t i = 0; i < N_FLOWS / 2; i++)
			swap_flows(f.batch, i, N_FLOWS - 1 - i);
		run(&f, f.values, have, NULL);
		for (uint32_t i = 0; i < N_FLOWS; i++)
			expect_near(have + i * N_CLASSES, want + (N_FLOWS - 1 - i) * N_CLASSES,
				    N_CLASSES, "turned logits", k);
		end(&f);
	}
}

static void packed_flows_with_every_token_are_the_plain_ones_to_the_bit(void **state)
{
	(void)state;
	for (size_t k = 0; k < N_KINDS; k++) {
		struct options o = all_kinds[k];
		float want[N_LOGITS], have[N_LOGITS];

		for (o.packed = false;; o.packed = true) {
			struct token_config tokens = tokens_of(&o);
			struct rng rng = rng_stream(6, 0, 0);
			struct fixture f;

			begin(&f, &o, N_FLOWS);
			batch_reset(f.batch);
			for (uint32_t i = 0; i < N_FLOWS; i++) {
				struct flow_sample *s =
					made_flow(&tokens.shape, tokens.shape.seq_len, true, &rng);

				assert_int_equal(batch_add(f.batch, &tokens, s), 0);
				flow_sample_free(s);
			}
			run(&f, f.values, o.packed ? have : want, NULL);
			end(&f);
			if (o.packed)
				break;
		}
		assert_memory_equal(have, want, sizeof(want));
	}
}

/* A packed flow is its tokens and nothing else: what stands in the batch besides does not count. */
static void padding_of_packed_flows_is_not_read(void **state)
{
	const struct options o = {.backbone = "mamba", .depth = 1, .packed = true};
	struct fixture f;
	float want[N_LOGITS], have[N_LOGITS];

	(void)state;
	begin(&f, &o, N_FLOWS);
	run(&f, f.values, want, NULL);
	for (uint32_t b = 0; b < N_FLOWS; b++) {
		uint16_t n = 0;

		while (f.batch->places[b * f.net.L + n] < f.net.S)
			n++;
		for (; n < f.net.S; n++) {
			f.batch->sizes[b * f.net.S + n] = 7;
			f.batch->iats[b * f.net.S + n] = 7;
		}
	}
	run(&f, f.values, have, NULL);
	assert_memory_equal(have, want, sizeof(want));
	end(&f);
}

static struct model model_of(const struct fixture *f)
{
	struct model m = {.architecture = f->net.architecture,
			  .tokens = f->net.tokens,
			  .n_classes = N_CLASSES};

	for (int c = 0; c < N_CLASSES; c++)
		snprintf(m.class_name[c], sizeof(m.class_name[c]), "class-%d", c);
	model_default_calibration(&m.calibration);
	return m;
}

/* The same, read back from a file and run by the engine; tensors NULL = the layout's. */
static void run_by_engine(struct fixture *f, const struct raw_tensor *tensors, size_t n_tensors,
			  float *logits)
{
	struct model m = model_of(f), *again = NULL;
	char path[] = "/tmp/nm-options-XXXXXX";
	struct engine *engine = NULL;
	struct error e = {0};
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	if ((tensors ? model_write_tensors(path, &m, tensors, n_tensors, &e)
		     : model_write(path, &m, f->layout, f->values, &e)) ||
	    model_load(path, &again, &e) || engine_open("cpu", again, &engine, &e) ||
	    engine_run(engine, f->batch, logits, &e))
		fail_msg("%s", e.text);
	unlink(path);
	engine_close(engine);
	model_unref(again);
}

static void the_engine_runs_a_written_model_as_training_does(void **state)
{
	(void)state;
	for (size_t k = 0; k < N_KINDS; k++) {
		struct fixture f;
		float want[N_LOGITS], have[N_LOGITS];

		begin(&f, &all_kinds[k], N_FLOWS);
		run(&f, f.values, want, NULL);
		run_by_engine(&f, NULL, 0, have);
		assert_memory_equal(have, want, sizeof(want));
		end(&f);
	}
}

#define MAX_TENSORS 128

/* The layout's tensors, and one of another size under every name of an option that is off. */
static size_t tensors_and_strays(const struct fixture *f, struct raw_tensor *list)
{
	static const char *const strays[] = {
		"byte_embed.table",
		"byte_embed.proj.weight",
		"size_embed.proj.weight",
		"size_embed.proj.bias",
		"iat_embed.proj.weight",
		"iat_embed.proj.bias",
		"head.bias",
	};
	static const float one = 1;
	size_t n = 0;

	for (size_t i = 0; i < f->layout->n; i++) {
		const struct parameter *p = &f->layout->list[i];

		list[n] = (struct raw_tensor){.name = p->name,
					      .dtype = DTYPE_F32,
					      .n_dims = p->n_dims,
					      .n_values = p->n_values,
					      .data = (uint8_t *)(f->values + p->offset)};
		memcpy(list[n++].shape, p->shape, p->n_dims * sizeof(p->shape[0]));
	}
	for (size_t i = 0; i < sizeof(strays) / sizeof(strays[0]); i++)
		if (!layout_find(f->layout, strays[i]))
			list[n++] = (struct raw_tensor){.name = strays[i],
							.dtype = DTYPE_F32,
							.n_dims = 1,
							.shape = {1},
							.n_values = 1,
							.data = (const uint8_t *)&one};
	assert_true(n <= MAX_TENSORS);
	return n;
}

/* Nobody has checked the shapes of tensors that the architecture does not ask for. */
static void tensors_of_options_that_are_off_are_not_read(void **state)
{
	(void)state;
	for (size_t k = 0; k < N_KINDS; k++) {
		struct raw_tensor list[MAX_TENSORS];
		struct fixture f;
		float want[N_LOGITS], have[N_LOGITS];

		begin(&f, &all_kinds[k], N_FLOWS);
		run(&f, f.values, want, NULL);
		run_by_engine(&f, list, tensors_and_strays(&f, list), have);
		assert_memory_equal(have, want, sizeof(want));
		end(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gradients_of_the_plain_network_are_those_of_its_loss),
		cmocka_unit_test(gradients_of_packed_flows_with_dropped_blocks_are),
		cmocka_unit_test(gradients_of_tables_projections_and_biases_are),
		cmocka_unit_test(gradients_of_attention_are),
		cmocka_unit_test(gradients_of_attention_with_everything_are),
		cmocka_unit_test(logits_do_not_depend_on_the_cut_into_passes),
		cmocka_unit_test(a_flows_logits_do_not_depend_on_its_neighbours),
		cmocka_unit_test(packed_flows_with_every_token_are_the_plain_ones_to_the_bit),
		cmocka_unit_test(padding_of_packed_flows_is_not_read),
		cmocka_unit_test(the_engine_runs_a_written_model_as_training_does),
		cmocka_unit_test(tensors_of_options_that_are_off_are_not_read),
	};

	linear_single_thread();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
