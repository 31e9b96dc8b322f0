/* SPDX-License-Identifier: BSD-2-Clause */
/* Masked pre-training's losses and gradients against an independent implementation's. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "model/masked_network.h"
#include "model/ops.h"
#include "tests/golden/vectors.h"

#define BATCH     8
#define KEPT      19
#define N_BYTES   200
#define S         20
#define TOLERANCE 1e-3 /* ||a - b|| / ||b||, each parameter */

/* The vectors' masks as lists. */
struct masks {
	struct flow_mask flow[BATCH];
	uint16_t byte[BATCH][N_BYTES], size[BATCH][S], iat[BATCH][S];
	float true_size[BATCH][S], true_iat[BATCH][S];
	struct masked_counts counts;
};

static const struct architecture architecture = {.backbone = "mamba",
						 .embed_dim = 64,
						 .depth = 2,
						 .d_state = 16,
						 .d_conv = 4,
						 .expand = 2,
						 .dt_rank = 4,
						 .stride = 4};
static const struct token_config tokens = {
	.shape = {.packets = 5, .header_bytes = 80, .payload_bytes = 80, .seq_len = S},
	.byte_scale = 1 / 127.5F,
	.byte_offset = -1};
static const struct decoder_config decoder = {.embed_dim = 32, .depth = 1};

static void take_masks(struct masks *m, const struct safetensors *io)
{
	const struct raw_tensor *keep = need_tensor(io, "keep_index");
	float *byte = need_floats(io, "byte_mask"), *size = need_floats(io, "size_mask");
	float *iat = need_floats(io, "iat_mask"), *sizes = need_floats(io, "sizes");
	float *iats = need_floats(io, "iat");

	for (size_t b = 0; b < BATCH; b++) {
		struct flow_mask *f = &m->flow[b];

		*f = (struct flow_mask){.n_bytes = N_BYTES,
					.n_kept = KEPT,
					.byte = m->byte[b],
					.size = m->size[b],
					.iat = m->iat[b],
					.true_size = m->true_size[b],
					.true_iat = m->true_iat[b]};
		for (size_t i = 0; i < KEPT; i++)
			f->byte[i] = keep->data[(b * KEPT + i) * sizeof(int64_t)];
		for (size_t i = 0, n = KEPT; i < N_BYTES; i++)
			if (byte[b * N_BYTES + i] > 0)
				f->byte[n++] = i;
		for (size_t i = 0; i < S; i++) {
			if (size[b * S + i] > 0) {
				f->true_size[f->n_sizes] = sizes[b * S + i];
				f->size[f->n_sizes++] = i;
			}
			if (iat[b * S + i] > 0) {
				f->true_iat[f->n_iats] = iats[b * S + i];
				f->iat[f->n_iats++] = i;
			}
		}
		m->counts.bytes += N_BYTES - KEPT;
		m->counts.sizes += f->n_sizes;
		m->counts.iats += f->n_iats;
	}
	free(byte);
	free(size);
	free(iat);
	free(sizes);
	free(iats);
}

static struct batch *masked_batch(const struct masks *m, const struct safetensors *io)
{
	struct batch *batch = NULL;
	const struct raw_tensor *bytes = need_tensor(io, "bytes");

	assert_int_equal(batch_new(&tokens, 4, BATCH, &batch), 0);
	batch->n = BATCH;
	memcpy(batch->bytes, bytes->data, bytes->n_values);
	raw_tensor_to_float(need_tensor(io, "sizes"), batch->sizes);
	raw_tensor_to_float(need_tensor(io, "iat"), batch->iats);
	for (size_t b = 0; b < BATCH; b++) {
		uint16_t *place = batch->places + b * batch->n_tokens, n = 2 * (S + 1);

		for (uint16_t i = 0; i < KEPT; i++)
			place[n++] = 2 * (S + 1) + m->byte[b][i];
		place[n++] = batch->n_tokens - 1;
		batch->n_places[b] = n;
		for (uint16_t i = 0; i < m->flow[b].n_sizes; i++)
			batch->sizes[b * S + m->size[b][i]] = 1502;
		for (uint16_t i = 0; i < m->flow[b].n_iats; i++)
			batch->iats[b * S + m->iat[b][i]] = 0;
	}
	return batch;
}

