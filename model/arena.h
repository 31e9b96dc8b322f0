/* SPDX-License-Identifier: BSD-2-Clause */
/* Many buffers in one allocation, each on a cache line of its own. */
#pragma once
#include <stddef.h>
#include <stdlib.h>

#define ARENA_ALIGN 64

struct arena_piece {
	void **place;
	size_t n_bytes;
};

#define ARENA_PIECE(pointer, type, n)                                                              \
	((struct arena_piece){(void **)&(pointer), (n) * sizeof(type)})

static inline size_t arena_lay_out(const struct arena_piece *list, size_t n, char *base)
{
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		if (base)
			*list[i].place = base + used;
		used += (list[i].n_bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
	}
	return used;
}

/* Points every place into one block, which the caller frees; NULL when memory is short. */
static inline void *arena_new(const struct arena_piece *list, size_t n)
{
	char *base = aligned_alloc(ARENA_ALIGN, arena_lay_out(list, n, NULL));

	if (base)
		arena_lay_out(list, n, base);
	return base;
}
