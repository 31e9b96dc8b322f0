/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: requests of nmctl in, JSON lines out (agent/wire/wire.h). Peers are root or
 * members of socket_group. At most CONTROL_CLIENTS at a time; a follower that does not read is
 * dropped and counted; an answer of any length goes out as fast as its reader takes it.
 */
#pragma once
#include "agent/event/event.h"
#include "agent/nmd/agent.h"

#define CONTROL_CLIENTS 32

struct control_counters {
	uint64_t refused, bad_requests, slow_dropped;
	unsigned clients; /* now */
};

/* Listens at run_dir/nmd.sock, mode 0660, of socket_group if there is such a group. */
int control_start(struct agent *a, struct control_server **ret_server, struct error *e);
void control_stop(struct control_server *s); /* accepts NULL; removes the socket */
/* For struct sink; ctx is the struct control_server: to those that follow. */
void control_event(void *ctx, const struct flow_event *event);
void control_counters(const struct control_server *s, struct control_counters *ret_counters);
