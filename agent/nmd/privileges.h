/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the agent may still do after its start, and who may speak to it.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "model/error.h"

/* Every thread of the process keeps CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON and can never gain more;
 * CAP_SYS_ADMIN stays only where the kernel has no CAP_BPF or libxdp's dispatcher is in use. Call
 * after the start, from the main thread. Capabilities that the process never had are no error. */
int privileges_drop(struct error *e);

/* The peer of a unix socket is root, or a member of the group (by its own group or by the group
 * data base). No such group: root alone. ret_uid may be NULL; set also when false is returned,
 * UINT32_MAX when the peer cannot be told. */
bool privileges_peer_allowed(int fd, const char *group, uint32_t *ret_uid);
