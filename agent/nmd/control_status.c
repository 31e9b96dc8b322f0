/* SPDX-License-Identifier: BSD-2-Clause */
/* The verbs status and classes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/nmd/clock.h"
#include "agent/nmd/control.h"
#include "agent/nmd/control_verbs.h"

static void free_rows(struct counter **rows)
{
	free(*rows);
}

int control_read_counters(const struct agent *a, struct counter **ret_rows, struct error *e)
{
	struct counter *rows = calloc(COUNTER_ROWS, sizeof(*rows));
	int rc = rows ? kernel_counters_read(a->kernel, rows) : -ENOMEM;

	if (rc) {
		free(rows);
		return error_set(e, rc, "map counters: %s", strerror(-rc));
	}
	*ret_rows = rows;
	return 0;
}

static json_t *counter_json(const struct counter *counter)
{
	return json_pack("{s:I, s:I}", "packets", (json_int_t)counter->packets, "bytes",
			 (json_int_t)counter->bytes);
}

static json_t *reasons_json(const struct counter *rows)
{
	json_t *json = json_object();

#define X(number, name, text, kind, help)                                                          \
	json_object_set_new(json, text, counter_json(&rows[number]));
	REASONS(X)
#undef X
	return json;
}

static json_t *interfaces_json(const struct interfaces *i)
{
	json_t *list = json_array();

	for (unsigned at = 0; at < i->n; at++) {
		const struct attachment *a = &i->attachment[at];

		json_array_append_new(list,
				      json_pack("{s:s, s:i, s:s, s:s, s:s, s:b, s:s}", "name",
						a->ifname, "ifindex", a->ifindex, "xdp",
						xdp_mode_name(a->mode), "xdp_method",
						a->xdp == XDP_METHOD_LINK ? "link" : "dispatcher",
						"egress", tc_method_name(a->tc), "adopted",
						(int)a->adopted, "note", a->note));
	}
	return list;
}

static json_t *model_json(const struct agent *a)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:s}", "path", a->model->path, "sha256",
			 a->model->sha256, "id", (json_int_t)a->model_id, "classes",
			 (json_int_t)a->model->n_classes, "engine",
			 batcher_engine_name(a->batcher));
}

json_t *control_confirm_json(const struct policy_pointer *pointer)
{
	int64_t left_s = pointer->confirm_at_s - clock_wall_s();

	return pointer->confirm_at_s ? json_integer(left_s > 0 ? left_s : 0) : json_null();
}

static json_t *policy_json(const struct agent *a)
{
	const struct policy *p = policy_state_current(a->policy);
	struct policy_pointer pointer;

	policy_state_pointer(a->policy, &pointer);
	return json_pack("{s:I, s:s, s:I, s:o}", "rules", (json_int_t)p->n_rules, "default",
			 policy_verb_name(p->default_verb), "version", (json_int_t)pointer.version,
			 "confirm_in_s", control_confirm_json(&pointer));
}

struct named_count {
	const char *name;
	uint64_t count;
};

static json_t *agent_json(const struct agent *a)
{
	const struct assembler_counters *flows = assembler_counters(a->assembler);
	const struct enforce_counters *enforce = &a->enforce.counters;
	struct control_counters control;
	struct batcher_counters batcher;
	struct store_counters store;
	json_t *json = json_object();

	batcher_counters(a->batcher, &batcher);
	store_counters(a->store, &store);
	control_counters(a->control, &control);
	const struct named_count counts[] = {
		{"records", flows->records},
		{"records_late", flows->records_late},
		{"records_missing", flows->records_missing},
		{"records_bad", rings_bad_records(a->rings)},
		{"flows_started", flows->flows_started},
		{"flows_evicted", flows->flows_evicted},
		{"flows_no_memory", flows->flows_no_memory},
		{"flows_judged_total", enforce->judged_total},
		{"judged_stale", enforce->judged_stale},
		{"verdicts_written", enforce->verdicts_written},
		{"verdicts_full", enforce->verdicts_full},
		{"verdicts_failed", enforce->verdicts_failed},
		{"endpoints_failed", enforce->endpoints_failed},
		{"verdicts_restarted", enforce->verdicts_replaced_by_start},
		{"verdicts_swept", sweep_removed(a->sweep)},
		{"hits", enforce->hits},
		{"queue_waiting", batcher.waiting},
		{"queue_dropped", batcher.dropped},
		{"batches", batcher.batches},
		{"batch_failed", batcher.failed},
		{"store_rows", store.rows},
		{"store_dropped", store.dropped},
		{"log_dropped", sink_log_dropped(a->log)},
		{"interfaces_failed", a->interfaces.failed},
		{"heartbeat_failed", a->heartbeat.failed},
		{"control_refused", control.refused},
		{"control_bad_requests", control.bad_requests},
		{"control_slow_dropped", control.slow_dropped},
	};
	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		json_object_set_new(json, counts[i].name,
				    json_integer((json_int_t)counts[i].count));
	return json;
}

static json_t *flows_json(const struct agent *a)
{
	const struct assembler_counters *flows = assembler_counters(a->assembler);

	return json_pack("{s:I, s:I, s:I, s:I}", "assembling", (json_int_t)flows->flows_assembling,
			 "judged", (json_int_t)flows->flows_judged, "verdicts",
			 (json_int_t)sweep_live(a->sweep), "max_verdicts",
			 (json_int_t)a->settings.max_verdicts);
}

static json_int_t heartbeat_age_ms(const struct agent *a, uint64_t now_ns)
{
	uint64_t beat_ns = a->heartbeat.control.heartbeat_ns; /* may lie ahead */

	return now_ns > beat_ns ? (json_int_t)((now_ns - beat_ns) / NS_PER_MS) : 0;
}

