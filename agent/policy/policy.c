/* SPDX-License-Identifier: BSD-2-Clause */
/* A policy as a list of rules: add, remove, copy, write. */
#include "agent/policy/policy.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "agent/policy/units.h"

#define RULES_MOST (MAX_RULES - 1) /* id 0 is the default */

static const char *const verb_names[] = {
	[POLICY_BLOCK] = "block",
	[POLICY_LIMIT] = "limit",
	[POLICY_WATCH] = "watch",
	[POLICY_ALLOW] = "allow",
};

const char *policy_verb_name(enum policy_verb verb)
{
	return verb_names[verb];
}

struct policy *policy_new(void)
{
	struct policy *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->default_verb = POLICY_WATCH;
	p->next_id = 1;
	return p;
}

void policy_free(struct policy *p)
{
	if (!p)
		return;
	free(p->rules);
	free(p);
}

int policy_copy(const struct policy *p, struct policy **ret_policy)
{
	struct policy *copy = malloc(sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	*copy = *p;
	copy->rules = NULL;
	if (p->n_rules) {
		copy->rules = calloc(p->n_rules, sizeof(*copy->rules));
		if (!copy->rules) {
			free(copy);
			return -ENOMEM;
		}
		memcpy(copy->rules, p->rules, p->n_rules * sizeof(*copy->rules));
	}
	*ret_policy = copy;
	return 0;
}

static bool same_subject(const struct policy_rule *a, const struct policy_rule *b)
{
	return strcmp(a->class_name, b->class_name) == 0 && a->dir == b->dir &&
	       a->has_net == b->has_net && a->prefix_len == b->prefix_len &&
	       memcmp(a->net, b->net, sizeof(a->net)) == 0;
}

static const struct policy_rule *find_subject(const struct policy *p,
					      const struct policy_rule *rule)
{
	for (uint32_t i = 0; i < p->n_rules; i++)
		if (same_subject(&p->rules[i], rule))
			return &p->rules[i];
	return NULL;
}

static void remove_at(struct policy *p, uint32_t i)
{
	p->n_rules--;
	memmove(&p->rules[i], &p->rules[i + 1], (p->n_rules - i) * sizeof(*p->rules));
}

/* taken: ids that may not be given. Never all are, as there are at most RULES_MOST rules. */
static uint32_t fresh_id(uint32_t *next_id, const bool taken[MAX_RULES])
{
	while (*next_id < MAX_RULES && taken[*next_id])
		(*next_id)++;
	if (*next_id < MAX_RULES)
		return (*next_id)++;
	for (uint32_t id = 1; id < MAX_RULES; id++)
		if (!taken[id])
			return id;
	assert(!"a rule id is free");
	return 0;
}

static void mark_ids(const struct policy *p, bool taken[MAX_RULES])
{
	for (uint32_t i = 0; i < p->n_rules; i++)
		taken[p->rules[i].id] = true;
}

int policy_add(struct policy *p, const struct policy_rule *rule, struct error *e)
{
	const struct policy_rule *old = find_subject(p, rule);
	bool taken[MAX_RULES] = {0};
	struct policy_rule *rules;
	uint32_t id;

	if (old) {
		/* Behind the others: it is the later line now. */
		id = old->id;
		remove_at(p, (uint32_t)(old - p->rules));
	} else {
		if (p->n_rules == RULES_MOST)
			return error_set(e, -E2BIG, "too many rules; at most %d", RULES_MOST);
		rules = reallocarray(p->rules, p->n_rules + 1, sizeof(*rules));
		if (!rules)
			return error_set(e, -ENOMEM, "no memory for a rule");
		p->rules = rules;
		mark_ids(p, taken);
		id = fresh_id(&p->next_id, taken);
	}
	p->rules[p->n_rules] = *rule;
	p->rules[p->n_rules++].id = id;
	return (int)id;
}

const struct policy_rule *policy_rule_find(const struct policy *p, uint32_t id)
{
	for (uint32_t i = 0; i < p->n_rules; i++)
		if (p->rules[i].id == id)
			return &p->rules[i];
	return NULL;
}

int policy_remove(struct policy *p, uint32_t id, struct error *e)
{
	const struct policy_rule *rule = policy_rule_find(p, id);

	if (!rule)
		return error_set(e, -ENOENT, "no rule %" PRIu32 "; `nmctl policy show` lists them",
				 id);
	remove_at(p, (uint32_t)(rule - p->rules));
	return 0;
}

void policy_keep_ids(struct policy *to, const struct policy *from)
{
	bool taken[MAX_RULES] = {0};
	uint32_t next_id = from->next_id;

	mark_ids(from, taken);
	if (to->n_rules + from->n_rules > RULES_MOST) {
		/* Not enough for both: ids of rules that go may be used again. */
		memset(taken, 0, sizeof(taken));
		for (uint32_t i = 0; i < to->n_rules; i++) {
			const struct policy_rule *old = find_subject(from, &to->rules[i]);

			if (old)
				taken[old->id] = true;
		}
	}
	for (uint32_t i = 0; i < to->n_rules; i++) {
		const struct policy_rule *old = find_subject(from, &to->rules[i]);

		to->rules[i].id = old ? old->id : fresh_id(&next_id, taken);
		taken[to->rules[i].id] = true;
	}
	to->next_id = next_id;
}

/* ---- writing ---- */

struct text {
	char *buffer;
	size_t size, len;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
	size_t room = t->len < t->size ? t->size - t->len : 0;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(room ? t->buffer + t->len : NULL, room, format, args);
	va_end(args);
	t->len += n > 0 ? (size_t)n : 0;
}

static void add_rule(struct text *t, const struct policy_rule *r, bool until)
{
	char value[UNITS_TEXT];

	add(t, "%s", verb_names[r->verb]);
	if (r->class_name[0])
		add(t, " class=%s", r->class_name);
	if (r->has_net)
		add(t, " net=%s", units_write_prefix(r->net, r->prefix_len, value));
	if (r->dir != POLICY_DIR_BOTH)
		add(t, " dir=%s", r->dir == POLICY_DIR_IN ? "in" : "out");
	if (r->verb == POLICY_LIMIT) {
		add(t, " rate=%s", units_write_rate(r->rate_bytes_per_s, value));
		add(t, " burst=%s", units_write_burst(r->burst_bytes, value));
	}
	if (r->expires_at && (until || !r->for_s))
		add(t, " until=%s", units_write_time(r->expires_at, value));
	else if (r->for_s)
		add(t, " for=%s", units_write_duration(r->for_s, value));
	if (r->force)
		add(t, " force");
}

int policy_rule_format(const struct policy_rule *rule, char *buffer, size_t size)
{
	struct text t = {.buffer = buffer, .size = size};

	if (size)
		buffer[0] = '\0';
	add_rule(&t, rule, false);
	return (int)t.len;
}

char *policy_format(const struct policy *p)
{
	struct text t = {0};

	/* Once to measure, once to write. */
	for (int pass = 0; pass < 2; pass++) {
		t.len = 0;
		add(&t, "default %s\n", verb_names[p->default_verb]);
		for (uint32_t i = 0; i < p->n_rules; i++) {
			add_rule(&t, &p->rules[i], true);
			add(&t, "\n");
		}
		if (pass == 1)
			break;
		t.size = t.len + 1;
		t.buffer = malloc(t.size);
		if (!t.buffer)
			return NULL;
	}
	return t.buffer;
}
