/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Egress: a TCX link (kernel 6.6) before what is there already, else a filter on the clsact qdisc.
 * First, since a foreign program's "pass" ends the walk; ours lets the walk go on. Where an
 * interface has a filter of ours from an earlier agent it stays with clsact, so that it is never
 * guarded twice.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>
#include "agent/nmd/attach_hooks.h"

#define MAX_TCX_PROGRAMS 64 /* the kernel's BPF_MPROG_MAX */

const char *tc_method_name(enum tc_method method)
{
	static const char *const name[] = {
		[TC_METHOD_TCX] = "tcx", [TC_METHOD_CLSACT] = "clsact", [TC_METHOD_NONE] = "none"};

	return name[method];
}

static bool runs_program(int ifindex, unsigned prog_id)
{
	__u32 ids[MAX_TCX_PROGRAMS], n = MAX_TCX_PROGRAMS;

	if (bpf_prog_query(ifindex, TCX_EGRESS, 0, NULL, ids, &n))
		return false;
	for (__u32 i = 0; i < n; i++)
		if (ids[i] == prog_id)
			return true;
	return false;
}

static int attach_tcx(const struct place *place, const struct link_place *link)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = TCX_BEFORE);
	int fd = bpf_link_create(kernel_egress_fd(place->k), place->ifindex, TCX_EGRESS, &opts);

	return fd < 0 ? fd : attach_link_pin(link, fd);
}

void attach_egress(const struct place *place, struct attachment *a)
{
	const char *pin_dir = kernel_pin_dir(place->k);
	const struct link_place link = {.pin_dir = pin_dir,
					.what = "egress",
					.ifindex = place->ifindex,
					.link_type = LINK_TYPE_TCX};
	int adopted = attach_link_adopt(&link, kernel_egress_fd(place->k), runs_program);
	struct error why;
	int err;

	a->tc = TC_METHOD_TCX;
	if (adopted > 0)
		return;
	if (adopted < 0) {
		a->tc = TC_METHOD_NONE;
		attach_note(a, "egress keeps its old program: %s", strerror(-adopted));
		return;
	}
	if (!place->options.no_tcx && !attach_marked(pin_dir, place->ifindex, "clsact")) {
		err = attach_tcx(place, &link);
		if (!err)
			return;
		attach_note(a, "TCX: %s", strerror(-err));
	}
	a->tc = TC_METHOD_CLSACT;
	if (!attach_clsact(place, pin_dir, &why))
		return;
	a->tc = TC_METHOD_NONE;
	attach_note(a, "egress is not guarded: clsact: %s", why.text);
}
