/* SPDX-License-Identifier: BSD-2-Clause */
/* One verdict event: who spoke to whom, in words. */
#include "agent/event/event.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include "maps/flow_key.h"

const char *event_proto_name(uint8_t proto, char buffer[8])
{
	switch (proto) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_ICMP:
		return "icmp";
	case IPPROTO_ICMPV6:
		return "icmp6";
	default:
		snprintf(buffer, 8, "%u", proto);
		return buffer;
	}
}

static bool has_ports(uint8_t proto)
{
	return proto != IPPROTO_ICMP && proto != IPPROTO_ICMPV6;
}

void event_address(const struct flow_event *event, int side, char ret_text[46], uint16_t *ret_port)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	const struct flow_key *key = &event->key;
	bool low = (event->source_direction == FLOW_DIR_FORWARD) == (side == 0);
	const uint8_t *addr = low ? key->addr_lo : key->addr_hi;

	if (memcmp(addr, mapped, sizeof(mapped)) == 0)
		inet_ntop(AF_INET, addr + sizeof(mapped), ret_text, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, addr, ret_text, INET6_ADDRSTRLEN);
	*ret_port = 0;
	if (has_ports(key->proto))
		*ret_port = ntohs(low ? key->port_lo_be : key->port_hi_be);
}

void event_endpoint(const struct flow_event *event, int side, char ret_text[EVENT_ENDPOINT])
{
	char address[INET6_ADDRSTRLEN];
	uint16_t port;

	event_address(event, side, address, &port);
	if (!has_ports(event->key.proto))
		snprintf(ret_text, EVENT_ENDPOINT, "%s", address);
	else if (strchr(address, ':'))
		snprintf(ret_text, EVENT_ENDPOINT, "[%s]:%u", address, port);
	else
		snprintf(ret_text, EVENT_ENDPOINT, "%s:%u", address, port);
}
