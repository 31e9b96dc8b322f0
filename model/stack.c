/* SPDX-License-Identifier: BSD-2-Clause */
/* See stack.h. */
#include "model/stack.h"
#include <errno.h>
#include <string.h>
#include "model/arena.h"
#include "model/ops.h"

static int allocate(struct stack *s, size_t max_flows)
{
	const struct block_shape *shape = &s->shape.block;
	size_t n = s->max_rows * shape->D, n_kept = s->n_copies > 1 ? s->n_copies - 1 : 1;
	size_t n_back = shape->training ? n : 0;
	size_t scratch =
		shape->training ? s->shape.kind->scratch_floats(shape, s->max_rows, max_flows) : 0;
	struct arena_piece list[] = {
		ARENA_PIECE(s->residual, float, s->n_copies *n),
		ARENA_PIECE(s->u, float, s->n_copies *n),
		ARENA_PIECE(s->kept, float, n_kept * s->kept_floats),
		ARENA_PIECE(s->d_residual, float, n_back),
		ARENA_PIECE(s->d_h, float, n_back),
		ARENA_PIECE(s->d_u, float, n_back),
		ARENA_PIECE(s->scratch, float, scratch),
	};

	s->arena = arena_new(list, sizeof(list) / sizeof(list[0]));
	return s->arena ? 0 : -ENOMEM;
}

int stack_new(const struct stack_shape *shape, size_t max_rows, size_t max_flows,
	      struct stack **ret_stack)
{
	struct stack *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->shape = *shape;
	s->max_rows = max_rows;
	s->n_copies = shape->block.training ? shape->depth + 1 : 1;
	s->kept_floats = shape->kind->kept_floats(&shape->block, max_rows, max_flows);
	if (allocate(s, max_flows)) {
		stack_free(s);
		return -ENOMEM;
	}
	*ret_stack = s;
	return 0;
}

void stack_free(struct stack *s)
{
	if (!s)
		return;
	free(s->arena);
	free(s);
}

static float *residual_of(const struct stack *s, uint32_t i)
{
	return s->n_copies > 1 ? s->residual + i * s->max_rows * s->shape.block.D : s->residual;
}

static float *u_of(const struct stack *s, uint32_t i)
{
	return s->n_copies > 1 ? s->u + i * s->max_rows * s->shape.block.D : s->u;
}

static float *kept_of(const struct stack *s, uint32_t i)
{
	return s->n_copies > 1 ? s->kept + i * s->kept_floats : s->kept;
}

static void drop(const struct stack *s, const struct rows *rows, uint32_t block, float *h)
{
	size_t D = s->shape.block.D;

	for (size_t b = 0; s->drop && b < rows->n_flows; b++) {
		float factor = s->drop[block * rows->n_flows + b];

		for (size_t i = rows->start[b] * D; i < rows->start[b + 1] * D; i++)
			h[i] *= factor;
	}
}

static void tell(const struct stack *s, const char *name, uint32_t block, const float *values)
{
	if (s->tap)
		s->tap(s->tap_ctx, name, block, values);
}

const float *stack_forward(struct stack *s, const struct stack_weights *w, const struct rows *rows,
			   float *h)
{
	size_t M = rows->n_rows, D = s->shape.block.D;
	uint32_t depth = s->shape.depth;

	for (uint32_t i = 0; i < depth; i++) {
		float *residual = residual_of(s, i), *next = residual_of(s, i + 1);

		add_norm_forward(u_of(s, i), residual, h, w->block[i].norm, M, D, i == 0);
		if (next != residual)
			memcpy(next, residual, M * D * sizeof(float));
		s->shape.kind->forward(&s->shape.block, &w->block[i], kept_of(s, i), rows, next,
				       u_of(s, i), h);
		drop(s, rows, i, h);
		tell(s, "out", i, h);
		tell(s, "residual", i, next);
	}
	add_norm_forward(u_of(s, depth), residual_of(s, depth), h, w->norm_f, M, D, depth == 0);
	tell(s, "norm_f", 0, u_of(s, depth));
	return u_of(s, depth);
}

const float *stack_backward(struct stack *s, const struct stack_weights *w, struct stack_weights *d,
			    const struct rows *rows, const float *d_output)
{
	size_t M = rows->n_rows, D = s->shape.block.D;
	uint32_t i = s->shape.depth;

	memset(s->d_residual, 0, M * D * sizeof(float));
	norm_backward(s->d_residual, d->norm_f, d_output, residual_of(s, i), w->norm_f, M, D);
	while (i-- > 0) {
		memcpy(s->d_h, s->d_residual, M * D * sizeof(float));
		drop(s, rows, i, s->d_h);
		s->shape.kind->backward(&s->shape.block, &w->block[i], &d->block[i], kept_of(s, i),
					s->scratch, rows, u_of(s, i), s->d_h, s->d_residual,
					s->d_u);
		norm_backward(s->d_residual, d->block[i].norm, s->d_u, residual_of(s, i),
			      w->block[i].norm, M, D);
	}
	return s->d_residual;
}
