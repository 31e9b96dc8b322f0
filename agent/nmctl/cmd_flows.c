/* SPDX-License-Identifier: BSD-2-Clause */
/* `nmctl flows`: judged flows of the store, and with --follow the new ones as they come. */
#include <errno.h>
#include <string.h>
#include "agent/nmctl/names.h"
#include "agent/nmctl/nmctl.h"

static const char *const filters[] = {"class", "net", "proto", "action", "since", "limit"};
static const char *const actions[] = {"watch", "pass", "drop", "limit"};
#define N_ACTIONS   (sizeof(actions) / sizeof(actions[0]))
#define N_FILTERS   (sizeof(filters) / sizeof(filters[0]))
#define MAX_FILTERS FLOWS_MAX_WORDS
#define MAX_FILTER  96

/* The filter with its whole key, in text: keys are checked here, most values by the daemon. */
static int expand_filter(struct nmctl *ctl, const char *word, char text[MAX_FILTER])
{
	char key[32];
	size_t len = strcspn(word, "=");
	int i;

	snprintf(key, sizeof(key), "%.*s", (int)len, word);
	i = names_find(filters, N_FILTERS, key, "filter", &ctl->error);
	if (i < 0)
		return i;
	if (!word[len] || !word[len + 1])
		return error_set(&ctl->error, -EINVAL, "filter %s needs a value: %s=...",
				 filters[i], filters[i]);
	if (!strcmp(filters[i], "action")) {
		int action = names_find(actions, N_ACTIONS, word + len + 1, "action", &ctl->error);

		if (action < 0)
			return action;
		snprintf(text, MAX_FILTER, "action=%s", actions[action]);
		return 0;
	}
	if (snprintf(text, MAX_FILTER, "%s%s", filters[i], word + len) >= MAX_FILTER)
		return error_set(&ctl->error, -EINVAL, "filter %s: longer than %d characters",
				 filters[i], MAX_FILTER - 1);
	return 0;
}

enum status cmd_flows(struct nmctl *ctl)
{
	bool follow = ctl->options.given & OPTION_FOLLOW;
	char texts[MAX_FILTERS + 1][MAX_FILTER];
	const char *words[MAX_FILTERS + 3] = {"flows"};
	cleanup(drop_json) json_t *done = NULL;
	size_t n = 1, n_columns, n_rows = 0;
	const struct column *columns = output_flow_columns(true, &n_columns);
	enum status status;

	for (size_t i = 0; i < ctl->n_words; i++) {
		if (!strcmp(ctl->words[i], "follow")) {
			follow = true;
			continue;
		}
		if (expand_filter(ctl, ctl->words[i], texts[n]))
			return STATUS_USAGE;
		words[n] = texts[n];
		n++;
	}
	if (ctl->options.since) {
		snprintf(texts[0], MAX_FILTER, "since=%s", ctl->options.since);
		words[n++] = texts[0];
	}
	if (follow)
		words[n++] = "follow";
	status = nmctl_table(ctl, words, n, follow, columns, n_columns, &n_rows, &done);
	if (!status && !n_rows && ctl->options.format == OUTPUT_TABLE)
		fputs("no flow matches\n", ctl->out);
	return status;
}
