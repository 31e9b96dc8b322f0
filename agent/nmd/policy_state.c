/* SPDX-License-Identifier: BSD-2-Clause */
/* Changes to the policy, one at a time, each a version. */
#include "agent/nmd/policy_state.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmd/log.h"

#define DIR_LEN      400
#define AGENT_ITSELF "nmd"

struct policy_state {
	struct policy_state_config config;
	char dir[DIR_LEN];
	struct policy *current;
	struct policy *confirmed; /* while a change is pending: what it goes back to */
	struct policy_pointer pointer;
	uint32_t newest;               /* highest version given out */
	struct policy_version unsaved; /* in force, but not on disk yet; version 0 = none */
	int64_t ticked_s;              /* the wall clock at the last tick, 0 = none yet */
};

static void policy_freep(struct policy **p)
{
	policy_free(*p);
}

static void policy_state_freep(struct policy_state **ps)
{
	policy_state_free(*ps);
}

/* One change, from copy to pointer. */
struct step {
	const char *by;
	const char *summary;
	int64_t now_s;
	uint32_t confirm_s;
	bool keep_pending; /* what waits for a confirmation goes on waiting */
	bool must; /* the end of something that acts: comes whether or not it can be saved */
};

static void prune(struct policy_state *ps)
{
	struct policy_version *versions;
	uint32_t n;

	if (policy_files_list(ps->dir, &versions, &n, NULL))
		return;
	for (uint32_t i = 0; i + POLICY_HISTORY < n; i++)
		if (versions[i].version != ps->pointer.version &&
		    versions[i].version != ps->pointer.revert_to)
			policy_files_remove(ps->dir, versions[i].version);
	free(versions);
}

static void set_expiries(struct policy *p, int64_t now_s)
{
	for (uint32_t i = 0; i < p->n_rules; i++)
		if (p->rules[i].for_s && !p->rules[i].expires_at)
			p->rules[i].expires_at = now_s + (int64_t)p->rules[i].for_s;
}

static int refuse_while_pending(const struct policy_state *ps, int64_t now_s, struct error *e)
{
	if (!ps->pointer.confirm_at_s)
		return 0;
	return error_set(e, -EBUSY,
			 "a change waits for its confirmation (%" PRId64
			 " s left); say `nmctl policy confirm` or `nmctl policy rollback` first",
			 ps->pointer.confirm_at_s > now_s ? ps->pointer.confirm_at_s - now_s : 0);
}

/* What came into force while the disk took nothing. */
static int save_unsaved(struct policy_state *ps, struct error *e)
{
	int rc;

	if (!ps->unsaved.version)
		return 0;
	rc = policy_files_write(ps->dir, &ps->unsaved, ps->current, e);
	if (!rc)
		rc = policy_files_write_pointer(ps->dir, &ps->pointer, e);
	if (rc) {
		policy_files_remove(ps->dir, ps->unsaved.version);
		return rc;
	}
	ps->unsaved = (struct policy_version){0};
	return 0;
}

/* The version's file, the kernel, the pointer. *ret_unsaved: in force, though not on disk. */
static int put_in_force(struct policy_state *ps, const struct policy *next,
			const struct policy_version *about, const struct policy_pointer *pointer,
			bool must, char notes[POLICY_NOTES], bool *ret_unsaved, struct error *e)
{
	int saved = policy_files_write(ps->dir, about, next, e);
	int rc = saved && !must ? saved : ps->config.install(ps->config.ctx, next, notes, e);

	if (!rc && !saved) {
		saved = policy_files_write_pointer(ps->dir, pointer, e);
		if (saved && !must) {
			rc = saved;
			ps->config.install(ps->config.ctx, ps->current, notes, NULL);
		}
	}
	if (rc || saved)
		policy_files_remove(ps->dir, about->version);
	*ret_unsaved = saved;
	return rc;
}

/* next is taken, also on failure. The pointer moves last. */
static int commit(struct policy_state *ps, struct policy *next, const struct step *step,
		  struct policy_change *change, struct error *e)
{
	cleanup(policy_freep) struct policy *owned = next;
	struct policy_version about = {.version = ps->newest + 1, .time_s = step->now_s};
	struct policy_pointer pointer = {0};
	bool unsaved;
	int rc = step->must ? 0 : save_unsaved(ps, e);

