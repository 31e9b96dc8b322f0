/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rules to map entries.
 *
 * Each distinct net= becomes a zone, and each zone a full row of the `policy` array, so that the
 * kernel asks two numbers and one entry, whatever the rules are. Rules are put into the order of
 * their precedence, weakest first, and each is painted over the rows that it covers: what is left
 * on top decides. Longest prefix comes by itself twice: the trie gives a flow the narrowest zone,
 * and that zone's row was painted with every wider net that holds it.
 *
 * A zone whose whole row is one `allow net=X` without class= or dir= is not given a row: its prefix
 * goes to zone "never". Where a class= rule names the same net, precedence decides as everywhere,
 * and the zone is an ordinary one.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/policy/nearest.h"
#include "agent/policy/policy.h"
#include "maps/packet_record.h"

#define ANY_CLASS (-1)
#define N_HOOKS   2

struct ranked {
	const struct policy_rule *rule;
	int class_id; /* or ANY_CLASS */
	uint16_t meter_id;
	uint32_t place; /* in the policy */
};

struct compiler {
	const struct policy *policy;
	const struct policy_classes *classes;
	struct policy_program *program;
	struct ranked *ranked;   /* n_rules */
	bool decides[MAX_RULES]; /* [rule id] */
	size_t notes_len;
	uint32_t notes_cut; /* notes that found no room */
	uint32_t next_zone_id;
	uint32_t n_never; /* the first zones of the program, from the settings */
};

/* ---- what is said to the operator ---- */

#define PLACE_TEXT 128
#define RULE_TEXT  320
#define MORE_NOTES 32 /* room for the line that says how many notes found none */

/* "web.policy:7: ", or nothing for a typed rule. */
static const char *say_place(const struct compiler *c, const struct policy_rule *r,
			     char buffer[PLACE_TEXT])
{
	const char *name = c->policy->name;

	buffer[0] = '\0';
	if (r->line)
		snprintf(buffer, PLACE_TEXT, "%s%s%u: ", name, *name ? ":" : "line ", r->line);
	return buffer;
}

static const char *say_rule(const struct compiler *c, const struct policy_rule *r,
			    char buffer[RULE_TEXT])
{
	size_t len = strlen(say_place(c, r, buffer));

	policy_rule_format(r, buffer + len, RULE_TEXT - len);
	return buffer;
}

static void note(struct compiler *c, const struct policy_rule *r, const char *text)
{
	char *end = c->program->notes + c->notes_len;
	size_t room = sizeof(c->program->notes) - c->notes_len - MORE_NOTES;
	char rule[RULE_TEXT];
	int n = snprintf(end, room, "%s: %s\n", say_rule(c, r, rule), text);

	if ((size_t)n < room) {
		c->notes_len += (size_t)n;
		return;
	}
	*end = '\0';
	c->notes_cut++;
}

static void note_cut(struct compiler *c)
{
	if (c->notes_cut)
		snprintf(c->program->notes + c->notes_len, MORE_NOTES, "and %u notes more\n",
			 c->notes_cut);
}

/* ---- classes ---- */

static int class_named(const struct policy_classes *classes, const char *name)
{
	if (strcmp(name, "unknown") == 0)
		return CLASS_UNKNOWN;
	for (uint32_t id = 1; id < classes->n && id < MAX_CLASSES; id++)
		if (strcmp(classes->name[id], name) == 0)
			return (int)id;
	return -ENOENT;
}

int policy_class_find(const struct policy_classes *classes, const char *name)
{
	int id = class_named(classes, name);

	if (id < 0 && strcmp(name, "bittorrent") == 0)
		id = class_named(classes, "p2p");
	return id;
}

bool policy_class_protected(const char *name)
{
	return strcmp(name, "ssh") == 0 || strcmp(name, "dns") == 0;
}

/* Nearest names first, then what of the others finds room. */
static int unknown_class(const struct compiler *c, const struct policy_rule *r, struct error *e)
{
	const char *names[MAX_CLASSES] = {"unknown"};
	char place[PLACE_TEXT], list[sizeof(e->text)];
	const char *near;
	size_t n = 1, len = 0;

	for (uint32_t id = 1; id < c->classes->n && id < MAX_CLASSES; id++)
		if (c->classes->name[id][0])
			names[n++] = c->classes->name[id];
	near = nearest_of(r->class_name, names, n);
	list[0] = '\0';
	for (size_t i = 0; i < n && len < sizeof(list); i++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, " %s", names[i]);
	error_set(e, -ENOENT, "%.100sclass=%s: no such class%s%s%s there are:%s",
		  say_place(c, r, place), r->class_name, near ? "; did you mean " : ";",
		  near ? near : "", near ? "?" : "", list);
	if (e && strlen(e->text) == sizeof(e->text) - 1)
		strcpy(e->text + sizeof(e->text) - 5, " ...");
	return -ENOENT;
}

