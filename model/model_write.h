/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writer of model files, whole or not at all (safetensors_write.h). What model_load would refuse is
 * refused here, before anything is written.
 *
 * Of m, in all of them, these count: architecture, tokens, calibration, n_classes, class_name,
 * training_json and figures_json (JSON objects as text, or NULL); the rest may be zero. Thresholds
 * are read as they stand: model_default_calibration gives those of a model that nobody has
 * calibrated.
 */
#pragma once
#include <stddef.h>
#include "model/layout.h"
#include "model/model_file.h"
#include "model/safetensors.h"

/* values (layout->n_values), layout by layout_classifier for m. All weights as F32. */
int model_write(const char *path, const struct model *m, const struct layout *layout,
		const float *values, struct error *e);
/*
 * model_reduce.c: the same with smaller weights. F16 and BF16: all of them. INT8: matrices as whole
 * numbers from -127 to 127 with a scale for each row (an output), NAME.scale; embeddings as F16;
 * what is small or delicate (norms, biases, convolutions, A_log) stays F32. They are expanded when
 * loaded: the file is smaller, the arithmetic is the same. -ERANGE where F16 cannot hold a value.
 */
enum weight_type { WEIGHTS_F32, WEIGHTS_F16, WEIGHTS_BF16, WEIGHTS_INT8 };
int model_write_as(const char *path, const struct model *m, const struct layout *layout,
		   const float *values, enum weight_type type, struct error *e);

/* With the tensors as they are. */
int model_write_tensors(const char *path, const struct model *m, const struct raw_tensor *tensors,
			size_t n_tensors, struct error *e);

/* Temperature 1, every threshold 0.5, unknown: never. */
void model_default_calibration(struct calibration *c);
