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
	uint32_t stride;   /* bytes of a byte token */
	uint32_t n_tokens; /* L, the whole sequence: (S + 1) + (S + 1) + (byte tokens + 1) */
	uint8_t *bytes;    /* (n, P * (H + Y)), debiased */
	float *sizes;      /* (n, S), clipped, signed ones shifted; padding as in tokens.h */
	float *iats;       /* (n, S), as in tokens.h */
	/* Which tokens of the whole sequence each flow has, in the order in which the network reads
	 * them: all, or with `packed` those that exist. The three CLS are always among them. */
	uint16_t *places;   /* (n, L); all in a new batch */
	uint16_t *n_places; /* (n) */
};

/* Sizes end in a CLS, times end in one, bytes end in one: S + 1 tokens, S + 1, the rest of L. */
static inline bool place_is_cls(size_t S, size_t L, size_t place)
{
	return place == S || place == 2 * S + 1 || place == L - 1;
}

int batch_new(const struct token_config *tokens, uint32_t stride, uint32_t capacity,
	      struct batch **ret_batch);
void batch_free(struct batch *b); /* accepts NULL */
void batch_reset(struct batch *b);

/* Flow i has every token of the sequence, in order. */
void batch_place_all(struct batch *b, uint32_t i);

/* Adds one flow's tokens (model/tokens.c). -ENOSPC when full, -EINVAL when the shapes differ. */
int batch_add(struct batch *b, const struct token_config *tokens, const struct flow_sample *sample);
