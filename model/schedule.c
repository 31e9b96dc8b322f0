/* SPDX-License-Identifier: BSD-2-Clause */
/* See schedule.h. */
#include "model/schedule.h"
#include <math.h>

double schedule_rate(const struct schedule *s, double at)
{
	if (at >= s->total)
		return s->minimum;
	if (at < s->warm_up)
		return s->peak * at / s->warm_up;
	return s->minimum + (s->peak - s->minimum) * 0.5 *
				    (1 + cos(M_PI * (at - s->warm_up) / (s->total - s->warm_up)));
}
