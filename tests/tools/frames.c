/* SPDX-License-Identifier: BSD-2-Clause */
/* Captures as frames to send; see frames.h. */
#include <fnmatch.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include "agent/flow/capture.h"
#include "tests/tools/frames.h"
#include "tests/tools/netns.h"

#define MAX_FRAMES 1000000

static void *grow(void *array, size_t *capacity, size_t n, size_t size)
{
	if (n < *capacity)
		return array;
	*capacity = *capacity ? *capacity * 2 : 256;
	if (*capacity > MAX_FRAMES)
		fail("more than %d packets: use smaller captures", MAX_FRAMES);
	array = reallocarray(array, *capacity, size);
	if (!array)
		fail("out of memory");
	return array;
}

static bool same_endpoint(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && !memcmp(a->addr, b->addr, sizeof(a->addr));
}

struct frame_flow *frames_find_flow(struct frames *f, const struct packet_view *view)
{
	for (size_t i = 0; i < f->n_flows; i++) {
		struct frame_flow *flow = &f->flow[i];

		if (flow->proto == view->proto && ((same_endpoint(&flow->client, &view->from) &&
						    same_endpoint(&flow->server, &view->to)) ||
						   (same_endpoint(&flow->client, &view->to) &&
						    same_endpoint(&flow->server, &view->from))))
			return flow;
	}
	return NULL;
}

static struct frame_flow *find_or_add_flow(struct frames *f, const struct packet_view *view)
{
	struct frame_flow *flow = frames_find_flow(f, view);

	if (flow)
		return flow;
	f->flow = grow(f->flow, &f->flow_capacity, f->n_flows, sizeof(*f->flow));
	flow = &f->flow[f->n_flows++];
	*flow = (struct frame_flow){.client = view->from, .server = view->to, .proto = view->proto};
	return flow;
}

/* The bytes of an Ethernet frame behind its header and VLAN tags, NULL when they are not IP. */
static const uint8_t *ip_of_ethernet(const uint8_t *frame, size_t *len)
{
	size_t at = 12;

	while (*len >= at + 6 && ((frame[at] == 0x81 && !frame[at + 1]) ||
				  (frame[at] == 0x88 && frame[at + 1] == 0xa8)))
		at += 4;
	if (*len < at + 2 || !((frame[at] == 0x08 && !frame[at + 1]) ||
			       (frame[at] == 0x86 && frame[at + 1] == 0xdd)))
		return NULL;
	*len -= at + 2;
	return frame + at + 2;
}

/* RFC 1624: HC' = ~(~HC + ~m + m'). */
static void checksum_replace(uint8_t *checksum, uint16_t from, uint16_t to)
{
	uint32_t sum = (uint16_t) ~(checksum[0] << 8 | checksum[1]);

	sum += (uint16_t)~from + to;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	sum = (uint16_t)~sum;
	checksum[0] = (uint8_t)(sum >> 8);
	checksum[1] = (uint8_t)sum;
}

/* The transport checksum that covers the addresses, NULL when there is none in these bytes. */
static uint8_t *transport_checksum(uint8_t *packet, const struct packet_view *v)
{
	size_t at = v->transport;

	if (v->is_fragment)
		return NULL;
	if (v->proto == IPPROTO_TCP)
		at += 16;
	else if (v->proto == IPPROTO_UDP)
		at += 6;
	else if (v->proto == IPPROTO_ICMPV6)
		at += 2;
	else
		return NULL;
	if (at + 2 > v->len || (v->proto == IPPROTO_UDP && !packet[at] && !packet[at + 1]))
		return NULL;
	return packet + at;
}

static void shift_address(uint8_t *packet, size_t addr, const struct packet_view *v, unsigned shift)
{
	uint8_t *checksum = transport_checksum(packet, v);
	size_t at = v->is_ipv6 ? addr + 2 : addr;
	uint16_t from, to;

	if (v->is_ipv6 ? packet[addr] == 0xff : packet[addr] >= 224)
		return; /* groups keep their address */
	from = (uint16_t)(packet[at] << 8 | packet[at + 1]);
	packet[at + 1] = (uint8_t)(packet[at + 1] + shift);
	to = (uint16_t)(packet[at] << 8 | packet[at + 1]);
	if (!v->is_ipv6)
		checksum_replace(packet + 10, from, to);
	if (checksum)
		checksum_replace(checksum, from, to);
}

