/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `nmctl policy ...` of a running agent. Words and files are parsed here first, so that a slip is
 * told with its file and line before anything is sent; the agent parses them again.
 */
#include <ctype.h>
#include <string.h>
#include "agent/nmctl/human.h"
#include "agent/nmctl/nmctl.h"
#include "agent/policy/policy.h"

static void drop_policy(struct policy **p)
{
	policy_free(*p);
}

static void print_lines(FILE *out, const char *prefix, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		cleanup(drop_text) char *line = strndup(text, len);

		if (len) {
			fputs(prefix, out);
			output_text(out, line ? line : "?");
			fputc('\n', out);
		}
		text += len + (text[len] == '\n');
	}
}

/* notes: one text with a note a line, or a list of texts. */
void nmctl_print_notes(FILE *out, const json_t *done)
{
	const json_t *notes = output_member(done, "notes");
	json_t *note;
	size_t i;

	if (json_is_string(notes))
		print_lines(out, "note: ", json_string_value(notes));
	json_array_foreach (notes, i, note)
		if (json_is_string(note))
			print_lines(out, "note: ", json_string_value(note));
}

static void print_confirm(FILE *out, const json_t *done)
{
	double seconds = output_number(done, "confirm_in_s", -1);
	char text[HUMAN_TEXT];

	if (seconds >= 0)
		fprintf(out, "undone in %s unless you say `nmctl policy confirm`\n",
			human_duration(seconds, text));
}

static void print_diff(FILE *out, const char *diff)
{
	while (*diff) {
		size_t len = strcspn(diff, "\n");
		cleanup(drop_text) char *line = strndup(diff, len);
		enum colour colour = *diff == '+'   ? COLOUR_GREEN
				     : *diff == '-' ? COLOUR_RED
						    : COLOUR_DIM;

		fputs(output_colour(out, colour), out);
		output_text(out, line ? line : "?");
		fprintf(out, "%s\n", output_colour(out, COLOUR_NONE));
		diff += len + (diff[len] == '\n');
	}
}

/* The words after "policy", with the noun and verb as the agent knows them. */
static size_t policy_words(const struct nmctl *ctl, const char *words[WIRE_MAX_WORDS], size_t from)
{
	size_t n = 0;

	words[n++] = "policy";
	words[n++] = ctl->command->verb;
	for (size_t i = from; i < ctl->n_words && n < WIRE_MAX_WORDS; i++)
		words[n++] = ctl->words[i];
	return n;
}

enum status cmd_policy_show(struct nmctl *ctl)
{
	static const struct column columns[] = {
		COLUMN("ID", "id", UNIT_TEXT),
		COLUMN("RULE", "rule", UNIT_TEXT),
		COLUMN("PACKETS", "packets", UNIT_COUNT),
		COLUMN("BYTES", "bytes", UNIT_BYTES),
		COLUMN("ENDS IN", "expires_in_s", UNIT_SECONDS),
		COLUMN("PENDING", "pending", UNIT_YES),
	};
	const char *words[] = {"policy", "show"};
	cleanup(drop_json) json_t *done = NULL;
	size_t n_rows = 0;
	enum status status = nmctl_table(ctl, words, 2, false, columns, 6, &n_rows, &done);

	if (status || ctl->options.format == OUTPUT_JSON)
		return status;
	fputs(n_rows ? "every other flow: " : "no rules; every flow: ", ctl->out);
	output_text(ctl->out, output_string(done, "default", "?"));
	fprintf(ctl->out, " (policy version %.0f)\n", output_number(done, "version", 0));
	print_confirm(ctl->out, done);
	nmctl_print_notes(ctl->out, done);
	return STATUS_DONE;
}

static enum status send(struct nmctl *ctl, const char *const *words, size_t n_words,
			const char *text, json_t **ret_done)
{
	enum status status = nmctl_call(ctl, words, n_words, text, NULL, NULL, ret_done);

	if (!status && ctl->options.format == OUTPUT_JSON)
		return nmctl_result(ctl, output_json(ctl->out, *ret_done));
	return status;
}

enum status cmd_policy_rule(struct nmctl *ctl)
{
	const char *words[WIRE_MAX_WORDS];
	size_t n = policy_words(ctl, words, 0);
	cleanup(drop_json) json_t *done = NULL;
	struct policy_rule rule;
	enum status status;

	if (policy_rule_parse(words + 1, n - 1, &rule, &ctl->error))
		return STATUS_USAGE;
	status = send(ctl, words, n, NULL, &done);
	if (status || ctl->options.format == OUTPUT_JSON)
		return status;
	fprintf(ctl->out, "rule %.0f, policy version %.0f\n", output_number(done, "id", 0),
		output_number(done, "version", 0));
	nmctl_print_notes(ctl->out, done);
	print_confirm(ctl->out, done);
	return STATUS_DONE;
}

