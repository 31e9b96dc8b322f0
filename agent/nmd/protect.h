/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The safety net: which flows are acted on only by a rule with `force`. By port of either end, by
 * the agent's own peers, or because the flow was judged ssh or dns.
 */
#pragma once
#include <stdint.h>
#include "agent/nmd/settings.h"
#include "maps/flow_key.h"

#define PROTECT_MAX_PORTS 64
#define PROTECT_MAX_PEERS 64

struct protect_port {
	uint8_t proto;
	uint16_t port;
};

struct protect_peer {
	uint8_t addr[16]; /* v4-mapped */
	uint16_t port;
};

struct protect {
	struct protect_port ports[PROTECT_MAX_PORTS];
	unsigned n_ports;
	struct protect_peer peers[PROTECT_MAX_PEERS];
	unsigned n_peers;
};

/* "tcp/22", "udp/53". */
int protect_port_parse(const char *text, struct protect_port *ret_port, struct error *e);
/* "192.0.2.1:6379", "[2001:db8::1]:6379". */
int protect_peer_parse(const char *text, struct protect_peer *ret_peer, struct error *e);

int protect_init(struct protect *p, const struct text_list *ports, const struct text_list *peers,
		 struct error *e);
/* Why the flow is protected ("tcp/22", "a peer of the agent", "class ssh"), NULL when it is not.
 * class_name: what it was judged, NULL when not judged. */
const char *protect_reason(const struct protect *p, const struct flow_key *key,
			   const char *class_name, char buffer[32]);
