/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * `control`: array of one. Writer: agent. Read by the kernel on each packet that it might act on,
 * and on those of undecided flows.
 *
 * Fail open: when now > heartbeat_ns + fail_open_ns, every packet passes (REASON_FAIL_OPEN).
 * fail_open_ns 0 = enforcement goes on without the agent, because the operator said so.
 */
#pragma once
#include <linux/types.h>

/* Raised by any change of a struct in maps/; compared before pins are adopted. */
#define SCHEMA_VERSION 1

/* mode */
#define MODE_WATCH   0 /* nothing is dropped; what would have been is counted */
#define MODE_ENFORCE 1

/* flags */
#define CONTROL_ENDPOINTS 0x01
#define CONTROL_TRIPPED   0x02 /* the agent's note for its successor: its breaker has tripped */

struct control {
	__u32 schema_version;
	__u32 mode;
	__u64 heartbeat_ns; /* CLOCK_MONOTONIC */
	__u64 fail_open_ns;
	__u32 generation; /* raised when the agent starts or the record shape changes: undecided
			     flows are sent up anew */
	__u32 flags;
};
_Static_assert(sizeof(struct control) == 32, "control is a contract");
