/* SPDX-License-Identifier: BSD-2-Clause */
/* What a pass keeps from forward to backward. Private to network*.c. */
#pragma once
#include "model/network.h"

/* Inputs of one modality's tokens, CLS apart: bytes (n, stride), sizes and times (n, D). */
struct gathered {
	size_t n;
	size_t *row; /* of the pass */
	float *in;
};

struct pass_buffers {
	struct gathered gathered[MODALITIES];
	uint8_t *window; /* (byte tokens, stride) */
	float *mapped;   /* (rows, D) */
	float *frequency, *sinusoid;
	float sinusoid_value; /* of what `sinusoid` is, when known */
	bool sinusoid_known;
	size_t n_copies;     /* depth + 1 when training, else 1 */
	float *residual, *u; /* (n_copies; rows, D) */
	float *kept;         /* (depth or 1; kept_floats) */
	size_t kept_floats;
	float *d_residual, *d_h, *d_u; /* (rows, D), training only, like scratch */
	float *scratch;
	void *arena;
};

/* Without training one buffer serves all blocks. */
static inline float *pass_copy(const struct pass *p, float *first, uint32_t i)
{
	return p->buffers->n_copies > 1 ? first + i * p->max_rows * p->net->shape.D : first;
}

static inline float *pass_residual(const struct pass *p, uint32_t i)
{
	return pass_copy(p, p->buffers->residual, i);
}

static inline float *pass_u(const struct pass *p, uint32_t i)
{
	return pass_copy(p, p->buffers->u, i);
}

static inline float *pass_kept(const struct pass *p, uint32_t i)
{
	return p->buffers->n_copies > 1 ? p->buffers->kept + i * p->buffers->kept_floats
					: p->buffers->kept;
}

void pass_drop(const struct pass *p, uint32_t block, float *h);