static bool acts(const struct policy_rule *r)
{
	return r->verb == POLICY_BLOCK || r->verb == POLICY_LIMIT;
}

/* The safety net: acting on these by name wants `force`. */
static int check_protected(const struct compiler *c, const struct policy_rule *r, int class_id,
			   struct error *e)
{
	const char *name = c->classes->name[class_id];
	char rule[RULE_TEXT];

	if (!acts(r) || r->force || class_id == CLASS_UNKNOWN)
		return 0;
	say_rule(c, r, rule);
	if (policy_class_protected(name))
		return error_set(e, -EPERM,
				 "%.160s: the safety net protects %s; add force to act on it", rule,
				 name);
	if (c->classes->watch_only && c->classes->watch_only[class_id])
		return error_set(e, -EPERM,
				 "%.110s: the model knows %s too badly to act on it (watch only); "
				 "add force to do so all the same",
				 rule, name);
	return 0;
}

static int resolve_class(struct compiler *c, const struct policy_rule *r, int *ret_id,
			 struct error *e)
{
	int id = ANY_CLASS;

	if (r->class_name[0]) {
		id = policy_class_find(c->classes, r->class_name);
		if (id < 0)
			return unknown_class(c, r, e);
	}
	*ret_id = id;
	return id == ANY_CLASS ? 0 : check_protected(c, r, id, e);
}

static void note_class(struct compiler *c, const struct policy_rule *r, int class_id)
{
	static const char *const near_protected[] = {"dns-tunnel", "encrypted-dns",
						     "network-service"};

	if (!acts(r) || r->force || class_id == ANY_CLASS)
		return;
	if (class_id == CLASS_UNKNOWN)
		note(c, r, "acts on every flow that the model does not know");
	for (size_t i = 0; i < sizeof(near_protected) / sizeof(near_protected[0]); i++)
		if (class_id > 0 && strcmp(c->classes->name[class_id], near_protected[i]) == 0)
			note(c, r,
			     "flows on protected ports (ssh, DNS, DHCP) pass all the same; "
			     "force acts on them too");
}

/* ---- meters ---- */

static int make_meter(struct compiler *c, const struct policy_rule *r, uint16_t *ret_id,
		      struct error *e)
{
	struct policy_program *program = c->program;
	char place[PLACE_TEXT];
	struct meter *m;

	if (program->n_meters + 1 == MAX_METERS)
		return error_set(e, -E2BIG, "%.100smore than %d limit rules",
				 say_place(c, r, place), MAX_METERS - 1);
	*ret_id = (uint16_t)++program->n_meters;
	m = &program->meters[*ret_id];
	m->ps_per_byte = 1000000000000ULL / r->rate_bytes_per_s;
	m->burst_ns = r->burst_bytes * m->ps_per_byte / 1000;
	program->meter_rule_id[*ret_id] = r->id;
	return 0;
}

/* ---- order ---- */

static int compare_ranked(const void *a_, const void *b_)
{
	const struct ranked *a = a_, *b = b_;
	const struct policy_rule *ra = a->rule, *rb = b->rule;

	if (ra->has_net != rb->has_net)
		return ra->has_net ? 1 : -1;
	if (ra->prefix_len != rb->prefix_len)
		return ra->prefix_len > rb->prefix_len ? 1 : -1;
	if ((a->class_id == ANY_CLASS) != (b->class_id == ANY_CLASS))
		return a->class_id == ANY_CLASS ? -1 : 1;
	return a->place > b->place ? 1 : -1;
}

static int rank_rules(struct compiler *c, struct error *e)
{
	for (uint32_t i = 0; i < c->policy->n_rules; i++) {
		struct ranked *ranked = &c->ranked[i];
		int err;

		ranked->rule = &c->policy->rules[i];
		ranked->place = i;
		assert(ranked->rule->id > 0 && ranked->rule->id < MAX_RULES);
		err = resolve_class(c, ranked->rule, &ranked->class_id, e);
		if (!err && ranked->rule->verb == POLICY_LIMIT)
			err = make_meter(c, ranked->rule, &ranked->meter_id, e);
		if (err)
			return err;
		note_class(c, ranked->rule, ranked->class_id);
	}
	qsort(c->ranked, c->policy->n_rules, sizeof(*c->ranked), compare_ranked);
	return 0;
}

/* ---- zones ---- */

