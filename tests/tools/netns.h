/* SPDX-License-Identifier: BSD-2-Clause */
/* Sockets in other network namespaces, for the test tools: a socket stays where it was opened. */
#pragma once
#include <net/if.h>
#include <stdint.h>

/* A place to send from or to: "NAMESPACE:REST", where NAMESPACE is a name under /run/netns. */
struct place {
	char netns[64];
	char rest[64]; /* an interface or an address */
};

/* -1 when text is no place. */
int place_parse(const char *text, struct place *ret_place);

/* These print what failed and exit: a test tool has nobody to hand an error to. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
int netns_socket(const char *netns, int domain, int type, int protocol);
/* A raw socket on place's interface that hears only what comes in; its MTU and MAC. */
int netns_packet_socket(const struct place *place, uint8_t ret_mac[6], int *ret_mtu);

uint64_t now_ns(void); /* CLOCK_MONOTONIC */
