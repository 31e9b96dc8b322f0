/* SPDX-License-Identifier: BSD-2-Clause */
/* What is in a data set, for people and for programs. */
#pragma once
#include <jansson.h>
#include <stdio.h>
#include "agent/nmtrain/dataset.h"

/* path, bytes, sha256, shape, flows, captures, folds, classes [{class, flows, flows_5_packets,
 * captures, captures_cut, folds []}], sources [{source, flows, captures}], provenance. Flows
 * without a class have the class null. New reference, NULL when memory is short. */
json_t *dataset_to_json(const struct dataset *set, const char *path);
void dataset_print(FILE *out, const json_t *report);
