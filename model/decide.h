/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Logits to a decision: temperature, per-class thresholds, out-of-distribution threshold of the
 * model file. Used by the agent, by `nmctl classify` and by evaluation: one definition.
 *
 * All four scores grow with strangeness: energy = -logsumexp(z / T), max_logit = -max(z / T),
 * max_probability = -max p, entropy = H(p); p = softmax(z / T).
 * Being out of distribution is asked before the class's threshold. Logits that are not finite are
 * unknown, with confidence 0 and the largest score.
 */
#pragma once
#include <stdbool.h>
#include "model/model_file.h"

enum decided_by {
	DECIDED_CLASS,     /* confident and known */
	DECIDED_THRESHOLD, /* nearest class below its threshold: treated as unknown */
	DECIDED_UNKNOWN,   /* out of distribution: treated as unknown */
};

struct decision {
	int class_index;  /* the nearest class, always */
	float confidence; /* its probability */
	float ood_score;
	bool unknown; /* ood_score above the model's threshold */
	enum decided_by by;
	float probability[MODEL_MAX_CLASSES];
};

/* The class of the largest logit, the first of equal ones. */
uint32_t decide_nearest(const float *logits, uint32_t n_classes);
void decide(const struct model *m, const float *logits, struct decision *ret_decision);
const char *decided_by_name(enum decided_by by); /* "class", "threshold", "unknown" */
