/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Egress on kernels without TCX: a filter at a handle and priority of our own on the clsact qdisc.
 * A filter of another there makes us stay away. libbpf cannot list filters, and deleting its "hook"
 * takes every filter with it, so the listing is done here, in plain netlink: it tells whose filter
 * stands at our place (by the name that libbpf gave it, which needs no capability) and whether the
 * qdisc is empty before one that we made is taken away.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "agent/nmd/attach_hooks.h"

#define FILTER_HANDLE   0x6e6d /* "nm" */
#define FILTER_PRIORITY 0x6e   /* early: a later filter's "ok" would end the walk before ours */
#define RECEIVE_BYTES   32768  /* the kernel's messages of a listing are no larger */

struct listing {
	unsigned n_filters;
	bool found; /* a filter at our handle and priority */
	bool ours;
};

static const struct rtattr *find_attr(const struct rtattr *attr, int len, unsigned short type)
{
	for (; RTA_OK(attr, len); attr = RTA_NEXT(attr, len))
		if ((attr->rta_type & NLA_TYPE_MASK) == type)
			return attr;
	return NULL;
}

/* libbpf names a filter PROGRAM:[ID]. */
static bool is_named_ours(const struct nlmsghdr *h, const struct tcmsg *t)
{
	static const char prefix[] = EGRESS_PROGRAM ":";
	const struct rtattr *options, *name;

	options = find_attr(TCA_RTA(t), (int)TCA_PAYLOAD(h), TCA_OPTIONS);
	if (!options)
		return false;
	name = find_attr(RTA_DATA(options), (int)RTA_PAYLOAD(options), TCA_BPF_NAME);
	return name && RTA_PAYLOAD(name) >= sizeof(prefix) &&
	       !memcmp(RTA_DATA(name), prefix, sizeof(prefix) - 1);
}

/* 1 when the listing is complete. */
static int read_message(const struct nlmsghdr *h, struct listing *l)
{
	const struct tcmsg *t = NLMSG_DATA(h);

	if (h->nlmsg_type == NLMSG_DONE)
		return 1;
	if (h->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *answer = NLMSG_DATA(h);

		return h->nlmsg_len < NLMSG_LENGTH(sizeof(*answer)) ? -EBADMSG : answer->error;
	}
	if (h->nlmsg_type != RTM_NEWTFILTER || h->nlmsg_len < NLMSG_LENGTH(sizeof(*t)))
		return 0;
	l->n_filters++;
	if (t->tcm_handle == FILTER_HANDLE && TC_H_MAJ(t->tcm_info) >> 16 == FILTER_PRIORITY) {
		l->found = true;
		l->ours = is_named_ours(h, t);
	}
	return 0;
}

static int receive(int fd, struct listing *l)
{
	__attribute__((aligned(NLMSG_ALIGNTO))) char buffer[RECEIVE_BYTES];
	int err = 0;

	while (!err) {
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
		const struct nlmsghdr *h = (const struct nlmsghdr *)buffer;

		if (n <= 0)
			return n ? -errno : -EIO;
		for (; !err && NLMSG_OK(h, n); h = NLMSG_NEXT(h, n))
			err = read_message(h, l);
	}
	return err < 0 ? err : 0;
}

static int list_filters(int ifindex, unsigned minor, struct listing *l)
{
	struct {
		struct nlmsghdr h;
		struct tcmsg t;
	} request = {.h = {.nlmsg_len = sizeof(request),
			   .nlmsg_type = RTM_GETTFILTER,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		     .t = {.tcm_family = AF_UNSPEC,
			   .tcm_ifindex = ifindex,
			   .tcm_parent = TC_H_MAKE(TC_H_CLSACT, minor)}};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int err;

	if (fd < 0)
		return -errno;
	err = send(fd, &request, sizeof(request), 0) < 0 ? -errno : receive(fd, l);
	close(fd);
	return err;
}

static void remove_qdisc_if_empty(const char *pin_dir, int ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	struct listing l = {0};

	if (!attach_marked(pin_dir, ifindex, "qdisc"))
		return;
	if (!list_filters(ifindex, TC_H_MIN_INGRESS, &l) &&
	    !list_filters(ifindex, TC_H_MIN_EGRESS, &l) && !l.n_filters)
		bpf_tc_hook_destroy(&hook);
	attach_unmark(pin_dir, ifindex, "qdisc");
}

int attach_clsact(const struct place *place, const char *pin_dir, struct error *e)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = place->ifindex, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY,
		    .prog_fd = kernel_egress_fd(place->k));
	struct listing l = {0};
	int err;

	kernel_log_begin();
	err = bpf_tc_hook_create(&hook);
	if (!err)
		err = attach_mark(pin_dir, place->ifindex, "qdisc");
	else if (err == -EEXIST)
		err = 0;
	if (!err)
		err = list_filters(place->ifindex, TC_H_MIN_EGRESS, &l);
	if (err)
		return error_set(e, err, "making the clsact qdisc: %s", strerror(-err));
	if (l.found && !l.ours)
		return error_set(e, -EBUSY, "a foreign filter has handle 0x%x at priority %d",
				 FILTER_HANDLE, FILTER_PRIORITY);
	opts.flags = l.found ? BPF_TC_F_REPLACE : 0;
	err = attach_mark(pin_dir, place->ifindex, "clsact");
	if (!err)
		err = bpf_tc_attach(&hook, &opts);
	if (err) {
		if (!l.found)
			attach_clsact_remove(pin_dir, place->ifindex, NULL);
		return error_set(e, err, "adding the filter: %s", strerror(-err));
	}
	return 0;
}

int attach_clsact_remove(const char *pin_dir, int ifindex, struct error *e)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
	struct listing l = {0};
	int err = 0;

	kernel_log_begin();
	if (!list_filters(ifindex, TC_H_MIN_EGRESS, &l) && l.ours)
		err = bpf_tc_detach(&hook, &opts);
	if (err && err != -ENOENT && err != -ENODEV)
		return error_set(e, err, "interface %d: removing the clsact filter: %s", ifindex,
				 strerror(-err));
	attach_unmark(pin_dir, ifindex, "clsact");
	remove_qdisc_if_empty(pin_dir, ifindex);
	return 0;
}
