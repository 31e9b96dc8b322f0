/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel side as the agent sees it: skeleton, pins, typed access to every map. Nothing outside
 * kernel*.c knows map file descriptors, but for the rings'. Pins live in config.pin_dir, on a bpffs
 * that kernel_open mounts there when nothing is mounted (never under /sys: `ip netns exec` hides
 * it).
 *
 * kernel_open adopts pinned maps when their schema version and sizes fit, so a restarted agent
 * keeps verdicts, policy, meters and counters; it refuses pins of another schema and says how to
 * remove them. kernel_close leaves the pins: enforcement goes on until the fail-open deadline.
 *
 * Single threaded but for the verdict, endpoint and counter calls, which are plain system calls and
 * may come from any thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "agent/nmd/kernel_log.h"
#include "agent/policy/policy.h"
#include "maps/config.h"
#include "maps/control.h"
#include "maps/reason.h"
#include "maps/verdict.h"
#include "model/error.h"

struct kernel;

struct kernel_config {
	const char *pin_dir;       /* such as /run/netmamba/bpf */
	struct nm_config programs; /* n_rings and newcomer_mask are filled in by kernel_open */
	uint32_t max_flows, max_verdicts, max_endpoints, max_fragments;
	uint32_t ring_bytes; /* a ring; rounded up to a power of two of pages */
};

int kernel_open(const struct kernel_config *config, struct kernel **ret_kernel, struct error *e);
void kernel_close(struct kernel *k);         /* accepts NULL */
bool kernel_adopted(const struct kernel *k); /* pins were there */

/* Loads the programs anew with another record shape on the same maps; attach.c then moves the
 * links. */
int kernel_reload(struct kernel *k, const struct nm_config *programs, struct error *e);
int kernel_ingress_fd(const struct kernel *k);
int kernel_egress_fd(const struct kernel *k);
struct bpf_object;
/* libxdp loads a program itself: the ingress program, open and not loaded, with this kernel's
 * configuration and on its maps. The kernel owns it; the next call and kernel_close end it. */
int kernel_ingress_object(struct kernel *k, struct bpf_object **ret_object, struct error *e);
const char *kernel_pin_dir(const struct kernel *k);
uint32_t kernel_ring_fds(const struct kernel *k, const int **ret_fds);

int kernel_control_get(const struct kernel *k, struct control *ret_control);
int kernel_control_set(struct kernel *k, const struct control *control);

/* verdict_put replaces; -E2BIG when the map is full. */
int kernel_verdict_put(struct kernel *k, const struct flow_key *key, const struct verdict *v);
int kernel_verdict_get(const struct kernel *k, const struct flow_key *key,
		       struct verdict *ret_verdict);
int kernel_verdict_delete(struct kernel *k, const struct flow_key *key);
/* Calls fn for each; fn may delete through the kernel handle. Nonzero from fn ends the walk. */
typedef int (*kernel_verdict_fn)(void *ctx, const struct flow_key *key, const struct verdict *v);
int kernel_verdict_walk(struct kernel *k, kernel_verdict_fn fn, void *ctx);

int kernel_endpoint_put(struct kernel *k, const struct endpoint_key *key,
			const struct endpoint_verdict *v);
int kernel_class_name_get(const struct kernel *k, uint32_t class_id, char ret_name[CLASS_NAME_LEN]);
int kernel_class_name_set(struct kernel *k, uint32_t class_id, const char *name);

/* Writes policy, meters and zones: grants first, so that no packet meets a half-written, harsher
 * policy. A meter whose rule id, rate and burst are unchanged keeps its state. rezone (may be NULL)
 * is called once the grants and the new zones are in place and before anything becomes harsher: the
 * place to give live verdicts their new zone; nonzero ends the write there, with the milder of the
 * old and the new policy in force. */
typedef int (*kernel_rezone_fn)(void *ctx);
int kernel_policy_write(struct kernel *k, const struct policy_program *program, struct error *e);
int kernel_policy_write_rezoned(struct kernel *k, const struct policy_program *program,
				kernel_rezone_fn rezone, void *ctx, struct error *e);

/* Sums the CPUs; rows: COUNTER_ROWS, caller's. */
int kernel_counters_read(const struct kernel *k, struct counter *rows);
