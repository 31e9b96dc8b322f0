/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guarded interfaces: attached when they appear, forgotten when they go. An interface that
 * cannot be attached is told and left alone; the agent goes on with the others.
 */
#pragma once
#include "agent/nmd/attach.h"
#include "agent/nmd/links.h"

#define INTERFACES_MAX 256

struct interfaces {
	struct kernel *kernel;
	const char *pin_dir;
	bool hold; /* add only notes the interface; interfaces_release attaches what was noted */
	unsigned n;
	struct attachment attachment[INTERFACES_MAX];
	uint64_t failed;
};

void interfaces_release(struct interfaces *i);
void interfaces_add(struct interfaces *i, int ifindex, const char *ifname);
void interfaces_remove(struct interfaces *i, int ifindex, const char *ifname);
void interfaces_rename(struct interfaces *i, int ifindex, const char *ifname);
/* Leaves what a former agent guarded and this one does not. */
void interfaces_leave_others(struct interfaces *i);
/* The programs were loaded anew; every interface is tried, the first error is told. */
int interfaces_update(struct interfaces *i, struct error *e);
