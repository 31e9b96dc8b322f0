/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A model held against the known classes of captures' flows (agent/flow/labels_file.h). Flows
 * without a row, rows of the class `unlisted` and classes that the model does not have are left out
 * of the figures. Borrows the model.
 */
#pragma once
#include <stdint.h>
#include "agent/event/event.h"
#include "model/model_file.h"

struct labels;

int labels_read(const char *path, const struct model *m, struct labels **ret_labels,
		struct error *e);
void labels_free(struct labels *l); /* accepts NULL */

/* Counts a flow of the capture if it has a label. */
void labels_count(struct labels *l, const char *capture, const struct flow_event *event,
		  int class_index);

struct labels_figures {
	uint64_t n_flows, n_right;
	double macro_f1; /* over the classes that have labelled flows; 0 without any */
	uint32_t n_classes;
};
void labels_figures(const struct labels *l, struct labels_figures *ret_figures);
