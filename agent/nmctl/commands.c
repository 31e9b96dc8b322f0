/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands as data. Finding, arity, options and help all read this one table. */
#include <errno.h>
#include <string.h>
#include "agent/nmctl/names.h"
#include "agent/nmctl/nmctl.h"

#define RULE_WORDS "[class=NAME] [net=PREFIX] ..."
#define RULE_HELP                                                                                  \
	"A rule covers flows of a class, of a network, or both; give at least one.\n"              \
	"  class=NAME     as `nmctl classes` lists them; unknown is a class, too\n"                \
	"  net=PREFIX     the other end: 10.0.0.0/8, 2001:db8::/32, 192.0.2.7\n"                   \
	"  dir=           in: what this host receives, out: what it sends; default both\n"         \
	"  for=1h         the rule ends by itself\n"                                               \
	"  confirm=60s    undone after that time unless `nmctl policy confirm` follows\n"          \
	"  force          also flows that the safety net protects (ssh, DNS, DHCP)\n"              \
	"The longest net= decides first, then class= before none, then the later rule.\n"

/* Rows of one noun stand together; its first row is what the noun alone means. */
static const struct command table[] = {
	{"status", NULL, cmd_status, 0, 0, OPTION_SOCKET, "",
	 "the agent, its interfaces, and what became of the packets", NULL},
	{"doctor", NULL, cmd_doctor, 0, 0, OPTION_SOCKET | OPTION_MODEL | OPTION_CONFIG, "",
	 "what this host can do for the agent, and what is missing",
	 "Exit status 1 only when nmd cannot run here. Nothing is attached to any interface.\n"},
	{"classes", NULL, cmd_classes, 0, 0, OPTION_SOCKET, "",
	 "flows, packets and thresholds of each class", NULL},
	{"flows", NULL, cmd_flows, 0, FLOWS_MAX_WORDS, OPTION_SOCKET | OPTION_FOLLOW | OPTION_SINCE,
	 "[class=NAME] [net=PREFIX] [proto=P] [action=A] [since=1h] [limit=100]",
	 "judged flows, the latest last; --follow shows new ones as they come",
	 "action is watch, pass, drop or limit; the id under FLOW is what `explain` takes.\n"
	 "A class with a ? is only the nearest one: the flow counts as unknown.\n"},
	{"explain", NULL, cmd_explain, 1, 1, OPTION_SOCKET, "FLOW",
	 "why a flow got its class, and what is done about it",
	 "FLOW is the id of 16 hex digits that `nmctl flows` shows.\n"},
	{"classify", NULL, cmd_classify, 1, MAX_WORDS, OPTION_MODEL | OPTION_LABELS | OPTION_TIMING,
	 "FILE.pcap [FILE.pcap ...]", "the flows of captures and their classes, without an agent",
	 "FILE may be - for standard input, as from `tcpdump -w -`. Flows stand in order of their\n"
	 "first packet, with totals over the whole capture.\n"},
	{"policy", "show", cmd_policy_show, 0, 0, OPTION_SOCKET, "",
	 "the rules in force, with what they acted on", NULL},
	{"policy", "block", cmd_policy_rule, 1, 8, OPTION_SOCKET, RULE_WORDS,
	 "drop packets from the next one on", RULE_HELP},
	{"policy", "limit", cmd_policy_rule, 2, 10, OPTION_SOCKET,
	 "rate=2mbit [burst=64kb] " RULE_WORDS, "let pass at a rate, drop what is above",
	 RULE_HELP
	 "rate= is in bit, kbit, mbit or gbit a second; all flows of the rule share it.\n"},
	{"policy", "watch", cmd_policy_rule, 1, 8, OPTION_SOCKET, RULE_WORDS,
	 "let pass and tell (an exception from a wider rule)", RULE_HELP},
	{"policy", "allow", cmd_policy_rule, 1, 8, OPTION_SOCKET, RULE_WORDS,
	 "let pass; net= alone: never act on that network", RULE_HELP},
	{"policy", "check", cmd_policy_check, 1, 1, OPTION_MODEL, "FILE",
	 "read a policy file without an agent", "FILE may be - for standard input.\n"},
	{"policy", "diff", cmd_policy_diff, 1, 1, OPTION_SOCKET, "FILE",
	 "what applying the file would change", "FILE may be - for standard input.\n"},
	{"policy", "apply", cmd_policy_apply, 1, 2, OPTION_SOCKET, "FILE [confirm=60s]",
	 "replace the policy by the file's", "FILE may be - for standard input.\n"},
	{"policy", "confirm", cmd_policy_change, 0, 0, OPTION_SOCKET, "",
	 "keep a change that was made with confirm=", NULL},
	{"policy", "remove", cmd_policy_change, 1, 1, OPTION_SOCKET, "ID",
	 "take a rule away, by its id in `policy show`", NULL},
	{"policy", "history", cmd_policy_history, 0, 0, OPTION_SOCKET, "",
	 "earlier versions: when, by whom, what", NULL},
	{"policy", "rollback", cmd_policy_change, 0, 1, OPTION_SOCKET, "[VERSION]",
	 "back to the version before, or to the one named", NULL},
	{"policy", "arm", cmd_policy_change, 0, 0, OPTION_SOCKET, "",
	 "enforce again after the breaker tripped", NULL},
	{"model", "show", cmd_model_show, 0, 1, OPTION_SOCKET, "[FILE]",
	 "a model file, or the model that the agent runs", NULL},
	{"model", "verify", cmd_model_verify, 1, 1, OPTION_VECTORS, "FILE [--vectors IO]",
	 "check a model file, and that it computes what was recorded",
	 "Prints `figure logits_deviation VALUE relative`; above 1e-4 it has failed.\n"},
	{"model", "load", cmd_model_load, 1, 1, OPTION_SOCKET, "FILE",
	 "have the agent judge with another model from now on", NULL},
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