	if (rc)
		return rc;
	if (step->keep_pending)
		pointer = ps->pointer;
	pointer.version = about.version;
	snprintf(about.by, sizeof(about.by), "%s", step->by);
	snprintf(about.summary, sizeof(about.summary), "%s", step->summary);
	if (step->confirm_s) {
		pointer.confirm_at_s = step->now_s + step->confirm_s;
		pointer.revert_to = ps->pointer.version;
	}
	set_expiries(owned, step->now_s);
	rc = put_in_force(ps, owned, &about, &pointer, step->must, change->notes, &unsaved, e);
	if (rc)
		return rc;
	if (unsaved && !ps->unsaved.version)
		log_error("policy: version %" PRIu32 " is in force but cannot be saved, tried "
			  "again: %s",
			  about.version, e->text);
	ps->unsaved = unsaved ? about : (struct policy_version){0};
	if (!step->keep_pending) {
		policy_free(ps->confirmed);
		ps->confirmed = step->confirm_s ? take_ptr(ps->current) : NULL;
	}
	policy_free(ps->current);
	ps->current = take_ptr(owned);
	ps->pointer = pointer;
	ps->newest = about.version;
	change->version = about.version;
	change->confirm_s = step->confirm_s;
	prune(ps);
	return 0;
}

static int copy_current(const struct policy_state *ps, struct policy **ret_copy, struct error *e)
{
	int rc = policy_copy(ps->current, ret_copy);

	return rc ? error_set(e, rc, "the policy: %s", strerror(-rc)) : 0;
}

int policy_state_add(struct policy_state *ps, int64_t now_s, const char *by,
		     const struct policy_rule *rule, struct policy_change *ret_change,
		     struct error *e)
{
	char summary[POLICY_SUMMARY];
	struct step step = {.by = by,
			    .summary = summary,
			    .now_s = now_s,
			    .confirm_s = (uint32_t)rule->confirm_s};
	struct policy *next;
	int id, rc = refuse_while_pending(ps, now_s, e);

	if (!rc)
		rc = copy_current(ps, &next, e);
	if (rc)
		return rc;
	policy_rule_format(rule, summary, sizeof(summary));
	id = policy_add(next, rule, e);
	if (id < 0) {
		policy_free(next);
		return id;
	}
	memset(ret_change, 0, sizeof(*ret_change));
	ret_change->rule_id = (uint32_t)id;
	return commit(ps, next, &step, ret_change, e);
}

int policy_state_remove(struct policy_state *ps, int64_t now_s, const char *by, uint32_t id,
			struct policy_change *ret_change, struct error *e)
{
	char summary[POLICY_SUMMARY], text[POLICY_SUMMARY - 16] = "";
	struct step step = {.by = by, .summary = summary, .now_s = now_s};
	const struct policy_rule *rule = policy_rule_find(ps->current, id);
	struct policy *next;
	int rc = refuse_while_pending(ps, now_s, e);

	if (!rc)
		rc = copy_current(ps, &next, e);
	if (rc)
		return rc;
	if (rule)
		policy_rule_format(rule, text, sizeof(text));
	snprintf(summary, sizeof(summary), "remove %s", text);
	rc = policy_remove(next, id, e);
	if (rc) {
		policy_free(next);
		return rc;
	}
	memset(ret_change, 0, sizeof(*ret_change));
	return commit(ps, next, &step, ret_change, e);
}

int policy_state_apply(struct policy_state *ps, int64_t now_s, const char *by,
		       const struct policy *policy, uint32_t confirm_s,
		       struct policy_change *ret_change, struct error *e)
{
	char summary[POLICY_SUMMARY];
	struct step step = {.by = by, .summary = summary, .now_s = now_s, .confirm_s = confirm_s};
	struct policy *next;
	int rc = refuse_while_pending(ps, now_s, e);

	if (rc)
		return rc;
	rc = policy_copy(policy, &next);
	if (rc)
		return error_set(e, rc, "the policy: %s", strerror(-rc));
	policy_keep_ids(next, ps->current);
	snprintf(summary, sizeof(summary), "apply %.100s, %u rules",
		 policy->name[0] ? policy->name : "a policy", policy->n_rules);
	memset(ret_change, 0, sizeof(*ret_change));
	return commit(ps, next, &step, ret_change, e);
}

