/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The inside of struct kernel, for kernel.c (skeleton and pins), kernel_maps.c (typed access) and
 * kernel_policy.c (the policy's three maps). Nobody else includes this.
 */
#pragma once
#include "agent/nmd/kernel.h"

/* Every map that outlives the agent, by its name in bpf/maps.bpf.h; pinned as maps/NAME. */
#define KERNEL_MAPS(X)                                                                             \
	X(newcomers)                                                                               \
	X(pace)                                                                                    \
	X(flows)                                                                                   \
	X(fragments)                                                                               \
	X(verdicts)                                                                                \
	X(endpoints)                                                                               \
	X(class_names)                                                                             \
	X(policy)                                                                                  \
	X(meters)                                                                                  \
	X(zones)                                                                                   \
	X(control)                                                                                 \
	X(counters)                                                                                \
	X(events)

enum kernel_map {
#define X(name) MAP_##name,
	KERNEL_MAPS(X)
#undef X
		N_KERNEL_MAPS,
};

struct netmamba; /* the skeleton */

struct kernel {
	struct kernel_config config; /* pin_dir is this struct's own */
	struct netmamba *programs;   /* loaded */
	struct netmamba *for_libxdp; /* see kernel_ingress_object */
	int map_fd[N_KERNEL_MAPS];
	int *ring_fd;
	uint32_t n_rings;
	bool adopted;
};
