/* SPDX-License-Identifier: BSD-2-Clause */
/* nmtrain: data sets, training, evaluation. The commands themselves are a table in commands.c. */
#include "agent/nmtrain/nmtrain.h"
#include <locale.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct nmtrain t = {.out = stdout, .log = stderr};
	int status;

	/* Numbers in files and reports have a point wherever this runs. */
	setlocale(LC_CTYPE, "");
	status = nmtrain_run(&t, argc - 1, argv + 1);
	if (fflush(stdout) && status == STATUS_DONE)
		status = nmtrain_failed(&t, "writing the output failed: %m");
	if (t.error.text[0] && status != STATUS_DONE)
		fprintf(stderr, "nmtrain: %s\n", t.error.text);
	if (status == STATUS_USAGE && t.command)
		commands_usage(stderr, t.command);
	return status;
}
