/* SPDX-License-Identifier: BSD-2-Clause */
/* A model's description as JSON, in the names of the model file: for `nmctl model` and the agent's
 * `model show`. */
#pragma once
#include <jansson.h>
#include "model/model_file.h"

/* path, sha256, parameters, architecture, tokens, classes, calibration, and training and figures
 * where the file has them. New reference, NULL when memory is short. */
json_t *model_to_json(const struct model *m);
