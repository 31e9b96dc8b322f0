/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two netlink sockets: one that only listens, joined before anything is listed, and one that only
 * lists. What happens during a listing waits on the first and is read again afterwards; since every
 * message says what is, not what changed, hearing it twice is harmless.
 *
 * The kernel's idea of what is there is held against ours in two small tables. That is what makes
 * a lost message (ENOBUFS) cheap: list again, and whatever was not named any more is gone.
 */
#include <errno.h>
#include <fnmatch.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmd/links.h"

#define MAX_KNOWN_LINKS     4096
#define MAX_KNOWN_ADDRESSES 16384
#define BUFFER_BYTES        (1 << 20) /* some thousands of messages */
#define LIST_ATTEMPTS       16        /* a listing that was disturbed so often is taken as it is */

struct known_link {
	int ifindex;
	char name[IFNAMSIZ];
	bool matched;
	bool listed;
};

struct known_address {
	int ifindex;
	uint8_t addr[16];
	uint8_t prefix_len; /* the same address may stand on a link twice, with two lengths */
	bool listed;
};

struct links {
	char **patterns;
	unsigned n_patterns;
	struct links_callbacks callbacks;
	void *ctx;
	struct nl_sock *events, *lister;
	struct known_link *links;
	struct known_address *addresses;
	unsigned n_links, n_addresses;
	bool overflowed; /* a table was full since the caller was last told */
};

bool links_match(const char *const *patterns, unsigned n_patterns, const char *ifname)
{
	for (unsigned i = 0; i < n_patterns; i++) {
		bool exclude = patterns[i][0] == '!';
		const char *pattern = patterns[i] + exclude;

		if (!strcmp(ifname, "lo") ? !strcmp(pattern, "lo") : !fnmatch(pattern, ifname, 0))
			return !exclude;
	}
	return false;
}

static bool wanted(const struct links *l, const char *ifname)
{
	return links_match((const char *const *)l->patterns, l->n_patterns, ifname);
}

static struct known_link *find_link(struct links *l, int ifindex)
{
	for (unsigned i = 0; i < l->n_links; i++)
		if (l->links[i].ifindex == ifindex)
			return &l->links[i];
	return NULL;
}

static bool address_known(const struct links *l, const uint8_t addr[16])
{
	for (unsigned i = 0; i < l->n_addresses; i++)
		if (!memcmp(l->addresses[i].addr, addr, 16))
			return true;
	return false;
}

static void remove_address(struct links *l, unsigned i)
{
	struct known_address gone = l->addresses[i];

	l->addresses[i] = l->addresses[--l->n_addresses];
	if (!address_known(l, gone.addr))
		l->callbacks.address(l->ctx, gone.addr, false);
}

static void remove_link(struct links *l, struct known_link *link)
{
	struct known_link gone = *link;

	*link = l->links[--l->n_links];
	for (unsigned i = l->n_addresses; i-- > 0;)
		if (l->addresses[i].ifindex == gone.ifindex)
			remove_address(l, i);
	if (gone.matched)
		l->callbacks.gone(l->ctx, gone.ifindex, gone.name);
}

static void rename_link(struct links *l, struct known_link *link, const char *name)
{
	char old_name[IFNAMSIZ];
	bool was_matched = link->matched;

	memcpy(old_name, link->name, sizeof(old_name));
	snprintf(link->name, sizeof(link->name), "%s", name);
	link->matched = wanted(l, name);
	if (was_matched && link->matched)
		l->callbacks.renamed(l->ctx, link->ifindex, name);
	else if (link->matched)
		l->callbacks.appeared(l->ctx, link->ifindex, name);
	else if (was_matched)
		l->callbacks.gone(l->ctx, link->ifindex, old_name);
}

static void add_link(struct links *l, int ifindex, const char *name)
{
	struct known_link *link;

	if (l->n_links == MAX_KNOWN_LINKS) {
		l->overflowed = true;
		return;
	}
	link = &l->links[l->n_links++];
	*link = (struct known_link){.ifindex = ifindex, .matched = wanted(l, name), .listed = true};
	snprintf(link->name, sizeof(link->name), "%s", name);
	if (link->matched)
		l->callbacks.appeared(l->ctx, ifindex, name);
}

