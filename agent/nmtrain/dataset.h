/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A data set: flow samples with labels, where they come from, and how they are split. One file,
 * *.nmd: zstd, with a checksum; written to a temporary name and renamed. Owner: the caller;
 * dataset_free. Nothing changes after it was built or read.
 *
 * Splits are by capture, or by time inside one long capture: a capture is cut into pieces, and a
 * piece belongs to one fold. Folds are numbered 0 .. n_folds - 1; what trains, validates or tests
 * is said when a fold is asked for.
 */
#pragma once
#include <stdint.h>
#include "model/error.h"
#include "model/flow_sample.h"
#include "model/model_file.h"

#define DATASET_MAX_FOLDS 32
#define DATASET_NO_CLASS  (-1)

struct dataset_capture {
	char *name;       /* the file's name, without folders */
	char *source;     /* where it came from: the folder it lay in, or as the operator said */
	char sha256[65];  /* of the file */
	uint32_t n_flows; /* in the set */
};

struct dataset_flow {
	struct flow_sample *sample; /* wide: dataset.shape */
	int16_t class_index;        /* of dataset.class_name, or DATASET_NO_CLASS */
	uint16_t label;             /* of dataset.label_name: the finer name, "TLS.Facebook" */
	uint32_t capture;           /* of dataset.capture */
	uint32_t piece;             /* part of the capture by time, 0 unless it is long */
	uint8_t fold;
	uint64_t first_ns;
	uint64_t packets, bytes; /* of the whole flow */
};

struct dataset {
	struct sample_shape shape;
	uint32_t n_flows, n_captures, n_classes, n_labels, n_folds;
	struct dataset_flow *flow;
	struct dataset_capture *capture;
	char (*class_name)[MODEL_CLASS_NAME];
	char **label_name;
	char *provenance; /* JSON: the command, the time, versions, settings */
	char sha256[65];  /* of the file read or written */
};

/* Every length and number is checked; at most 2^24 flows. Refuses a set in which one capture
 * (by content), piece or flow stands in two folds, and says which. */
int dataset_read(const char *path, struct dataset **ret_set, struct error *e);
int dataset_write(const struct dataset *set, const char *path, struct error *e);
void dataset_free(struct dataset *set); /* accepts NULL */
int dataset_class_index(const struct dataset *set, const char *name);