/* The newest version older than the current one; 0 when there is none. */
static uint32_t version_before(const struct policy_state *ps)
{
	struct policy_version *versions;
	uint32_t n, before = 0;

	if (policy_files_list(ps->dir, &versions, &n, NULL))
		return 0;
	for (uint32_t i = 0; i < n; i++)
		if (versions[i].version < ps->pointer.version)
			before = versions[i].version;
	free(versions);
	return before;
}

static bool is_ended(const struct policy_rule *rule, int64_t now_s)
{
	return rule->expires_at && rule->expires_at <= now_s;
}

/* Rules that exist now as well keep their present ids; those whose time is over stay away. old is
 * taken. */
static int go_back(struct policy_state *ps, struct policy *old, const struct step *step,
		   struct policy_change *ret_change, struct error *e)
{
	for (uint32_t i = old->n_rules; i-- > 0;)
		if (is_ended(&old->rules[i], step->now_s))
			policy_remove(old, old->rules[i].id, NULL);
	policy_keep_ids(old, ps->current);
	memset(ret_change, 0, sizeof(*ret_change));
	return commit(ps, old, step, ret_change, e);
}

int policy_state_rollback(struct policy_state *ps, int64_t now_s, const char *by, int64_t version,
			  struct policy_change *ret_change, struct error *e)
{
	char summary[POLICY_SUMMARY];
	struct step step = {.by = by, .summary = summary, .now_s = now_s};
	struct policy *old;
	int rc;

	if (version < 0)
		version = ps->pointer.confirm_at_s ? ps->pointer.revert_to : version_before(ps);
	if (version > UINT32_MAX || version == ps->pointer.version)
		return error_set(e, -EINVAL, "version %" PRId64 " is the current one; %s", version,
				 "`nmctl policy history` lists the others");
	rc = policy_files_read(ps->dir, (uint32_t)version, &old, e);
	if (rc)
		return rc;
	snprintf(summary, sizeof(summary), "rollback to version %" PRId64, version);
	return go_back(ps, old, &step, ret_change, e);
}

int policy_state_confirm(struct policy_state *ps, uint32_t *ret_version, struct error *e)
{
	struct policy_pointer pointer = {.version = ps->pointer.version};
	int rc;

	if (!ps->pointer.confirm_at_s)
		return error_set(e, -ENOENT, "no change waits for a confirmation");
	rc = save_unsaved(ps, e);
	if (!rc)
		rc = policy_files_write_pointer(ps->dir, &pointer, e);
	if (rc)
		return rc;
	ps->pointer = pointer;
	policy_free(ps->confirmed);
	ps->confirmed = NULL;
	*ret_version = pointer.version;
	return 0;
}

static bool undo_unconfirmed(struct policy_state *ps, int64_t now_s)
{
	char summary[POLICY_SUMMARY];
	struct step step = {.by = AGENT_ITSELF, .summary = summary, .now_s = now_s, .must = true};
	struct policy_change change;
	struct error e = {0};
	uint32_t version = ps->pointer.revert_to;
	struct policy *old;

	if (!ps->pointer.confirm_at_s || now_s < ps->pointer.confirm_at_s)
		return false;
	snprintf(summary, sizeof(summary),
		 "version %" PRIu32 " was not confirmed: back to %" PRIu32, ps->pointer.version,
		 version);
	if (policy_copy(ps->confirmed, &old) || go_back(ps, old, &step, &change, &e)) {
		log_error("policy: %s: failed, tried again: %s", summary, e.text);
		return false;
	}
	log_warning("policy: %s", summary);
	return true;
}

static bool end_rules(struct policy_state *ps, int64_t now_s)
{
	char summary[POLICY_SUMMARY] = "", text[160];
	struct step step = {.by = AGENT_ITSELF,
			    .summary = summary,
			    .now_s = now_s,
			    .keep_pending = ps->pointer.confirm_at_s != 0,
			    .must = true};
	struct policy_change change = {0};
	struct error e = {0};
	struct policy *next = NULL;

	for (uint32_t i = 0; i < ps->current->n_rules; i++) {
		const struct policy_rule *rule = &ps->current->rules[i];

		if (!is_ended(rule, now_s))
			continue;
		if (!next && policy_copy(ps->current, &next))
			return false;
		policy_rule_format(rule, text, sizeof(text));
		snprintf(summary, sizeof(summary), "time is over: %s", text);
		policy_remove(next, rule->id, NULL);
	}
	if (!next)
		return false;
	if (commit(ps, next, &step, &change, &e)) {
		log_error("policy: %s: failed, tried again: %s", summary, e.text);
		return false;
	}
	log_info("policy: %s", summary);
	return true;
}

