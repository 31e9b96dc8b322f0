/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The operator's command. A command is a row of the table in commands.c and a function in
 * cmd_NOUN.c; to add one: write the function, declare it here, add its row.
 *
 * A command writes its result to ctl->out through output.h and returns an exit status: STATUS_DONE,
 * or what nmctl_failed, nmctl_usage or nmctl_call gave, which leave the message in ctl->error; the
 * caller prints it. Commands do not exit and print no errors themselves.
 */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include "agent/nmctl/output.h"
#include "agent/wire/wire.h"
#include "model/error.h"

#define DEFAULT_SOCKET "/run/netmamba/nmd.sock"
#define DEFAULT_MODEL  "/usr/share/netmamba/model/bootstrap.safetensors"
#define TREE_MODEL     "model/weights/bootstrap.safetensors"

#define FLOWS_MAX_WORDS 8 /* filters; the table bounds what cmd_flows gets */

enum status { STATUS_DONE = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

/* Which options a command takes; bits of the rows in options.c. */
#define OPTION_HELP    0x0001
#define OPTION_VERSION 0x0002
#define OPTION_OUTPUT  0x0004
#define OPTION_SOCKET  0x0008
#define OPTION_FOLLOW  0x0010
#define OPTION_SINCE   0x0020
#define OPTION_MODEL   0x0040
#define OPTION_VECTORS 0x0080
#define OPTION_CONFIG  0x0100
#define OPTION_LABELS  0x0200
#define OPTION_TIMING  0x0400

/* classify takes many captures; the socket's own bound is WIRE_MAX_WORDS. */
#define MAX_WORDS 4096

struct nmctl_options {
	unsigned given; /* OPTION_* */
	enum output_format format;
	const char *socket_path;                                     /* never NULL */
	const char *since, *model_path, *vectors_path, *config_path; /* NULL when not given */
	const char *labels_path;
};

struct nmctl {
	struct nmctl_options options;
	const struct command *command;
	bool verb_given;              /* false: the noun alone stood for its first verb */
	const char *words[MAX_WORDS]; /* after noun and verb */
	size_t n_words;
	FILE *out;
	struct error error;
};

struct command {
	const char *noun, *verb; /* verb NULL: the noun alone */
	enum status (*run)(struct nmctl *ctl);
	unsigned min_words, max_words; /* after noun and verb */
	unsigned options;              /* OPTION_*, beside help, version and output */
	const char *usage;             /* the words, as printed after "nmctl noun verb " */
	const char *help;              /* one line */
	const char *more;              /* further lines for `nmctl help noun verb`, or NULL */
};

/* The command line without the program's name: finds, checks, runs. ctl->out and
 * ctl->options.socket_path are set by the caller, the rest is zero. */
enum status nmctl_run(struct nmctl *ctl, int argc, const char *const *argv);

__attribute__((format(printf, 2, 3))) enum status nmctl_failed(struct nmctl *ctl,
							       const char *format, ...);
__attribute__((format(printf, 2, 3))) enum status nmctl_usage(struct nmctl *ctl, const char *format,
							      ...);
/* For results of functions that filled &ctl->error themselves: 0 is done, anything else failed. */
enum status nmctl_result(struct nmctl *ctl, int result);

/* daemon.c. Asks the daemon (wire_call); on failure says where it was looked for and what to do. */
enum status nmctl_call(struct nmctl *ctl, const char *const *words, size_t n_words,
		       const char *text, wire_row_fn on_row, void *ctx, json_t **ret_done);

/* The same, with the rows as a table or as JSON lines; *ret_done may stay NULL. */
enum status nmctl_table(struct nmctl *ctl, const char *const *words, size_t n_words, bool stream,
			const struct column *columns, size_t n_columns, size_t *ret_rows,
			json_t **ret_done);

/* options.c: takes options out of argv wherever they stand ("--" ends them); the rest are words. */
int options_parse(struct nmctl *ctl, int argc, const char *const *argv);
void options_help(FILE *out, unsigned options);
const char *options_name(unsigned bits); /* of the first of them */

/* commands.c; help is printed from the table: of everything when command is NULL, of all verbs of
 * its noun with whole_noun. */
const struct command *commands_table(size_t *ret_n);
int commands_find(struct nmctl *ctl);
void commands_help(FILE *out, const struct command *command, bool whole_noun);
void commands_usage(FILE *out, const struct command *command);

/* cmd_policy.c: warnings of a policy reply, one a line. */
void nmctl_print_notes(FILE *out, const json_t *done);

/* files.c: a file's whole text, "-" is standard input; bounded by what the socket takes. Caller
 * frees. */
int nmctl_read_file(const char *path, char **ret_text, size_t *ret_len, struct error *e);
/* --model, else the installed model, else the tree's; NULL when there is none. */
const char *nmctl_model_path(const struct nmctl *ctl);

/* One a row of the table. */
enum status cmd_help(struct nmctl *ctl);
enum status cmd_status(struct nmctl *ctl);
enum status cmd_classes(struct nmctl *ctl);
enum status cmd_flows(struct nmctl *ctl);
enum status cmd_explain(struct nmctl *ctl);
enum status cmd_classify(struct nmctl *ctl);
enum status cmd_doctor(struct nmctl *ctl);
enum status cmd_policy_show(struct nmctl *ctl);
enum status cmd_policy_check(struct nmctl *ctl);
enum status cmd_policy_diff(struct nmctl *ctl);
enum status cmd_policy_apply(struct nmctl *ctl);
enum status cmd_policy_history(struct nmctl *ctl);
enum status cmd_policy_rule(struct nmctl *ctl);   /* block, limit, watch, allow */
enum status cmd_policy_change(struct nmctl *ctl); /* remove, rollback, confirm, arm */
enum status cmd_model_show(struct nmctl *ctl);
enum status cmd_model_verify(struct nmctl *ctl);
enum status cmd_model_load(struct nmctl *ctl);
