/* SPDX-License-Identifier: BSD-2-Clause */
/* `nmctl classify`: the flows of captures and their classes, with no daemon. */
#include <errno.h>
#include <malloc.h>
#include "agent/nmctl/classifier.h"
#include "agent/nmctl/labels.h"
#include "agent/nmctl/nmctl.h"

/* A table is laid out once it is whole; so many rows are one, however long the capture. */
#define TABLE_ROWS 10000

struct class_sum {
	uint64_t flows, packets, bytes, unknown;
};

struct classify {
	struct nmctl *ctl;
	struct model *model;
	struct engine *engine;
	struct classifier *classifier;
	struct output *output;
	struct labels *labels; /* NULL: none given */
	const char *capture;   /* the one being read */
	struct class_sum sums[MODEL_MAX_CLASSES];
};

static const struct column flow_columns[] = {
	{"PROTO", "proto", UNIT_TEXT, .width = 8},
	{"SOURCE", "src,sport", UNIT_ENDPOINT, .cut = true},
	{"DESTINATION", "dst,dport", UNIT_ENDPOINT, .cut = true},
	{"PACKETS", "packets", UNIT_COUNT, .width = 7},
	{"BYTES", "bytes", UNIT_BYTES, .width = 7},
	{"CLASS", "class", UNIT_TEXT, .width = 8},
	{"CONFIDENCE", "confidence", UNIT_PERCENT, .width = 6},
	{"UNKNOWN", "unknown", UNIT_YES, .width = 7},
	{"CAPTURE", "capture", UNIT_TEXT, .width = 16, .cut = true}, /* where there are several */
};