static float *take_weights(const struct layout *layout)
{
	struct safetensors *st = open_vectors("tests/golden/tiny-pretrain.weights.safetensors");
	float *values = calloc(layout->n_values, sizeof(float));

	assert_non_null(values);
	for (size_t i = 0; i < layout->n; i++) {
		const struct raw_tensor *t = need_tensor(st, layout->list[i].name);

		assert_int_equal(t->n_values, layout->list[i].n_values);
		raw_tensor_to_float(t, values + layout->list[i].offset);
	}
	safetensors_close(st);
	return values;
}

static void expect_near(const struct safetensors *io, const char *name, double have)
{
	float *want = need_floats(io, name);

	if (!(fabs(have - (double)want[0]) <= 1e-5 * fabs((double)want[0])))
		fail_msg("%s: want %.8g, got %.8g", name, (double)want[0], have);
	free(want);
}

static void check_gradients(const struct safetensors *io, const struct layout *layout,
			    const float *gradient)
{
	double worst = 0;

	for (size_t i = 0; i < layout->n; i++) {
		const struct parameter *p = &layout->list[i];
		double difference = 0, norm = 0;
		char name[96];
		float *want;

		snprintf(name, sizeof(name), "grad.%s", p->name);
		want = need_floats(io, name);
		for (size_t k = 0; k < p->n_values; k++) {
			double off = (double)gradient[p->offset + k] - (double)want[k];

			difference += off * off;
			norm += (double)want[k] * (double)want[k];
		}
		if (!(sqrt(difference) <= TOLERANCE * sqrt(norm)))
			fail_msg("%s is off by %.2g", name, sqrt(difference / norm));
		worst = fmax(worst, sqrt(difference / norm));
		free(want);
	}
	print_message("%zu gradients, the worst off by %.2g\n", layout->n, worst);
}

/* Passes of `part` flows each. */
static void check(uint32_t part)
{
	struct safetensors *io = open_vectors("tests/golden/tiny-pretrain.io.safetensors");
	struct masked_network network;
	struct masked_pass *pass = NULL;
	struct layout *layout = NULL;
	struct masks masks = {0};
	struct masked_losses sum = {0};
	struct batch *batch;
	float *values, *gradient;

	take_masks(&masks, io);
	batch = masked_batch(&masks, io);
	masked_network_init(&network, &architecture, &tokens, &decoder);
	assert_int_equal(layout_pretrain(&architecture, &tokens, &decoder, &layout), 0);
	assert_int_equal(masked_pass_new(&network, part, &pass), 0);
	values = take_weights(layout);
	gradient = calloc(layout->n_values, sizeof(float));
	assert_non_null(gradient);
	for (uint32_t first = 0; first < BATCH; first += part) {
		struct masked_losses losses = masked_network_gradient(
			pass, layout, batch, first, part, masks.flow + first, &masks.counts, values,
			gradient);

		sum.bytes += losses.bytes;
		sum.sizes += losses.sizes;
		sum.iats += losses.iats;
	}
	expect_near(io, "loss.byte", sum.bytes);
	expect_near(io, "loss.size", sum.sizes);
	expect_near(io, "loss.iat", sum.iats);
	check_gradients(io, layout, gradient);
	free(values);
	free(gradient);
	masked_pass_free(pass);
	layout_free(layout);
	batch_free(batch);
	safetensors_close(io);
}

static void masked_flows_have_the_recorded_losses_and_gradients(void **state)
{
	(void)state;
	check(BATCH);
}

static void a_batch_in_parts_has_the_gradients_of_the_whole(void **state)
{
	(void)state;
	check(2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(masked_flows_have_the_recorded_losses_and_gradients),
		cmocka_unit_test(a_batch_in_parts_has_the_gradients_of_the_whole),
	};

	linear_single_thread();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
