/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The flows of a set that an evaluation looks at: of one fold or of all, those with a label, at
 * most so many of a class. Flows are moved out of the set, not copied.
 */
#pragma once
#include <stdint.h>
#include "agent/nmtrain/dataset.h"
#include "agent/nmtrain/names.h"

#define EVAL_ALL_FOLDS (-1)

struct eval_split {
	struct dataset set; /* names and captures are those of the set that they came from */
	uint32_t *every;    /* 0 .. n_flows - 1 */
	/* by flow, as struct judged wants them: */
	uint32_t *group, *source, *kind;
	uint64_t n_unlabelled, n_over_cap; /* left out */
};

/* cap 0: all. sources gets the names of those that are new. The set must outlive the split.
 * -ENOMEM, -EFBIG. */
int eval_split_take(struct eval_split *split, struct dataset *from, int fold, uint32_t cap,
		    uint64_t seed, struct names *sources);
void eval_split_fini(struct eval_split *split); /* accepts one that is all zero */

/* The flows' classes as m numbers them, NO_CLASS where it has none of the name. Caller frees; NULL
 * when memory is short. */
int16_t *eval_split_labels(const struct eval_split *split, const struct model *m);
