/* SPDX-License-Identifier: BSD-2-Clause */
/* The confusion that the figures are made of. */
#include <errno.h>
#include <stdlib.h>
#include "agent/flow/labels_file.h"
#include "agent/nmctl/labels.h"

struct labels {
	struct labels_file *file;
	const struct model *model;
	/* by class: labelled so, judged so, both */
	uint64_t labelled[MODEL_MAX_CLASSES], judged[MODEL_MAX_CLASSES], right[MODEL_MAX_CLASSES];
};

int labels_read(const char *path, const struct model *m, struct labels **ret_labels,
		struct error *e)
{
	struct labels *l = calloc(1, sizeof(*l));
	int status = l ? labels_file_read(path, &l->file, e)
		       : error_set(e, -ENOMEM, "%.200s: no memory", path);

	if (status) {
		labels_free(l);
		return status;
	}
	l->model = m;
	*ret_labels = l;
	return 0;
}

void labels_free(struct labels *l)
{
	if (!l)
		return;
	labels_file_free(l->file);
	free(l);
}

void labels_count(struct labels *l, const char *capture, const struct flow_event *event,
		  int class_index)
{
	const struct labels_row *row = labels_file_find(l->file, capture, &event->key);
	int known = row ? model_class_index(l->model, row->class_name) : -1;

	if (known < 0)
		return;
	l->labelled[known]++;
	l->judged[class_index]++;
	l->right[class_index] += class_index == known;
}

void labels_figures(const struct labels *l, struct labels_figures *ret_figures)
{
	struct labels_figures f = {0};

	for (uint32_t i = 0; i < l->model->n_classes; i++) {
		f.n_flows += l->labelled[i];
		f.n_right += l->right[i];
		if (!l->labelled[i])
			continue;
		f.n_classes++;
		f.macro_f1 += 2.0 * l->right[i] / (l->labelled[i] + l->judged[i]);
	}
	if (f.n_classes)
		f.macro_f1 /= f.n_classes;
	*ret_figures = f;
}
