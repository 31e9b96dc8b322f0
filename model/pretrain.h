/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Masked pre-training as a task of train.h: wide samples without labels, narrowed, masked at
 * random, through masked_network.h.
 */
#pragma once
#include "model/augment.h"
#include "model/masked_network.h"
#include "model/train.h"

struct pretrain_config {
	struct architecture architecture;
	struct token_config tokens;
	struct decoder_config decoder;
	double byte_mask, size_mask, iat_mask; /* shares; at least one byte token is kept */
	struct augment_config augment;
	const struct flow_sample *const *sample; /* borrowed */
	uint32_t n_samples;
};

struct pretrain;

/* Copies config. -EINVAL when there is no sample, one cannot be narrowed, or
 * the decoder's width is no multiple of the encoder's heads. */
int pretrain_new(const struct pretrain_config *config, struct pretrain **ret_pretrain,
		 struct error *e);
void pretrain_free(struct pretrain *p); /* accepts NULL */
const struct layout *pretrain_layout(const struct pretrain *p);
/* Valid as long as p; without validation. */
struct train_task pretrain_task(struct pretrain *p);