/* Reads and parses, so that errors name the file and the line. Caller frees the text. */
static enum status read_policy(struct nmctl *ctl, char **ret_text)
{
	cleanup(drop_text) char *text = NULL;
	cleanup(drop_policy) struct policy *policy = NULL;
	size_t len;

	if (nmctl_read_file(ctl->words[0], &text, &len, &ctl->error))
		return STATUS_FAILED;
	if (policy_parse(ctl->words[0], text, len, &policy, &ctl->error))
		return STATUS_FAILED;
	*ret_text = take_ptr(text);
	return STATUS_DONE;
}

enum status cmd_policy_diff(struct nmctl *ctl)
{
	const char *words[] = {"policy", "diff"};
	cleanup(drop_text) char *text = NULL;
	cleanup(drop_json) json_t *done = NULL;
	enum status status = read_policy(ctl, &text);

	status = status ? status : send(ctl, words, 2, text, &done);
	if (status || ctl->options.format == OUTPUT_JSON)
		return status;
	print_diff(ctl->out, output_string(done, "diff", ""));
	if (!*output_string(done, "diff", ""))
		fputs("no difference from the policy in force\n", ctl->out);
	return STATUS_DONE;
}

/* The agent knows the text but not where it came from: "policy:7: ..." becomes "FILE:7: ...". */
static void name_file(struct nmctl *ctl)
{
	static const char unnamed[] = "policy:";
	char text[sizeof(ctl->error.text)];

	memcpy(text, ctl->error.text, sizeof(text));
	if (!strncmp(text, unnamed, strlen(unnamed)) &&
	    isdigit((unsigned char)text[strlen(unnamed)]))
		error_set(&ctl->error, ctl->error.code, "%.80s:%s", ctl->words[0],
			  text + strlen(unnamed));
}

enum status cmd_policy_apply(struct nmctl *ctl)
{
	const char *words[WIRE_MAX_WORDS];
	size_t n = policy_words(ctl, words, 1);
	cleanup(drop_text) char *text = NULL;
	cleanup(drop_json) json_t *done = NULL;
	enum status status;

	if (n > 2 && strncmp(words[2], "confirm=", 8))
		return nmctl_usage(ctl, "policy apply: \"%.40s\" is not confirm=DURATION",
				   words[2]);
	status = read_policy(ctl, &text);
	status = status ? status : send(ctl, words, n, text, &done);
	if (status)
		name_file(ctl);
	if (status || ctl->options.format == OUTPUT_JSON)
		return status;
	print_diff(ctl->out, output_string(done, "diff", ""));
	fprintf(ctl->out, "policy version %.0f is in force: %.0f rule%s\n",
		output_number(done, "version", 0), output_number(done, "rules", 0),
		human_plural(output_number(done, "rules", 0)));
	nmctl_print_notes(ctl->out, done);
	print_confirm(ctl->out, done);
	return STATUS_DONE;
}

enum status cmd_policy_history(struct nmctl *ctl)
{
	static const struct column columns[] = {
		COLUMN("VERSION", "version", UNIT_COUNT),
		COLUMN("TIME", "time", UNIT_TIME),
		COLUMN("BY", "by", UNIT_TEXT, .cut = true),
		COLUMN("CURRENT", "current", UNIT_YES),
		COLUMN("CHANGE", "summary", UNIT_TEXT, .cut = true),
	};
	const char *words[] = {"policy", "history"};
	cleanup(drop_json) json_t *done = NULL;
	size_t n_rows = 0;
	enum status status = nmctl_table(ctl, words, 2, false, columns, 5, &n_rows, &done);

	if (!status && !n_rows && ctl->options.format == OUTPUT_TABLE)
		fputs("no policy was ever set\n", ctl->out);
	return status;
}

enum status cmd_policy_change(struct nmctl *ctl)
{
	const char *words[WIRE_MAX_WORDS];
	size_t n = policy_words(ctl, words, 0);
	cleanup(drop_json) json_t *done = NULL;
	enum status status;

	if (n > 2 && strspn(words[2], "0123456789") != strlen(words[2]))
		return nmctl_usage(ctl, "policy %s: \"%.40s\" is not a number", words[1], words[2]);
	status = send(ctl, words, n, NULL, &done);
	if (status || ctl->options.format == OUTPUT_JSON)
		return status;
	if (!strcmp(words[1], "arm"))
		fputs("the breaker is armed, the policy acts again\n", ctl->out);
	else
		fprintf(ctl->out, "policy version %.0f is %s\n", output_number(done, "version", 0),
			strcmp(words[1], "confirm") ? "in force" : "confirmed");
	nmctl_print_notes(ctl->out, done);
	return STATUS_DONE;
}
