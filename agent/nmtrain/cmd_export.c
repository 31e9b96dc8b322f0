/* SPDX-License-Identifier: BSD-2-Clause */
/* `nmtrain export`: a model's weights in another type, as a model file again. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/nmtrain/nmtrain.h"
#include "model/model_file.h"
#include "model/model_write.h"

struct options {
	const char *output, *type;
};

static const struct option_row rows[] = {
	{"output", 'o', OPTION_TEXT, "FILE", offsetof(struct options, output), "the new model"},
	{"type", 't', OPTION_TEXT, "TYPE", offsetof(struct options, type),
	 "f32, f16, bf16 or int8"},
};

static const char *const type_names[] = {"f32", "f16", "bf16", "int8"};
#define N_TYPES (sizeof(type_names) / sizeof(type_names[0]))

/* A model's weights as one block. */
struct weights {
	struct model *model;
	struct layout *layout;
	float *values;
};

static void weights_fini(struct weights *w)
{
	model_unref(w->model);
	layout_free(w->layout);
	free(w->values);
}

static void free_text(char **text)
{
	free(*text);
}

static void free_json(json_t **json)
{
	json_decref(*json);
}

static int load_weights(struct weights *w, const char *path, struct error *e)
{
	int r = model_load(path, &w->model, e);

	if (!r)
		r = layout_classifier(&w->model->architecture, &w->model->tokens,
				      w->model->n_classes, &w->layout);
	if (r)
		return r;
	w->values = malloc(w->layout->n_values * sizeof(float));
	if (!w->values)
		return -ENOMEM;
	for (size_t i = 0; i < w->layout->n; i++) {
		const struct parameter *p = &w->layout->list[i];

		memcpy(w->values + p->offset, model_tensor(w->model, p->name)->data,
		       p->n_values * sizeof(float));
	}
	return 0;
}

/* Where it came from. Figures were measured on that: other weights have them only as its own.
 * NULL: no memory. */
static char *training_text(const struct model *m, enum weight_type type)
{
	cleanup(free_json) json_t *training =
		m->training_json ? json_loads(m->training_json, 0, NULL) : json_object();
	json_t *exported =
		json_pack("{s:s, s:s}", "type", type_names[type], "source_sha256", m->sha256);

	if (m->figures_json && type != WEIGHTS_F32)
		json_object_set_new(exported, "source_figures",
				    json_loads(m->figures_json, 0, NULL));
	if (json_object_set_new(training, "exported", exported))
		return NULL;
	return json_dumps(training, JSON_COMPACT | JSON_ENSURE_ASCII);
}

static int write_model(const struct weights *w, const char *path, enum weight_type type,
		       struct error *e)
{
	cleanup(free_text) char *training = training_text(w->model, type);
	struct model described = *w->model;

	if (!training)
		return -ENOMEM;
	described.training_json = training;
	if (type != WEIGHTS_F32)
		described.figures_json = NULL;
	return model_write_as(path, &described, w->layout, w->values, type, e);
}

static double megabytes(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 ? (double)status.st_size / 1e6 : NAN;
}

/* ||new - old|| / ||old|| over all weights. */
static double change(const struct weights *before, const struct weights *after)
{
	double difference = 0, norm = 0;

	for (size_t i = 0; i < before->layout->n_values; i++) {
		double d = (double)after->values[i] - before->values[i];

		difference += d * d;
		norm += (double)before->values[i] * before->values[i];
	}
	return norm > 0 ? sqrt(difference / norm) : 0;
}

static int export_model(struct nmtrain *t, const char *path, const struct options *o,
			enum weight_type type)
{
	cleanup(weights_fini) struct weights before = {0}, after = {0};
	double size = megabytes(path);
	int r = load_weights(&before, path, &t->error);

	if (!r)
		r = write_model(&before, o->output, type, &t->error);
	if (!r)
		r = load_weights(&after, o->output, &t->error);
	if (r)
		return nmtrain_result(t, r);
	fprintf(t->out, "%s: %.3f MB\n", path, size);
	fprintf(t->out, "%s: %.3f MB as %s, %.0f%%; its weights differ by %.2g of their norm\n",
		o->output, megabytes(o->output), type_names[type],
		100 * megabytes(o->output) / size, change(&before, &after));
	return STATUS_DONE;
}

int cmd_export(struct nmtrain *t, int argc, char **argv)
{
	struct options o = {0};
	int n_words, status;
	size_t type = 0;

	if (nmtrain_options(t, rows, sizeof(rows) / sizeof(rows[0]), &o, argc, argv, &n_words,
			    &status))
		return status;
	if (n_words != 1)
		return nmtrain_usage(t, "which model? name one file");
	if (!o.output)
		return nmtrain_usage(t, "where to? add --output FILE");
	if (!o.type)
		return nmtrain_usage(t, "as what? add --type f32, f16, bf16 or int8");
	while (type < N_TYPES && strcmp(o.type, type_names[type]) != 0)
		type++;
	if (type == N_TYPES)
		return nmtrain_usage(t, "--type: \"%.40s\" is none of f32, f16, bf16, int8",
				     o.type);
	return export_model(t, argv[1], &o, (enum weight_type)type);
}
