/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ingress. In this order: the pin of an earlier agent, updated in place; a dispatcher that is
 * there, joined; nothing there: a dispatcher, native then generic, else a link, native then
 * generic. What else is there is foreign, and stays: refused by name. libxdp is not asked before we
 * have looked, since it falls back to attaching alone.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <string.h>
#include <unistd.h>
#include "agent/nmd/attach_hooks.h"
#include "agent/nmd/dispatcher.h"

struct occupant {
	uint32_t prog_id; /* 0 = the interface is free */
	bool generic;
	char name[BPF_OBJ_NAME_LEN]; /* "" when the name may not be asked (CAP_SYS_ADMIN) */
};

const char *xdp_mode_name(enum xdp_mode mode)
{
	return mode == XDP_MODE_NATIVE ? "native" : "generic";
}

static void read_program_name(uint32_t prog_id, char ret_name[BPF_OBJ_NAME_LEN])
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(prog_id);

	ret_name[0] = '\0';
	if (fd < 0)
		return;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len))
		memcpy(ret_name, info.name, BPF_OBJ_NAME_LEN);
	close(fd);
}

static int query(int ifindex, struct occupant *ret)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);
	struct occupant o = {0};
	int err = bpf_xdp_query(ifindex, 0, &opts);

	if (err)
		return err;
	o.prog_id = opts.prog_id;
	if (opts.attach_mode == XDP_ATTACHED_MULTI)
		o.prog_id = opts.hw_prog_id ? opts.hw_prog_id : opts.drv_prog_id;
	o.generic = opts.attach_mode == XDP_ATTACHED_SKB;
	if (o.prog_id)
		read_program_name(o.prog_id, o.name);
	*ret = o;
	return 0;
}

static bool runs_program(int ifindex, unsigned prog_id)
{
	struct occupant o;

	return !query(ifindex, &o) && o.prog_id == prog_id;
}

static int refuse(const struct place *place, const struct occupant *o, struct error *e)
{
	return error_set(e, -EBUSY,
			 "%s: another XDP program (\"%s\", id %u) is there already and is left "
			 "alone; %s, then try again",
			 place->ifname, o->name[0] ? o->name : "name unknown", o->prog_id,
			 dispatcher_supported() ? "detach it or load it through libxdp (xdp-loader)"
						: "detach it");
}

static int join(const struct place *place, bool generic, struct error *e)
{
	struct bpf_object *object;
	int err = kernel_ingress_object(place->k, &object, e);

	return err ? err : dispatcher_attach(object, INGRESS_PROGRAM, place->ifindex, generic, e);
}

static int attach_dispatcher(const struct place *place, bool generic, struct attachment *a,
			     struct error *e)
{
	const char *pin_dir = kernel_pin_dir(place->k);
	bool was_ours = attach_marked(pin_dir, place->ifindex, "dispatcher");
	int err = attach_mark(pin_dir, place->ifindex, "dispatcher");

	if (err)
		return error_set(e, err, "%s: marking the dispatcher: %s", place->ifname,
				 strerror(-err));
	err = join(place, generic, e);
	if (err) {
		if (!was_ours)
			attach_unmark(pin_dir, place->ifindex, "dispatcher");
		return err;
	}
	a->xdp = XDP_METHOD_DISPATCHER;
	a->mode = generic ? XDP_MODE_GENERIC : XDP_MODE_NATIVE;
	a->adopted = was_ours;
	return 0;
}

static int make_link(const struct place *place, const struct link_place *link, bool generic,
		     struct attachment *a)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		    .flags = generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
	int fd = bpf_link_create(kernel_ingress_fd(place->k), place->ifindex, BPF_XDP, &opts);
	int err = fd < 0 ? fd : attach_link_pin(link, fd);

	if (err)
		return err;
	a->xdp = XDP_METHOD_LINK;
	a->mode = generic ? XDP_MODE_GENERIC : XDP_MODE_NATIVE;
	return 0;
}

static int attach_link(const struct place *place, const struct link_place *link,
		       struct attachment *a, struct error *e)
{
	int err = -EOPNOTSUPP;

	if (!place->options.no_native) {
		err = make_link(place, link, false, a);
		if (!err)
			return 0;
		attach_note(a, "native XDP: %s", strerror(-err));
	}
	if (err != -ENODEV)
		err = make_link(place, link, true, a);
	if (err)
		return error_set(e, err, "%s: attaching XDP: %s", place->ifname, strerror(-err));
	return 0;
}

static int attach_free(const struct place *place, const struct link_place *link,
		       struct attachment *a, struct error *e)
{
	struct error why = {0};

	/* A mark here is of an earlier interface with this number. */
	attach_unmark(kernel_pin_dir(place->k), place->ifindex, "dispatcher");
	if (!dispatcher_supported())
		attach_note(a, "no XDP dispatcher: the kernel does not load freplace programs");
	if (place->options.no_dispatcher || !dispatcher_supported())
		return attach_link(place, link, a, e);
	if (!place->options.no_native) {
		if (!attach_dispatcher(place, false, a, &why))
			return 0;
		attach_note(a, "native XDP: %s", why.text);
	}
	if (why.code != -EOPNOTSUPP) {
		if (!attach_dispatcher(place, true, a, &why))
			return 0;
		attach_note(a, "generic XDP: %s", why.text);
	}
	return attach_link(place, link, a, e);
}

int attach_xdp(const struct place *place, struct attachment *a, struct error *e)
{
	const struct link_place link = {.pin_dir = kernel_pin_dir(place->k),
					.what = "ingress",
					.ifindex = place->ifindex,
					.link_type = BPF_LINK_TYPE_XDP};
	struct occupant o;
	int adopted = attach_link_adopt(&link, kernel_ingress_fd(place->k), runs_program);
	int err;

	if (adopted < 0)
		return error_set(e, adopted, "%s: taking over the XDP link: %s", place->ifname,
				 strerror(-adopted));
	err = query(place->ifindex, &o);
	if (err)
		return error_set(e, err, "%s: asking for XDP programs: %s", place->ifname,
				 strerror(-err));
	if (adopted) {
		a->adopted = true;
		a->xdp = XDP_METHOD_LINK;
		a->mode = o.generic ? XDP_MODE_GENERIC : XDP_MODE_NATIVE;
		return 0;
	}
	if (!o.prog_id)
		return attach_free(place, &link, a, e);
	if (!strcmp(o.name, DISPATCHER_NAME) && dispatcher_supported())
		return attach_dispatcher(place, o.generic, a, e);
	return refuse(place, &o, e);
}
