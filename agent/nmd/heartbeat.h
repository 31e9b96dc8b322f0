/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The `control` map: mode, heartbeat, fail-open deadline, generation. The heartbeat comes from the
 * event loop, so that a loop that hangs is a dead agent to the kernel.
 */
#pragma once
#include <stdbool.h>
#include "agent/nmd/kernel.h"

struct heartbeat {
	struct kernel *kernel;
	struct control control; /* as written */
	uint64_t failed;
};

/* Takes over what a former agent left: its generation goes up by one, so that flows without a
 * verdict are sent up anew. */
int heartbeat_start(struct heartbeat *h, struct kernel *k, bool watch, uint64_t fail_open_s,
		    bool endpoints, struct error *e);
void heartbeat_beat(struct heartbeat *h);
/* For work that keeps the loop for seconds (the verifier, a walk over many verdicts): a beat that
 * counts from 10 s later. */
void heartbeat_beat_ahead(struct heartbeat *h);
/* tripped: the breaker's, kept for the next agent. */
int heartbeat_set_mode(struct heartbeat *h, bool watch, bool tripped);
bool heartbeat_tripped(const struct heartbeat *h);
void heartbeat_set_fail_open(struct heartbeat *h, uint64_t fail_open_s);
/* The record shape changed: undecided flows begin anew. */
int heartbeat_next_generation(struct heartbeat *h);
/* Four beats within the deadline, and one a second at least. */
uint64_t heartbeat_period_ms(uint64_t fail_open_s);
