/* SPDX-License-Identifier: BSD-2-Clause */
/* Options as data: a row names, binds and explains each. They may stand anywhere. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include "agent/nmctl/names.h"
#include "agent/nmctl/nmctl.h"

enum option_kind { KIND_FLAG, KIND_TEXT, KIND_FORMAT };

static const struct option_row {
	unsigned bit;
	const char *name;
	char letter; /* 0: none */
	enum option_kind kind;
	const char *argument; /* NULL for a flag */
	size_t offset;        /* of the member for KIND_TEXT */
	const char *help;
} rows[] = {
#define TEXT_AT(member) KIND_TEXT, "PATH", offsetof(struct nmctl_options, member)
	{OPTION_OUTPUT, "output", 'o', KIND_FORMAT, "table|json", 0,
	 "tables for people, or one JSON object a line"},
	{OPTION_SOCKET, "socket", 's', TEXT_AT(socket_path),
	 "the daemon's socket (else NETMAMBA_SOCKET, else " DEFAULT_SOCKET ")"},
	{OPTION_FOLLOW, "follow", 'f', KIND_FLAG, NULL, 0, "go on as new ones come, until Ctrl-C"},
	{OPTION_SINCE, "since", 0, KIND_TEXT, "AGE", offsetof(struct nmctl_options, since),
	 "how far back, such as 90s, 10m, 1h; the same as since=AGE"},
	{OPTION_MODEL, "model", 'm', TEXT_AT(model_path), "a model file (else the installed one)"},
	{OPTION_VECTORS, "vectors", 0, TEXT_AT(vectors_path),
	 "inputs and logits that the model must reproduce"},
	{OPTION_CONFIG, "config", 'c', TEXT_AT(config_path),
	 "the daemon's settings (else /etc/netmamba/nmd.conf)"},
	{OPTION_LABELS, "labels", 0, TEXT_AT(labels_path),
	 "the flows' true classes (labels.tsv): tells accuracy, macro F1"},
	{OPTION_TIMING, "timing", 0, KIND_FLAG, NULL, 0,
	 "the time of each stage, on standard error"},
	{OPTION_HELP, "help", 'h', KIND_FLAG, NULL, 0, "this help; after a command, its own"},
	{OPTION_VERSION, "version", 'V', KIND_FLAG, NULL, 0, "the version"},
#undef TEXT_AT
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static int find_long(const char *name, struct error *e)
{
	const char *names[N_ROWS];

	for (size_t i = 0; i < N_ROWS; i++)
		names[i] = rows[i].name;
	return names_find(names, N_ROWS, name, "option", e);
}

static int find_letter(char letter, struct error *e)
{
	for (size_t i = 0; i < N_ROWS; i++)
		if (rows[i].letter == letter)
			return i;
	return error_set(e, -EINVAL, "unknown option -%c; see nmctl --help", letter);
}

static int set(struct nmctl_options *options, const struct option_row *row, const char *value,
	       struct error *e)
{
	static const char *const formats[] = {"table", "json"};
	int format;

	options->given |= row->bit;
	if (row->kind == KIND_TEXT)
		*(const char **)((char *)options + row->offset) = value;
	if (row->kind != KIND_FORMAT)
		return 0;
	format = names_find(formats, 2, value, "output format", e);
	if (format < 0)
		return format;
	options->format = format == 1 ? OUTPUT_JSON : OUTPUT_TABLE;
	return 0;
}

/* One "--name", "--name=value", "-o value" or "-ovalue" at argv[*at]; moves *at past its value. */
static int parse_one(struct nmctl *ctl, int argc, const char *const *argv, int *at)
{
	const char *text = argv[*at], *value = NULL;
	char name[32];
	int i;

	if (text[1] == '-') {
		size_t len = strcspn(text + 2, "=");

		if (text[2 + len] == '=')
			value = text + 2 + len + 1;
		snprintf(name, sizeof(name), "%.*s", (int)len, text + 2);
		i = find_long(name, &ctl->error);
	} else {
		if (text[2])
			value = text + 2;
		i = find_letter(text[1], &ctl->error);
	}
	if (i < 0)
		return i;
	if (rows[i].kind == KIND_FLAG && value)
		return error_set(&ctl->error, -EINVAL, "option --%s takes no value", rows[i].name);
	if (rows[i].kind != KIND_FLAG && !value) {
		if (*at + 1 >= argc)
			return error_set(&ctl->error, -EINVAL, "option --%s needs a value: --%s %s",
					 rows[i].name, rows[i].name, rows[i].argument);
		value = argv[++*at];
	}
	return set(&ctl->options, &rows[i], value, &ctl->error);
}

int options_parse(struct nmctl *ctl, int argc, const char *const *argv)
{
	bool ended = false;

	for (int i = 0; i < argc; i++) {
		int ret = 0;

		if (!ended && !strcmp(argv[i], "--"))
			ended = true;
		else if (!ended && argv[i][0] == '-' && argv[i][1])
			ret = parse_one(ctl, argc, argv, &i);
		else if (ctl->n_words == MAX_WORDS)
			ret = error_set(&ctl->error, -EINVAL, "too many words: %d at most",
					MAX_WORDS);
		else
			ctl->words[ctl->n_words++] = argv[i];
		if (ret)
			return ret;
	}
	return 0;
}

const char *options_name(unsigned bits)
{
	for (size_t i = 0; i < N_ROWS; i++)
		if (rows[i].bit & bits)
			return rows[i].name;
	return "";
}

void options_help(FILE *out, unsigned options)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		char left[40], letter[4] = "";

		if (!(rows[i].bit & options))
			continue;
		if (rows[i].letter)
			snprintf(letter, sizeof(letter), "-%c,", rows[i].letter);
		snprintf(left, sizeof(left), "--%s%s%s", rows[i].name, rows[i].argument ? " " : "",
			 rows[i].argument ? rows[i].argument : "");
		fprintf(out, "  %-3s %-22s %s\n", letter, left, rows[i].help);
	}
}
