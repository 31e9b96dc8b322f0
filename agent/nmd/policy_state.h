/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The policy in force, its history, and the two clocks on it: `for=` (a rule ends) and `confirm=`
 * (a change that nobody confirms is undone). Both survive a restart.
 *
 * A change writes the new version's file, installs it, then moves the pointer: whatever fails, the
 * policy before stays in force and on disk. While a change waits for its confirmation every other
 * change is refused, so that what is undone is exactly what was tried.
 *
 * Times are seconds since the epoch, given by the caller.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "agent/nmd/policy_files.h"
#include "agent/policy/policy.h"

#define POLICY_NOTES 1024

struct policy_state;

struct policy_state_config {
	const char *dir;
	/* Compiles and puts into force; changes nothing when it fails. */
	int (*install)(void *ctx, const struct policy *p, char ret_notes[POLICY_NOTES],
		       struct error *e);
	void *ctx;
};

/* What a change did. */
struct policy_change {
	uint32_t version;
	uint32_t rule_id;         /* of policy_state_add */
	uint32_t confirm_s;       /* 0 = in force for good */
	char notes[POLICY_NOTES]; /* a line a note */
};

/* Reads what is current (undoing a change whose confirmation ran out meanwhile) and installs it. */
int policy_state_new(const struct policy_state_config *config, int64_t now_s,
		     struct policy_state **ret_state, struct error *e);
void policy_state_free(struct policy_state *ps); /* accepts NULL */

const struct policy *policy_state_current(const struct policy_state *ps);
void policy_state_pointer(const struct policy_state *ps, struct policy_pointer *ret_pointer);
/* The rule is part of a change that waits for its confirmation. */
bool policy_state_rule_pending(const struct policy_state *ps, const struct policy_rule *rule);

int policy_state_add(struct policy_state *ps, int64_t now_s, const char *by,
		     const struct policy_rule *rule, struct policy_change *ret_change,
		     struct error *e);
int policy_state_remove(struct policy_state *ps, int64_t now_s, const char *by, uint32_t id,
			struct policy_change *ret_change, struct error *e);
/* The whole policy is replaced; rules that stay keep their ids. */
int policy_state_apply(struct policy_state *ps, int64_t now_s, const char *by,
		       const struct policy *policy, uint32_t confirm_s,
		       struct policy_change *ret_change, struct error *e);
/* version -1: the one before, or what an unconfirmed change goes back to. */
int policy_state_rollback(struct policy_state *ps, int64_t now_s, const char *by, int64_t version,
			  struct policy_change *ret_change, struct error *e);
int policy_state_confirm(struct policy_state *ps, uint32_t *ret_version, struct error *e);

/* Ends rules whose time is over, undoes an unconfirmed change. True when the policy changed. */
bool policy_state_tick(struct policy_state *ps, int64_t now_s);
/* The same policy once more: the classes or the never prefixes are others. */
int policy_state_reinstall(struct policy_state *ps, char ret_notes[POLICY_NOTES], struct error *e);
