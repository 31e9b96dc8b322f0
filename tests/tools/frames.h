/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Captures as frames to send: each packet from its IP header on, with the Ethernet header left for
 * the sender to fill, its flow, its side and the time at which it is due. See replay.c.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_LINK 14

/* Sides of a flow: the sender of its first packet is the client. */
#define SIDE_CLIENT 0
#define SIDE_SERVER 1

struct endpoint {
	uint8_t addr[16]; /* v4-mapped for IPv4 */
	uint16_t port;    /* 0 where there are none, and for later fragments */
};

struct packet_view {
	struct endpoint from, to;
	uint8_t proto;
	bool is_ipv6, is_fragment, is_syn;
	size_t len;       /* by the IP header */
	size_t transport; /* offset of the transport header */
};

struct side_count {
	uint64_t sent, sent_bytes, arrived, arrived_bytes;
};

struct frame_flow {
	struct endpoint client, server;
	uint8_t proto;
	struct side_count by_side[2];
};

struct frame {
	uint64_t due_ns; /* from the start of the replay */
	uint32_t flow;
	uint32_t order; /* as read: keeps frames of one due time in order */
	uint16_t len;
	uint8_t side; /* its sender's */
	uint8_t *bytes;
};

struct frames_config {
	double speed;
	uint64_t max_gap_ns;
	unsigned shift;   /* added to the second byte of IPv4, the fourth of IPv6 addresses */
	const char *only; /* fnmatch pattern for a flow's name, or NULL */
	bool without_syn;
	size_t max_len; /* longest IP packet that the link takes */
};

struct frames {
	struct frame *frame;
	size_t n, capacity;
	struct frame_flow *flow;
	size_t n_flows, flow_capacity;
	uint64_t not_ip, too_long, left_out;
};

/* Adds a capture; its first packet is due at 0. Ends the program when it cannot be read. */
void frames_add_capture(struct frames *f, const char *path, const struct frames_config *config);
void frames_sort(struct frames *f);
void frames_free(struct frames *f);

/* 0 when packet (from its IP header) is IP that can be followed. */
int packet_view_parse(const uint8_t *packet, size_t len, struct packet_view *ret_view);
/* The flow of a packet, NULL when it is none of them. */
struct frame_flow *frames_find_flow(struct frames *f, const struct packet_view *view);
/* "tcp 10.0.0.1:50000 > 10.0.0.2:443" */
void frame_flow_name(const struct frame_flow *flow, char *buffer, size_t size);
void endpoint_text(const struct endpoint *e, char ret_text[46]);
