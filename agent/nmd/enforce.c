/* SPDX-License-Identifier: BSD-2-Clause */
/* From a decision to the verdicts map and to the sinks. */
#include "agent/nmd/enforce.h"
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <string.h>
#include "agent/nmd/clock.h"

#define CLOSED_KEEP_NS   (60 * NS_PER_S) /* 2 MSL: what may still arrive of a closed connection */
#define ENDPOINT_KEEP_NS (600 * NS_PER_S)
#define HITS_A_SECOND    20

static const char *const action_names[] = {
	[ACTION_WATCH] = "watch",
	[ACTION_PASS] = "pass",
	[ACTION_DROP] = "drop",
	[ACTION_LIMIT] = "limit",
};

const char *enforce_action_name(uint8_t action)
{
	return action <= ACTION_LIMIT ? action_names[action] : "?";
}

/* FNV-1a over the key, folded with the start: stable for one conversation. */
static uint64_t key_hash(const struct flow_key *key)
{
	const uint8_t *byte = (const uint8_t *)key;
	uint64_t hash = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < sizeof(*key); i++)
		hash = (hash ^ byte[i]) * 0x100000001b3ull;
	return hash ^ hash >> 32;
}

static uint64_t flow_id(const struct flow_key *key, uint64_t first_ns)
{
	__uint128_t product = (__uint128_t)(key_hash(key) ^ 0x9e3779b97f4a7c15ull) *
			      (first_ns | 1); /* never times 0 */

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static int severity(uint8_t action)
{
	static const int of[] = {
		[ACTION_WATCH] = 0, [ACTION_PASS] = 1, [ACTION_LIMIT] = 2, [ACTION_DROP] = 3};

	return action <= ACTION_LIMIT ? of[action] : 0;
}

void enforce_outlook(const struct enforce *e, uint32_t zone_id, uint32_t class_id,
		     uint8_t hooks_seen, bool protected_flow, struct enforce_outlook *ret_outlook)
{
	const struct policy_entry *entry = &e->program->entries[policy_index(zone_id, class_id)];
	const struct policy_action *harsher = NULL;

	for (int hook = HOOK_INGRESS; hook <= HOOK_EGRESS; hook++) {
		const struct policy_action *action = &entry->by_hook[hook];

		if (hooks_seen && !(hooks_seen & (1u << hook)))
			continue;
		if (!harsher || severity(action->action) > severity(harsher->action))
			harsher = action;
	}
	if (!harsher)
		harsher = &entry->by_hook[HOOK_INGRESS];
	ret_outlook->action = harsher->action;
	ret_outlook->rule_id = harsher->rule_id;
	ret_outlook->force = harsher->flags & POLICY_FORCE;
	ret_outlook->held = severity(harsher->action) > severity(ACTION_PASS) &&
			    (zone_id == ZONE_NEVER || (protected_flow && !ret_outlook->force));
}

/* ---- judgements ---- */

struct judgement {
	const struct judged_flow *judged;
	uint32_t class_id; /* what is enforced */
	uint32_t zone_id;
	bool protected_flow;
	bool provisional;
	bool again; /* on few packets: the kernel goes on sending, as for a provisional one */
	struct enforce_outlook outlook;
};

static void fill_scores(const struct judged_flow *judged, struct flow_event *event)
{
	const struct model *m = judged->model;
	const float *p = judged->decision.probability;
	bool used[MODEL_MAX_CLASSES] = {0};

	while (event->n_scores < EVENT_MAX_SCORES && event->n_scores < m->n_classes) {
		int best = -1;

		for (uint32_t i = 0; i < m->n_classes; i++)
			if (!used[i] && (best < 0 || p[i] > p[best]))
				best = (int)i;
		used[best] = true;
		snprintf(event->scores[event->n_scores].class_name, CLASS_NAME_LEN, "%s",
			 m->class_name[best]);
		event->scores[event->n_scores++].probability = p[best];
	}
}

static void fill_event(const struct enforce *e, const struct judgement *j, struct flow_event *event)
{
	const struct judged_flow *judged = j->judged;
	const struct flow_info *info = &judged->info;
	uint8_t action = j->outlook.action;

	memset(event, 0, sizeof(*event));
	event->flow_id = flow_id(&info->key, info->first_ns);
	event->time_ns = (int64_t)clock_now_ns(CLOCK_REALTIME);
	event->start_ns = clock_wall_of(info->first_ns);
	event->key = info->key;
	event->source_direction = info->first_direction;
	event->directions_seen = info->directions_seen;
	event->packets = info->packets;
	event->bytes = info->bytes;
	snprintf(event->class_name, sizeof(event->class_name), "%s",
		 judged->model->class_name[judged->decision.class_index]);
	event->confidence = judged->decision.confidence;
	event->ood_score = judged->decision.ood_score;
	event->unknown = judged->decision.unknown;
	event->by = judged->decision.by;
	event->provisional = j->provisional;
	event->ready = ready_reason_name(judged->why);
	if (j->outlook.held)
		action = ACTION_PASS;
	else if (e->watch && severity(action) > severity(ACTION_PASS))
		action = ACTION_WATCH;
	snprintf(event->action, sizeof(event->action), "%s", enforce_action_name(action));
	event->rule_id = j->outlook.rule_id;
	event->zone_id = j->zone_id;
	zones_name(e->program, j->zone_id, event->zone, sizeof(event->zone));
	event->protected_flow = j->protected_flow;
	if (!if_indextoname(info->ifindex, event->iface))
		event->iface[0] = '\0';
	event->model_id = judged->model_id;
	fill_scores(judged, event);
}

static void fill_verdict(const struct judgement *j, uint64_t now_ns, struct verdict *v)
{
	const struct judged_flow *judged = j->judged;
	uint64_t packets = judged->info.packets;

	memset(v, 0, sizeof(*v));
	v->class_id = (uint16_t)j->class_id;
	v->zone_id = (uint16_t)j->zone_id;
	v->confidence = (uint16_t)(judged->decision.confidence * 65535.0f);
	v->packets_judged = packets < UINT16_MAX ? (uint16_t)packets : UINT16_MAX;
	v->flags = (j->provisional || j->again ? VERDICT_PROVISIONAL : 0) |
		   (j->protected_flow ? VERDICT_PROTECTED : 0) |
		   (judged->info.first_direction == FLOW_DIR_REVERSE ? VERDICT_SOURCE_HIGHER : 0);
	v->model_id = judged->model_id;
	v->judged_ns = now_ns;
	v->expires_ns = judged->why == READY_END ? now_ns + CLOSED_KEEP_NS : 0;
}

static void put_verdict(struct enforce *e, const struct judgement *j, uint64_t now_ns)
{
	struct verdict v;
	uint64_t held;
	int rc;

	fill_verdict(j, now_ns, &v);
	rc = kernel_verdict_put(e->kernel, &j->judged->info.key, &v);
	if (!rc) {
		e->counters.verdicts_written++;
		return;
	}
	if (rc == -E2BIG)
		e->counters.verdicts_full++;
	else
		e->counters.verdicts_failed++;
	if (log_limit_pass(&e->full_limit, 1, now_ns / 60, &held))
		log_warning("enforce: a verdict could not be written: %s",
			    rc == -E2BIG
				    ? "the map is full; max_verdicts is too small for this host"
				    : strerror(-rc));
}

/* A server that a blocked flow of ours went to: its next connections need no judgement. */
static void put_endpoint(struct enforce *e, const struct judgement *j, uint64_t now_ns)
{
	const struct flow_info *info = &j->judged->info;
	bool lo_first = info->first_direction == FLOW_DIR_FORWARD;
	const uint8_t *source = lo_first ? info->key.addr_lo : info->key.addr_hi;
	struct endpoint_key key = {.proto = info->key.proto,
				   .port_be =
					   lo_first ? info->key.port_hi_be : info->key.port_lo_be};
	struct endpoint_verdict v = {.class_id = (uint16_t)j->class_id,
				     .confidence =
					     (uint16_t)(j->judged->decision.confidence * 65535.0f),
				     .expires_ns = now_ns + ENDPOINT_KEEP_NS};

	if (!e->endpoints || j->provisional || j->protected_flow || j->class_id == CLASS_UNKNOWN ||
	    j->outlook.held || severity(j->outlook.action) < severity(ACTION_LIMIT) ||
	    !zones_is_own(e->zones, source))
		return;
	memcpy(key.addr, lo_first ? info->key.addr_hi : info->key.addr_lo, sizeof(key.addr));
	if (kernel_endpoint_put(e->kernel, &key, &v))
		e->counters.endpoints_failed++;
}

static bool is_stale(const struct enforce *e, const struct flow_info *info)
{
	uint64_t hash = key_hash(&info->key);

	return e->starts[hash % ENFORCE_STARTS].hash == hash &&
	       e->starts[hash % ENFORCE_STARTS].time_ns > info->last_ns;
}

/* A flow that is flushed (a new model, another record shape) begins anew, as an early one goes on.
 */
static bool is_provisional(const struct judged_flow *judged)
{
	return judged->why == READY_EARLY || judged->why == READY_FLUSH;
}

static void decide_judgement(struct enforce *e, const struct judged_flow *judged,
			     struct judgement *j)
{
	const struct flow_info *info = &judged->info;
	bool sure = judged->decision.by == DECIDED_CLASS;
	const char *name = judged->model->class_name[judged->decision.class_index];
	int class_id = sure ? classes_find(e->classes, name) : CLASS_UNKNOWN;
	char why[32];

	j->judged = judged;
	j->class_id = class_id > 0 ? (uint32_t)class_id : CLASS_UNKNOWN;
	j->zone_id = zones_resolve(e->zones, e->program, &info->key, info->first_direction);
	j->protected_flow = protect_reason(e->protect, &info->key, sure ? name : NULL, why) != NULL;
	j->provisional = is_provisional(judged);
	j->again = judged->n_packets < e->again_below;
	enforce_outlook(e, j->zone_id, j->class_id, info->hooks_seen, j->protected_flow,
			&j->outlook);
}

void enforce_judged(void *ctx, const struct judged_flow *judged)
{
	struct enforce *e = ctx;
	uint64_t now_ns = clock_monotonic_ns();
	struct flow_event event;
	struct judgement j;
	bool would_drop;

	e->counters.judged_total++;
	if (is_provisional(judged) && judged->decision.by != DECIDED_CLASS)
		return;
	decide_judgement(e, judged, &j);
	would_drop = j.outlook.action == ACTION_DROP && !j.outlook.held;
	/* A flow that is dropped early is not judged again; the others count when final. */
	if (!j.provisional || would_drop) {
		e->counters.flows[j.class_id]++;
		if (breaker_add(e->breaker, now_ns, would_drop))
			e->on_trip(e->ctx);
	}
	if (is_stale(e, &judged->info)) {
		e->counters.judged_stale++;
	} else {
		put_verdict(e, &j, now_ns);
		put_endpoint(e, &j, now_ns);
	}
	fill_event(e, &j, &event);
	log_debug(LOG_ENFORCE, "flow %016" PRIx64 " %s: %s %.2f, %s, %.1f ms after it was ready",
		  event.flow_id, event.ready, event.class_name, event.confidence, event.action,
		  (now_ns - judged->queued_ns) / 1e6);
	sinks_emit(e->sinks, &event);
}

/* ---- what the kernel tells ---- */

void enforce_flow_start(struct enforce *e, const struct packet_record *record)
{
	uint64_t hash = key_hash(&record->key);
	struct verdict v;

	e->starts[hash % ENFORCE_STARTS].hash = hash;
	e->starts[hash % ENFORCE_STARTS].time_ns = record->time_ns;
	/* A verdict younger than the record is this flow's own: the record came late. */
	if (kernel_verdict_get(e->kernel, &record->key, &v) || v.judged_ns > record->time_ns)
		return;
	if (!kernel_verdict_delete(e->kernel, &record->key))
		e->counters.verdicts_replaced_by_start++;
}

void enforce_hit(struct enforce *e, const struct packet_record *record)
{
	struct flow_event ends = {.key = record->key, .source_direction = record->direction};
	struct enforce_outlook outlook;
	char from[EVENT_ENDPOINT], to[EVENT_ENDPOINT], proto[8];
	struct verdict v;
	uint64_t held;

	e->counters.hits++;
	if (!log_limit_pass(&e->hit_limit, HITS_A_SECOND, clock_monotonic_ns(), &held))
		return;
	if (kernel_verdict_get(e->kernel, &record->key, &v) || v.class_id >= e->classes->n)
		return;
	enforce_outlook(e, v.zone_id, v.class_id, 1u << record->hook, false, &outlook);
	event_endpoint(&ends, 0, from);
	event_endpoint(&ends, 1, to);
	log_info("enforced: %s %s -> %s class=%s action=%s rule=%u%s",
		 event_proto_name(record->key.proto, proto), from, to, e->classes->name[v.class_id],
		 enforce_action_name(outlook.action), outlook.rule_id,
		 held ? " (others were not logged)" : "");
}

/* ---- zones ---- */

struct rezone {
	struct enforce *e;
	const struct policy_program *program;
	int changed;
};

/* The kernel counts on while a verdict is replaced: the few packets between the read and the write
 * are missing in its counters, never in what is done to them. */
static int rezone_verdict(void *ctx, const struct flow_key *key, const struct verdict *v)
{
	struct rezone *r = ctx;
	struct verdict fresh = *v;
	uint8_t source = v->flags & VERDICT_SOURCE_HIGHER ? FLOW_DIR_REVERSE : FLOW_DIR_FORWARD;
	const char *name = v->class_id && v->class_id < r->e->classes->n
				   ? r->e->classes->name[v->class_id]
				   : NULL;
	char why[32];

	fresh.zone_id = (uint16_t)zones_resolve(r->e->zones, r->program, key, source);
	fresh.flags &= ~VERDICT_PROTECTED;
	if (protect_reason(r->e->protect, key, name, why))
		fresh.flags |= VERDICT_PROTECTED;
	if (fresh.zone_id == v->zone_id && fresh.flags == v->flags)
		return 0;
	r->changed++;
	return kernel_verdict_put(r->e->kernel, key, &fresh);
}

int enforce_rezone(struct enforce *e, const struct policy_program *program)
{
	struct rezone r = {e, program, 0};
	int rc = kernel_verdict_walk(e->kernel, rezone_verdict, &r);

	return rc ? rc : r.changed;
}
