/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Captures: pcap and pcapng, micro- and nanoseconds, through libpcap. Link types Ethernet, Linux
 * cooked (v1, v2), raw IP, null/loop, PPP; others are refused by name. Broken files give what was
 * readable and then an error that names the packet.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "agent/flow/parse_user.h"
#include "model/error.h"

struct capture;

int capture_open(const char *path, struct capture **ret_capture, struct error *e);
void capture_close(struct capture *c); /* accepts NULL */

struct capture_packet {
	enum extract_link link;
	const uint8_t *bytes; /* borrowed until the next call */
	size_t captured;
	uint64_t time_ns; /* since the epoch; never negative */
};

/* 1 a packet, 0 the end, negative errno with e on a broken file. Packets of an unusable ethertype
 * come as they are: the parser counts them. */
int capture_next(struct capture *c, struct capture_packet *ret_packet, struct error *e);
