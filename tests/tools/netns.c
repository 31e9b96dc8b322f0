/* SPDX-License-Identifier: BSD-2-Clause */
/* Sockets in other network namespaces; see netns.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "tests/tools/netns.h"

#define RECEIVE_BUFFER (32 << 20) /* some 10,000 small frames wait here while the sender sleeps */

void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

int place_parse(const char *text, struct place *ret_place)
{
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;

	if (!len || len >= sizeof(ret_place->netns) || !colon[1] ||
	    strlen(colon + 1) >= sizeof(ret_place->rest))
		return -1;
	memcpy(ret_place->netns, text, len);
	ret_place->netns[len] = '\0';
	strcpy(ret_place->rest, colon + 1);
	return 0;
}

static int open_or_fail(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fail("%s: %s", path, strerror(errno));
	return fd;
}

int netns_socket(const char *netns, int domain, int type, int protocol)
{
	char path[128];
	int home, there, fd;

	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	home = open_or_fail("/proc/self/ns/net");
	there = open_or_fail(path);
	if (setns(there, CLONE_NEWNET))
		fail("enter %s: %s", path, strerror(errno));
	fd = socket(domain, type | SOCK_CLOEXEC, protocol);
	if (fd < 0)
		fail("socket in %s: %s", path, strerror(errno));
	if (setns(home, CLONE_NEWNET))
		fail("leave %s: %s", path, strerror(errno));
	close(home);
	close(there);
	return fd;
}

static int interface_index(int fd, const struct place *place, uint8_t ret_mac[6], int *ret_mtu)
{
	struct ifreq request = {0};

	if (strlen(place->rest) >= sizeof(request.ifr_name))
		fail("%s: not the name of an interface", place->rest);
	strcpy(request.ifr_name, place->rest);
	if (ioctl(fd, SIOCGIFHWADDR, &request))
		fail("%s in %s: %s", place->rest, place->netns, strerror(errno));
	memcpy(ret_mac, request.ifr_hwaddr.sa_data, 6);
	if (ioctl(fd, SIOCGIFMTU, &request))
		fail("MTU of %s: %s", place->rest, strerror(errno));
	*ret_mtu = request.ifr_mtu;
	if (ioctl(fd, SIOCGIFINDEX, &request))
		fail("index of %s: %s", place->rest, strerror(errno));
	return request.ifr_ifindex;
}

int netns_packet_socket(const struct place *place, uint8_t ret_mac[6], int *ret_mtu)
{
	int one = 1, size = RECEIVE_BUFFER;
	int fd = netns_socket(place->netns, AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};

	address.sll_ifindex = interface_index(fd, place, ret_mac, ret_mtu);
	if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)))
		fail("PACKET_IGNORE_OUTGOING: %s", strerror(errno));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		fail("receive buffer: %s", strerror(errno));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)))
		fail("bind to %s: %s", place->rest, strerror(errno));
	return fd;
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}
