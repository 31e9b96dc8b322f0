/* SPDX-License-Identifier: BSD-2-Clause */
/* The scan as compiled for eight lanes and for sixteen. Private to ops_scan*.c and their test. */
#pragma once
#include "model/ops.h"

struct scan_kernel {
	void (*forward)(float *out, float *states, const struct scan_inputs *in, size_t B, size_t L,
			size_t E, size_t N);
	/* states: as the same kernel's forward left them. */
	void (*backward)(const struct scan_gradients *d, const float *d_out, const float *states,
			 const struct scan_inputs *in, size_t B, size_t L, size_t E, size_t N);
};

extern const struct scan_kernel scan_eight;
extern const struct scan_kernel scan_sixteen; /* only where scan_sixteen_runs */
bool scan_sixteen_runs(void);
