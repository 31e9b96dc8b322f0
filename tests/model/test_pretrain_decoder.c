/* SPDX-License-Identifier: BSD-2-Clause */
/* The byte decoder has the encoder's backbone and heads, but a width of its own. */
#include <errno.h>
#include <string.h>
#include "model/pretrain.h"
#include "tests/model/made_flows.h"

static const struct sample_shape shape = {2, 8, 8, 4, true};

/* 0, or what pretrain_new said. */
static int make(const char *backbone, uint32_t decoder_dim, struct error *e)
{
	struct rng rng = rng_stream(1, 0, 0);
	struct flow_sample *sample = made_flow(&shape, 3, true, &rng);
	const struct flow_sample *list[] = {sample};
	struct pretrain_config config = {
		.architecture = {.embed_dim = 16,
				 .depth = 1,
				 .d_state = 4,
				 .d_conv = 4,
				 .expand = 2,
				 .stride = 4,
				 .heads = 4},
		.tokens = {.shape = shape},
		.decoder = {.embed_dim = decoder_dim, .depth = 1},
		.byte_mask = 0.5,
		.augment = augment_none(),
		.sample = list,
		.n_samples = 1,
	};
	struct pretrain *p = NULL;
	int r;

	strcpy(config.architecture.backbone, backbone);
	r = pretrain_new(&config, &p, e);
	pretrain_free(p);
	flow_sample_free(sample);
	return r;
}

static void a_decoder_that_cannot_be_parted_into_heads_is_refused(void **state)
{
	struct error e = {0};

	(void)state;
	assert_int_equal(make("attention", 18, &e), -EINVAL);
	assert_non_null(strstr(e.text, "width 18 cannot be parted into the encoder's 4 heads"));
	assert_int_equal(make("attention", 20, &e), 0);
}

static void a_decoder_without_heads_may_have_any_width(void **state)
{
	struct error e = {0};

	(void)state;
	assert_int_equal(make("mamba", 18, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_decoder_that_cannot_be_parted_into_heads_is_refused),
		cmocka_unit_test(a_decoder_without_heads_may_have_any_width),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