int control_status(struct control_call *call, struct error *e)
{
	struct agent *a = call->agent;
	cleanup(free_rows) struct counter *rows = NULL;
	uint64_t now_ns = clock_monotonic_ns();
	int rc = control_read_counters(a, &rows, e);

	if (rc)
		return rc;
	/* Verdicts as they are now, not as the last walk found them. */
	sweep_run(a->sweep, a->kernel, now_ns, a->settings.verdict_idle_s * NS_PER_S);
	control_done(call,
		     json_pack("{s:s, s:i, s:I, s:s, s:{s:b, s:s}, s:o, s:o, s:o, s:o, s:o, s:o, "
			       "s:I, s:I}",
			       "version", NM_VERSION, "pid", (int)getpid(), "uptime_s",
			       (json_int_t)((now_ns - a->started_ns) / NS_PER_S), "mode",
			       a->enforce.watch ? "watch" : "enforce", "breaker", "tripped",
			       (int)a->breaker.tripped, "reason", a->breaker.reason, "model",
			       model_json(a), "interfaces", interfaces_json(&a->interfaces),
			       "flows", flows_json(a), "counters", reasons_json(rows), "agent",
			       agent_json(a), "policy", policy_json(a), "heartbeat_age_ms",
			       heartbeat_age_ms(a, now_ns), "fail_open_s",
			       (json_int_t)a->settings.fail_open_s));
	return 0;
}

int control_classes(struct control_call *call, struct error *e)
{
	const struct agent *a = call->agent;
	cleanup(free_rows) struct counter *rows = NULL;
	int rc = control_read_counters(a, &rows, e);

	if (rc)
		return rc;
	for (uint32_t id = 0; id < a->classes.n; id++) {
		const char *name = a->classes.name[id];

		control_row(call,
			    json_pack("{s:s, s:I, s:b, s:I, s:o, s:o, s:o, s:o, s:f, s:b, s:b}",
				      "class", name, "id", (json_int_t)id, "in_model",
				      (int)a->classes.in_model[id], "flows",
				      (json_int_t)a->enforce.counters.flows[id], "passed",
				      counter_json(&rows[CLASS_ROW(id, OUTCOME_PASSED)]), "dropped",
				      counter_json(&rows[CLASS_ROW(id, OUTCOME_DROPPED)]),
				      "limited",
				      counter_json(&rows[CLASS_ROW(id, OUTCOME_LIMITED)]), "would",
				      counter_json(&rows[CLASS_ROW(id, OUTCOME_WOULD)]),
				      "threshold", (double)a->classes.threshold[id], "watch_only",
				      (int)a->classes.watch_only[id], "protected",
				      (int)policy_class_protected(name)));
	}
	control_done(call, json_object());
	return 0;
}
