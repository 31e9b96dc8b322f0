/* SPDX-License-Identifier: BSD-2-Clause */
/* First values of a network's parameters, by tensor name. The same rng gives the same values. */
#pragma once
#include "model/layout.h"
#include "model/rng.h"

/* values (layout->n_values), all written. */
void initialise(const struct layout *layout, float *values, struct rng *rng);
/* The classifier's head alone, after a pre-trained encoder has been loaded: deviation 2e-5. */
void initialise_head(const struct layout *layout, float *values, struct rng *rng);
