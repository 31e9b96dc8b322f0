/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tests of nmd's kernel side share: a network and mount namespace of the process's own, so
 * that nothing outlives it, a veth pair with both ends in it, frames sent by hand, and a kernel
 * side of small size under a directory of its own. Both ends in one namespace are enough: a frame
 * put on one end with a packet socket leaves through that end's egress hook and enters the other's
 * ingress hook.
 */
#pragma once
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/nmd/kernel.h"

#define END_A "nm-kernel-a" /* guarded */
#define END_B "nm-kernel-b"

/* False, with the reason printed, where namespaces cannot be had. */
static inline bool netns_enter(void)
{
	if (geteuid() != 0) {
		print_message("skipped: needs root\n");
		return false;
	}
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
		print_message("skipped: no namespaces here: %s\n", strerror(errno));
		return false;
	}
	return true;
}

__attribute__((format(printf, 1, 2))) static inline int shell(const char *format, ...)
{
	char command[512];
	va_list args;
	int status;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline bool output_holds(const char *command, const char *text)
{
	FILE *pipe = popen(command, "r");
	char line[1024];
	bool found = false;

	while (pipe && fgets(line, sizeof(line), pipe))
		found |= strstr(line, text) != NULL;
	if (pipe)
		pclose(pipe);
	return found;
}

/* Without IPv6, whose neighbour discovery would be counted too. */
static inline void veth_make(void)
{
	shell("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6");
	assert_int_equal(shell("ip link add " END_A " type veth peer name " END_B), 0);
	assert_int_equal(shell("ip link set " END_A " up && ip link set " END_B " up"), 0);
}

static inline void veth_remove(void)
{
	shell("ip link del " END_A " 2>/dev/null");
}

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	uint8_t payload[32];
} __attribute__((packed));

static inline struct frame frame_udp(uint16_t source_port, uint16_t port)
{
	struct frame f = {.eth = {.h_dest = {2, 0, 0, 0, 0, 1},
				  .h_source = {2, 0, 0, 0, 0, 2},
				  .h_proto = htons(ETH_P_IP)},
			  .ip = {.version = 4,
				 .ihl = 5,
				 .ttl = 64,
				 .protocol = IPPROTO_UDP,
				 .tot_len = htons(sizeof(f) - sizeof(f.eth)),
				 .saddr = htonl(0x0a000001),
				 .daddr = htonl(0x0a000002)},
			  .udp = {.source = htons(source_port),
				  .dest = htons(port),
				  .len = htons(sizeof(f.udp) + sizeof(f.payload))}};

	return f;
}

/* The key of frame_udp's flow. */
static inline struct flow_key frame_key(uint16_t source_port, uint16_t port)
{
	struct flow_key key = {.addr_lo = {[10] = 0xff, 0xff, 10, 0, 0, 1},
			       .addr_hi = {[10] = 0xff, 0xff, 10, 0, 0, 2},
			       .port_lo_be = htons(source_port),
			       .port_hi_be = htons(port),
			       .proto = IPPROTO_UDP};

	return key;
}

static inline int packet_socket(const char *ifname)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ALL),
				 .sll_ifindex = (int)if_nametoindex(ifname)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static inline void send_frames(const char *ifname, unsigned n)
{
	struct frame f = frame_udp(1000, 2000);
	int fd = packet_socket(ifname);

	for (unsigned i = 0; i < n; i++)
		assert_int_equal(send(fd, &f, sizeof(f), 0), sizeof(f));
	close(fd);
}

static inline struct kernel_config small_config(const char *pin_dir)
{
	return (struct kernel_config){.pin_dir = pin_dir,
				      .programs = {.byte_packets = 5,
						   .header_bytes = 80,
						   .payload_bytes = 80,
						   .record_packets = 10,
						   .flow_idle_ns = 60000000000ull,
						   .newcomers_per_ms = 100},
				      .max_flows = 1024,
				      .max_verdicts = 1024,
				      .max_endpoints = 64,
				      .max_fragments = 64,
				      .ring_bytes = 65536};
}

static inline struct kernel *open_kernel(const char *pin_dir)
{
	struct kernel_config config = small_config(pin_dir);
	struct kernel *k = NULL;
	struct error e = {0};

	if (kernel_open(&config, &k, &e))
		fail_msg("%s", e.text);
	return k;
}

/* Packets that went through the programs, both hooks. */
static inline uint64_t packets_seen(const struct kernel *k)
{
	static const bool is_packet[REASON_ROWS] = {
#define PACKET                            true
#define NOTE                              false
#define X(number, name, json, kind, help) [number] = kind,
		REASONS(X)
#undef X
#undef PACKET
#undef NOTE
	};
	struct counter rows[COUNTER_ROWS];
	uint64_t n = 0;

	assert_int_equal(kernel_counters_read(k, rows), 0);
	for (unsigned i = 0; i < REASON_ROWS; i++)
		n += is_packet[i] ? rows[i].packets : 0;
	return n;
}
