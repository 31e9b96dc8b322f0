/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `nmtrain import`: an official PyTorch state dict, saved as safetensors, to a model file. What the
 * network is follows from the shapes; what it reads must be told, since no tensor tells packets
 * from bytes. A state without a head is that of a pre-training: it becomes an encoder file for
 * `nmtrain finetune --from`.
 */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmtrain/import_shapes.h"
#include "agent/nmtrain/nmtrain.h"
#include "model/model_file.h"
#include "model/model_json.h"
#include "model/model_metadata.h"
#include "model/model_write.h"
#include "model/safetensors_write.h"

struct options {
	const char *output, *metadata, *tokens, *classes, *bytes;
	struct option_number heads;
};

static const struct option_row rows[] = {
	{"output", 'o', OPTION_TEXT, "FILE", offsetof(struct options, output), "the new model"},
	{"metadata", 'm', OPTION_TEXT, "FILE.json", offsetof(struct options, metadata),
	 "architecture, tokens, classes as in a model file, or some of them"},
	{"tokens", 't', OPTION_TEXT, "uni|bi", offsetof(struct options, tokens),
	 "the paper's 5 x (80 + 240) bytes, 20 sizes; or 10 x (80 + 80), 50 signed"},
	{"classes", 'c', OPTION_TEXT, "A,B,...", offsetof(struct options, classes),
	 "their names in the head's order"},
	{"bytes", 'b', OPTION_TEXT, "scaled|raw", offsetof(struct options, bytes),
	 "trained on b / 127.5 - 1 (default), or 2 b - 1 as the released loader feeds"},
	{"heads", 0, OPTION_NUMBER, "N", offsetof(struct options, heads),
	 "attention: how many, which no shape tells"},
};

/* What is being made. */
struct import {
	const char *path;
	struct safetensors *state;
	json_t *metadata;
	struct model *model;
	struct layout *layout;
	float *values;
	bool has_head, numbered; /* classes without names */
	size_t n_decoder, n_other;
	const char *first_other;
};

static void import_fini(struct import *im)
{
	safetensors_close(im->state);
	json_decref(im->metadata);
	model_unref(im->model);
	layout_free(im->layout);
	free(im->values);
}

static void free_json(json_t **json)
{
	json_decref(*json);
}

static void free_text(char **text)
{
	free(*text);
}

static void free_list(struct raw_tensor **list)
{
	free(*list);
}

static int read_metadata(struct import *im, const char *path, struct error *e)
{
	static const char *const objects[] = {"architecture", "tokens"};
	json_error_t json_error;

	im->metadata =
		path ? json_load_file(path, JSON_REJECT_DUPLICATES, &json_error) : json_object();
	if (!im->metadata)
		return error_set(e, -EINVAL, "%s:%d: %s", path ? path : im->path, json_error.line,
				 json_error.text);
	if (!json_is_object(im->metadata))
		return error_set(e, -EINVAL, "%s: must be a JSON object", path);
	for (int i = 0; i < 2; i++) {
		const json_t *given = json_object_get(im->metadata, objects[i]);

		if (given && !json_is_object(given))
			return error_set(e, -EINVAL, "%s: %s: must be an object", path, objects[i]);
	}
	return 0;
}

static int open_inputs(struct import *im, const struct options *o, struct error *e)
{
	int r = safetensors_open(im->path, &im->state, e);

	if (r)
		return r;
	if (safetensors_metadata(im->state, "netmamba"))
		return error_set(e, -EINVAL, "%s: is a file of nmtrain already", im->path);
	im->has_head = import_classes(im->state) > 0;
	if (!im->has_head && o->classes)
		return error_set(e, -EINVAL,
				 "%s: has no head.weight: --classes has nothing to name", im->path);
	return read_metadata(im, o->metadata, e);
}

/* Keys of the file given win over what shapes tell. */
static int set_architecture(struct import *im, const struct options *o, struct error *e)
{
	json_t *guess = NULL, *given = json_object_get(im->metadata, "architecture");
	int r = import_architecture(im->state, im->path, &guess, e);

	if (r)
		return r;
	json_object_update(guess, given);
	if (o->heads.given)
		json_object_set_new(guess, "heads", json_integer((json_int_t)o->heads.value));
	return json_object_set_new(im->metadata, "architecture", guess);
}

static void set_tokens(struct import *im, const struct options *o)
{
	json_t *given = json_object_get(im->metadata, "tokens");
	bool bi = o->tokens && strcmp(o->tokens, "bi") == 0;
	bool raw = o->bytes && strcmp(o->bytes, "raw") == 0;
	json_t *tokens = json_pack("{s:s, s:i, s:i, s:i, s:i, s:f, s:f}", "direction",
				   bi ? "bi" : "uni", "packets", bi ? 10 : 5, "header_bytes", 80,
				   "payload_bytes", bi ? 80 : 240, "seq_len", bi ? 50 : 20,
				   "byte_scale", raw ? 2.0 : 2.0 / 255, "byte_offset", -1.0);

	json_object_update(tokens, given);
	json_object_set_new(im->metadata, "tokens", tokens);
}

