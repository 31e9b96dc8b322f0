/* SPDX-License-Identifier: BSD-2-Clause */
/* `nmctl explain FLOW`: why the agent thinks what it thinks of a flow, and what it does about it.
 */
#include <math.h>
#include <string.h>
#include "agent/nmctl/human.h"
#include "agent/nmctl/nmctl.h"

#define BAR_LETTERS 24

static void print_bar(FILE *out, double fraction)
{
	int filled = 0;

	if (fraction > 0)
		filled = fraction < 1 ? (int)lround(fraction * BAR_LETTERS) : BAR_LETTERS;
	for (int i = 0; i < BAR_LETTERS; i++)
		fputc(i < filled ? '#' : '.', out);
}

static void print_scores(FILE *out, const json_t *event)
{
	json_t *scores = (json_t *)output_member(event, "scores"), *score;
	char text[HUMAN_TEXT];
	size_t i;

	if (json_array_size(scores))
		fputs("\nscores\n", out);
	json_array_foreach (scores, i, score) {
		double p = output_number(score, "probability", 0);
		const struct column name = COLUMN("CLASS", "class", UNIT_TEXT);
		cleanup(drop_text) char *cell = output_cell(score, &name);

		fprintf(out, "  %-18s ", cell ? cell : "?");
		print_bar(out, p);
		fprintf(out, " %6s\n", human_percent(p, text));
	}
}

/* What the assembler calls the moment of the judgement, in words. */
static const char *ready_words(const char *ready)
{
	static const struct {
		const char *ready, *words;
	} table[] = {{"early", "early"},
		     {"full", "as many as the model reads"},
		     {"end", "when it ended"},
		     {"idle", "when it fell silent"},
		     {"time", "when its time was up"},
		     {"evicted", "when the table was full"},
		     {"flush", "when the agent stopped"}};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (!strcmp(ready, table[i].ready))
			return table[i].words;
	return ready;
}

static void print_flow(FILE *out, const json_t *event)
{
	const struct column source = COLUMN("", "src,sport", UNIT_ENDPOINT);
	const struct column destination = COLUMN("", "dst,dport", UNIT_ENDPOINT);
	cleanup(drop_text) char *from = output_cell(event, &source);
	cleanup(drop_text) char *to = output_cell(event, &destination);
	const struct column start = COLUMN("", "start", UNIT_TIME);
	cleanup(drop_text) char *began = output_cell(event, &start);
	char bytes[HUMAN_TEXT], percent[HUMAN_TEXT];

	output_field(out, "flow", "%s", output_string(event, "flow_id", "?"));
	output_field(out, "what", "%s from %s to %s", output_string(event, "proto", "?"),
		     from ? from : "?", to ? to : "?");
	output_field(out, "began", "%s", began ? began : "?");
	output_field(out, "judged on", "%.0f packets, %s, %s%s", output_number(event, "packets", 0),
		     human_bytes(output_number(event, "bytes", 0), bytes),
		     ready_words(output_string(event, "ready", "?")),
		     output_true(event, "provisional") ? ", provisional: will be judged again"
						       : "");
	output_field(out, "nearest", "%s, %s", output_string(event, "class", "?"),
		     human_percent(output_number(event, "confidence", 0), percent));
	output_field(out, "strangeness", "%.3f", output_number(event, "ood_score", 0));
}

static void print_why(FILE *out, const json_t *done)
{
	json_t *why = (json_t *)output_member(done, "why"), *sentence;
	size_t i;

	if (json_array_size(why))
		fputs("\nwhy\n", out);
	json_array_foreach (why, i, sentence) {
		if (!json_is_string(sentence))
			continue;
		fputs("  ", out);
		output_text(out, json_string_value(sentence));
		fputc('\n', out);
	}
}

static void print_verdict(FILE *out, const json_t *done)
{
	const json_t *verdict = output_member(done, "verdict");
	char a[HUMAN_TEXT], b[HUMAN_TEXT], c[HUMAN_TEXT], d[HUMAN_TEXT];

	fputc('\n', out);
	output_field(out, "zone", "%s", output_string(done, "event.zone", "default"));
	output_field(out, "policy line", "%s", output_string(done, "rule", "none: the default"));
	output_field(out, "when judged", "action %s", output_string(done, "event.action", "?"));
	if (!json_is_object(verdict)) {
		output_field(out, "now", "no verdict in the kernel any more: the flow is over");
		return;
	}
	output_field(out, "since then", "%s packets, %s; of these stopped: %s packets, %s",
		     human_count(output_number(verdict, "packets", 0), a),
		     human_bytes(output_number(verdict, "bytes", 0), b),
		     human_count(output_number(verdict, "dropped_packets", 0), c),
		     human_bytes(output_number(verdict, "dropped_bytes", 0), d));
}

enum status cmd_explain(struct nmctl *ctl)
{
	const char *words[] = {"explain", ctl->words[0]};
	cleanup(drop_json) json_t *done = NULL;
	size_t digits = strspn(ctl->words[0], "0123456789abcdefABCDEF");
	enum status status;

	if (digits != 16 || ctl->words[0][16])
		return nmctl_usage(ctl,
				   "\"%.40s\" is not a flow: take the 16 hex digits under FLOW of "
				   "`nmctl flows`",
				   ctl->words[0]);
	status = nmctl_call(ctl, words, 2, NULL, NULL, NULL, &done);
	if (status)
		return status;
	if (ctl->options.format == OUTPUT_JSON)
		return nmctl_result(ctl, output_json(ctl->out, done));
	print_flow(ctl->out, output_member(done, "event"));
	print_scores(ctl->out, output_member(done, "event"));
	print_why(ctl->out, done);
	print_verdict(ctl->out, done);
	return STATUS_DONE;
}
