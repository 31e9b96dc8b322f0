/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between attach.c and its sides, attach_xdp.c, attach_egress.c and attach_clsact.c. Nobody else
 * includes this.
 *
 * What is on an interface is written in <pin_dir>/links: a link's pin <ifindex>-ingress or
 * <ifindex>-egress; an empty directory (a bpffs holds no plain files) <ifindex>-dispatcher when
 * libxdp holds the ingress program, <ifindex>-clsact when a tc filter holds the egress program, and
 * <ifindex>-qdisc when the clsact qdisc is ours as well.
 */
#pragma once
#include <limits.h>
#include "agent/nmd/attach.h"

#define INGRESS_PROGRAM "nm_ingress"
#define EGRESS_PROGRAM  "nm_egress"

/* Values of the kernel's headers since 6.6. */
#define LINK_TYPE_TCX 11
#define TCX_EGRESS    47
#define TCX_BEFORE    (1u << 3) /* BPF_F_BEFORE, relative to nothing: first */

struct place {
	struct kernel *k;
	int ifindex;
	const char *ifname;
	struct attach_options options;
};

int attach_xdp(const struct place *place, struct attachment *a, struct error *e);
/* Never fails: without egress the note tells why, and a->tc is TC_METHOD_NONE. */
void attach_egress(const struct place *place, struct attachment *a);

/* attach_clsact.c; removing what is not there is no error. */
int attach_clsact(const struct place *place, const char *pin_dir, struct error *e);
int attach_clsact_remove(const char *pin_dir, int ifindex, struct error *e);

/* attach.c, for both sides */
struct link_place {
	const char *pin_dir;
	const char *what; /* "ingress" or "egress" */
	int ifindex;
	unsigned link_type;
};
/* Moves a pinned link to the program: 1, or 0 when there is no such pin (any more: a pin that does
 * not hold this very interface is dropped), or a negative errno. live(ifindex, prog_id) says
 * whether the interface, as this network namespace has it, runs that program. */
int attach_link_adopt(const struct link_place *link, int prog_fd, bool (*live)(int, unsigned));
/* Takes link_fd. */
int attach_link_pin(const struct link_place *link, int link_fd);

void attach_note(struct attachment *a, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
int attach_mark(const char *pin_dir, int ifindex, const char *what);
bool attach_marked(const char *pin_dir, int ifindex, const char *what);
void attach_unmark(const char *pin_dir, int ifindex, const char *what);
