/* SPDX-License-Identifier: BSD-2-Clause */
/* What the replay tool needs to know of a packet, and how a flow is written. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include "agent/event/event.h"
#include "tests/tools/frames.h"

#define MAX_EXTENSIONS 8

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static uint16_t be16_at(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static int parse_ipv4(const uint8_t *packet, size_t len, struct packet_view *v)
{
	if (len < 20 || (packet[0] & 15) < 5 || len < (size_t)(packet[0] & 15) * 4)
		return -1;
	v->transport = (size_t)(packet[0] & 15) * 4;
	v->len = be16_at(packet + 2);
	v->is_fragment = be16_at(packet + 6) & 0x1fff;
	v->proto = packet[9];
	memcpy(v->from.addr, mapped_prefix, 12);
	memcpy(v->from.addr + 12, packet + 12, 4);
	memcpy(v->to.addr, mapped_prefix, 12);
	memcpy(v->to.addr + 12, packet + 16, 4);
	return v->len < v->transport ? -1 : 0;
}

/* RFC 8200 section 4: extension headers name the next one in their first byte. */
static int parse_ipv6(const uint8_t *packet, size_t len, struct packet_view *v)
{
	size_t at = 40;

	if (len < 40)
		return -1;
	v->is_ipv6 = true;
	v->len = 40 + (size_t)be16_at(packet + 4);
	v->proto = packet[6];
	memcpy(v->from.addr, packet + 8, 16);
	memcpy(v->to.addr, packet + 24, 16);
	for (int i = 0; i < MAX_EXTENSIONS && len >= at + 8; i++) {
		if (v->proto == IPPROTO_FRAGMENT)
			v->is_fragment |= (be16_at(packet + at + 2) & 0xfff8) != 0;
		else if (v->proto != IPPROTO_HOPOPTS && v->proto != IPPROTO_ROUTING &&
			 v->proto != IPPROTO_DSTOPTS)
			break;
		v->proto = packet[at];
		at += v->is_fragment ? 8 : 8 + (size_t)packet[at + 1] * 8;
	}
	v->transport = at;
	return 0;
}

int packet_view_parse(const uint8_t *packet, size_t len, struct packet_view *ret_view)
{
	struct packet_view v = {0};
	int r;

	if (len < 1)
		return -1;
	if (packet[0] >> 4 == 4)
		r = parse_ipv4(packet, len, &v);
	else
		r = packet[0] >> 4 == 6 ? parse_ipv6(packet, len, &v) : -1;
	if (r)
		return r;
	if ((v.proto == IPPROTO_TCP || v.proto == IPPROTO_UDP) && !v.is_fragment &&
	    len >= v.transport + 4) {
		v.from.port = be16_at(packet + v.transport);
		v.to.port = be16_at(packet + v.transport + 2);
	}
	v.is_syn = v.proto == IPPROTO_TCP && !v.is_fragment && len > v.transport + 13 &&
		   packet[v.transport + 13] & 0x02;
	*ret_view = v;
	return 0;
}

void endpoint_text(const struct endpoint *e, char ret_text[46])
{
	if (!memcmp(e->addr, mapped_prefix, 12))
		inet_ntop(AF_INET, e->addr + 12, ret_text, 46);
	else
		inet_ntop(AF_INET6, e->addr, ret_text, 46);
}

void frame_flow_name(const struct frame_flow *flow, char *buffer, size_t size)
{
	char client[46], server[46], number[8];

	endpoint_text(&flow->client, client);
	endpoint_text(&flow->server, server);
	snprintf(buffer, size, "%s %s:%u > %s:%u", event_proto_name(flow->proto, number), client,
		 flow->client.port, server, flow->server.port);
}