static void on_link(struct links *l, struct nlmsghdr *h)
{
	struct ifinfomsg *info = nlmsg_data(h);
	struct nlattr *name_attr;
	struct known_link *link;
	char name[IFNAMSIZ];

	/* A bridge tells of its ports with the same message types: a port that leaves the bridge is
	 * "deleted" there and lives on. */
	if (!nlmsg_valid_hdr(h, sizeof(*info)) || info->ifi_family != AF_UNSPEC)
		return;
	link = find_link(l, info->ifi_index);
	if (h->nlmsg_type == RTM_DELLINK) {
		if (link)
			remove_link(l, link);
		return;
	}
	name_attr = nlmsg_find_attr(h, sizeof(*info), IFLA_IFNAME);
	if (!name_attr)
		return;
	nla_strlcpy(name, name_attr, sizeof(name));
	if (!link) {
		add_link(l, info->ifi_index, name);
		return;
	}
	link->listed = true;
	if (strcmp(link->name, name) != 0)
		rename_link(l, link, name);
}

/* The host's own address: on a point-to-point link IFA_ADDRESS is the other end. */
static bool parse_address(struct nlmsghdr *h, struct known_address *ret_address)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct ifaddrmsg *info = nlmsg_data(h);
	struct known_address a = {.listed = true};
	struct nlattr *attr;

	if (!nlmsg_valid_hdr(h, sizeof(*info)))
		return false;
	attr = nlmsg_find_attr(h, sizeof(*info), IFA_LOCAL);
	if (!attr)
		attr = nlmsg_find_attr(h, sizeof(*info), IFA_ADDRESS);
	if (attr && info->ifa_family == AF_INET && nla_len(attr) == 4) {
		memcpy(a.addr, mapped, sizeof(mapped));
		memcpy(a.addr + sizeof(mapped), nla_data(attr), 4);
	} else if (attr && info->ifa_family == AF_INET6 && nla_len(attr) == 16) {
		memcpy(a.addr, nla_data(attr), 16);
	} else {
		return false;
	}
	a.ifindex = (int)info->ifa_index;
	a.prefix_len = info->ifa_prefixlen;
	*ret_address = a;
	return true;
}

static void add_address(struct links *l, const struct known_address *a)
{
	bool is_new = !address_known(l, a->addr);

	if (l->n_addresses == MAX_KNOWN_ADDRESSES) {
		l->overflowed = true;
		return;
	}
	l->addresses[l->n_addresses++] = *a;
	if (is_new)
		l->callbacks.address(l->ctx, a->addr, true);
}

static void on_address(struct links *l, struct nlmsghdr *h)
{
	struct known_address a;
	unsigned i;

	if (!parse_address(h, &a))
		return;
	for (i = 0; i < l->n_addresses; i++)
		if (l->addresses[i].ifindex == a.ifindex &&
		    l->addresses[i].prefix_len == a.prefix_len &&
		    !memcmp(l->addresses[i].addr, a.addr, 16))
			break;
	if (h->nlmsg_type == RTM_NEWADDR && i == l->n_addresses)
		add_address(l, &a);
	else if (h->nlmsg_type == RTM_NEWADDR)
		l->addresses[i].listed = true;
	else if (i < l->n_addresses)
		remove_address(l, i);
}

static int on_message(struct nl_msg *msg, void *ctx)
{
	struct nlmsghdr *h = nlmsg_hdr(msg);

	switch (h->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		on_link(ctx, h);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		on_address(ctx, h);
		break;
	}
	return NL_OK;
}

static int list(struct links *l, int type, struct error *e)
{
	int err;

	for (int i = 0; i < LIST_ATTEMPTS; i++) {
		struct rtgenmsg request = {.rtgen_family = AF_UNSPEC};

		err = nl_send_simple(l->lister, type, NLM_F_DUMP, &request, sizeof(request));
		if (err >= 0)
			err = nl_recvmsgs_default(l->lister);
		if (err != -NLE_DUMP_INTR)
			break;
	}
	if (err < 0 && err != -NLE_DUMP_INTR)
		return error_set(e, -EIO, "listing network interfaces: %s", nl_geterror(err));
	return 0;
}

static int list_all(struct links *l, struct error *e)
{
	int err;

	for (unsigned i = 0; i < l->n_links; i++)
		l->links[i].listed = false;
	for (unsigned i = 0; i < l->n_addresses; i++)
		l->addresses[i].listed = false;
	err = list(l, RTM_GETLINK, e);
	if (!err)
		err = list(l, RTM_GETADDR, e);
	if (err)
		return err;
	for (unsigned i = l->n_links; i-- > 0;)
		if (!l->links[i].listed)
			remove_link(l, &l->links[i]);
	/* Removing a link may have taken many addresses: start at what is left. */
	for (unsigned i = l->n_addresses; i-- > 0;)
		if (!l->addresses[i].listed)
			remove_address(l, i);
	return 0;
}

