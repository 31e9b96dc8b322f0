/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flows whose logits were made up, for the tests of evaluation and report. Three classes, a flow's
 * logits being `sure` for what it is judged and 0 for the others, so that its confidence is
 * e^sure / (e^sure + 2).
 */
#pragma once
#include <stdlib.h>
#include "agent/nmtrain/evaluation.h"
#include "model/model_write.h"

#define SMALL_CLASSES 3
#define SMALL_FLOWS   64

struct small_flows {
	float logits[SMALL_FLOWS][SMALL_CLASSES];
	int16_t label[SMALL_FLOWS];
	uint32_t group[SMALL_FLOWS], source[SMALL_FLOWS], kind[SMALL_FLOWS];
	struct judged judged;
};

static inline void small_begin(struct small_flows *f)
{
	*f = (struct small_flows){.judged = {.n_classes = SMALL_CLASSES}};
	f->judged.logits = f->logits[0];
	f->judged.label = f->label;
	f->judged.group = f->group;
	f->judged.source = f->source;
	f->judged.kind = f->kind;
}

/* n flows of a class (or NO_CLASS), each of a capture of its own, of one source. */
static inline void small_add(struct small_flows *f, int n, int16_t label, int judged, float sure,
			     uint32_t source)
{
	for (int k = 0; k < n; k++) {
		size_t i = f->judged.n++;

		f->logits[i][judged] = sure;
		f->label[i] = label;
		f->group[i] = (uint32_t)i;
		f->source[i] = source;
		f->kind[i] = label == NO_CLASS ? SMALL_CLASSES : (uint32_t)label;
	}
}

/* Validation: class 0 is held from 12 flows on, class 1 is thin, class 2 is missing. */
static inline void small_validation(struct small_flows *f)
{
	small_begin(f);
	small_add(f, 12, 0, 0, 4, 0);
	small_add(f, 2, 1, 0, 1, 0);
	small_add(f, 4, 1, 1, 3, 0);
	small_add(f, 6, NO_CLASS, 1, 0.1F, 0);
}

/*
 * Test: of class 0 seven right and sure, one right and unsure, two taken for 1; of class 1 four
 * right, one taken for 0 surely; of class 2 one, taken for 0; five of no class, one of them sure.
 */
static inline void small_test(struct small_flows *f)
{
	small_begin(f);
	small_add(f, 7, 0, 0, 4, 0);
	small_add(f, 1, 0, 0, 2, 0);
	small_add(f, 2, 0, 1, 3, 1);
	small_add(f, 4, 1, 1, 3, 1);
	small_add(f, 1, 1, 0, 4, 1);
	small_add(f, 1, 2, 0, 2, 0);
	small_add(f, 4, NO_CLASS, 1, 0.1F, 0);
	small_add(f, 1, NO_CLASS, 0, 4, 0);
}

static inline struct evaluation_config small_config(void)
{
	struct evaluation_config c = {.precision = 0.95,
				      .kept = 1,
				      .bootstrap = {100, 1},
				      .n_sources = 2,
				      .n_kinds = SMALL_CLASSES + 1};

	model_default_calibration(&c.before);
	return c;
}
