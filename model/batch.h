/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A batch: the network's three inputs for n flows in one arena, filled by tokens.c.
 * Owner: the caller; reused between runs by batch_reset. Not thread safe.
 */
#pragma once
#include <stdint.h>
#include "model/error.h"
#include "model/flow_sample.h"
#include "model/model_file.h"

struct batch {
	struct sample_shape shape;
	uint32_t n, capacity;
	float *bytes; /* (n, P * (H + Y)), scaled: b * byte_scale + byte_offset */
	float *sizes; /* (n, S), clipped, signed ones shifted; padding as in tokens.h */
	float *iats;  /* (n, S), 1 / (1 + 1 / (1 + t)); padding 1 */
};

static inline bool sample_shape_equal(const struct sample_shape *a, const struct sample_shape *b)
{
	return a->packets == b->packets && a->header_bytes == b->header_bytes &&
	       a->payload_bytes == b->payload_bytes && a->seq_len == b->seq_len &&
	       a->bidirectional == b->bidirectional;
}

int batch_new(const struct token_config *tokens, uint32_t capacity, struct batch **ret_batch);
void batch_free(struct batch *b); /* accepts NULL */
void batch_reset(struct batch *b);

/* Adds one flow's tokens (model/tokens.c). -ENOSPC when full, -EINVAL when the shapes differ. */
int batch_add(struct batch *b, const struct token_config *tokens, const struct flow_sample *sample);
