/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The JSON object `netmamba` of a model file into struct model. Private to model_file.c; apart from
 * it because it knows JSON and no tensors. The names are shared with model_json.c.
 */
#pragma once
#include "model/error.h"
#include "model/model_file.h"

/* Fills architecture, tokens, calibration, classes, training_json and figures_json of m; what it
 * filled before an error is freed by model_unref. Errors name m->path and the place. */
int model_read_metadata(struct model *m, const char *json_text, struct error *e);

#define MODEL_FORMAT 1

#define DEBIAS_BITS 8
#define OOD_SCORES  4
extern const char *const debias_names[DEBIAS_BITS];   /* by bit of enum debias_bit */
extern const char *const ood_score_names[OOD_SCORES]; /* by enum ood_score */
/* The words of the keys that are one of two; the first is what a key that is absent means. */
extern const char *const backbone_names[2];
extern const char *const byte_embedding_names[2];
extern const char *const value_embedding_names[2];
extern const char *const iat_scale_names[2];
extern const char *const direction_names[2]; /* never absent, as the backbone */