static bool prefix_holds(const uint8_t prefix[16], unsigned prefix_len, const uint8_t addr[16])
{
	unsigned bytes = prefix_len / 8, bits = prefix_len % 8;

	if (memcmp(prefix, addr, bytes) != 0)
		return false;
	return bits == 0 || ((prefix[bytes] ^ addr[bytes]) & (uint8_t)(0xff00 >> bits)) == 0;
}

static bool zone_holds(const struct zone_key *zone, const uint8_t addr[16], unsigned prefix_len)
{
	return zone->prefix_len <= prefix_len && prefix_holds(zone->addr, zone->prefix_len, addr);
}

/* The zone that holds the whole prefix, the narrowest; NULL when none. */
static const struct policy_zone *zone_around(const struct policy_program *program,
					     const uint8_t addr[16], unsigned prefix_len)
{
	const struct policy_zone *best = NULL;

	for (uint32_t i = 0; i < program->n_zones; i++) {
		const struct policy_zone *z = &program->zones[i];

		if (!zone_holds(&z->prefix, addr, prefix_len))
			continue;
		if (!best || z->prefix.prefix_len > best->prefix.prefix_len)
			best = z;
	}
	return best;
}

static int too_many_zones(struct error *e)
{
	return error_set(e, -E2BIG, "too many different networks; at most %d", MAX_ZONES - 2);
}

static int add_zone(struct compiler *c, const struct zone_key *zone, uint32_t zone_id,
		    struct error *e)
{
	struct policy_program *program = c->program;

	if (program->n_zones == MAX_ZONES)
		return too_many_zones(e);
	program->zones[program->n_zones++] = (struct policy_zone){*zone, zone_id};
	return 0;
}

static int add_never(struct compiler *c, const struct zone_key *never, uint32_t n, struct error *e)
{
	for (uint32_t i = 0; i < n; i++) {
		int err;

		if (zone_around(c->program, never[i].addr, never[i].prefix_len))
			continue;
		err = add_zone(c, &never[i], ZONE_NEVER, e);
		if (err)
			return err;
	}
	c->n_never = c->program->n_zones;
	return 0;
}

/* ---- rows ---- */

static struct policy_action action_of(const struct ranked *ranked)
{
	static const uint8_t actions[] = {
		[POLICY_BLOCK] = ACTION_DROP,
		[POLICY_LIMIT] = ACTION_LIMIT,
		[POLICY_WATCH] = ACTION_WATCH,
		[POLICY_ALLOW] = ACTION_PASS,
	};
	const struct policy_rule *r = ranked->rule;

	return (struct policy_action){
		.action = actions[r->verb],
		.flags = r->force ? POLICY_FORCE : 0,
		.meter_id = ranked->meter_id,
		.rule_id = r->id,
	};
}

static void paint(struct policy_entry *row, const struct ranked *ranked)
{
	struct policy_action action = action_of(ranked);
	/* Not to know a flow is no ground to act on it: `unknown` must be named. */
	int first = acts(ranked->rule) ? CLASS_UNKNOWN + 1 : CLASS_UNKNOWN, last = MAX_CLASSES - 1;

	if (ranked->class_id != ANY_CLASS)
		first = last = ranked->class_id;
	for (int id = first; id <= last; id++) {
		if (ranked->rule->dir & POLICY_DIR_IN)
			row[id].by_hook[HOOK_INGRESS] = action;
		if (ranked->rule->dir & POLICY_DIR_OUT)
			row[id].by_hook[HOOK_EGRESS] = action;
	}
}

/* zone: NULL for flows of no zone. */
static void paint_row(struct compiler *c, struct policy_entry *row, const struct zone_key *zone)
{
	uint8_t action = c->policy->default_verb == POLICY_ALLOW ? ACTION_PASS : ACTION_WATCH;

	for (int id = 0; id < MAX_CLASSES; id++)
		for (int hook = 0; hook < N_HOOKS; hook++)
			row[id].by_hook[hook] = (struct policy_action){.action = action};
	for (uint32_t i = 0; i < c->policy->n_rules; i++) {
		const struct policy_rule *r = c->ranked[i].rule;

		if (r->has_net && (!zone || r->prefix_len > zone->prefix_len ||
				   !prefix_holds(r->net, r->prefix_len, zone->addr)))
			continue;
		paint(row, &c->ranked[i]);
	}
	for (int id = 0; id < MAX_CLASSES; id++)
		for (int hook = 0; hook < N_HOOKS; hook++)
			c->decides[row[id].by_hook[hook].rule_id] = true;
}

