/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands as data. Finding, arity, options and help all read this one table. */
#include <errno.h>
#include <string.h>
#include "agent/nmctl/names.h"
#include "agent/nmctl/nmctl.h"

#define ANY WIRE_MAX_WORDS

static const struct command table[] = {
	{"help", NULL, cmd_help, 0, 2, 0, "[COMMAND [VERB]]", "what a command does and takes",
	 NULL},
};
#define N_COMMANDS (sizeof(table) / sizeof(table[0]))

#define ALWAYS (OPTION_HELP | OPTION_VERSION | OPTION_OUTPUT)

const struct command *commands_table(size_t *ret_n)
{
	*ret_n = N_COMMANDS;
	return table;
}

static int find_noun(const char *word, struct error *e)
{
	const char *nouns[N_COMMANDS];

	for (size_t i = 0; i < N_COMMANDS; i++)
		nouns[i] = table[i].noun;
	return names_find(nouns, N_COMMANDS, word, "command", e);
}

/* Rows of a noun stand together, from first on. */
static size_t verbs_of(size_t first, const char *verbs[N_COMMANDS])
{
	size_t n = 0;

	while (first + n < N_COMMANDS && !strcmp(table[first + n].noun, table[first].noun)) {
		verbs[n] = table[first + n].verb;
		n++;
	}
	return n;
}

/* The row that the words begin with; *ret_used words are its noun and verb. A noun with verbs and
 * no word after it is its first row, which is `show`. */
static int find_row(const char *const *words, size_t n_words, size_t *ret_used, struct error *e)
{
	const char *verbs[N_COMMANDS];
	char what[48];
	int first = find_noun(words[0], e);
	size_t n_verbs;
	int verb;

	if (first < 0)
		return first;
	*ret_used = 1;
	n_verbs = verbs_of(first, verbs);
	if (!verbs[0] || n_words < 2)
		return first;
	snprintf(what, sizeof(what), "%s command", table[first].noun);
	verb = names_find(verbs, n_verbs, words[1], what, e);
	if (verb < 0)
		return verb;
	*ret_used = 2;
	return first + verb;
}

static int check(struct nmctl *ctl)
{
	const struct command *c = ctl->command;
	unsigned strange = ctl->options.given & ~(c->options | ALWAYS);
	const char *verb = c->verb ? c->verb : "", *space = c->verb ? " " : "";

	if (strange)
		return error_set(&ctl->error, -EINVAL, "%s%s%s takes no --%s", c->noun, space, verb,
				 options_name(strange));
	if (ctl->n_words < c->min_words)
		return error_set(&ctl->error, -EINVAL, "%s%s%s needs %s", c->noun, space, verb,
				 c->usage);
	if (ctl->n_words > c->max_words)
		return error_set(&ctl->error, -EINVAL, "%s%s%s: too many words, from \"%.40s\"",
				 c->noun, space, verb, ctl->words[c->max_words]);
	return 0;
}

int commands_find(struct nmctl *ctl)
{
	size_t used = 0;
	int row = find_row(ctl->words, ctl->n_words, &used, &ctl->error);

	if (row < 0)
		return row;
	ctl->command = &table[row];
	ctl->verb_given = used == 2;
	ctl->n_words -= used;
	memmove(ctl->words, ctl->words + used, ctl->n_words * sizeof(ctl->words[0]));
	/* Help wants no arguments. */
	return ctl->options.given & OPTION_HELP ? 0 : check(ctl);
}

static void print_row(FILE *out, const struct command *c)
{
	char left[80];

	snprintf(left, sizeof(left), "%s%s%s%s%s", c->noun, c->verb ? " " : "",
		 c->verb ? c->verb : "", *c->usage ? " " : "", c->usage);
	if (strlen(left) <= 30)
		fprintf(out, "  %-30s  %s\n", left, c->help);
	else
		fprintf(out, "  %s\n  %-30s  %s\n", left, "", c->help);
}

void commands_usage(FILE *out, const struct command *c)
{
	fprintf(out, "usage: nmctl %s%s%s%s%s%s\n", c->noun, c->verb ? " " : "",
		c->verb ? c->verb : "", *c->usage ? " " : "", c->usage,
		c->options ? " [options]" : "");
}

static void help_one(FILE *out, const struct command *c)
{
	commands_usage(out, c);
	fprintf(out, "\n%s\n", c->help);
	if (c->more)
		fprintf(out, "\n%s", c->more);
	fprintf(out, "\noptions:\n");
	options_help(out, c->options | OPTION_OUTPUT | OPTION_HELP);
}

static void help_all(FILE *out, const char *noun)
{
	fprintf(out, "usage: nmctl %s [VERB] [key=value ...] [options]\n\n",
		noun ? noun : "COMMAND");
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (!noun || !strcmp(table[i].noun, noun))
			print_row(out, &table[i]);
	fprintf(out,
		"\nAny command, verb or option may be shortened as long as it stays unambiguous.\n"
		"`nmctl help %s` tells more of one. Exit status: 0 done, 1 failed, 2 usage.\n",
		noun ? "COMMAND VERB" : "COMMAND");
	if (noun)
		return;
	fprintf(out, "\noptions:\n");
	options_help(out, ~0u);
}

void commands_help(FILE *out, const struct command *command, bool whole_noun)
{
	if (!command)
		help_all(out, NULL);
	else if (whole_noun && command->verb)
		help_all(out, command->noun);
	else
		help_one(out, command);
}

enum status cmd_help(struct nmctl *ctl)
{
	size_t used = 0;
	int row;

	if (!ctl->n_words) {
		commands_help(ctl->out, NULL, true);
		return STATUS_DONE;
	}
	row = find_row(ctl->words, ctl->n_words, &used, &ctl->error);
	if (row < 0)
		return STATUS_USAGE;
	commands_help(ctl->out, &table[row], used == 1);
	return STATUS_DONE;
}
