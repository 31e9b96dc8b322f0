/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The trainer's command line. A command is a row of the table in commands.c and a function in
 * cmd_NAME.c; to add one: write the function, declare it here, add its row.
 *
 * A command writes its result to t->out and returns an exit status: STATUS_DONE, or what
 * nmtrain_failed, nmtrain_usage or nmtrain_result gave, which leave the message in t->error; main
 * prints it. Commands do not exit and print no errors themselves.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include "model/error.h"

enum status { STATUS_DONE = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

struct nmtrain {
	FILE *out; /* results */
	FILE *log; /* progress and notes, standard error */
	const struct command *command;
	struct error error;
};

struct command {
	const char *name;
	int (*run)(struct nmtrain *t, int argc, char **argv); /* argv[0] is the command's name */
	const char *usage; /* the words, as printed after "nmtrain NAME " */
	const char *help;  /* one line */
	const char *more;  /* further lines for `nmtrain help NAME`, or NULL */
};

/* The command line without the program's name: finds, runs. t->out and t->log are set by the
 * caller, the rest is zero. */
int nmtrain_run(struct nmtrain *t, int argc, char **argv);

__attribute__((format(printf, 2, 3))) int nmtrain_failed(struct nmtrain *t, const char *format,
							 ...);
__attribute__((format(printf, 2, 3))) int nmtrain_usage(struct nmtrain *t, const char *format, ...);
/* For results of functions that filled &t->error themselves: 0 is done, anything else failed. */
int nmtrain_result(struct nmtrain *t, int result);

/*
 * A command's options as data; each binds a member of the command's own struct of options.
 *
 *	static const struct option_row rows[] = {
 *		{"data", 'd', OPTION_TEXT, "FILE.nmd", offsetof(struct opts, data), "the set"},
 *		{"json", 0, OPTION_FLAG, NULL, offsetof(struct opts, json), "for programs"},
 *	};
 */
enum option_kind {
	OPTION_FLAG,   /* bool */
	OPTION_TEXT,   /* const char *, into argv; the last one counts */
	OPTION_LIST,   /* struct option_list: may be given many times */
	OPTION_NUMBER, /* struct option_number: a whole number >= 0 */
};

struct option_row {
	const char *name;
	char letter; /* 0: none */
	enum option_kind kind;
	const char *argument; /* NULL for a flag */
	size_t offset;
	const char *help;
};

#define OPTIONS_MAX 64

struct option_list {
	const char *items[OPTIONS_MAX];
	size_t n;
};

struct option_number {
	unsigned long long value;
	bool given;
};

/*
 * Takes options out of argv wherever they stand ("--" ends them), and leaves the words at
 * argv[1 .. *ret_words]. -h and --help print the command's help from its row and its options; then,
 * and for a mistake, the result is true and *ret_status is what the command must return.
 */
bool nmtrain_options(struct nmtrain *t, const struct option_row *rows, size_t n_rows, void *options,
		     int argc, char **argv, int *ret_words, int *ret_status);

/*
 * SIGINT and SIGTERM: a command that works for long calls nmtrain_catch_signals once, looks at
 * nmtrain_interrupted between steps, and ends with its state saved. A second signal ends at once.
 */
void nmtrain_catch_signals(void);
bool nmtrain_interrupted(void);

/* commands.c; NULL when there is none of that name, and e says which was meant. */
const struct command *commands_find(const char *name, struct error *e);
void commands_help(FILE *out);
void commands_usage(FILE *out, const struct command *command);

/* One a row of the table. */
int cmd_dataset(struct nmtrain *t, int argc, char **argv);
int cmd_pretrain(struct nmtrain *t, int argc, char **argv);
int cmd_finetune(struct nmtrain *t, int argc, char **argv);
int cmd_eval(struct nmtrain *t, int argc, char **argv);
int cmd_export(struct nmtrain *t, int argc, char **argv);
int cmd_import(struct nmtrain *t, int argc, char **argv);
int cmd_help(struct nmtrain *t, int argc, char **argv);