static json_t *split_classes(const char *text)
{
	json_t *list = json_array();

	while (*text) {
		size_t n = strcspn(text, ",");

		json_array_append_new(list, json_stringn(text, n));
		text += n + (text[n] == ',');
	}
	return list;
}

/* Names that nobody gave are numbers. An encoder needs one for the checks' sake alone. */
static void set_classes(struct import *im, const struct options *o)
{
	uint32_t n = im->has_head ? import_classes(im->state) : 1;
	json_t *list;

	if (!im->has_head)
		json_object_del(im->metadata, "calibration");
	else if (!o->classes && json_object_get(im->metadata, "classes"))
		return;
	list = o->classes ? split_classes(o->classes) : json_array();
	for (uint32_t i = 0; !o->classes && i < n && i <= MODEL_MAX_CLASSES; i++)
		json_array_append_new(list, json_sprintf("class-%u", i));
	im->numbered = !o->classes;
	json_object_set_new(im->metadata, "classes", list);
}

/* Checked as a model file's, by the same code. */
static int describe(struct import *im, struct error *e)
{
	cleanup(free_text) char *text = NULL;

	json_object_set_new(im->metadata, "format", json_integer(MODEL_FORMAT));
	if (!json_object_get(im->metadata, "training"))
		json_object_set_new(
			im->metadata, "training",
			json_pack("{s:{s:s}}", "imported", "from", "a PyTorch state dict"));
	text = json_dumps(im->metadata, JSON_COMPACT);
	im->model = calloc(1, sizeof(*im->model));
	if (!text || !im->model || !(im->model->path = strdup(im->path)))
		return error_set(e, -ENOMEM, "%s: no memory", im->path);
	return model_read_metadata(im->model, text, e);
}

static void format_shape(char *text, size_t size, const uint64_t *shape, uint32_t n_dims)
{
	size_t used = 0;

	*text = '\0';
	for (uint32_t i = 0; i < n_dims && used < size; i++)
		used += snprintf(text + used, size - used, "%s%llu", i ? " x " : "",
				 (unsigned long long)shape[i]);
}

static const char *hint(const char *name)
{
	if (strcmp(name, "pos_embed") == 0)
		return ": are the tokens its own?";
	return strncmp(name, "head.", 5) == 0 ? ": name as many classes" : "";
}

static int take_tensor(struct import *im, const struct parameter *p, struct error *e)
{
	const struct raw_tensor *t = safetensors_find(im->state, p->name);
	char have[96], want[96];

	if (!t)
		return error_set(e, -EINVAL, "%s: has no tensor %s", im->path, p->name);
	format_shape(have, sizeof(have), t->shape, t->n_dims);
	format_shape(want, sizeof(want), p->shape, p->n_dims);
	if (strcmp(have, want) != 0)
		return error_set(e, -EINVAL, "%s: %s is %s; the network is to have %s%s", im->path,
				 p->name, have, want, hint(p->name));
	if (t->dtype > DTYPE_BF16)
		return error_set(e, -EINVAL, "%s: %s is of type %s; must be F32, F16 or BF16",
				 im->path, p->name, dtype_name(t->dtype));
	raw_tensor_to_float(t, im->values + p->offset);
	for (size_t i = 0; i < p->n_values; i++)
		if (!isfinite(im->values[p->offset + i]))
			return error_set(e, -EINVAL, "%s: %s: value %zu is not finite", im->path,
					 p->name, i);
	return 0;
}

static int take_tensors(struct import *im, struct error *e)
{
	int r = layout_classifier(&im->model->architecture, &im->model->tokens,
				  im->model->n_classes, &im->layout);

	if (!r)
		im->values = malloc(im->layout->n_values * sizeof(float));
	if (!im->values)
		return error_set(e, -ENOMEM, "%s: no memory for its tensors", im->path);
	/* Without a head, the layout still ends with one. */
	for (size_t i = 0; !r && i < im->layout->n; i++)
		if (im->has_head || strncmp(im->layout->list[i].name, "head.", 5) != 0)
			r = take_tensor(im, &im->layout->list[i], e);
	return r;
}

/* What stays behind is told. */
static void count_rest(struct import *im)
{
	size_t n;
	const struct raw_tensor *list = safetensors_tensors(im->state, &n);

	for (size_t i = 0; i < n; i++) {
		if (layout_find(im->layout, list[i].name))
			continue;
		if (import_is_decoder(list[i].name)) {
			im->n_decoder++;
			continue;
		}
		if (!im->n_other++)
			im->first_other = list[i].name;
	}
}

