/* SPDX-License-Identifier: BSD-2-Clause */
/* A command's options: one reader and one printer of its rows. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmtrain/nmtrain.h"
#include "agent/policy/nearest.h"

struct reader {
	struct nmtrain *t;
	const struct option_row *rows;
	size_t n_rows;
	void *options;
	int argc;
	char **argv;
};

static const struct option_row *find_long(const struct reader *rd, const char *name)
{
	const char *names[OPTIONS_MAX], *nearest;

	for (size_t i = 0; i < rd->n_rows; i++) {
		if (!strcmp(rd->rows[i].name, name))
			return &rd->rows[i];
		names[i] = rd->rows[i].name;
	}
	nearest = nearest_of(name, names, rd->n_rows);
	nmtrain_usage(rd->t, "unknown option --%.40s; %s%s%s", name,
		      nearest ? "did you mean --" : "see nmtrain help ",
		      nearest ? nearest : rd->argv[0], nearest ? "?" : "");
	return NULL;
}

static const struct option_row *find_letter(const struct reader *rd, char letter)
{
	for (size_t i = 0; i < rd->n_rows; i++)
		if (rd->rows[i].letter == letter)
			return &rd->rows[i];
	nmtrain_usage(rd->t, "unknown option -%c; see nmtrain help %s", letter, rd->argv[0]);
	return NULL;
}

static int set_number(struct nmtrain *t, const struct option_row *row, const char *value,
		      struct option_number *number)
{
	char *end;

	errno = 0;
	number->value = strtoull(value, &end, 10);
	number->given = true;
	if (*value < '0' || *value > '9' || *end || errno)
		return nmtrain_usage(t, "--%s: \"%.40s\" is no whole number from 0 on", row->name,
				     value);
	return STATUS_DONE;
}

static int set(const struct reader *rd, const struct option_row *row, const char *value)
{
	void *at = (char *)rd->options + row->offset;
	struct option_list *list = at;

	switch (row->kind) {
	case OPTION_FLAG:
		*(bool *)at = true;
		return STATUS_DONE;
	case OPTION_TEXT:
		*(const char **)at = value;
		return STATUS_DONE;
	case OPTION_NUMBER:
		return set_number(rd->t, row, value, at);
	case OPTION_LIST:
		if (list->n == OPTIONS_MAX)
			return nmtrain_usage(rd->t, "--%s: more than %d of them", row->name,
					     OPTIONS_MAX);
		list->items[list->n++] = value;
		return STATUS_DONE;
	}
	return STATUS_USAGE;
}

/* One "--name", "--name=value", "-o value" or "-ovalue" at argv[*at]; moves *at past its value. */
static int parse_one(const struct reader *rd, int *at)
{
	const char *text = rd->argv[*at], *value = NULL;
	const struct option_row *row;
	char name[48];

	if (text[1] == '-') {
		size_t len = strcspn(text + 2, "=");

		if (text[2 + len] == '=')
			value = text + 2 + len + 1;
		snprintf(name, sizeof(name), "%.*s", (int)len, text + 2);
		row = find_long(rd, name);
	} else {
		if (text[2])
			value = text + 2;
		row = find_letter(rd, text[1]);
	}
	if (!row)
		return STATUS_USAGE;
	if (row->kind == OPTION_FLAG && value)
		return nmtrain_usage(rd->t, "option --%s takes no value", row->name);
	if (row->kind != OPTION_FLAG && !value) {
		if (*at + 1 >= rd->argc)
			return nmtrain_usage(rd->t, "option --%s needs a value: --%s %s", row->name,
					     row->name, row->argument);
		value = rd->argv[++*at];
	}
	return set(rd, row, value);
}

static void print_help(const struct reader *rd)
{
	const struct command *c = rd->t->command;
	FILE *out = rd->t->out;

	commands_usage(out, c);
	fprintf(out, "\n%s\n", c->help);
	if (c->more)
		fprintf(out, "\n%s", c->more);
	fprintf(out, "\noptions:\n");
	for (size_t i = 0; i < rd->n_rows; i++) {
		const struct option_row *row = &rd->rows[i];
		char left[48], letter[4] = "";

		if (row->letter)
			snprintf(letter, sizeof(letter), "-%c,", row->letter);
		snprintf(left, sizeof(left), "--%s%s%s", row->name, row->argument ? " " : "",
			 row->argument ? row->argument : "");
		fprintf(out, "  %-3s %-24s %s\n", letter, left, row->help);
	}
	fprintf(out, "  -h, %-24s this help\n", "--help");
}

bool nmtrain_options(struct nmtrain *t, const struct option_row *rows, size_t n_rows, void *options,
		     int argc, char **argv, int *ret_words, int *ret_status)
{
	struct reader rd = {t, rows, n_rows, options, argc, argv};
	int status = STATUS_DONE, n_words = 0;
	bool ended = false;

	for (int i = 1; i < argc && status == STATUS_DONE; i++) {
		if (!ended && !strcmp(argv[i], "--")) {
			ended = true;
		} else if (!ended && (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))) {
			print_help(&rd);
			*ret_status = STATUS_DONE;
			return true;
		} else if (!ended && argv[i][0] == '-' && argv[i][1]) {
			status = parse_one(&rd, &i);
		} else {
			argv[1 + n_words++] = argv[i];
		}
	}
	*ret_words = n_words;
	*ret_status = status;
	return status != STATUS_DONE;
}
