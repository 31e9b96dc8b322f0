/* SPDX-License-Identifier: BSD-2-Clause */
/* `nmtrain dataset`: captures to a data set. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "agent/nmtrain/cmd_dataset.h"
#include "agent/nmtrain/dataset_inputs.h"
#include "agent/nmtrain/dataset_report.h"
#include "agent/nmtrain/escape.h"

struct options {
	struct dataset_input_options inputs;
	const char *output, *format;
	struct option_number folds, seed, packets, header_bytes, payload_bytes, seq_len;
	struct option_number min_packets, max_per_class;
	bool labelled_only, strict;
};

#define AT(member) offsetof(struct options, member)
static const struct option_row rows[] = {
	{"captures", 'c', OPTION_LIST, "DIR", AT(inputs.captures),
	 "a folder, with those below it, or one capture; may be given again"},
	{"labels", 'l', OPTION_LIST, "TSV", AT(inputs.labels),
	 "known classes of the flows of the next --captures"},
	{"class", 0, OPTION_LIST, "NAME", AT(inputs.classes),
	 "class of all other flows there; udp/53=dns: of those of a port"},
	{"source", 0, OPTION_LIST, "NAME", AT(inputs.sources),
	 "where they come from; PATTERN=NAME: those of such file names"},
	{"output", 'o', OPTION_TEXT, "FILE.nmd", AT(output), "the data set to write"},
	{"format", 0, OPTION_TEXT, "text|json", AT(format), "of what is told of the set"},
	{"folds", 0, OPTION_NUMBER, "N", AT(folds), "parts that no capture crosses (5)"},
	{"seed", 0, OPTION_NUMBER, "N", AT(seed), "for what is left to chance (1)"},
	{"packets", 0, OPTION_NUMBER, "N", AT(packets), "packets with bytes of a flow (20)"},
	{"header-bytes", 0, OPTION_NUMBER, "N", AT(header_bytes), "of a packet (80)"},
	{"payload-bytes", 0, OPTION_NUMBER, "N", AT(payload_bytes), "of a packet (240)"},
	{"seq-len", 0, OPTION_NUMBER, "N", AT(seq_len), "sizes and times of a flow (64)"},
	{"min-packets", 0, OPTION_NUMBER, "N", AT(min_packets), "leave shorter flows out (1)"},
	{"max-per-class", 0, OPTION_NUMBER, "N", AT(max_per_class),
	 "flows of one class, from as many captures as can be"},
	{"labelled-only", 0, OPTION_FLAG, NULL, AT(labelled_only),
	 "leave flows without a class out"},
	{"strict", 0, OPTION_FLAG, NULL, AT(strict), "fail at the first broken capture"},
};

struct building {
	struct nmtrain *t;
	struct options options;
	struct dataset_input *inputs;
	size_t n_inputs;
	struct dataset_builder *builder;
	struct dataset_counts counts;
	struct dataset *set;
	char *command;
	uint64_t others; /* files that are no captures */
	bool terminal;
};

static void fini(struct building *b)
{
	dataset_inputs_free(b->inputs, b->n_inputs);
	dataset_builder_free(b->builder);
	dataset_free(b->set);
	free(b->command);
}

static void tell(struct building *b, const char *text)
{
	if (b->terminal)
		fputs("\r\033[K", b->t->log);
	fputs("nmtrain: ", b->t->log);
	escape_terminal(b->t->log, text);
	fputc('\n', b->t->log);
}

static void show_progress(struct building *b)
{
	const struct dataset_counts *c = dataset_builder_counts(b->builder);

	if (!b->terminal || c->captures % 16)
		return;
	fprintf(b->t->log, "\r%llu captures, %llu flows", (unsigned long long)c->captures,
		(unsigned long long)c->flows);
	fflush(b->t->log);
}

