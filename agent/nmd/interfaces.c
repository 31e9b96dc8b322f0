/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of guarded interfaces. */
#include "agent/nmd/interfaces.h"
#include <net/if.h>
#include "agent/nmd/log.h"

static struct attachment *find(struct interfaces *i, int ifindex)
{
	for (unsigned at = 0; at < i->n; at++)
		if (i->attachment[at].ifindex == ifindex)
			return &i->attachment[at];
	return NULL;
}

static void tell(const struct attachment *a)
{
	log_info("%s (%d): %s, xdp %s by %s, egress %s%s%s", a->ifname, a->ifindex,
		 a->adopted ? "taken over" : "guarded", xdp_mode_name(a->mode),
		 a->xdp == XDP_METHOD_LINK ? "link" : "dispatcher", tc_method_name(a->tc),
		 a->note[0] ? ": " : "", a->note);
}

static bool attach(struct interfaces *i, int ifindex, const char *ifname,
		   struct attachment *ret_attachment)
{
	struct error e = {0};

	if (!attach_interface(i->kernel, ifindex, ifname, ret_attachment, &e)) {
		tell(ret_attachment);
		return true;
	}
	i->failed++;
	log_error("%s: not guarded: %s", ifname, e.text);
	return false;
}

void interfaces_add(struct interfaces *i, int ifindex, const char *ifname)
{
	struct attachment fresh = {.ifindex = ifindex};

	if (find(i, ifindex))
		return;
	if (i->n >= INTERFACES_MAX) {
		i->failed++;
		log_error("%s: not guarded: %d interfaces at most", ifname, INTERFACES_MAX);
		return;
	}
	snprintf(fresh.ifname, sizeof(fresh.ifname), "%s", ifname);
	if (i->hold || attach(i, ifindex, ifname, &fresh))
		i->attachment[i->n++] = fresh;
}

void interfaces_release(struct interfaces *i)
{
	unsigned kept = 0;

	i->hold = false;
	for (unsigned at = 0; at < i->n; at++) {
		struct attachment noted = i->attachment[at];

		if (attach(i, noted.ifindex, noted.ifname, &i->attachment[kept]))
			kept++;
	}
	i->n = kept;
}

void interfaces_remove(struct interfaces *i, int ifindex, const char *ifname)
{
	struct attachment *a = find(i, ifindex);
	struct error e = {0};

	if (!a)
		return;
	if (attach_remove(i->pin_dir, ifindex, &e))
		log_warning("%s: %s", ifname, e.text);
	*a = i->attachment[--i->n];
	log_info("%s (%d): gone", ifname, ifindex);
}

void interfaces_rename(struct interfaces *i, int ifindex, const char *ifname)
{
	struct attachment *a = find(i, ifindex);

	if (!a)
		return;
	log_info("%s (%d): now called %s", a->ifname, ifindex, ifname);
	snprintf(a->ifname, sizeof(a->ifname), "%s", ifname);
}

void interfaces_leave_others(struct interfaces *i)
{
	int pinned[INTERFACES_MAX], n = attach_pinned(i->pin_dir, pinned, INTERFACES_MAX);
	struct error e = {0};
	char name[IF_NAMESIZE];

	for (int at = 0; at < n && at < INTERFACES_MAX; at++) {
		if (find(i, pinned[at]))
			continue;
		if (attach_remove(i->pin_dir, pinned[at], &e))
			log_warning("interface %d: %s", pinned[at], e.text);
		else
			log_info("%s (%d): no longer guarded",
				 if_indextoname(pinned[at], name) ? name : "an interface",
				 pinned[at]);
	}
}

int interfaces_update(struct interfaces *i, struct error *e)
{
	int first = 0;

	for (unsigned at = 0; at < i->n; at++) {
		struct error why = {0};
		int rc = attach_update(i->kernel, &i->attachment[at], &why);

		if (!rc)
			continue;
		log_error("%s: %s", i->attachment[at].ifname, why.text);
		if (!first)
			first = error_set(e, rc, "%s: %.200s", i->attachment[at].ifname, why.text);
	}
	return first;
}
