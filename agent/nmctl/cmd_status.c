/* SPDX-License-Identifier: BSD-2-Clause */
/* `nmctl status`: is the agent there, what does it guard, what happened, what was lost. */
#include <string.h>
#include "agent/nmctl/human.h"
#include "agent/nmctl/nmctl.h"
#include "maps/reason.h"

static void print_agent(FILE *out, const json_t *s)
{
	const char *mode = output_string(s, "mode", "?");
	char up[HUMAN_TEXT], age[HUMAN_TEXT], deadline[HUMAN_TEXT];

	output_field(out, "nmd", "%s, pid %.0f, up %s", output_string(s, "version", "?"),
		     output_number(s, "pid", 0),
		     human_duration(output_number(s, "uptime_s", 0), up));
	output_field(out, "mode", "%s%s", mode,
		     strcmp(mode, "watch") ? "" : ": nothing is dropped, only counted");
	if (output_true(s, "breaker.tripped"))
		output_field(out, "breaker", "TRIPPED: %s; `nmctl policy arm` enforces again",
			     output_string(s, "breaker.reason", "?"));
	output_field(out, "heartbeat", "%s ago; %s%s",
		     human_duration(output_number(s, "heartbeat_age_ms", 0) / 1000, age),
		     output_number(s, "fail_open_s", 0) > 0 ? "traffic passes after "
							    : "enforced even without the agent",
		     output_number(s, "fail_open_s", 0) > 0
			     ? human_duration(output_number(s, "fail_open_s", 0), deadline)
			     : "");
}

static void print_work(FILE *out, const json_t *s)
{
	char a[HUMAN_TEXT], b[HUMAN_TEXT], c[HUMAN_TEXT], d[HUMAN_TEXT];
	double confirm_s = output_number(s, "policy.confirm_in_s", -1);

	output_field(out, "model", "%s, %.0f classes, sha256 %.12s",
		     output_string(s, "model.path", "none"), output_number(s, "model.classes", 0),
		     output_string(s, "model.sha256", "?"));
	output_field(out, "engine", "%s", output_string(s, "model.engine", "?"));
	output_field(out, "policy", "%.0f rule%s, default %s, version %.0f",
		     output_number(s, "policy.rules", 0),
		     human_plural(output_number(s, "policy.rules", 0)),
		     output_string(s, "policy.default", "?"),
		     output_number(s, "policy.version", 0));
	if (confirm_s >= 0)
		output_field(out, "", "undone in %s unless `nmctl policy confirm`",
			     human_duration(confirm_s, a));
	output_field(out, "flows", "%s assembling, %s judged, %s verdicts of %s",
		     human_count(output_number(s, "flows.assembling", 0), a),
		     human_count(output_number(s, "flows.judged", 0), b),
		     human_count(output_number(s, "flows.verdicts", 0), c),
		     human_count(output_number(s, "flows.max_verdicts", 0), d));
}

static int print_interfaces(FILE *out, const json_t *s)
{
	static const struct column columns[] = {
		{.title = "INTERFACE", .path = "name"},
		{.title = "XDP", .path = "xdp"},
		{.title = "BY", .path = "xdp_method"},
		{.title = "EGRESS", .path = "egress"},
		{.title = "ADOPTED", .path = "adopted", .unit = UNIT_YES},
		{.title = "NOTE", .path = "note", .wrap = true},
	};
	const json_t *interfaces = output_member(s, "interfaces");
	struct output *o;
	json_t *row;
	size_t i;
	int ret = output_new(out, OUTPUT_TABLE, false, columns, 6, &o);

	if (ret)
		return ret;
	json_array_foreach (interfaces, i, row)
		ret = ret ? ret : output_row(o, row);
	if (!ret && !output_rows(o))
		fputs("\nno interface is guarded: start nmd with --iface PATTERN, or set iface\n",
		      out);
	else if (!ret)
		fputc('\n', out);
	ret = ret ? ret : output_end(o);
	output_free(o);
	return ret;
}

static json_t *reason_row(const json_t *counters, const char *name, const char *help)
{
	json_t *counter = json_object_get(counters, name);

	if (output_number(counter, "packets", 0) <= 0)
		return NULL;
	return json_pack("{s:s, s:O, s:O, s:s}", "reason", name, "packets",
			 json_object_get(counter, "packets"), "bytes",
			 json_object_get(counter, "bytes"), "help", help);
}

static int print_counters(FILE *out, const json_t *s)
{
	static const struct {
		const char *name, *help;
	} reasons[] = {
#define X(number, name, json, kind, help) {json, help},
		REASONS(X)
#undef X
	};
	static const struct column columns[] = {
		{.title = "REASON", .path = "reason"},
		{.title = "PACKETS", .path = "packets", .unit = UNIT_COUNT},
		{.title = "BYTES", .path = "bytes", .unit = UNIT_BYTES},
		{.title = "MEANING", .path = "help", .wrap = true},
	};
	struct output *o;
	int ret = output_new(out, OUTPUT_TABLE, false, columns, 4, &o);

	if (ret)
		return ret;
	for (size_t i = 0; !ret && i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		cleanup(drop_json) json_t *row =
			reason_row(output_member(s, "counters"), reasons[i].name, reasons[i].help);

		if (row)
			ret = output_row(o, row);
	}
	fputs(output_rows(o) ? "\n" : "\nno packet has been counted yet\n", out);
	ret = ret ? ret : output_end(o);
	output_free(o);
	return ret;
}

/* What the agent counted, those that are not 0: most tell of a loss. */
static void print_agent_counters(FILE *out, const json_t *s)
{
	json_t *counters = (json_t *)output_member(s, "agent"), *value;
	bool any = false;
	const char *name;

	json_object_foreach (counters, name, value) {
		char text[HUMAN_TEXT];

		if (!json_is_number(value) || json_number_value(value) == 0)
			continue;
		fputs(any ? ", " : "\nagent: ", out);
		output_text(out, name);
		fprintf(out, " %s", human_count(json_number_value(value), text));
		any = true;
	}
	if (any)
		fputc('\n', out);
}

enum status cmd_status(struct nmctl *ctl)
{
	const char *words[] = {"status"};
	cleanup(drop_json) json_t *done = NULL;
	enum status status = nmctl_call(ctl, words, 1, NULL, NULL, NULL, &done);
	int ret;

	if (status)
		return status;
	if (ctl->options.format == OUTPUT_JSON)
		return nmctl_result(ctl, output_json(ctl->out, done));
	print_agent(ctl->out, done);
	print_work(ctl->out, done);
	ret = print_interfaces(ctl->out, done);
	ret = ret ? ret : print_counters(ctl->out, done);
	print_agent_counters(ctl->out, done);
	return nmctl_result(ctl, ret);
}
