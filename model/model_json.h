/* SPDX-License-Identifier: BSD-2-Clause */
/* A model's description as JSON, in the names of the model file: for `nmctl model`, the agent's
 * `model show`, and the file itself. */
#pragma once
#include <jansson.h>
#include "model/model_file.h"

/* path, sha256, parameters, architecture, tokens, classes, calibration, and training and figures
 * where the file has them. New reference, NULL when memory is short. */
json_t *model_to_json(const struct model *m);

/* The object `netmamba` of a model file, as text: what model_read_metadata reads. The caller frees
 * it; NULL when memory is short. */
char *model_metadata_text(const struct model *m);
