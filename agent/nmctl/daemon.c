/* SPDX-License-Identifier: BSD-2-Clause */
/* Asking the daemon, and what it means when it cannot be asked. */
#include <errno.h>
#include "agent/nmctl/nmctl.h"

/* What an unreachable daemon means and what to do; the daemon's own errors stay as they are. */
static void explain_unreachable(struct nmctl *ctl, int code)
{
	const char *path = ctl->options.socket_path;

	if (code == -ENOENT || code == -ECONNREFUSED)
		error_set(&ctl->error, code,
			  "nmd is not running: nothing listens at %.90s; start it with `systemctl "
			  "start "
			  "nmd` or `nmd --iface eth0`, or name its socket with --socket",
			  path);
	else if (code == -EACCES || code == -EPERM)
		error_set(&ctl->error, code,
			  "no permission to talk to nmd at %.90s: become root or join the group "
			  "netmamba (`adduser $USER netmamba`, then log in again)",
			  path);
	else if (code == -ECONNRESET)
		error_set(&ctl->error, code,
			  "nmd closed the connection in the middle of its answer; `nmctl status` "
			  "tells whether it is there");
}

enum status nmctl_call(struct nmctl *ctl, const char *const *words, size_t n_words,
		       const char *text, wire_row_fn on_row, void *ctx, json_t **ret_done)
{
	int ret = wire_call(ctl->options.socket_path, words, n_words, text, on_row, ctx, ret_done,
			    &ctl->error);

	if (!ret)
		return STATUS_DONE;
	explain_unreachable(ctl, ret);
	nmctl_result(ctl, ret);
	return ret == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
}

struct table {
	struct output *output;
	int failed;
};

static int table_row(void *ctx, const json_t *row)
{
	struct table *table = ctx;

	table->failed = output_row(table->output, row);
	return table->failed;
}

enum status nmctl_table(struct nmctl *ctl, const char *const *words, size_t n_words, bool stream,
			const struct column *columns, size_t n_columns, size_t *ret_rows,
			json_t **ret_done)
{
	cleanup(drop_output) struct output *output = NULL;
	struct table table = {0};
	enum status status;
	int ret = output_new(ctl->out, ctl->options.format, stream, columns, n_columns, &output);

	if (ret)
		return nmctl_result(ctl, ret);
	table.output = output;
	status = nmctl_call(ctl, words, n_words, NULL, table_row, &table, ret_done);
	if (status)
		return status;
	*ret_rows = output_rows(output);
	ret = output_end(output);
	return nmctl_result(ctl, table.failed ? table.failed : ret);
}
