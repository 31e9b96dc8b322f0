/* SPDX-License-Identifier: BSD-2-Clause */
/* See network_buffers.h: one arena beside the stack's. */
#include "model/network_buffers.h"
#include <errno.h>
#include <stdlib.h>
#include "model/arena.h"
#include "model/ops.h"

static int allocate(struct pass *p)
{
	const struct network *net = p->net;
	struct pass_buffers *k = p->buffers;
	size_t M = p->max_rows, D = net->architecture.embed_dim, B = p->max_flows;
	size_t stride = net->architecture.stride, M_back = net->encoder.block.training ? M : 0;
	struct arena_piece list[] = {
		ARENA_PIECE(p->start, size_t, B + 1),
		ARENA_PIECE(p->place, uint16_t, M),
		ARENA_PIECE(p->cls, size_t, B * MODALITIES),
		ARENA_PIECE(p->h, float, M *D),
		ARENA_PIECE(p->pooled, float, B *D),
		ARENA_PIECE(k->row, size_t, M),
		ARENA_PIECE(k->in, float, M *(D > stride ? D : stride)),
		ARENA_PIECE(k->window, uint8_t, M * stride),
		ARENA_PIECE(k->mapped, float, M *D),
		ARENA_PIECE(k->frequency, float, (D + 1) / 2),
		ARENA_PIECE(k->sinusoid, float, D),
		ARENA_PIECE(k->d_output, float, M_back *D),
		ARENA_PIECE(k->d_pooled, float, B *D),
	};

	k->arena = arena_new(list, sizeof(list) / sizeof(list[0]));
	return k->arena ? 0 : -ENOMEM;
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
	if (!p->buffers || allocate(p) ||
	    stack_new(&net->encoder, p->max_rows, max_flows, &p->stack)) {
		pass_free(p);
		return -ENOMEM;
	}
	sinusoid_frequency(p->buffers->frequency, net->architecture.embed_dim);
	*ret_pass = p;
	return 0;
}

void pass_free(struct pass *p)
{
	if (!p)
		return;
	stack_free(p->stack);
	if (p->buffers)
		free(p->buffers->arena);
	free(p->buffers);
	free(p);
}
