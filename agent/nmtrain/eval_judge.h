/* SPDX-License-Identifier: BSD-2-Clause */
/* A model run over the splits of a set, and measured. */
#pragma once
#include "agent/nmtrain/eval_split.h"
#include "agent/nmtrain/evaluation.h"

/*
 * Fits on validation (may be NULL), measures on test, whole flows and their first packets. -ENODATA
 * when test has no flow of the model's classes, -EINTR when a signal came.
 */
int eval_judge(struct model *m, const struct eval_split *test, const struct eval_split *validation,
	       uint32_t n_threads, const struct evaluation_config *config,
	       struct evaluation **ret_evaluation, struct error *e);
