/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attaching and leaving. The links live in pins, not in this process: nothing here keeps a file
 * descriptor, so that a stopped agent leaves a guarded interface, and a started one finds it by
 * <pin_dir>/links alone.
 *
 * A pin may lie: its interface may be gone (the kernel then says ifindex 0), or the number may
 * belong to another interface by now, or the agent may run in another network namespace. So a link
 * is only taken over when it speaks of this ifindex and the interface really runs its program.
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "agent/nmd/attach_hooks.h"
#include "agent/nmd/dispatcher.h"
#include "agent/nmd/pins.h"

#define MAX_PINNED 4096

void attach_note(struct attachment *a, const char *format, ...)
{
	size_t used = strlen(a->note);
	va_list args;

	if (used && used + 2 < sizeof(a->note))
		used += snprintf(a->note + used, sizeof(a->note) - used, "; ");
	va_start(args, format);
	vsnprintf(a->note + used, sizeof(a->note) - used, format, args);
	va_end(args);
}

static int pin_path(char path[PATH_MAX], const char *pin_dir, int ifindex, const char *what)
{
	int n = snprintf(path, PATH_MAX, "%s/links/%d-%s", pin_dir, ifindex, what);

	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int attach_mark(const char *pin_dir, int ifindex, const char *what)
{
	char path[PATH_MAX];
	int err = pin_path(path, pin_dir, ifindex, what);

	return err ? err : pins_make_dir(path);
}

bool attach_marked(const char *pin_dir, int ifindex, const char *what)
{
	char path[PATH_MAX];

	return !pin_path(path, pin_dir, ifindex, what) && !access(path, F_OK);
}

void attach_unmark(const char *pin_dir, int ifindex, const char *what)
{
	char path[PATH_MAX];

	if (!pin_path(path, pin_dir, ifindex, what))
		rmdir(path);
}

/* info.xdp and (since 6.6) info.tcx both begin with the ifindex. */
static int read_link(int fd, struct bpf_link_info *ret_info)
{
	struct bpf_link_info info = {0};
	__u32 len = sizeof(info);
	int err = bpf_obj_get_info_by_fd(fd, &info, &len);

	if (!err)
		*ret_info = info;
	return err;
}

int attach_link_adopt(const struct link_place *link, int prog_fd, bool (*live)(int, unsigned))
{
	struct bpf_link_info info = {0};
	char path[PATH_MAX];
	int fd, err = pin_path(path, link->pin_dir, link->ifindex, link->what);

	if (err)
		return err;
	fd = bpf_obj_get(path);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	err = read_link(fd, &info);
	if (!err && info.type == link->link_type && (int)info.xdp.ifindex == link->ifindex &&
	    live(link->ifindex, info.prog_id)) {
		err = bpf_link_update(fd, prog_fd, NULL);
		close(fd);
		return err ? err : 1;
	}
	close(fd);
	if (!err && unlink(path))
		err = -errno;
	return err;
}

int attach_link_pin(const struct link_place *link, int link_fd)
{
	char path[PATH_MAX];
	int err = pin_path(path, link->pin_dir, link->ifindex, link->what);

	if (!err)
		err = bpf_obj_pin(link_fd, path);
	close(link_fd);
	return err;
}

/* The programs would take the IP header of a tun, WireGuard or PPP interface for an Ethernet one,
 * and the operator would believe it guarded. */
static int require_ethernet(const char *ifname, struct error *e)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};
	int type = ARPHRD_ETHER; /* an interface that is gone: attaching says so */

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
	if (fd >= 0 && !ioctl(fd, SIOCGIFHWADDR, &request))
		type = request.ifr_hwaddr.sa_family;
	if (fd >= 0)
		close(fd);
	if (type == ARPHRD_ETHER || type == ARPHRD_LOOPBACK)
		return 0;
	return error_set(e, -EOPNOTSUPP,
			 "%s: its packets have no Ethernet header (link type %d) and cannot be "
			 "read; guard an interface that they enter or leave by",
			 ifname, type);
}

int attach_interface_with(struct kernel *k, int ifindex, const char *ifname,
			  const struct attach_options *options, struct attachment *ret_attachment,
			  struct error *e)
{
	const struct place place = {k, ifindex, ifname, *options};
	struct attachment a = {.ifindex = ifindex};
	char path[PATH_MAX];
	int err;

