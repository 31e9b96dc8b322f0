/* SPDX-License-Identifier: BSD-2-Clause */
/* nmctl: the operator's command. The commands themselves are a table in commands.c. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include "agent/nmctl/nmctl.h"

int main(int argc, char **argv)
{
	const char *socket_path = getenv("NETMAMBA_SOCKET");
	struct nmctl ctl = {.out = stdout};
	enum status status;

	setlocale(LC_ALL, "");
	ctl.options.socket_path = socket_path && *socket_path ? socket_path : DEFAULT_SOCKET;
	status = nmctl_run(&ctl, argc - 1, (const char *const *)argv + 1);
	if (fflush(stdout) && !status)
		status = nmctl_failed(&ctl, "writing the output failed");
	if (ctl.error.text[0] && status) {
		fputs("nmctl: ", stderr);
		output_text(stderr, ctl.error.text);
		fputc('\n', stderr);
	}
	if (status == STATUS_USAGE && ctl.command)
		commands_usage(stderr, ctl.command);
	return status;
}
