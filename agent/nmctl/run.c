/* SPDX-License-Identifier: BSD-2-Clause */
/* A command line's way: options, command, run; and how each step says that it failed. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include "agent/nmctl/nmctl.h"

static void set_text(struct error *e, int code, const char *format, va_list args)
{
	e->code = code;
	vsnprintf(e->text, sizeof(e->text), format, args);
}

enum status nmctl_failed(struct nmctl *ctl, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set_text(&ctl->error, -EIO, format, args);
	va_end(args);
	return STATUS_FAILED;
}

enum status nmctl_usage(struct nmctl *ctl, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set_text(&ctl->error, -EINVAL, format, args);
	va_end(args);
	return STATUS_USAGE;
}

enum status nmctl_result(struct nmctl *ctl, int result)
{
	if (!result)
		return STATUS_DONE;
	if (!ctl->error.text[0])
		error_set(&ctl->error, result, "%s", strerror(result < 0 ? -result : result));
	return STATUS_FAILED;
}

enum status nmctl_run(struct nmctl *ctl, int argc, const char *const *argv)
{
	if (options_parse(ctl, argc, argv))
		return STATUS_USAGE;
	if (ctl->options.given & OPTION_VERSION) {
		fprintf(ctl->out, "nmctl %s\n", NM_VERSION);
		return STATUS_DONE;
	}
	if (!ctl->n_words) {
		bool asked = ctl->options.given & OPTION_HELP;

		if (!asked)
			return nmctl_usage(ctl, "which command? `nmctl help` lists them");
		commands_help(ctl->out, NULL, true);
		return STATUS_DONE;
	}
	if (commands_find(ctl))
		return STATUS_USAGE;
	if (ctl->options.given & OPTION_HELP) {
		commands_help(ctl->out, ctl->command, !ctl->verb_given);
		return STATUS_DONE;
	}
	return ctl->command->run(ctl);
}
