/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writer of model files, whole or not at all (safetensors_write.h). What model_load would refuse is
 * refused here, before anything is written.
 *
 * Of m these count: architecture, tokens, calibration, n_classes, class_name, training_json and
 * figures_json (JSON objects as text, or NULL); the rest may be zero. Thresholds are read as they
 * stand: model_default_calibration gives those of a model that nobody has calibrated.
 */
#pragma once
#include <stddef.h>
#include "model/layout.h"
#include "model/model_file.h"
#include "model/safetensors.h"

/* values (layout->n_values), layout by layout_classifier for m. All weights as F32. */
int model_write(const char *path, const struct model *m, const struct layout *layout,
		const float *values, struct error *e);
/* The same with the tensors as they are: reduced ones, with their scales. */
int model_write_tensors(const char *path, const struct model *m, const struct raw_tensor *tensors,
			size_t n_tensors, struct error *e);

/* Temperature 1, every threshold 0.5, unknown: never. */
void model_default_calibration(struct calibration *c);
