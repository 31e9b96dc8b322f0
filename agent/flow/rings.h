/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The live reader: per-CPU BPF ring buffers to records. One epoll descriptor for the event loop.
 * A record of a wrong size is counted and skipped: the kernel side is ours, but a pin may be old.
 */
#pragma once
#include <stdint.h>
#include "agent/flow/parse_user.h"
#include "model/error.h"

struct rings;

/* ring_fds: one file descriptor a ring; they stay the caller's. hits come by on_hit. */
int rings_new(const int *ring_fds, uint32_t n_rings, record_fn on_record, record_fn on_hit,
	      void *ctx, struct rings **ret_rings, struct error *e);
void rings_free(struct rings *r); /* accepts NULL */
int rings_epoll_fd(const struct rings *r);
/* Takes what is there; returns records taken or a negative errno. */
int rings_consume(struct rings *r);
uint64_t rings_bad_records(const struct rings *r);
