/* SPDX-License-Identifier: BSD-2-Clause */
/* See batch.h: one allocation, its arrays in it. What goes in is tokens.c's business. */
#include "model/batch.h"
#include <errno.h>
#include <stdlib.h>

int batch_new(const struct token_config *tokens, uint32_t stride, uint32_t capacity,
	      struct batch **ret_batch)
{
	const struct sample_shape *shape = &tokens->shape;
	size_t n_bytes = shape->packets * sample_row_bytes(shape), S = shape->seq_len;
	size_t n_tokens = 2 * (S + 1) + n_bytes / stride + 1;
	size_t flow_size = n_bytes + 2 * S * sizeof(float) + (n_tokens + 1) * sizeof(uint16_t),
	       size;
	struct batch *b;

	if (n_tokens > MODEL_MAX_TOKENS)
		return -EINVAL;
	if (__builtin_mul_overflow(flow_size, capacity, &size) ||
	    __builtin_add_overflow(size, sizeof(*b), &size))
		return -EOVERFLOW;
	b = malloc(size);
	if (!b)
		return -ENOMEM;
	*b = (struct batch){
		.shape = *shape, .capacity = capacity, .stride = stride, .n_tokens = n_tokens};
	b->sizes = (float *)(b + 1);
	b->iats = b->sizes + S * capacity;
	b->places = (uint16_t *)(b->iats + S * capacity);
	b->n_places = b->places + n_tokens * capacity;
	b->bytes = (uint8_t *)(b->n_places + capacity);
	for (uint32_t i = 0; i < capacity; i++)
		batch_place_all(b, i);
	*ret_batch = b;
	return 0;
}

void batch_free(struct batch *b)
{
	free(b);
}

void batch_reset(struct batch *b)
{
	b->n = 0;
}

void batch_place_all(struct batch *b, uint32_t i)
{
	uint16_t *place = b->places + (size_t)i * b->n_tokens;

	for (uint32_t p = 0; p < b->n_tokens; p++)
		place[p] = p;
	b->n_places[i] = b->n_tokens;
}