static void shift_addresses(uint8_t *packet, const struct packet_view *v, unsigned shift)
{
	if (!shift)
		return;
	shift_address(packet, v->is_ipv6 ? 8 : 12, v, shift);
	shift_address(packet, v->is_ipv6 ? 24 : 16, v, shift);
}

/* A frame with room for the link header; what the capture cut off is filled with zeros, so that
 * the packet is as long as its header says. */
static uint8_t *copy_packet(const uint8_t *ip, size_t captured, const struct packet_view *v)
{
	uint8_t *bytes = calloc(1, FRAME_LINK + v->len);

	if (!bytes)
		fail("out of memory");
	memcpy(bytes + FRAME_LINK, ip, captured < v->len ? captured : v->len);
	bytes[12] = v->is_ipv6 ? 0x86 : 0x08;
	bytes[13] = v->is_ipv6 ? 0xdd : 0x00;
	return bytes;
}

static void add_packet(struct frames *f, const uint8_t *ip, size_t captured, uint64_t due_ns,
		       const struct frames_config *config)
{
	struct packet_view v;
	struct frame_flow *flow;
	uint8_t *bytes;
	char name[128];

	if (packet_view_parse(ip, captured, &v)) {
		f->not_ip++;
		return;
	}
	if (v.len > config->max_len) {
		f->too_long++;
		return;
	}
	bytes = copy_packet(ip, captured, &v);
	shift_addresses(bytes + FRAME_LINK, &v, config->shift);
	packet_view_parse(bytes + FRAME_LINK, v.len, &v);
	flow = find_or_add_flow(f, &v);
	frame_flow_name(flow, name, sizeof(name));
	if ((config->only && fnmatch(config->only, name, 0)) || (config->without_syn && v.is_syn)) {
		free(bytes);
		f->left_out++;
		return;
	}
	f->frame = grow(f->frame, &f->capacity, f->n, sizeof(*f->frame));
	f->frame[f->n] = (struct frame){
		.due_ns = due_ns,
		.flow = (uint32_t)(flow - f->flow),
		.order = (uint32_t)f->n,
		.len = (uint16_t)(FRAME_LINK + v.len),
		.side = same_endpoint(&flow->client, &v.from) ? SIDE_CLIENT : SIDE_SERVER,
		.bytes = bytes,
	};
	f->n++;
}

void frames_add_capture(struct frames *f, const char *path, const struct frames_config *config)
{
	uint64_t last_ns = 0, due_ns = 0, gap_ns;
	struct capture_packet p;
	struct capture *capture;
	struct error e = {0};
	int r;

	if (capture_open(path, &capture, &e))
		fail("%s", e.text);
	while ((r = capture_next(capture, &p, &e)) == 1) {
		size_t len = p.captured;
		const uint8_t *ip = p.bytes;

		gap_ns = last_ns && p.time_ns > last_ns ? p.time_ns - last_ns : 0;
		gap_ns = (uint64_t)((double)gap_ns / config->speed);
		due_ns += gap_ns < config->max_gap_ns ? gap_ns : config->max_gap_ns;
		last_ns = p.time_ns;
		if (p.link == EXTRACT_ETHERNET)
			ip = ip_of_ethernet(p.bytes, &len);
		if (ip)
			add_packet(f, ip, len, due_ns, config);
		else
			f->not_ip++;
	}
	capture_close(capture);
	if (r)
		fail("%s", e.text);
}

static int by_due(const void *a, const void *b)
{
	const struct frame *x = a, *y = b;

	if (x->due_ns != y->due_ns)
		return x->due_ns < y->due_ns ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

void frames_sort(struct frames *f)
{
	qsort(f->frame, f->n, sizeof(*f->frame), by_due);
}

void frames_free(struct frames *f)
{
	for (size_t i = 0; i < f->n; i++)
		free(f->frame[i].bytes);
	free(f->frame);
	free(f->flow);
}