static int add_capture(void *ctx, const char *path, const struct dataset_origin *origin)
{
	struct building *b = ctx;
	struct error e = {0};
	int status;

	if (nmtrain_interrupted())
		return error_set(&b->t->error, -EINTR, "interrupted: nothing was written");
	status = dataset_builder_add(b->builder, path, origin, &e);
	show_progress(b);
	if (status == -EEXIST || (status == -EBADMSG && !b->options.strict)) {
		tell(b, e.text);
		return 0;
	}
	if (status)
		b->t->error = e;
	return status;
}

/* A table of labels that fits no flow is a mistake worth a word: names or folder are wrong. */
static int add_input(struct building *b, const struct dataset_input *input)
{
	const struct dataset_counts *c = dataset_builder_counts(b->builder);
	uint64_t captures = c->captures + c->copies + c->broken, labelled = c->labelled;
	char text[400];
	int status = dataset_input_walk(input, add_capture, b, &b->others, &b->t->error);

	if (status)
		return status;
	if (c->captures + c->copies + c->broken == captures)
		return error_set(&b->t->error, -ENOENT,
				 "%.150s: no capture there: their names end in .pcap, .pcapng or "
				 ".cap",
				 input->path);
	if (input->labels && c->labelled == labelled) {
		snprintf(text, sizeof(text), "no flow of %.150s has a row in %.150s", input->path,
			 input->labels_path);
		tell(b, text);
	}
	return 0;
}

static uint32_t or_default(const struct option_number *number, uint32_t otherwise)
{
	if (!number->given)
		return otherwise;
	return number->value < UINT32_MAX ? (uint32_t)number->value : UINT32_MAX;
}

/* Too much for its member stays too much. */
static uint16_t small(uint32_t number)
{
	return number < UINT16_MAX ? (uint16_t)number : UINT16_MAX;
}

static struct dataset_config config_of(const struct options *o)
{
	return (struct dataset_config){
		.shape = {.packets = small(or_default(&o->packets, 20)),
			  .header_bytes = small(or_default(&o->header_bytes, 80)),
			  .payload_bytes = small(or_default(&o->payload_bytes, 240)),
			  .seq_len = small(or_default(&o->seq_len, 64)),
			  .bidirectional = true},
		.n_folds = or_default(&o->folds, 5),
		.seed = o->seed.given ? o->seed.value : 1,
		.min_packets = or_default(&o->min_packets, 1),
		.max_per_class = or_default(&o->max_per_class, 0),
		.labelled_only = o->labelled_only,
	};
}

static json_t *counts_to_json(const struct building *b)
{
	const struct dataset_counts *c = &b->counts;

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i}", "captures",
			 (json_int_t)c->captures, "copies", (json_int_t)c->copies, "broken",
			 (json_int_t)c->broken, "other_files", (json_int_t)b->others, "packets",
			 (json_int_t)c->packets, "flows", (json_int_t)c->flows, "short_flows",
			 (json_int_t)c->short_flows, "unlabelled_flows", (json_int_t)c->unlabelled,
			 "flows_over_limit", (json_int_t)c->over_limit, "groups", (int)c->groups,
			 "captures_cut", (int)c->cut_captures);
}

static int set_provenance(struct building *b, const struct dataset_config *c)
{
	time_t now = time(NULL);
	char created[32], *text;
	struct tm utc;
	json_t *object;
	int status;

	strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
	object = json_pack("{s:s, s:s, s:o, s:I, s:i, s:i, s:b, s:o}", "created", created,
			   "version", NM_VERSION, "command", json_string_nocheck(b->command),
			   "seed", (json_int_t)c->seed, "min_packets", (int)c->min_packets,
			   "max_per_class", (int)c->max_per_class, "labelled_only",
			   c->labelled_only, "counts", counts_to_json(b));
	text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	json_decref(object);
	status = text ? dataset_set_provenance(b->set, text, &b->t->error)
		      : error_set(&b->t->error, -ENOMEM, "no memory for the provenance");
	free(text);
	return status;
}

