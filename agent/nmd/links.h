/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interfaces that come and go, through libnl: three callbacks, nothing else knows netlink. Patterns
 * are fnmatch(3): "eth*", "!eth1" excludes, first match decides; "lo" must be named literally.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "model/error.h"

struct links;
struct links_callbacks {
	void (*appeared)(void *ctx, int ifindex, const char *ifname);
	void (*gone)(void *ctx, int ifindex, const char *ifname);
	void (*renamed)(void *ctx, int ifindex, const char *ifname);
	/* An address of this host came or went (any interface); addr is v4-mapped. */
	void (*address)(void *ctx, const uint8_t addr[16], bool added);
};

/* Calls appeared and address for what is there now before it returns. */
int links_new(const char *const *patterns, unsigned n_patterns,
	      const struct links_callbacks *callbacks, void *ctx, struct links **ret_links,
	      struct error *e);
void links_free(struct links *l); /* accepts NULL */
int links_fd(const struct links *l);
/* Reads what is waiting; after a lost message (ENOBUFS) it lists everything again. */
int links_read(struct links *l, struct error *e);
bool links_match(const char *const *patterns, unsigned n_patterns, const char *ifname);
