/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The policy's history on disk: DIR/NNNNNN.policy, a policy file with a comment head (when, by
 * whom, what, rule ids), and DIR/state, which version is current and whether it waits for a
 * confirmation. Every write is a temporary file, fsync and rename: a crash leaves the old or the
 * new file. Version 0 is the empty policy and has no file.
 */
#pragma once
#include <stdint.h>
#include "agent/policy/policy.h"

#define POLICY_HISTORY 100 /* versions kept */
#define POLICY_BY      64
#define POLICY_SUMMARY 200

struct policy_version {
	uint32_t version;
	int64_t time_s;
	char by[POLICY_BY];
	char summary[POLICY_SUMMARY];
};

struct policy_pointer {
	uint32_t version;
	int64_t confirm_at_s; /* 0 = nothing waits for a confirmation */
	uint32_t revert_to;   /* what an unconfirmed change goes back to */
};

/* Makes the folder (mode 0700) and its parent. */
int policy_files_prepare(const char *dir, struct error *e);
int policy_files_write(const char *dir, const struct policy_version *about,
		       const struct policy *policy, struct error *e);
int policy_files_read(const char *dir, uint32_t version, struct policy **ret_policy,
		      struct error *e);
void policy_files_remove(const char *dir, uint32_t version);

/* No such file: version 0, nothing pending. */
int policy_files_read_pointer(const char *dir, struct policy_pointer *ret_pointer, struct error *e);
int policy_files_write_pointer(const char *dir, const struct policy_pointer *pointer,
			       struct error *e);

/* The versions there are, oldest first; caller frees. */
int policy_files_list(const char *dir, struct policy_version **ret_versions, uint32_t *ret_n,
		      struct error *e);
