/* SPDX-License-Identifier: BSD-2-Clause */
/* The learning rate over a run: linear warm-up from 0, then half a cosine down to a minimum. */
#pragma once

struct schedule {
	double peak, minimum;
	double warm_up, total; /* fractional epochs or steps, the caller's choice */
};

/* At and after `total` it is the minimum. */
double schedule_rate(const struct schedule *s, double at);