static bool row_is_all(const struct policy_entry *row, uint32_t rule_id)
{
	for (int id = 0; id < MAX_CLASSES; id++)
		for (int hook = 0; hook < N_HOOKS; hook++)
			if (row[id].by_hook[hook].rule_id != rule_id)
				return false;
	return true;
}

static bool exempts(const struct ranked *ranked)
{
	const struct policy_rule *r = ranked->rule;

	return r->verb == POLICY_ALLOW && ranked->class_id == ANY_CLASS && r->has_net &&
	       r->dir == POLICY_DIR_BOTH;
}

static bool is_exempt(const struct compiler *c, const struct policy_entry *row)
{
	for (uint32_t i = 0; i < c->policy->n_rules; i++)
		if (exempts(&c->ranked[i]) && row_is_all(row, c->ranked[i].rule->id))
			return true;
	return false;
}

/* Whether flows of this net have their zone without a new one. */
static bool has_zone(const struct compiler *c, const struct policy_rule *r)
{
	const struct policy_program *program = c->program;

	for (uint32_t i = 0; i < program->n_zones; i++) {
		const struct zone_key *zone = &program->zones[i].prefix;

		if (!zone_holds(zone, r->net, r->prefix_len))
			continue;
		if (i < c->n_never || zone->prefix_len == r->prefix_len)
			return true;
	}
	return false;
}

static int make_zone(struct compiler *c, const struct policy_rule *r, struct error *e)
{
	struct zone_key zone = {.prefix_len = r->prefix_len};
	struct policy_entry *row;

	if (has_zone(c, r))
		return 0;
	if (c->next_zone_id == MAX_ZONES)
		return too_many_zones(e);
	memcpy(zone.addr, r->net, sizeof(zone.addr));
	row = &c->program->entries[policy_index(c->next_zone_id, 0)];
	paint_row(c, row, &zone);
	if (!is_exempt(c, row))
		return add_zone(c, &zone, c->next_zone_id++, e);
	memset(row, 0, MAX_CLASSES * sizeof(*row));
	return add_zone(c, &zone, ZONE_NEVER, e);
}

static int make_rows(struct compiler *c, struct error *e)
{
	struct policy_entry *never = &c->program->entries[policy_index(ZONE_NEVER, 0)];
	int err = 0;

	paint_row(c, &c->program->entries[policy_index(ZONE_DEFAULT, 0)], NULL);
	for (int id = 0; id < MAX_CLASSES; id++)
		for (int hook = 0; hook < N_HOOKS; hook++)
			never[id].by_hook[hook].action = ACTION_PASS;
	for (uint32_t i = 0; !err && i < c->policy->n_rules; i++)
		if (c->ranked[i].rule->has_net)
			err = make_zone(c, c->ranked[i].rule, e);
	return err;
}

static void note_idle_rules(struct compiler *c)
{
	for (uint32_t i = 0; i < c->policy->n_rules; i++)
		if (!c->decides[c->policy->rules[i].id])
			note(c, &c->policy->rules[i],
			     "decides nothing: other rules or the setting never stand before it");
}

/* ---- the whole ---- */

void policy_program_free(struct policy_program *program)
{
	free(program);
}

static void free_program(struct policy_program **program)
{
	policy_program_free(*program);
}

static void free_ranked(struct ranked **ranked)
{
	free(*ranked);
}

int policy_compile(const struct policy *p, const struct policy_classes *classes,
		   const struct zone_key *never, uint32_t n_never,
		   struct policy_program **ret_program, struct error *e)
{
	cleanup(free_program) struct policy_program *program = calloc(1, sizeof(*program));
	cleanup(free_ranked) struct ranked *ranked = calloc(p->n_rules + 1, sizeof(*ranked));
	struct compiler c = {
		.policy = p,
		.classes = classes,
		.program = program,
		.ranked = ranked,
		.next_zone_id = ZONE_NEVER + 1,
	};
	int err;

	if (!program || !ranked)
		return error_set(e, -ENOMEM, "no memory to compile a policy");
	err = rank_rules(&c, e);
	if (!err)
		err = add_never(&c, never, n_never, e);
	if (!err)
		err = make_rows(&c, e);
	if (err)
		return err;
	note_idle_rules(&c);
	note_cut(&c);
	*ret_program = take_ptr(program);
	return 0;
}

uint32_t policy_zone_of(const struct policy_program *program, const uint8_t addr[16],
			uint8_t *ret_prefix_len)
{
	const struct policy_zone *z = zone_around(program, addr, 128);

	if (ret_prefix_len)
		*ret_prefix_len = z ? (uint8_t)z->prefix.prefix_len : 0;
	return z ? z->zone_id : ZONE_DEFAULT;
}
