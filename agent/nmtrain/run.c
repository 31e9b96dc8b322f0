/* SPDX-License-Identifier: BSD-2-Clause */
/* A command line's way to its command, how a step says that it failed, and signals. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include "agent/nmtrain/nmtrain.h"

static volatile sig_atomic_t interrupted;

static void set_text(struct error *e, int code, const char *format, va_list args)
{
	e->code = code;
	vsnprintf(e->text, sizeof(e->text), format, args);
}

int nmtrain_failed(struct nmtrain *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set_text(&t->error, -EIO, format, args);
	va_end(args);
	return STATUS_FAILED;
}

int nmtrain_usage(struct nmtrain *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set_text(&t->error, -EINVAL, format, args);
	va_end(args);
	return STATUS_USAGE;
}

int nmtrain_result(struct nmtrain *t, int result)
{
	if (!result)
		return STATUS_DONE;
	if (!t->error.text[0])
		error_set(&t->error, result, "%s", strerror(result < 0 ? -result : result));
	return STATUS_FAILED;
}

int nmtrain_run(struct nmtrain *t, int argc, char **argv)
{
	if (!argc)
		return nmtrain_usage(t, "which command? `nmtrain help` lists them");
	if (!strcmp(argv[0], "--version") || !strcmp(argv[0], "-V")) {
		fprintf(t->out, "nmtrain %s\n", NM_VERSION);
		return STATUS_DONE;
	}
	if (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h")) {
		commands_help(t->out);
		return STATUS_DONE;
	}
	t->command = commands_find(argv[0], &t->error);
	return t->command ? t->command->run(t, argc, argv) : STATUS_USAGE;
}

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

void nmtrain_catch_signals(void)
{
	/* Reset: the second signal finds the default, which ends the program. */
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_RESETHAND};

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

bool nmtrain_interrupted(void)
{
	return interrupted;
}
