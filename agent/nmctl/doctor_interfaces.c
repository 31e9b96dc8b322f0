/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which interfaces can run XDP in their driver. Nothing is attached: the driver's name comes from
 * ethtool's ioctl, what it can do from the kernel's own list (generic netlink family "netdev",
 * Linux 6.3), read with a raw socket since that is one request and one answer.
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "agent/nmctl/doctor.h"

#define MAX_INTERFACES 32 /* more would be a wall of text; the rest is counted */

/* <linux/netdev.h>, which Debian 12's headers do not have. */
#define NETDEV_FAMILY         "netdev"
#define NETDEV_CMD_DEV_GET    1
#define NETDEV_A_DEV_IFINDEX  1
#define NETDEV_A_DEV_FEATURES 3
#define NETDEV_XDP_ACT_BASIC  1

struct message {
	struct nlmsghdr nl;
	struct genlmsghdr genl;
	uint8_t attributes[4096];
};

static void put_attribute(struct message *m, uint16_t type, const void *data, uint16_t len)
{
	struct nlattr *a = (struct nlattr *)((uint8_t *)m + NLMSG_ALIGN(m->nl.nlmsg_len));

	*a = (struct nlattr){.nla_len = NLA_HDRLEN + len, .nla_type = type};
	memcpy((uint8_t *)a + NLA_HDRLEN, data, len);
	m->nl.nlmsg_len = NLMSG_ALIGN(m->nl.nlmsg_len) + NLA_ALIGN(a->nla_len);
}

/* Sends m and reads its answer into it: 0 or a negative errno. */
static int ask(int fd, struct message *m)
{
	ssize_t len;

	if (send(fd, m, m->nl.nlmsg_len, 0) < 0)
		return -errno;
	len = recv(fd, m, sizeof(*m), 0);
	if (len < (ssize_t)(NLMSG_HDRLEN + GENL_HDRLEN) || m->nl.nlmsg_len > (size_t)len)
		return len < 0 ? -errno : -EBADMSG;
	return m->nl.nlmsg_type == NLMSG_ERROR ? -ENOTSUP : 0;
}

/* The value of an attribute of an answer, of at most size bytes: 0, or -ENOENT. */
static int get_attribute(const struct message *m, uint16_t type, void *ret_value, size_t size)
{
	const uint8_t *p = m->attributes, *end = (const uint8_t *)m + m->nl.nlmsg_len;

	while (end - p >= NLA_HDRLEN) {
		const struct nlattr *a = (const struct nlattr *)p;

		if (a->nla_len < NLA_HDRLEN || a->nla_len > end - p)
			return -ENOENT;
		if ((a->nla_type & NLA_TYPE_MASK) == type) {
			size_t len = a->nla_len - NLA_HDRLEN;

			memset(ret_value, 0, size);
			memcpy(ret_value, p + NLA_HDRLEN, len < size ? len : size);
			return 0;
		}
		p += NLA_ALIGN(a->nla_len) < end - p ? NLA_ALIGN(a->nla_len) : end - p;
	}
	return -ENOENT;
}

static void begin(struct message *m, uint16_t family, uint8_t command)
{
	*m = (struct message){
		.nl = {.nlmsg_len = NLMSG_HDRLEN + GENL_HDRLEN,
		       .nlmsg_type = family,
		       .nlmsg_flags = NLM_F_REQUEST},
		.genl = {.cmd = command, .version = 1},
	};
}

static int netdev_family(int fd, uint16_t *ret_family)
{
	struct message m;
	int ret;

	begin(&m, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	put_attribute(&m, CTRL_ATTR_FAMILY_NAME, NETDEV_FAMILY, sizeof(NETDEV_FAMILY));
	ret = ask(fd, &m);
	return ret ? ret : get_attribute(&m, CTRL_ATTR_FAMILY_ID, ret_family, sizeof(*ret_family));
}

/* 1 native XDP, 0 not, negative: the kernel does not tell. */
static int native_xdp(int fd, uint16_t family, uint32_t ifindex)
{
	uint64_t features = 0;
	struct message m;
	int ret;

	if (!family)
		return -ENOTSUP;
	begin(&m, family, NETDEV_CMD_DEV_GET);
	put_attribute(&m, NETDEV_A_DEV_IFINDEX, &ifindex, sizeof(ifindex));
	ret = ask(fd, &m);
	ret = ret ? ret : get_attribute(&m, NETDEV_A_DEV_FEATURES, &features, sizeof(features));
	return ret ? ret : (features & NETDEV_XDP_ACT_BASIC) != 0;
}

static void driver_name(int fd, const char *ifname, char driver[32])
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq request = {.ifr_data = (char *)&info};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
	if (ioctl(fd, SIOCETHTOOL, &request) || !info.driver[0])
		snprintf(driver, 32, "no driver name");
	else
		snprintf(driver, 32, "%.31s", info.driver);
}

static void say_interface(struct doctor *d, const char *name, const char *driver, int native)
{
	if (native > 0)
		doctor_say(d, HEALTH_OK, "%s (%s): XDP runs in the driver (native)", name, driver);
	else if (native == 0)
		doctor_say(
			d, HEALTH_WARN,
			"%s (%s): no XDP in the driver; nmd uses generic mode, some times dearer "
			"a packet",
			name, driver);
	else
		doctor_say(
			d, HEALTH_WARN,
			"%s (%s): this kernel does not tell whether its driver has XDP; nmd tries "
			"native first, then generic",
			name, driver);
}

void doctor_interfaces(struct doctor *d)
{
	struct if_nameindex *list = if_nameindex();
	int genl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	int inet = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct timeval patience = {.tv_sec = 1};
	uint16_t family = 0;
	unsigned n = 0;
	char driver[32];

	/* A netlink answer is immediate; a socket that stays silent must not hang the doctor. */
	setsockopt(genl, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (netdev_family(genl, &family))
		family = 0;
	for (struct if_nameindex *i = list; i && i->if_index; i++) {
		if (!strcmp(i->if_name, "lo"))
			continue;
		if (++n > MAX_INTERFACES)
			continue;
		driver_name(inet, i->if_name, driver);
		say_interface(d, i->if_name, driver, native_xdp(genl, family, i->if_index));
	}
	if (n > MAX_INTERFACES)
		doctor_say(d, HEALTH_OK, "%u more interfaces", n - MAX_INTERFACES);
	if (n == 0)
		doctor_say(d, HEALTH_WARN, "no interface but lo: there is nothing to guard");
	if_freenameindex(list);
	close(genl);
	close(inet);
}