static const struct column sum_columns[] = {
	{"CLASS", "class", UNIT_TEXT, .width = 8},      {"FLOWS", "flows", UNIT_COUNT, .width = 7},
	{"PACKETS", "packets", UNIT_COUNT, .width = 7}, {"BYTES", "bytes", UNIT_BYTES, .width = 7},
	{"UNKNOWN", "unknown", UNIT_COUNT, .width = 7},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void fini(struct classify *c)
{
	labels_free(c->labels);
	output_free(c->output);
	classifier_free(c->classifier);
	engine_close(c->engine);
	model_unref(c->model);
}

static int new_table(struct classify *c)
{
	size_t n_columns = COUNT(flow_columns) - (c->ctl->n_words == 1);

	output_free(take_ptr(c->output));
	return output_new(c->ctl->out, c->ctl->options.format, false, flow_columns, n_columns,
			  &c->output);
}

static int print_flow(void *ctx, const struct flow_event *event, int class_index)
{
	struct classify *c = ctx;
	struct class_sum *sum = &c->sums[class_index];
	cleanup(drop_json) json_t *row = event_to_json(event, true);
	int status = 0;

	if (!row || json_object_set_new(row, "decided_by", json_string(decided_by_name(event->by))))
		return -ENOMEM;
	if (c->ctl->n_words > 1 &&
	    json_object_set_new(row, "capture", json_string_nocheck(c->capture)))
		return -ENOMEM;
	sum->flows++;
	sum->packets += event->packets;
	sum->bytes += event->bytes;
	sum->unknown += event->unknown;
	if (c->labels)
		labels_count(c->labels, c->capture, event, class_index);
	if (output_rows(c->output) == TABLE_ROWS && c->ctl->options.format == OUTPUT_TABLE) {
		status = output_end(c->output);
		if (!status)
			status = new_table(c);
	}
	return status ? status : output_row(c->output, row);
}

static int open_all(struct classify *c)
{
	const struct nmctl_options *options = &c->ctl->options;
	struct error *e = &c->ctl->error;
	const char *path = nmctl_model_path(c->ctl);
	int status;

	if (!path)
		return error_set(e, -ENOENT,
				 "no model: neither " DEFAULT_MODEL " nor " TREE_MODEL
				 " is there; name one with --model PATH");
	status = model_load(path, &c->model, e);
	if (!status)
		status = engine_open("auto", c->model, &c->engine, e);
	if (!status)
		status = classifier_new(c->model, c->engine, options->given & OPTION_TIMING,
					print_flow, c, &c->classifier, e);
	if (!status && options->labels_path)
		status = labels_read(options->labels_path, c->model, &c->labels, e);
	if (!status && (status = new_table(c)))
		error_set(e, status, "no memory for a table");
	return status;
}

/* The last error is the caller's to print; one that another would take the place of is told now. */
static enum status read_captures(struct classify *c)
{
	enum status status = STATUS_DONE;
	struct error e = {0};

	for (size_t i = 0; i < c->ctl->n_words; i++) {
		c->capture = c->ctl->words[i];
		if (!classifier_read(c->classifier, c->capture, &e))
			continue;
		if (status) {
			fputs("nmctl: ", stderr);
			output_text(stderr, c->ctl->error.text);
			fputc('\n', stderr);
		}
		c->ctl->error = e;
		status = STATUS_FAILED;
	}
	return status;
}

static int print_sums(struct classify *c)
{
	cleanup(drop_output) struct output *o = NULL;
	int status =
		output_new(c->ctl->out, OUTPUT_TABLE, false, sum_columns, COUNT(sum_columns), &o);

	for (uint32_t i = 0; !status && i < c->model->n_classes; i++) {
		const struct class_sum *sum = &c->sums[i];
		cleanup(drop_json) json_t *row = NULL;

		if (!sum->flows)
			continue;
		row = json_pack("{s:s, s:I, s:I, s:I, s:I}", "class", c->model->class_name[i],
				"flows", (json_int_t)sum->flows, "packets",
				(json_int_t)sum->packets, "bytes", (json_int_t)sum->bytes,
				"unknown", (json_int_t)sum->unknown);
		status = row ? output_row(o, row) : -ENOMEM;
	}
	if (!status && output_rows(o))
		fputc('\n', c->ctl->out);
	return status ? status : output_end(o);
}

/* What of the captures is in no flow's line. */
static void print_rest(struct classify *c)
{
	const struct offline_stats *s = &classifier_stats(c->classifier)->offline;
	uint64_t n_flows = classifier_stats(c->classifier)->flows;
	FILE *out = c->ctl->out;
	static const struct {
		enum reason reason;
		const char *what;
	} rest[] = {
		{REASON_NOT_IP, "packets not IP"},
		{REASON_MALFORMED, "malformed packets"},
		{REASON_UNTRACKED, "packets of a protocol that is not followed"},
		{REASON_FRAGMENT_UNKNOWN, "fragments without their first one"},
	};

	fprintf(out, "\n%llu packets, %llu flow%s", (unsigned long long)s->packets,
		(unsigned long long)n_flows, n_flows == 1 ? "" : "s");
	for (size_t i = 0; i < COUNT(rest); i++)
		if (s->reasons[rest[i].reason])
			fprintf(out, "; %s: %llu", rest[i].what,
				(unsigned long long)s->reasons[rest[i].reason]);
	if (s->assembler.flows_no_memory)
		fprintf(out, "; packets of flows that there was no memory for: %llu",
			(unsigned long long)s->assembler.flows_no_memory);
	if (s->assembler.flows_evicted)
		fprintf(out, "; flows judged early, for room: %llu",
			(unsigned long long)s->assembler.flows_evicted);
	fputc('\n', out);
}

static void print_figures(struct classify *c)
{
	struct labels_figures f;

	labels_figures(c->labels, &f);
	if (!f.n_flows) {
		fprintf(c->ctl->out, "no flow has a label\n");
		return;
	}
	fprintf(c->ctl->out, "%llu labelled flows of %u classes: accuracy %.3f, macro F1 %.3f\n",
		(unsigned long long)f.n_flows, f.n_classes, (double)f.n_right / f.n_flows,
		f.macro_f1);
}

static void print_timing(const struct classifier_stats *s)
{
	uint64_t rest_ns =
		s->total_ns - s->offline.read_ns - s->tokens_ns - s->engine_ns - s->output_ns;
	const struct {
		const char *stage;
		uint64_t ns;
	} stages[] = {
		{"reading", s->offline.read_ns}, {"extraction+assembly", rest_ns},
		{"tokens", s->tokens_ns},        {"engine", s->engine_ns},
		{"output", s->output_ns},
	};

	for (size_t i = 0; i < COUNT(stages); i++)
		fprintf(stderr, "timing %s %.6f s %.1f%%\n", stages[i].stage, stages[i].ns / 1e9,
			s->total_ns ? 100.0 * stages[i].ns / s->total_ns : 0);
	fprintf(stderr, "timing flows %llu packets %llu\n", (unsigned long long)s->flows,
		(unsigned long long)s->offline.packets);
}

enum status cmd_classify(struct nmctl *ctl)
{
	cleanup(fini) struct classify c = {.ctl = ctl};
	enum status status;
	int ret;

	/* The tables are mapped for each capture and unmapped, never cleared on the heap: a small
	 * capture pays for the pages that it touches (4 ms less each). */
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	ret = open_all(&c);
	if (ret)
		return nmctl_result(ctl, ret);
	status = read_captures(&c);
	ret = output_end(c.output);
	if (!ret && ctl->options.format == OUTPUT_TABLE) {
		ret = print_sums(&c);
		print_rest(&c);
		if (c.labels)
			print_figures(&c);
	}
	if (ctl->options.given & OPTION_TIMING)
		print_timing(classifier_stats(c.classifier));
	if (ret && !status)
		return nmctl_result(ctl, ret);
	return status;
}
