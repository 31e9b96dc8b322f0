/* SPDX-License-Identifier: BSD-2-Clause */
/* `nmtrain dataset show` and `dump`: what is in a data set. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmtrain/cmd_dataset.h"
#include "agent/nmtrain/dataset_dump.h"
#include "agent/nmtrain/dataset_report.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void drop_set(struct dataset **set)
{
	dataset_free(*set);
}

static void drop_json(json_t **json)
{
	json_decref(*json);
}

int dataset_show(struct nmtrain *t, const char *path, const char *format)
{
	cleanup(drop_set) struct dataset *set = NULL;
	cleanup(drop_json) json_t *report = NULL;
	int status = dataset_read(path, &set, &t->error);

	if (status)
		return nmtrain_result(t, status);
	report = dataset_to_json(set, path);
	if (!report)
		return nmtrain_failed(t, "no memory to describe %.150s", path);
	if (!format || strcmp(format, "json")) {
		dataset_print(t->out, report);
		return STATUS_DONE;
	}
	if (json_dumpf(report, t->out, JSON_COMPACT) || fputc('\n', t->out) == EOF)
		return nmtrain_failed(t, "writing the output failed: %s", strerror(errno));
	return STATUS_DONE;
}

int cmd_dataset_show(struct nmtrain *t, int argc, char **argv)
{
	static const struct option_row rows[] = {
		{"output", 'o', OPTION_TEXT, "text|json", 0, "one JSON object instead of tables"},
	};
	const char *format = NULL;
	int n_words, status;

	if (nmtrain_options(t, rows, COUNT(rows), &format, argc, argv, &n_words, &status))
		return status;
	if (n_words != 1)
		return nmtrain_usage(t, "which data set? nmtrain dataset show FILE.nmd");
	if (format && strcmp(format, "text") && strcmp(format, "json"))
		return nmtrain_usage(t, "-o %.40s: text or json", format);
	return dataset_show(t, argv[1], format);
}

struct dump_options {
	const char *output;
	struct option_number packets, header_bytes, payload_bytes, seq_len;
};

static const struct option_row dump_rows[] = {
	{"output", 'o', OPTION_TEXT, "FILE.safetensors", offsetof(struct dump_options, output),
	 "the file to write"},
	{"packets", 0, OPTION_NUMBER, "N", offsetof(struct dump_options, packets),
	 "packets with bytes of a flow (6)"},
	{"header-bytes", 0, OPTION_NUMBER, "N", offsetof(struct dump_options, header_bytes),
	 "of a packet (80)"},
	{"payload-bytes", 0, OPTION_NUMBER, "N", offsetof(struct dump_options, payload_bytes),
	 "of a packet (80)"},
	{"seq-len", 0, OPTION_NUMBER, "N", offsetof(struct dump_options, seq_len),
	 "sizes and times of a flow (50)"},
};

/* Too much for its member stays too much. */
static uint16_t or_default(const struct option_number *number, uint16_t otherwise)
{
	if (!number->given)
		return otherwise;
	return number->value < UINT16_MAX ? (uint16_t)number->value : UINT16_MAX;
}

int cmd_dataset_dump(struct nmtrain *t, int argc, char **argv)
{
	cleanup(drop_set) struct dataset *set = NULL;
	struct dump_options o = {0};
	struct sample_shape shape;
	int n_words, status;

	if (nmtrain_options(t, dump_rows, COUNT(dump_rows), &o, argc, argv, &n_words, &status))
		return status;
	if (n_words != 1 || !o.output)
		return nmtrain_usage(t, "which data set, and where to? nmtrain dataset dump "
					"FILE.nmd -o FILE.safetensors");
	shape = (struct sample_shape){.packets = or_default(&o.packets, 6),
				      .header_bytes = or_default(&o.header_bytes, 80),
				      .payload_bytes = or_default(&o.payload_bytes, 80),
				      .seq_len = or_default(&o.seq_len, 50),
				      .bidirectional = true};
	if (!shape.packets || shape.packets > shape.seq_len)
		return nmtrain_usage(t, "%u packets with bytes of %u: 1 to all can be",
				     shape.packets, shape.seq_len);
	status = dataset_read(argv[1], &set, &t->error);
	if (!status)
		status = dataset_dump(set, &shape, o.output, &t->error);
	return nmtrain_result(t, status);
}
