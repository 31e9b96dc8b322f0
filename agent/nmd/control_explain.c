/* SPDX-License-Identifier: BSD-2-Clause */
/* The verb explain: why a flow was judged so, in sentences, and what is done to it now. */
#include <stdarg.h>
#include "agent/nmd/control_verbs.h"

#define SENTENCE 320

static void free_json(json_t **json)
{
	json_decref(*json);
}

__attribute__((format(printf, 2, 3))) static void say(json_t *why, const char *format, ...)
{
	char sentence[SENTENCE];
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	json_array_append_new(why, json_string(sentence));
}

static void say_judgement(const struct agent *a, const struct flow_event *event, json_t *why)
{
	const struct calibration *c = &a->model->calibration;
	int index = model_class_index(a->model, event->class_name);
	bool same_model = event->model_id == a->model_id && index >= 0;

	say(why, "The model finds class %s nearest, with confidence %.3f.", event->class_name,
	    event->confidence);
	if (!same_model)
		say(why, "Model %u judged it; its thresholds are not at hand any more.",
		    event->model_id);
	if (event->by == DECIDED_UNKNOWN && same_model)
		say(why,
		    "The flow looks unlike anything the model learned (strangeness %.3f is above "
		    "the threshold %.3f), so it is treated as unknown.",
		    event->ood_score, c->ood_threshold);
	else if (event->by == DECIDED_UNKNOWN)
		say(why, "The flow looked unlike anything that model learned: unknown.");
	else if (event->by == DECIDED_THRESHOLD && same_model)
		say(why,
		    "That is below the threshold %.3f of class %s, so it is treated as unknown.",
		    c->threshold[index], event->class_name);
	else if (event->by == DECIDED_THRESHOLD)
		say(why, "That was below the class's threshold: unknown.");
	else if (same_model)
		say(why, "That reaches the threshold %.3f of the class: it decides.",
		    c->threshold[index]);
	if (event->provisional)
		say(why, "The judgement is provisional, from the first packets (%s).",
		    event->ready);
}

struct now {
	uint32_t zone_id, class_id;
	bool protected_flow;
	struct enforce_outlook outlook;
};

static void say_policy(const struct agent *a, const struct flow_event *event, const struct now *now,
		       const char *rule, json_t *why)
{
	char zone[64], buffer[32];
	const char *protected_by =
		protect_reason(&a->protect, &event->key, a->classes.name[now->class_id], buffer);

	zones_name(a->program, now->zone_id, zone, sizeof(zone));
	if (now->zone_id == ZONE_NEVER)
		say(why, "Its peer is in zone never: it is never acted on.");
	else if (now->zone_id != ZONE_DEFAULT)
		say(why, "Its peer is in %s, which rules name.", zone);
	if (*rule)
		say(why, "The policy line \"%s\" (rule %u) covers it: action %s.", rule,
		    now->outlook.rule_id, enforce_action_name(now->outlook.action));
	else
		say(why, "No rule covers it: the policy's default, %s.",
		    enforce_action_name(now->outlook.action));
	if (protected_by && now->outlook.held)
		say(why, "The safety net protects it (%s): only a rule with force acts on it.",
		    protected_by);
	else if (protected_by && now->outlook.force)
		say(why, "The safety net would protect it (%s), but the rule says force.",
		    protected_by);
	if (a->enforce.watch && now->outlook.action >= ACTION_DROP)
		say(why, "The agent is in watch mode%s%s: nothing is dropped.",
		    a->breaker.tripped ? ", as the breaker tripped: " : "", a->breaker.reason);
}

static json_t *verdict_json(const struct agent *a, const struct verdict *v)
{
	return json_pack(
		"{s:s, s:I, s:I, s:b, s:b, s:I, s:I, s:I, s:I}", "class",
		v->class_id < a->classes.n ? a->classes.name[v->class_id] : "?", "zone_id",
		(json_int_t)v->zone_id, "model_id", (json_int_t)v->model_id, "provisional",
		!!(v->flags & VERDICT_PROVISIONAL), "protected", !!(v->flags & VERDICT_PROTECTED),
		"packets", (json_int_t)v->packets, "bytes", (json_int_t)v->bytes, "dropped_packets",
		(json_int_t)v->dropped_packets, "dropped_bytes", (json_int_t)v->dropped_bytes);
}

/* What holds for the flow at this moment: by its live verdict, else as one would be written. */
static void look_now(const struct agent *a, const struct flow_event *event, const struct verdict *v,
		     struct now *now)
{
	int id = event->by == DECIDED_CLASS ? classes_find(&a->classes, event->class_name) : 0;
	char buffer[32];

	now->class_id = id > 0 ? (uint32_t)id : CLASS_UNKNOWN;
	if (v && v->class_id < a->classes.n)
		now->class_id = v->class_id;
	now->zone_id =
		v ? v->zone_id
		  : zones_resolve(&a->zones, a->program, &event->key, event->source_direction);
	now->protected_flow = v ? v->flags & VERDICT_PROTECTED
				: protect_reason(&a->protect, &event->key,
						 a->classes.name[now->class_id], buffer) != NULL;
	enforce_outlook(&a->enforce, now->zone_id, now->class_id, 0, now->protected_flow,
			&now->outlook);
}

int control_explain(struct control_call *call, struct error *e)
{
	const struct agent *a = call->agent;
	cleanup(free_json) json_t *json = NULL;
	struct flow_event event;
	struct verdict verdict;
	const struct policy_rule *rule;
	char text[320] = "";
	json_t *why;
	struct now now;
	bool live;
	int rc;

	if (call->n_words != 1)
		return control_usage(call, e, "explain: wants one flow id of `nmctl flows`");
	rc = store_find(a->store, call->words[0], &json, e);
	if (!rc)
		rc = event_from_json(json, &event, e);
	if (rc)
		return rc;
	live = !kernel_verdict_get(a->kernel, &event.key, &verdict);
	look_now(a, &event, live ? &verdict : NULL, &now);
	rule = policy_rule_find(policy_state_current(a->policy), now.outlook.rule_id);
	if (rule)
		policy_rule_format(rule, text, sizeof(text));
	why = json_array();
	say_judgement(a, &event, why);
	say_policy(a, &event, &now, text, why);
	control_done(call, json_pack("{s:O, s:o, s:o, s:o}", "event", json, "why", why, "rule",
				     rule ? json_string(text) : json_null(), "verdict",
				     live ? verdict_json(a, &verdict) : json_null()));
	return 0;
}
