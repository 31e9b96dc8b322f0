/* SPDX-License-Identifier: BSD-2-Clause */
/* Counts of a data set. The text is printed from the JSON: both say the same. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/nmtrain/dataset_report.h"
#include "agent/nmtrain/escape.h"
#include "agent/nmtrain/names.h"

/* As the paper leaves shorter flows out of its data sets. */
#define LONG_FLOW 5

struct class_counts {
	uint32_t flows, long_flows, captures, captures_cut;
	uint32_t fold[DATASET_MAX_FOLDS];
};

struct source_counts {
	uint32_t flows, captures;
};

/* A capture's flows need not stand together: one mark for each capture and pass. */
static int count_class(const struct dataset *set, int class_index, struct class_counts *c)
{
	uint8_t *seen = calloc(set->n_captures + 1, 1); /* 1 seen, 2 cut too */

	if (!seen)
		return -1;
	memset(c, 0, sizeof(*c));
	for (uint32_t i = 0; i < set->n_flows; i++) {
		const struct dataset_flow *f = &set->flow[i];

		if (f->class_index != class_index)
			continue;
		c->flows++;
		c->long_flows += f->packets >= LONG_FLOW;
		c->fold[f->fold]++;
		c->captures += !seen[f->capture];
		seen[f->capture] |= f->piece ? 3 : 1;
	}
	for (uint32_t i = 0; i < set->n_captures; i++)
		c->captures_cut += seen[i] == 3;
	free(seen);
	return 0;
}

static json_t *class_to_json(const struct dataset *set, int class_index)
{
	const char *name = class_index == DATASET_NO_CLASS ? NULL : set->class_name[class_index];
	json_t *folds = json_array();
	struct class_counts c;

	if (count_class(set, class_index, &c) || !folds) {
		json_decref(folds);
		return NULL;
	}
	for (uint32_t k = 0; k < set->n_folds; k++)
		json_array_append_new(folds, json_integer(c.fold[k]));
	return json_pack("{s:s?, s:i, s:i, s:i, s:i, s:o}", "class", name, "flows", (int)c.flows,
			 "flows_5_packets", (int)c.long_flows, "captures", (int)c.captures,
			 "captures_cut", (int)c.captures_cut, "folds", folds);
}

static json_t *classes_to_json(const struct dataset *set)
{
	json_t *list = json_array(), *row;

	for (int i = DATASET_NO_CLASS; list && i < (int)set->n_classes; i++) {
		row = class_to_json(set, i);
		if (!row || json_array_append_new(list, row)) {
			json_decref(list);
			return NULL;
		}
		if (i == DATASET_NO_CLASS && !json_integer_value(json_object_get(row, "flows")))
			json_array_clear(list);
	}
	return list;
}

static json_t *sources_to_json(const struct dataset *set)
{
	struct source_counts *counts = calloc(set->n_captures + 1, sizeof(*counts));
	struct names names = {0};
	json_t *list = json_array();
	int n = 0;

	for (uint32_t i = 0; counts && i < set->n_captures && n >= 0; i++) {
		n = names_add(&names, set->capture[i].source, UINT32_MAX);
		if (n < 0)
			break;
		counts[n].captures++;
		counts[n].flows += set->capture[i].n_flows;
	}
	for (uint32_t i = 0; counts && n >= 0 && i < names.n; i++)
		json_array_append_new(list, json_pack("{s:o, s:i, s:i}", "source",
						      json_string_nocheck(names.list[i]->text),
						      "flows", (int)counts[i].flows, "captures",
						      (int)counts[i].captures));
	names_fini(&names);
	free(counts);
	return list;
}

json_t *dataset_to_json(const struct dataset *set, const char *path)
{
	const struct sample_shape *s = &set->shape;
	json_t *provenance = json_loads(set->provenance, 0, NULL);
	struct stat st = {0};

	stat(path, &st);
	return json_pack("{s:o, s:I, s:s, s:{s:i, s:i, s:i, s:i, s:b}, s:i, s:i, s:i, s:o, s:o, "
			 "s:o}",
			 "path", json_string_nocheck(path), "bytes", (json_int_t)st.st_size,
			 "sha256", set->sha256, "shape", "packets", s->packets, "header_bytes",
			 s->header_bytes, "payload_bytes", s->payload_bytes, "seq_len", s->seq_len,
			 "bidirectional", s->bidirectional, "flows", (int)set->n_flows, "captures",
			 (int)set->n_captures, "folds", (int)set->n_folds, "classes",
			 classes_to_json(set), "sources", sources_to_json(set), "provenance",
			 provenance);
}

static long long number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static const char *text(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));

	return value ? value : "";
}

static void print_classes(FILE *out, const json_t *report)
{
	const json_t *row, *fold;
	size_t i, k;

	fprintf(out, "\n%-20s %8s %8s %8s %4s  flows of each fold\n", "class", "flows", ">=5 pkt",
		"captures", "cut");
	json_array_foreach (json_object_get(report, "classes"), i, row) {
		const char *name = text(row, "class");

		fprintf(out, "%-20s %8lld %8lld %8lld %4lld ", *name ? name : "(none)",
			number(row, "flows"), number(row, "flows_5_packets"),
			number(row, "captures"), number(row, "captures_cut"));
		json_array_foreach (json_object_get(row, "folds"), k, fold)
			fprintf(out, " %6lld", (long long)json_integer_value(fold));
		fputc('\n', out);
	}
}

static void print_sources(FILE *out, const json_t *report)
{
	const json_t *row;
	size_t i;

	fprintf(out, "\n%-20s %8s %26s\n", "source", "flows", "captures");
	json_array_foreach (json_object_get(report, "sources"), i, row) {
		int width = escape_terminal(out, text(row, "source"));

		fprintf(out, "%*s %8lld %26lld\n", width < 20 ? 20 - width : 0, "",
			number(row, "flows"), number(row, "captures"));
	}
}

static void print_line(FILE *out, const char *label, const char *value)
{
	fprintf(out, "%-10s ", label);
	escape_terminal(out, value);
	fputc('\n', out);
}

void dataset_print(FILE *out, const json_t *report)
{
	const json_t *shape = json_object_get(report, "shape");
	const json_t *provenance = json_object_get(report, "provenance");

	print_line(out, "file", text(report, "path"));
	fprintf(out, "%-10s %.1f MB, sha256 %s\n", "size", number(report, "bytes") / 1e6,
		text(report, "sha256"));
	fprintf(out, "%-10s %lld of %lld captures, in %lld folds\n", "flows",
		number(report, "flows"), number(report, "captures"), number(report, "folds"));
	fprintf(out, "%-10s %lld packets of %lld + %lld bytes, %lld sizes and times, %s\n",
		"samples", number(shape, "packets"), number(shape, "header_bytes"),
		number(shape, "payload_bytes"), number(shape, "seq_len"),
		json_is_true(json_object_get(shape, "bidirectional")) ? "both directions"
								      : "one direction");
	print_line(out, "made", text(provenance, "created"));
	print_line(out, "command", text(provenance, "command"));
	print_classes(out, report);
	print_sources(out, report);
}
