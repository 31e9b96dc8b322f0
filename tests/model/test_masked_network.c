/* SPDX-License-Identifier: BSD-2-Clause */
/* Gradients of masked pre-training by differences, for what the golden vectors do not have: packed
 * flows of different lengths, attention, byte tables, the logarithmic scale of times. */
#include "model/initialise.h"
#include "model/masked_network.h"
#include "model/ops.h"
#include "tests/model/gradient_check.h"
#include "tests/model/made_flows.h"

#define N_FLOWS 5
#define S       6
#define N_BYTES 12 /* tokens: 3 packets of 8 + 8 bytes, 4 each */

#define STEP               1e-3
#define GRADIENT_TOLERANCE 3e-3

struct fixture {
	struct masked_network network;
	struct layout *layout;
	struct masked_pass *pass;
	struct batch *batch;
	struct flow_mask mask[N_FLOWS];
	uint16_t byte[N_FLOWS][N_BYTES], size[N_FLOWS][S], iat[N_FLOWS][S];
	float true_size[N_FLOWS][S], true_iat[N_FLOWS][S];
	struct masked_counts counts;
	float *values;
};

/* Byte tokens in an order of their own, every second one kept; packets 0, 2, .. lose their size,
 * 1, 2, 5 their time. */
static void mask_flow(struct fixture *f, uint32_t b)
{
	struct batch *batch = f->batch;
	struct flow_mask *mask = &f->mask[b];
	uint16_t *place = batch->places + (size_t)b * batch->n_tokens, n_values = 0;
	uint16_t list[N_BYTES], n = 0;

	*mask = (struct flow_mask){.byte = f->byte[b],
				   .size = f->size[b],
				   .iat = f->iat[b],
				   .true_size = f->true_size[b],
				   .true_iat = f->true_iat[b]};
	while (place[n_values] < 2 * (S + 1))
		n_values++;
	for (uint16_t i = n_values; i + 1 < batch->n_places[b]; i++)
		list[n++] = place[i] - 2 * (S + 1);
	mask->n_bytes = n;
	mask->n_kept = (n + 1) / 2;
	for (uint16_t i = 0; i < n; i++) /* from the last one to the first, the odd ones after */
		f->byte[b][i] = list[i < mask->n_kept ? (n - 1) / 2 * 2 - 2 * i
						      : 2 * (i - mask->n_kept) + 1];
	for (uint16_t i = 0; i < mask->n_kept; i++)
		place[n_values + i] = 2 * (S + 1) + f->byte[b][i];
	place[n_values + mask->n_kept] = batch->n_tokens - 1;
	batch->n_places[b] = n_values + mask->n_kept + 1;
	for (uint16_t i = 0; place[i] < S; i++) {
		float *size = &batch->sizes[b * S + place[i]],
		      *iat = &batch->iats[b * S + place[i]];

		if (i % 2 == 0) {
			f->size[b][mask->n_sizes] = place[i];
			f->true_size[b][mask->n_sizes++] = *size;
			*size = f->network.size_mask_id;
		}
		if (i % 5 == 1 || i == 2 || i == 5) {
			f->iat[b][mask->n_iats] = place[i];
			f->true_iat[b][mask->n_iats++] = *iat;
			*iat = 0;
		}
	}
	f->counts.bytes += n - mask->n_kept;
	f->counts.sizes += mask->n_sizes;
	f->counts.iats += mask->n_iats;
}

static void begin(struct fixture *f, const struct architecture *a, bool packed, bool iat_log)
{
	static const uint16_t n_packets[N_FLOWS] = {6, 1, 3, 2, 4};
	const struct decoder_config decoder = {.embed_dim = 8, .depth = 2};
	const struct token_config tokens = {.shape = {3, 8, 8, S, false},
					    .packed = packed,
					    .iat_log = iat_log,
					    .byte_scale = 2.0F / 255,
					    .byte_offset = -1};
	struct rng rng = rng_stream(2, 0, 0);

	*f = (struct fixture){0};
	masked_network_init(&f->network, a, &tokens, &decoder);
	assert_int_equal(layout_pretrain(a, &tokens, &decoder, &f->layout), 0);
	assert_int_equal(masked_pass_new(&f->network, 3, &f->pass), 0);
	assert_int_equal(batch_new(&tokens, a->stride, N_FLOWS, &f->batch), 0);
	for (uint32_t b = 0; b < N_FLOWS; b++) {
		struct flow_sample *s = made_flow(&tokens.shape, n_packets[b], b != 2, &rng);

		assert_int_equal(batch_add(f->batch, &tokens, s), 0);
		mask_flow(f, b);
		flow_sample_free(s);
	}
	f->values = calloc(f->layout->n_values, sizeof(float));
	assert_non_null(f->values);
	initialise(f->layout, f->values, &rng);
	for (size_t i = 0; i < f->layout->n_values; i++)
		f->values[i] += 0.2F * (float)rng_normal(&rng);
}

static void end(struct fixture *f)
{
	masked_pass_free(f->pass);
	layout_free(f->layout);
	batch_free(f->batch);
	free(f->values);
}

/* In passes of up to `part` flows. */
static double run(struct fixture *f, uint32_t part, const float *values, float *gradient)
{
	double loss = 0;

	for (uint32_t first = 0; first < N_FLOWS; first += part) {
		uint32_t left = N_FLOWS - first;
		struct masked_losses losses = masked_network_gradient(
			f->pass, f->layout, f->batch, first, left < part ? left : part,
			f->mask + first, &f->counts, values, gradient);

		loss += losses.bytes + losses.sizes + losses.iats;
	}
	return loss;
}

static double loss(void *ctx, const float *values)
{
	return run(ctx, 3, values, NULL);
}

static void check(const struct architecture *a, bool packed, bool iat_log)
{
	struct fixture f;
	float *gradient;
	double whole;

	begin(&f, a, packed, iat_log);
	gradient = calloc(f.layout->n_values, sizeof(float));
	assert_non_null(gradient);
	whole = run(&f, 3, f.values, gradient);
	assert_true(whole == run(&f, 3, f.values, NULL));
	assert_true(fabs(whole - run(&f, 1, f.values, NULL)) < 1e-5 * whole);
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

static const struct architecture mamba = {.backbone = "mamba",
					  .embed_dim = 12,
					  .depth = 2,
					  .d_state = 4,
					  .d_conv = 4,
					  .expand = 2,
					  .dt_rank = 1,
					  .stride = 4};
static const struct architecture attention = {.backbone = "attention",
					      .embed_dim = 12,
					      .depth = 1,
					      .expand = 2,
					      .stride = 4,
					      .heads = 2,
					      .byte_table = true,
					      .project_values = true};

static void gradients_of_packed_flows_are_those_of_the_loss(void **state)
{
	(void)state;
	check(&mamba, true, true);
}

static void gradients_of_attention_are(void **state)
{
	(void)state;
	check(&attention, false, false);
}

static void gradients_of_packed_flows_by_attention_are(void **state)
{
	(void)state;
	check(&attention, true, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gradients_of_packed_flows_are_those_of_the_loss),
		cmocka_unit_test(gradients_of_attention_are),
		cmocka_unit_test(gradients_of_packed_flows_by_attention_are),
	};

	linear_single_thread();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
