/* SPDX-License-Identifier: BSD-2-Clause */
/* The verbs of the noun policy. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agent/nmd/clock.h"
#include "agent/nmd/control_verbs.h"
#include "agent/nmd/log.h"
#include "agent/policy/units.h"

#define RULE_TEXT 320

static void free_policy(struct policy **p)
{
	policy_free(*p);
}

static void free_program(struct policy_program **program)
{
	policy_program_free(*program);
}

static void free_text(char **text)
{
	free(*text);
}

static json_t *notes_json(const char *notes)
{
	json_t *list = json_array();

	while (*notes) {
		size_t len = strcspn(notes, "\n");

		if (len)
			json_array_append_new(list, json_stringn(notes, len));
		notes += len + (notes[len] == '\n');
	}
	return list;
}

static json_t *seconds_or_null(uint32_t seconds)
{
	return seconds ? json_integer(seconds) : json_null();
}

static int no_words(struct control_call *call, struct error *e)
{
	if (!call->n_words)
		return 0;
	return control_usage(call, e, "policy %s: takes no \"%.40s\"", call->all_words[1],
			     call->words[0]);
}

static json_t *rule_json(const struct agent *a, const struct policy_rule *rule,
			 const struct counter *counter)
{
	char text[RULE_TEXT];
	int64_t left_s = rule->expires_at - clock_wall_s();

	policy_rule_format(rule, text, sizeof(text));
	return json_pack("{s:I, s:s, s:I, s:I, s:o, s:b}", "id", (json_int_t)rule->id, "rule", text,
			 "packets", (json_int_t)counter->packets, "bytes",
			 (json_int_t)counter->bytes, "expires_in_s",
			 rule->expires_at ? json_integer(left_s > 0 ? left_s : 0) : json_null(),
			 "pending", (int)policy_state_rule_pending(a->policy, rule));
}

int control_policy_show(struct control_call *call, struct error *e)
{
	const struct agent *a = call->agent;
	const struct policy *p = policy_state_current(a->policy);
	struct policy_pointer pointer;
	struct counter *rows;
	int rc = no_words(call, e);

	if (!rc)
		rc = control_read_counters(a, &rows, e);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < p->n_rules; i++)
		control_row(call, rule_json(a, &p->rules[i], &rows[RULE_ROW(p->rules[i].id)]));
	free(rows);
	policy_state_pointer(a->policy, &pointer);
	control_done(call,
		     json_pack("{s:s, s:I, s:o, s:o}", "default", policy_verb_name(p->default_verb),
			       "version", (json_int_t)pointer.version, "confirm_in_s",
			       control_confirm_json(&pointer), "notes",
			       notes_json(a->program->notes)));
	return 0;
}

static void tell_change(const struct control_call *call, const struct policy_change *change)
{
	char words[RULE_TEXT] = "";
	size_t len = 0;

	for (size_t i = 1; i < call->n_all_words && len < sizeof(words); i++)
		len += snprintf(words + len, sizeof(words) - len, " %.80s", call->all_words[i]);
	log_info("policy: version %" PRIu32 " by %s:%s", change->version, call->by, words);
}

int control_policy_rule(struct control_call *call, struct error *e)
{
	struct policy_change change;
	struct policy_rule rule;
	int rc = policy_rule_parse(call->all_words + 1, call->n_all_words - 1, &rule, e);

	if (rc) {
		call->usage = true;
		return rc;
	}
	rc = policy_state_add(call->agent->policy, clock_wall_s(), call->by, &rule, &change, e);
	if (rc)
		return rc;
	tell_change(call, &change);
	control_done(call,
		     json_pack("{s:I, s:I, s:o, s:o}", "id", (json_int_t)change.rule_id, "version",
			       (json_int_t)change.version, "notes", notes_json(change.notes),
			       "confirm_in_s", seconds_or_null(change.confirm_s)));
	return 0;
}

static int parse_text(struct control_call *call, struct policy **ret_policy, struct error *e)
{
	if (!call->text)
		return control_usage(call, e, "policy %s: no policy file was sent",
				     call->all_words[1]);
	return policy_parse("policy", call->text, call->text_len, ret_policy, e);
}

static int confirm_word(struct control_call *call, uint32_t *ret_confirm_s, struct error *e)
{
	struct error why = {0};
	uint64_t seconds = 0;

	for (size_t i = 0; i < call->n_words; i++) {
		if (strncmp(call->words[i], "confirm=", 8))
			return control_usage(call, e,
					     "policy apply: takes confirm=60s, not \"%.40s\"",
					     call->words[i]);
		if (units_parse_duration(call->words[i] + 8, POLICY_MAX_CONFIRM_S, &seconds, &why))
			return control_usage(call, e, "%.40s: %.180s", call->words[i], why.text);
	}
	*ret_confirm_s = (uint32_t)seconds;
	return 0;
}

int control_policy_apply(struct control_call *call, struct error *e)
{
	struct policy_state *ps = call->agent->policy;
	cleanup(free_policy) struct policy *p = NULL;
	cleanup(free_text) char *diff = NULL;
	struct policy_change change;
	uint32_t confirm_s = 0;
	int rc = confirm_word(call, &confirm_s, e);

	if (!rc)
		rc = parse_text(call, &p, e);
	if (rc)
		return rc;
	diff = policy_diff(policy_state_current(ps), p);
	rc = policy_state_apply(ps, clock_wall_s(), call->by, p, confirm_s, &change, e);
	if (rc)
		return rc;
	tell_change(call, &change);
	control_done(call,
		     json_pack("{s:I, s:I, s:o, s:o, s:s}", "version", (json_int_t)change.version,
			       "rules", (json_int_t)policy_state_current(ps)->n_rules, "notes",
			       notes_json(change.notes), "confirm_in_s",
			       seconds_or_null(change.confirm_s), "diff", diff ? diff : ""));
	return 0;
}

int control_policy_check(struct control_call *call, struct error *e)
{
	cleanup(free_policy) struct policy *p = NULL;
	cleanup(free_program) struct policy_program *program = NULL;
	int rc = no_words(call, e);

	if (!rc)
		rc = parse_text(call, &p, e);
	if (!rc)
		rc = agent_policy_compile(call->agent, p, &program, e);
	if (rc)
		return rc;
	control_done(call, json_pack("{s:I, s:o}", "rules", (json_int_t)p->n_rules, "notes",
				     notes_json(program->notes)));
	return 0;
}

int control_policy_diff(struct control_call *call, struct error *e)
{
	cleanup(free_policy) struct policy *p = NULL;
	cleanup(free_text) char *diff = NULL;
	int rc = no_words(call, e);

	if (!rc)
		rc = parse_text(call, &p, e);
	if (rc)
		return rc;
	diff = policy_diff(policy_state_current(call->agent->policy), p);
	if (!diff)
		return error_set(e, -ENOMEM, "policy diff: out of memory");
	control_done(call, json_pack("{s:s}", "diff", diff));
	return 0;
}

int control_policy_history(struct control_call *call, struct error *e)
{
	char dir[AGENT_PATH + 8], when[32];
	struct policy_version *versions;
	struct policy_pointer pointer;
	uint32_t n;
	int rc = no_words(call, e);

	snprintf(dir, sizeof(dir), "%s/policy", call->agent->settings.state_dir);
	if (!rc)
		rc = policy_files_list(dir, &versions, &n, e);
	if (rc)
		return rc;
	policy_state_pointer(call->agent->policy, &pointer);
	for (uint32_t i = 0; i < n; i++) {
		const struct policy_version *v = &versions[i];

		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime(&(time_t){v->time_s}));
		control_row(call,
			    json_pack("{s:I, s:s, s:s, s:s, s:b}", "version",
				      (json_int_t)v->version, "time", when, "by", v->by, "summary",
				      v->summary, "current", v->version == pointer.version));
	}
	free(versions);
	control_done(call, json_object());
	return 0;
}

static int number_word(struct control_call *call, const char *what, uint32_t *ret_number,
		       struct error *e)
{
	const char *word = call->n_words == 1 ? call->words[0] : "";
	char *end;
	unsigned long long number;

	errno = 0;
	number = strtoull(word, &end, 10);
	if (*word < '0' || *word > '9' || *end || errno || number > UINT32_MAX)
		return control_usage(call, e, "policy %s: wants one number, %s", call->all_words[1],
				     what);
	*ret_number = (uint32_t)number;
	return 0;
}

static void done_version(struct control_call *call, const struct policy_change *change)
{
	tell_change(call, change);
	control_done(call, json_pack("{s:I, s:o}", "version", (json_int_t)change->version, "notes",
				     notes_json(change->notes)));
}

int control_policy_rollback(struct control_call *call, struct error *e)
{
	struct policy_change change;
	uint32_t version = 0;
	int rc = call->n_words
			 ? number_word(call, "a version of `nmctl policy history`", &version, e)
			 : 0;

	if (!rc)
		rc = policy_state_rollback(call->agent->policy, clock_wall_s(), call->by,
					   call->n_words ? (int64_t)version : -1, &change, e);
	if (!rc)
		done_version(call, &change);
	return rc;
}

int control_policy_remove(struct control_call *call, struct error *e)
{
	struct policy_change change;
	uint32_t id;
	int rc = number_word(call, "a rule's id of `nmctl policy show`", &id, e);

	if (!rc)
		rc = policy_state_remove(call->agent->policy, clock_wall_s(), call->by, id, &change,
					 e);
	if (!rc)
		done_version(call, &change);
	return rc;
}

int control_policy_confirm(struct control_call *call, struct error *e)
{
	struct policy_change change = {0};
	int rc = no_words(call, e);

	if (!rc)
		rc = policy_state_confirm(call->agent->policy, &change.version, e);
	if (!rc)
		done_version(call, &change);
	return rc;
}

int control_policy_arm(struct control_call *call, struct error *e)
{
	int rc = no_words(call, e);

	if (rc)
		return rc;
	rc = agent_arm_breaker(call->agent);
	if (rc)
		return error_set(e, rc, "map control: cannot be written: %s", strerror(-rc));
	control_done(call, json_object());
	return 0;
}
