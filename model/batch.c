/* SPDX-License-Identifier: BSD-2-Clause */
/* See batch.h: one allocation, three arrays in it. What goes in is tokens.c's business. */
#include "model/batch.h"
#include <errno.h>
#include <stdlib.h>

int batch_new(const struct token_config *tokens, uint32_t capacity, struct batch **ret_batch)
{
	const struct sample_shape *shape = &tokens->shape;
	size_t n_bytes = shape->packets * sample_row_bytes(shape), n_flow, size;
	struct batch *b;

	n_flow = n_bytes + 2 * (size_t)shape->seq_len;
	if (__builtin_mul_overflow(n_flow * sizeof(float), capacity, &size) ||
	    __builtin_add_overflow(size, sizeof(*b), &size))
		return -EOVERFLOW;
	b = malloc(size);
	if (!b)
		return -ENOMEM;
	b->shape = *shape;
	b->n = 0;
	b->capacity = capacity;
	b->bytes = (float *)(b + 1);
	b->sizes = b->bytes + n_bytes * capacity;
	b->iats = b->sizes + (size_t)shape->seq_len * capacity;
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