/* As pretrained.h says: no classes, no head. */
static int write_encoder(const struct import *im, const char *path, struct error *e)
{
	const struct layout *l = im->layout;
	cleanup(free_list) struct raw_tensor *list = calloc(l->n, sizeof(*list));
	cleanup(free_json) json_t *json = model_to_json(im->model), *kept = NULL;
	cleanup(free_text) char *text = NULL;
	size_t n = 0;

	kept = json_pack("{s:i, s:O, s:O, s:O}", "format", MODEL_FORMAT, "architecture",
			 json_object_get(json, "architecture"), "tokens",
			 json_object_get(json, "tokens"), "training",
			 json_object_get(json, "training"));
	text = kept ? json_dumps(kept, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	if (!list || !text)
		return error_set(e, -ENOMEM, "%s: no memory", path);
	for (size_t i = 0; i < l->n; i++) {
		const struct parameter *p = &l->list[i];

		if (strncmp(p->name, "head.", 5) == 0)
			continue;
		list[n] = (struct raw_tensor){.name = p->name,
					      .dtype = DTYPE_F32,
					      .n_dims = p->n_dims,
					      .n_values = p->n_values,
					      .data = (const void *)(im->values + p->offset)};
		memcpy(list[n++].shape, p->shape, sizeof(p->shape));
	}
	return safetensors_write(path, list, n, &(struct safetensors_string){"netmamba", text}, 1,
				 e);
}

static void report(struct nmtrain *t, const struct import *im, const struct options *o)
{
	const struct architecture *a = &im->model->architecture;

	fprintf(t->out, "%s: %s of %s, D %u, depth %u, %u tokens", o->output,
		im->has_head ? "a classifier" : "an encoder", a->backbone, a->embed_dim, a->depth,
		model_sequence_length(im->model));
	if (im->has_head)
		fprintf(t->out, ", %u classes\n", im->model->n_classes);
	else
		fprintf(t->out, "; for nmtrain finetune --from\n");
	if (im->n_decoder)
		fprintf(t->log, "note: %zu tensors of the pre-training's decoders are left out\n",
			im->n_decoder);
	if (im->n_other)
		fprintf(t->log,
			"note: %zu tensors that the network does not have are left out: "
			"%s%s\n",
			im->n_other, im->first_other, im->n_other > 1 ? " and others" : "");
	if (im->has_head && im->numbered)
		fprintf(t->log, "note: classes have numbers; --classes names them\n");
}

/* What nobody told and no shape tells. */
static int check_told(struct nmtrain *t, const struct import *im, const struct options *o)
{
	const json_t *architecture = json_object_get(im->metadata, "architecture");

	if (!o->tokens && !json_object_get(im->metadata, "tokens"))
		return nmtrain_usage(t, "what does it read? add --tokens uni or bi, or --metadata "
					"FILE.json with tokens: no tensor's shape tells");
	if (!json_object_get(architecture, "d_state") && !json_object_get(architecture, "heads"))
		return nmtrain_usage(t, "how many heads has its attention? add --heads N: no "
					"tensor's shape tells");
	return STATUS_DONE;
}

static int write_result(struct import *im, const struct options *o, struct error *e)
{
	int r;

	set_tokens(im, o);
	set_classes(im, o);
	r = describe(im, e);
	if (!r)
		r = take_tensors(im, e);
	if (r)
		return r;
	return im->has_head ? model_write(o->output, im->model, im->layout, im->values, e)
			    : write_encoder(im, o->output, e);
}

static int import_state(struct nmtrain *t, struct import *im, const struct options *o)
{
	int r = open_inputs(im, o, &t->error), status;

	if (!r)
		r = set_architecture(im, o, &t->error);
	if (r)
		return nmtrain_result(t, r);
	status = check_told(t, im, o);
	if (status)
		return status;
	r = write_result(im, o, &t->error);
	if (r)
		return nmtrain_result(t, r);
	count_rest(im);
	report(t, im, o);
	return STATUS_DONE;
}

int cmd_import(struct nmtrain *t, int argc, char **argv)
{
	cleanup(import_fini) struct import im = {0};
	struct options o = {0};
	int n_words, status;

	if (nmtrain_options(t, rows, sizeof(rows) / sizeof(rows[0]), &o, argc, argv, &n_words,
			    &status))
		return status;
	if (n_words != 1)
		return nmtrain_usage(t, "which state? name one safetensors file");
	if (!o.output)
		return nmtrain_usage(t, "where to? add --output FILE");
	if (o.tokens && strcmp(o.tokens, "uni") != 0 && strcmp(o.tokens, "bi") != 0)
		return nmtrain_usage(t, "--tokens: \"%.40s\" is neither uni nor bi", o.tokens);
	if (o.bytes && strcmp(o.bytes, "scaled") != 0 && strcmp(o.bytes, "raw") != 0)
		return nmtrain_usage(t, "--bytes: \"%.40s\" is neither scaled nor raw", o.bytes);
	im.path = argv[1];
	return import_state(t, &im, &o);
}
