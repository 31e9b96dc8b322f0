/* SPDX-License-Identifier: BSD-2-Clause */
/* See network_buffers.h: one arena, each buffer on a cache line of its own. */
#include "model/network_buffers.h"
#include <errno.h>
#include <stdlib.h>
#include "model/ops.h"

#define ARENA_ALIGN 64

struct piece {
	void **place;
	size_t n_bytes;
};

/* Lays the pieces out from base (NULL: only counts) and returns their whole size. */
static size_t lay_out(const struct piece *list, size_t n, char *base)
{
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		if (base)
			*list[i].place = base + used;
		used += (list[i].n_bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
	}
	return used;
}

#define PIECE(pointer, type, n) ((struct piece){(void **)&(pointer), (n) * sizeof(type)})

static int allocate(struct pass *p)
{
	const struct network *net = p->net;
	const struct block_shape *s = &net->shape;
	struct pass_buffers *k = p->buffers;
	size_t M = p->max_rows, D = s->D, B = p->max_flows, stride = net->architecture.stride;
	size_t d_rows = s->training ? M * D : 0, n_kept = k->n_copies > 1 ? k->n_copies - 1 : 1;
	size_t scratch = s->training ? net->kind->scratch_floats(s, M, B) : 0;
	struct piece list[] = {
		PIECE(p->start, size_t, B + 1),
		PIECE(p->place, uint16_t, M),
		PIECE(p->cls, size_t, B * MODALITIES),
		PIECE(p->h, float, M *D),
		PIECE(p->pooled, float, B *D),
		PIECE(k->gathered[MODALITY_SIZE].row, size_t, M),
		PIECE(k->gathered[MODALITY_SIZE].in, float, M *D),
		PIECE(k->gathered[MODALITY_IAT].row, size_t, M),
		PIECE(k->gathered[MODALITY_IAT].in, float, M *D),
		PIECE(k->gathered[MODALITY_BYTE].row, size_t, M),
		PIECE(k->gathered[MODALITY_BYTE].in, float, M *stride),
		PIECE(k->window, uint8_t, M * stride),
		PIECE(k->mapped, float, M *D),
		PIECE(k->frequency, float, (D + 1) / 2),
		PIECE(k->sinusoid, float, D),
		PIECE(k->residual, float, k->n_copies *M *D),
		PIECE(k->u, float, k->n_copies *M *D),
		PIECE(k->kept, float, n_kept * k->kept_floats),
		PIECE(k->d_residual, float, d_rows),
		PIECE(k->d_h, float, d_rows),
		PIECE(k->d_u, float, d_rows),
		PIECE(k->scratch, float, scratch),
	};
	size_t n = sizeof(list) / sizeof(list[0]);

	k->arena = aligned_alloc(ARENA_ALIGN, lay_out(list, n, NULL));
	if (!k->arena)
		return -ENOMEM;
	lay_out(list, n, k->arena);
	return 0;
}

int pass_new(const struct network *net, uint32_t max_flows, size_t max_rows, struct pass **ret_pass)
{
	struct pass *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->buffers = calloc(1, sizeof(*p->buffers));
	p->net = net;
	p->max_flows = max_flows;
	p->max_rows = max_rows > net->L ? max_rows : net->L;
	if (p->buffers) {
		p->buffers->n_copies = net->shape.training ? net->architecture.depth + 1 : 1;
		p->buffers->kept_floats =
			net->kind->kept_floats(&net->shape, p->max_rows, max_flows);
	}
	if (!p->buffers || allocate(p)) {
		pass_free(p);
		return -ENOMEM;
	}
	sinusoid_frequency(p->buffers->frequency, net->shape.D);
	*ret_pass = p;
	return 0;
}

void pass_free(struct pass *p)
{
	if (!p)
		return;
	if (p->buffers)
		free(p->buffers->arena);
	free(p->buffers);
	free(p);
}