static void end_earlier(struct policy *p, int64_t by_s)
{
	for (uint32_t i = 0; p && i < p->n_rules; i++)
		if (p->rules[i].for_s && p->rules[i].expires_at)
			p->rules[i].expires_at -= by_s;
}

/* A clock that is set back must lengthen no time that was asked for as a length. */
static void follow_clock(struct policy_state *ps, int64_t now_s)
{
	int64_t back_s = ps->ticked_s - now_s;

	if (ps->ticked_s && back_s > 0) {
		if (ps->pointer.confirm_at_s)
			ps->pointer.confirm_at_s -= back_s;
		end_earlier(ps->current, back_s);
		end_earlier(ps->confirmed, back_s);
	}
	ps->ticked_s = now_s;
}

bool policy_state_tick(struct policy_state *ps, int64_t now_s)
{
	bool undone;

	follow_clock(ps, now_s);
	save_unsaved(ps, NULL);
	undone = undo_unconfirmed(ps, now_s);

	return end_rules(ps, now_s) || undone;
}

int policy_state_reinstall(struct policy_state *ps, char ret_notes[POLICY_NOTES], struct error *e)
{
	return ps->config.install(ps->config.ctx, ps->current, ret_notes, e);
}

const struct policy *policy_state_current(const struct policy_state *ps)
{
	return ps->current;
}

void policy_state_pointer(const struct policy_state *ps, struct policy_pointer *ret_pointer)
{
	*ret_pointer = ps->pointer;
}

bool policy_state_rule_pending(const struct policy_state *ps, const struct policy_rule *rule)
{
	char now[256], before[256];

	if (!ps->pointer.confirm_at_s)
		return false;
	policy_rule_format(rule, now, sizeof(now));
	for (uint32_t i = 0; i < ps->confirmed->n_rules; i++) {
		policy_rule_format(&ps->confirmed->rules[i], before, sizeof(before));
		if (!strcmp(now, before))
			return false;
	}
	return true;
}

static int find_newest(struct policy_state *ps, struct error *e)
{
	struct policy_version *versions;
	uint32_t n;
	int rc = policy_files_list(ps->dir, &versions, &n, e);

	if (rc)
		return rc;
	ps->newest = n ? versions[n - 1].version : 0;
	free(versions);
	return 0;
}

static int read_current(struct policy_state *ps, struct error *e)
{
	int rc = policy_files_prepare(ps->dir, e);

	if (!rc)
		rc = policy_files_read_pointer(ps->dir, &ps->pointer, e);
	if (!rc)
		rc = find_newest(ps, e);
	if (!rc)
		rc = policy_files_read(ps->dir, ps->pointer.version, &ps->current, e);
	if (!rc && ps->pointer.confirm_at_s)
		rc = policy_files_read(ps->dir, ps->pointer.revert_to, &ps->confirmed, e);
	if (!rc && ps->pointer.version > ps->newest)
		ps->newest = ps->pointer.version;
	return rc;
}

int policy_state_new(const struct policy_state_config *config, int64_t now_s,
		     struct policy_state **ret_state, struct error *e)
{
	cleanup(policy_state_freep) struct policy_state *ps = calloc(1, sizeof(*ps));
	char notes[POLICY_NOTES];
	int rc;

	if (!ps)
		return error_set(e, -ENOMEM, "out of memory");
	ps->config = *config;
	if (snprintf(ps->dir, sizeof(ps->dir), "%s", config->dir) >= (int)sizeof(ps->dir))
		return error_set(e, -ENAMETOOLONG, "%s: path too long", config->dir);
	rc = read_current(ps, e);
	if (rc)
		return rc;
	/* What is over or was never confirmed must not act even for a moment. */
	if (!policy_state_tick(ps, now_s)) {
		rc = ps->config.install(ps->config.ctx, ps->current, notes, e);
		if (rc)
			return rc;
	}
	*ret_state = take_ptr(ps);
	return 0;
}

void policy_state_free(struct policy_state *ps)
{
	if (!ps)
		return;
	policy_free(ps->current);
	policy_free(ps->confirmed);
	free(ps);
}