static int build(struct building *b)
{
	struct dataset_config config = config_of(&b->options);
	struct error *e = &b->t->error;
	int status = dataset_builder_new(&config, &b->builder, e);

	for (size_t i = 0; !status && i < b->n_inputs; i++)
		status = add_input(b, &b->inputs[i]);
	if (b->terminal)
		fputs("\r\033[K", b->t->log);
	if (!status)
		status = dataset_builder_finish(b->builder, &b->set, &b->counts, e);
	if (!status)
		status = set_provenance(b, &config);
	if (!status)
		status = dataset_write(b->set, b->options.output, e);
	return status;
}

static void print_rest(const struct building *b)
{
	const struct dataset_counts *c = &b->counts;
	const struct {
		uint64_t n;
		const char *what;
	} rest[] = {
		{c->copies, "copies of captures, left out"},
		{c->broken, "broken captures: what was readable is in"},
		{b->others, "files that are no captures"},
		{c->short_flows, "flows with too few packets, left out"},
		{c->unlabelled, "flows without a class, left out"},
		{c->over_limit, "flows over the limit of their class, left out"},
		{c->cut_captures, "captures cut by time, since they hold most of a class"},
	};

	fputc('\n', b->t->out);
	for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++)
		if (rest[i].n)
			fprintf(b->t->out, "%8llu %s\n", (unsigned long long)rest[i].n,
				rest[i].what);
}

static char *join(int argc, char **argv)
{
	size_t len = sizeof("nmtrain");
	char *text, *end;

	for (int i = 0; i < argc; i++)
		len += strlen(argv[i]) + 1;
	text = malloc(len);
	if (!text)
		return NULL;
	end = stpcpy(text, "nmtrain");
	for (int i = 0; i < argc; i++) {
		*end++ = ' ';
		end = stpcpy(end, argv[i]);
	}
	return text;
}

static int check_options(struct building *b, int n_words, char **argv)
{
	const struct options *o = &b->options;

	if (n_words)
		return nmtrain_usage(
			b->t, "\"%.60s\" is no option; captures are named by --captures", argv[1]);
	if (!o->inputs.captures.n)
		return nmtrain_usage(b->t, "which captures? --captures DIR");
	if (!o->output)
		return nmtrain_usage(b->t, "where to? -o FILE.nmd");
	if (o->format && strcmp(o->format, "text") && strcmp(o->format, "json"))
		return nmtrain_usage(b->t, "--format %.40s: text or json", o->format);
	return STATUS_DONE;
}

static int cmd_build(struct nmtrain *t, int argc, char **argv)
{
	cleanup(fini) struct building b = {.t = t, .terminal = isatty(fileno(t->log))};
	char **given = malloc(((size_t)argc + 1) * sizeof(*given));
	int status, n_words, ret;

	b.command = join(argc, argv);
	if (!given || !b.command) {
		free(given);
		return nmtrain_failed(t, "no memory");
	}
	memcpy(given, argv, ((size_t)argc + 1) * sizeof(*given));
	if (nmtrain_options(t, rows, sizeof(rows) / sizeof(rows[0]), &b.options, argc, argv,
			    &n_words, &status) ||
	    (status = check_options(&b, n_words, argv))) {
		free(given);
		return status;
	}
	ret = dataset_inputs_new(&b.options.inputs, argc, given, &b.inputs, &b.n_inputs, &t->error);
	free(given);
	if (ret)
		return ret == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
	/* As in `nmctl classify`: a small capture pays for the pages of tables that it touches. */
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	nmtrain_catch_signals();
	ret = build(&b);
	if (ret)
		return nmtrain_result(t, ret);
	dataset_free(take_ptr(b.set));
	status = dataset_show(t, b.options.output, b.options.format);
	if (status == STATUS_DONE && (!b.options.format || !strcmp(b.options.format, "text")))
		print_rest(&b);
	return status;
}

int cmd_dataset(struct nmtrain *t, int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "show"))
		return cmd_dataset_show(t, argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "dump"))
		return cmd_dataset_dump(t, argc - 1, argv + 1);
	return cmd_build(t, argc, argv);
}
