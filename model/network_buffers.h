/* SPDX-License-Identifier: BSD-2-Clause */
/* What a pass keeps from forward to backward. Private to network*.c. */
#pragma once
#include "model/network.h"

/* Inputs of one modality's tokens, CLS apart: bytes (n, stride), sizes and times (n, D). */
struct gathered {
	size_t n;
	size_t *row; /* of the pass; a part of pass_buffers.row */
	float *in;   /* a part of pass_buffers.in */
};

struct pass_buffers {
	struct gathered gathered[MODALITIES];
	size_t *row;     /* (rows), shared out among the modalities */
	float *in;       /* (rows, D or stride, the larger) */
	uint8_t *window; /* (byte tokens, stride) */
	float *mapped;   /* (rows, D) */
	float *frequency, *sinusoid;
	float sinusoid_value; /* of what `sinusoid` is, when known */
	bool sinusoid_known;
	float *d_output; /* (rows, D), training only */
	float *d_pooled; /* (flows, D) */
	void *arena;
};
