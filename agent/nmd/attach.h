/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attaching the two programs to an interface, and leaving again. XDP through libxdp where its
 * dispatcher works, else a bpf_link; native mode first, generic as a told fallback. Egress by TCX,
 * else clsact. A foreign XDP program is joined through libxdp or the attach is refused with its
 * name and id; it is never replaced. An interface whose packets have no Ethernet header is refused.
 * Links are pinned under
 * <pin_dir>/links/<ifindex>-{ingress,egress}; attach adopts such a pin by updating it in place: no
 * packet passes unguarded.
 */
#pragma once
#include "agent/nmd/kernel.h"
#include "model/error.h"

enum xdp_mode { XDP_MODE_NATIVE, XDP_MODE_GENERIC };
enum xdp_method { XDP_METHOD_LINK, XDP_METHOD_DISPATCHER };
enum tc_method { TC_METHOD_TCX, TC_METHOD_CLSACT, TC_METHOD_NONE };

struct attachment {
	int ifindex;
	char ifname[16];
	enum xdp_mode mode;
	enum xdp_method xdp;
	enum tc_method tc;
	bool adopted;
	char note[160]; /* what was tried and why it fell back; "" when nothing to tell */
};

int attach_interface(struct kernel *k, int ifindex, const char *ifname,
		     struct attachment *ret_attachment, struct error *e);
/* As attach_interface, without some of its ways: tests, and hosts where one of them misbehaves. */
struct attach_options {
	bool no_dispatcher, no_native, no_tcx;
};
int attach_interface_with(struct kernel *k, int ifindex, const char *ifname,
			  const struct attach_options *options, struct attachment *ret_attachment,
			  struct error *e);
/* After kernel_reload. */
int attach_update(struct kernel *k, const struct attachment *attachment, struct error *e);
/* The interface is gone, or is to be left: removes its pins and hooks. */
int attach_remove(const char *pin_dir, int ifindex, struct error *e);
/* Interfaces that pins speak of, so that a restarted agent can leave those it no longer guards.
 * Returns how many there are, which may be more than max, or a negative errno. */
int attach_pinned(const char *pin_dir, int *ret_ifindexes, unsigned max);
/* `nmd --detach`: every interface's hooks, every pin, the bpffs mount if ours. Needs no running
 * agent. Nothing there is no error. ret_removed: interfaces left. */
int attach_remove_all(const char *pin_dir, unsigned *ret_removed, struct error *e);
const char *xdp_mode_name(enum xdp_mode mode);
const char *tc_method_name(enum tc_method method);