static int tell_overflow(struct links *l, struct error *e)
{
	if (!l->overflowed)
		return 0;
	l->overflowed = false;
	return error_set(e, -E2BIG,
			 "more than %d network interfaces or %d addresses: the rest is not "
			 "followed",
			 MAX_KNOWN_LINKS, MAX_KNOWN_ADDRESSES);
}

static int copy_patterns(struct links *l, const char *const *patterns, unsigned n)
{
	l->patterns = calloc(n ? n : 1, sizeof(*l->patterns));
	if (!l->patterns)
		return -ENOMEM;
	for (; l->n_patterns < n; l->n_patterns++) {
		l->patterns[l->n_patterns] = strdup(patterns[l->n_patterns]);
		if (!l->patterns[l->n_patterns])
			return -ENOMEM;
	}
	return 0;
}

static int open_socket(struct links *l, struct nl_sock **ret_socket, struct error *e)
{
	struct nl_sock *s = nl_socket_alloc();
	int err;

	if (!s)
		return error_set(e, -ENOMEM, "out of memory for a netlink socket");
	*ret_socket = s;
	nl_socket_modify_cb(s, NL_CB_VALID, NL_CB_CUSTOM, on_message, l);
	err = nl_connect(s, NETLINK_ROUTE);
	if (err)
		return error_set(e, -EIO, "netlink socket: %s", nl_geterror(err));
	return 0;
}

static int open_sockets(struct links *l, struct error *e)
{
	int err = open_socket(l, &l->events, e);

	if (!err)
		err = open_socket(l, &l->lister, e);
	if (err)
		return err;
	nl_socket_disable_seq_check(l->events);
	nl_socket_set_buffer_size(l->events, BUFFER_BYTES, 0); /* as much as may be had */
	err = nl_socket_set_nonblocking(l->events);
	if (!err)
		err = nl_socket_add_memberships(l->events, RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
						RTNLGRP_IPV6_IFADDR, 0);
	if (err)
		return error_set(e, -EIO, "watching network interfaces: %s", nl_geterror(err));
	return 0;
}

static void links_freep(struct links **l)
{
	links_free(*l);
}

int links_new(const char *const *patterns, unsigned n_patterns,
	      const struct links_callbacks *callbacks, void *ctx, struct links **ret_links,
	      struct error *e)
{
	cleanup(links_freep) struct links *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return error_set(e, -ENOMEM, "out of memory for the interface table");
	l->callbacks = *callbacks;
	l->ctx = ctx;
	l->links = calloc(MAX_KNOWN_LINKS, sizeof(*l->links));
	l->addresses = calloc(MAX_KNOWN_ADDRESSES, sizeof(*l->addresses));
	if (!l->links || !l->addresses || copy_patterns(l, patterns, n_patterns))
		return error_set(e, -ENOMEM, "out of memory for the interface table");
	err = open_sockets(l, e);
	if (!err)
		err = list_all(l, e);
	if (err)
		return err;
	*ret_links = take_ptr(l);
	return 0;
}

void links_free(struct links *l)
{
	if (!l)
		return;
	nl_socket_free(l->events);
	nl_socket_free(l->lister);
	for (unsigned i = 0; i < l->n_patterns; i++)
		free(l->patterns[i]);
	free(l->patterns);
	free(l->links);
	free(l->addresses);
	free(l);
}

int links_fd(const struct links *l)
{
	return nl_socket_get_fd(l->events);
}

int links_read(struct links *l, struct error *e)
{
	unsigned lost = 0;
	int err;

	/* After a loss the rest is read before listing: what waits is older than the list. */
	while ((err = nl_recvmsgs_default(l->events)) != -NLE_AGAIN) {
		if (err == -NLE_NOMEM && ++lost < LIST_ATTEMPTS) /* ENOBUFS */
			continue;
		if (err < 0)
			return error_set(e, -EIO, "watching network interfaces: %s",
					 nl_geterror(err));
	}
	if (lost && (err = list_all(l, e)))
		return err;
	return tell_overflow(l, e);
}
