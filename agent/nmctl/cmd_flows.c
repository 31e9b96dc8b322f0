/* SPDX-License-Identifier: BSD-2-Clause */
/* `nmctl flows`: judged flows of the store, and with --follow the new ones as they come. */
#include <string.h>
#include "agent/nmctl/names.h"
#include "agent/nmctl/nmctl.h"

static const char *const filters[] = {"class", "net", "proto", "action", "since", "limit"};
#define N_FILTERS (sizeof(filters) / sizeof(filters[0]))

/* Keys are checked here, values by the daemon, which has to anyway. */
static int check_filter(struct nmctl *ctl, const char *word)
{
	char key[32];
	size_t len = strcspn(word, "=");
	int i;

	if (!strcmp(word, "follow"))
		return 0;
	snprintf(key, sizeof(key), "%.*s", (int)len, word);
	i = names_find(filters, N_FILTERS, key, "filter", &ctl->error);
	if (i < 0)
		return i;
	if (strcmp(filters[i], key) || !word[len] || !word[len + 1])
		return error_set(&ctl->error, -1, "filter %s needs a value: %s=...", filters[i],
				 filters[i]);
	return 0;
}

enum status cmd_flows(struct nmctl *ctl)
{
	bool follow = ctl->options.given & OPTION_FOLLOW;
	const char *words[WIRE_MAX_WORDS] = {"flows"};
	cleanup(drop_text) char *since = NULL;
	cleanup(drop_json) json_t *done = NULL;
	size_t n = 1, n_columns, n_rows = 0;
	const struct column *columns = output_flow_columns(true, &n_columns);
	enum status status;

	for (size_t i = 0; i < ctl->n_words; i++) {
		if (check_filter(ctl, ctl->words[i]))
			return STATUS_USAGE;
		if (!strcmp(ctl->words[i], "follow"))
			follow = true;
		else
			words[n++] = ctl->words[i];
	}
	if (ctl->options.since) {
		if (asprintf(&since, "since=%s", ctl->options.since) < 0)
			return nmctl_failed(ctl, "no memory");
		words[n++] = since;
	}
	if (follow)
		words[n++] = "follow";
	status = nmctl_table(ctl, words, n, follow, columns, n_columns, &n_rows, &done);
	if (!status && !n_rows && ctl->options.format == OUTPUT_TABLE)
		fputs("no flow matches\n", ctl->out);
	return status;
}
