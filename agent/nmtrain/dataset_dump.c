/* SPDX-License-Identifier: BSD-2-Clause */
/* A data set as plain arrays. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmtrain/dataset_dump.h"
#include "agent/nmtrain/names.h"
#include "model/safetensors_write.h"
#include "model/sample_edit.h"
#include "model/tokens.h"

#define N_NUMBERS 6

struct dump {
	const struct dataset *set;
	struct token_config tokens;
	uint8_t *bytes;
	float *sizes, *times;
	int64_t *number[N_NUMBERS];
	struct names sources;
	int64_t *source_of; /* by capture */
};

static const char *const number_names[N_NUMBERS] = {"n_packets", "class",  "fold",
						    "capture",   "source", "piece"};

static void fini(struct dump *d)
{
	free(d->bytes);
	free(d->sizes);
	free(d->times);
	for (int i = 0; i < N_NUMBERS; i++)
		free(d->number[i]);
	free(d->source_of);
	names_fini(&d->sources);
}

static int allocate(struct dump *d)
{
	const struct sample_shape *s = &d->tokens.shape;
	size_t n = d->set->n_flows + 1;

	d->bytes = calloc(n, s->packets * sample_row_bytes(s) + 1);
	d->sizes = calloc(n * s->seq_len, sizeof(float));
	d->times = calloc(n * s->seq_len, sizeof(float));
	d->source_of = calloc(d->set->n_captures + 1, sizeof(*d->source_of));
	if (!d->bytes || !d->sizes || !d->times || !d->source_of)
		return -ENOMEM;
	for (int i = 0; i < N_NUMBERS; i++)
		if (!(d->number[i] = calloc(n, sizeof(int64_t))))
			return -ENOMEM;
	for (uint32_t i = 0; i < d->set->n_captures; i++) {
		d->source_of[i] =
			names_add(&d->sources, d->set->capture[i].source, d->set->n_captures);
		if (d->source_of[i] < 0)
			return (int)d->source_of[i];
	}
	return 0;
}

static void fill_flow(struct dump *d, uint32_t i, const struct flow_sample *s)
{
	const struct dataset_flow *f = &d->set->flow[i];
	const struct sample_shape *shape = &d->tokens.shape;
	const int64_t numbers[N_NUMBERS] = {s->n_packets, f->class_index,           f->fold,
					    f->capture,   d->source_of[f->capture], f->piece};

	tokens_bytes(d->bytes + i * shape->packets * sample_row_bytes(shape), &d->tokens, s);
	for (uint16_t k = 0; k < s->n_packets; k++) {
		const struct sample_packet *p = &s->packets[k];
		float size = (float)p->ip_len_bytes;

		d->sizes[(size_t)i * shape->seq_len + k] = p->against ? -size : size;
		if (k && p->time_ns > p[-1].time_ns)
			d->times[(size_t)i * shape->seq_len + k] =
				(float)((double)(p->time_ns - p[-1].time_ns) / 1e9);
	}
	for (int k = 0; k < N_NUMBERS; k++)
		d->number[k][i] = numbers[k];
}

static int fill(struct dump *d, struct error *e)
{
	struct flow_sample *s = flow_sample_new(&d->tokens.shape);
	int status = s ? 0 : error_set(e, -ENOMEM, "no memory for a sample");

	for (uint32_t i = 0; !status && i < d->set->n_flows; i++) {
		status = sample_narrow(s, d->set->flow[i].sample);
		if (status)
			error_set(e, status,
				  "the set's samples are %u packets of %u + %u bytes and %u sizes: "
				  "no more can be asked for",
				  d->set->shape.packets, d->set->shape.header_bytes,
				  d->set->shape.payload_bytes, d->set->shape.seq_len);
		else
			fill_flow(d, i, s);
	}
	flow_sample_free(s);
	return status;
}

static char *names_to_json(const struct names *names)
{
	json_t *list = json_array();
	char *text;

	for (uint32_t i = 0; i < names->n; i++)
		json_array_append_new(list, json_string_nocheck(names->list[i]->text));
	text = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	return text;
}

static char *classes_to_json(const struct dataset *set)
{
	struct names names = {0};
	char *text = NULL;
	uint32_t i = 0;

	while (i < set->n_classes && names_add(&names, set->class_name[i], set->n_classes) >= 0)
		i++;
	if (i == set->n_classes)
		text = names_to_json(&names);
	names_fini(&names);
	return text;
}

static int write_file(const struct dump *d, const char *path, struct error *e)
{
	const struct sample_shape *s = &d->tokens.shape;
	uint64_t n = d->set->n_flows, row = s->packets * sample_row_bytes(s);
	char *classes = classes_to_json(d->set), *sources = names_to_json(&d->sources);
	const struct safetensors_string strings[] = {{"classes", classes}, {"sources", sources}};
	struct raw_tensor tensors[3 + N_NUMBERS] = {
		{.name = "bytes",
		 .dtype = DTYPE_U8,
		 .n_dims = 3,
		 .shape = {n, s->packets, sample_row_bytes(s)},
		 .n_values = n * row,
		 .data = d->bytes},
		{.name = "sizes",
		 .dtype = DTYPE_F32,
		 .n_dims = 2,
		 .shape = {n, s->seq_len},
		 .n_values = n * s->seq_len,
		 .data = (const uint8_t *)d->sizes},
		{.name = "times",
		 .dtype = DTYPE_F32,
		 .n_dims = 2,
		 .shape = {n, s->seq_len},
		 .n_values = n * s->seq_len,
		 .data = (const uint8_t *)d->times},
	};
	int status;

	for (int i = 0; i < N_NUMBERS; i++)
		tensors[3 + i] = (struct raw_tensor){.name = number_names[i],
						     .dtype = DTYPE_I64,
						     .n_dims = 1,
						     .shape = {n},
						     .n_values = n,
						     .data = (const uint8_t *)d->number[i]};
	status = classes && sources ? safetensors_write(path, tensors, 3 + N_NUMBERS, strings, 2, e)
				    : error_set(e, -ENOMEM, "no memory to write %.150s", path);
	free(classes);
	free(sources);
	return status;
}

int dataset_dump(const struct dataset *set, const struct sample_shape *shape, const char *path,
		 struct error *e)
{
	cleanup(fini) struct dump d = {.set = set,
				       .tokens = {.shape = *shape, .debias = UINT32_MAX}};
	int status = allocate(&d);

	if (status)
		return error_set(e, status, "no memory to dump %u flows", set->n_flows);
	status = fill(&d, e);
	return status ? status : write_file(&d, path, e);
}