	snprintf(a.ifname, sizeof(a.ifname), "%s", ifname);
	if (snprintf(path, sizeof(path), "%s/links", kernel_pin_dir(k)) >= (int)sizeof(path))
		return error_set(e, -ENAMETOOLONG, "%s: too long", kernel_pin_dir(k));
	err = require_ethernet(ifname, e);
	if (err)
		return err;
	err = pins_make_dir(path);
	if (err)
		return error_set(e, err, "%s: %s", path, strerror(-err));
	err = attach_xdp(&place, &a, e);
	if (err)
		return err;
	attach_egress(&place, &a);
	*ret_attachment = a;
	return 0;
}

int attach_interface(struct kernel *k, int ifindex, const char *ifname,
		     struct attachment *ret_attachment, struct error *e)
{
	return attach_interface_with(k, ifindex, ifname, &(struct attach_options){0},
				     ret_attachment, e);
}

int attach_update(struct kernel *k, const struct attachment *attachment, struct error *e)
{
	struct attachment now;
	int err = attach_interface(k, attachment->ifindex, attachment->ifname, &now, e);

	if (!err && attachment->tc != TC_METHOD_NONE && now.tc == TC_METHOD_NONE)
		return error_set(e, -EIO, "%s: %s", attachment->ifname, now.note);
	return err;
}

/* Detached, not merely unpinned: somebody else may hold the link open. */
static int remove_link(const char *pin_dir, int ifindex, const char *what, struct error *e)
{
	char path[PATH_MAX];
	int fd, err = pin_path(path, pin_dir, ifindex, what);

	if (err)
		return error_set(e, err, "%s: too long", pin_dir);
	fd = bpf_obj_get(path);
	if (fd >= 0) {
		bpf_link_detach(fd);
		close(fd);
	}
	if (unlink(path) && errno != ENOENT)
		return error_set(e, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

int attach_remove(const char *pin_dir, int ifindex, struct error *e)
{
	int err = remove_link(pin_dir, ifindex, "ingress", e), other;

	if (attach_marked(pin_dir, ifindex, "dispatcher")) {
		other = dispatcher_detach(INGRESS_PROGRAM, ifindex, err ? NULL : e);
		if (!other)
			attach_unmark(pin_dir, ifindex, "dispatcher");
		err = err ? err : other;
	}
	other = remove_link(pin_dir, ifindex, "egress", err ? NULL : e);
	err = err ? err : other;
	if (attach_marked(pin_dir, ifindex, "clsact") || attach_marked(pin_dir, ifindex, "qdisc")) {
		other = attach_clsact_remove(pin_dir, ifindex, err ? NULL : e);
		err = err ? err : other;
	}
	return err;
}

static void free_list(int **list)
{
	free(*list);
}

static bool contains(const int *list, unsigned n, int value)
{
	for (unsigned i = 0; i < n; i++)
		if (list[i] == value)
			return true;
	return false;
}

int attach_pinned(const char *pin_dir, int *ret_ifindexes, unsigned max)
{
	char path[PATH_MAX];
	struct dirent *entry;
	unsigned n = 0;
	DIR *dir;

	if (snprintf(path, sizeof(path), "%s/links", pin_dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir))) {
		char *end;
		long ifindex = strtol(entry->d_name, &end, 10);

		if (ifindex <= 0 || ifindex > INT_MAX || *end != '-' ||
		    contains(ret_ifindexes, n < max ? n : max, (int)ifindex))
			continue;
		if (n < max)
			ret_ifindexes[n] = (int)ifindex;
		n++;
	}
	closedir(dir);
	return (int)n;
}

int attach_remove_all(const char *pin_dir, unsigned *ret_removed, struct error *e)
{
	cleanup(free_list) int *ifindexes = calloc(MAX_PINNED, sizeof(*ifindexes));
	unsigned removed = 0;
	int n, err = 0;

	if (!ifindexes)
		return error_set(e, -ENOMEM, "out of memory");
	/* More than fit the list: some rounds. */
	while ((n = attach_pinned(pin_dir, ifindexes, MAX_PINNED)) > 0 && !err) {
		n = n < MAX_PINNED ? n : MAX_PINNED;
		for (int i = 0; i < n && !err; i++, removed += !err)
			err = attach_remove(pin_dir, ifindexes[i], e);
	}
	if (!err && n < 0)
		err = error_set(e, n, "%s/links: %s", pin_dir, strerror(-n));
	if (!err)
		err = pins_remove(pin_dir, e);
	if (!err)
		*ret_removed = removed;
	return err;
}
