/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * replay: sends captures across a veth pair as two hosts, and counts what arrives.
 *
 *   replay --outside NETNS:IFACE --inside NETNS:IFACE [option...] CAPTURE...
 *
 * `inside` is the guarded interface, in the namespace where nmd runs; `outside` is its peer. What
 * a client sends (the sender of a flow's first packet) leaves the outside end and so enters the
 * guarded interface: XDP meets it before the packet socket that counts it there. What a server
 * sends is handed to the guarded interface itself: it passes TC egress, and is counted on the
 * outside end. A packet that is dropped is thus never counted as arrived. --inside-client turns
 * the two round. No packet is answered by a host: its addresses are nobody's there.
 *
 * Packets keep their bytes from the IP header on; only --shift changes addresses (and the
 * checksums over them), so that the same captures make new flows. Frames of all captures are sent
 * side by side, at their own times divided by --speed, no gap longer than --max-gap.
 *
 * Prints one JSON object a flow, then one for the whole; on SIGUSR1 what is known so far. SIGTERM
 * ends it early, with the report. --write keeps what was sent, with the time it was sent at: what
 * an offline reader has to see to judge the same packets.
 */
#include <errno.h>
#include <getopt.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "agent/event/event.h"
#include "tests/tools/frames.h"
#include "tests/tools/netns.h"

#define DRAIN_NS                                                                                   \
	200000000ULL /* veth delivers within microseconds; a busy machine may need longer */

struct side_socket {
	int fd;
	uint8_t mac[6];
};

struct replay {
	struct frames frames;
	struct side_socket socket[2]; /* [SIDE_CLIENT], [SIDE_SERVER] */
	uint64_t stray, lost_in_socket, send_failed;
	FILE *written;
};

struct options {
	struct place outside, inside;
	bool inside_client;
	unsigned long loops;
	double seconds; /* 0 = as long as the captures */
	const char *write_path;
	struct frames_config frames;
};

static volatile sig_atomic_t report_wanted, end_wanted;

static void on_signal(int number)
{
	if (number == SIGUSR1)
		report_wanted = 1;
	else
		end_wanted = 1;
}

static uint64_t wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* pcap with nanoseconds, Ethernet. */
static void write_header(FILE *file)
{
	const uint32_t header[6] = {0xa1b23c4d, 2 | 4 << 16, 0, 0, 65535, 1};

	if (fwrite(header, sizeof(header), 1, file) != 1)
		fail("write: %s", strerror(errno));
}

static void write_frame(FILE *file, const struct frame *frame)
{
	uint64_t t = wall_ns();
	const uint32_t header[4] = {(uint32_t)(t / 1000000000), (uint32_t)(t % 1000000000),
				    frame->len, frame->len};

	if (fwrite(header, sizeof(header), 1, file) != 1 ||
	    fwrite(frame->bytes, frame->len, 1, file) != 1)
		fail("write: %s", strerror(errno));
}

static void count_arrival(struct replay *r, int receiver, const uint8_t *frame, size_t len)
{
	struct packet_view view;
	struct frame_flow *flow = NULL;
	int sender = receiver == SIDE_CLIENT ? SIDE_SERVER : SIDE_CLIENT;

	if (len > FRAME_LINK && !packet_view_parse(frame + FRAME_LINK, len - FRAME_LINK, &view))
		flow = frames_find_flow(&r->frames, &view);
	if (!flow) {
		r->stray++;
		return;
	}
	flow->by_side[sender].arrived++;
	flow->by_side[sender].arrived_bytes += view.len;
}

static void receive(struct replay *r, int side)
{
	uint8_t frame[2048];
	ssize_t n;

	while ((n = recv(r->socket[side].fd, frame, sizeof(frame), MSG_TRUNC)) >= 0)
		count_arrival(r, side, frame,
			      (size_t)n < sizeof(frame) ? (size_t)n : sizeof(frame));
}

static void add_socket_losses(struct replay *r)
{
	for (int side = 0; side < 2; side++) {
		struct tpacket_stats stats = {0};
		socklen_t len = sizeof(stats);

		if (!getsockopt(r->socket[side].fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len))
			r->lost_in_socket += stats.tp_drops;
	}
}

static void report_flow(const struct frame_flow *flow)
{
	const struct side_count *c = &flow->by_side[SIDE_CLIENT], *s = &flow->by_side[SIDE_SERVER];
	char name[128], client[46], server[46], number[8];

	frame_flow_name(flow, name, sizeof(name));
	endpoint_text(&flow->client, client);
	endpoint_text(&flow->server, server);
	printf("{\"flow\":\"%s\",\"proto\":\"%s\",\"src\":\"%s\",\"sport\":%u,\"dst\":\"%s\","
	       "\"dport\":%u,\"sent\":%lu,\"arrived\":%lu,\"client_sent\":%lu,\"client_arrived\":%"
	       "lu,"
	       "\"server_sent\":%lu,\"server_arrived\":%lu,\"arrived_bytes\":%lu}\n",
	       name, event_proto_name(flow->proto, number), client, flow->client.port, server,
	       flow->server.port, c->sent + s->sent, c->arrived + s->arrived, c->sent, c->arrived,
	       s->sent, s->arrived, c->arrived_bytes + s->arrived_bytes);
}

static void add_counts(struct side_count *sum, const struct side_count *c)
{
	sum->sent += c->sent;
	sum->sent_bytes += c->sent_bytes;
	sum->arrived += c->arrived;
	sum->arrived_bytes += c->arrived_bytes;
}

static void report(struct replay *r)
{
	struct side_count all = {0};

	add_socket_losses(r);
	for (size_t i = 0; i < r->frames.n_flows; i++) {
		const struct frame_flow *flow = &r->frames.flow[i];

		if (!flow->by_side[0].sent && !flow->by_side[1].sent)
			continue;
		add_counts(&all, &flow->by_side[0]);
		add_counts(&all, &flow->by_side[1]);
		report_flow(flow);
	}
	printf("{\"summary\":true,\"t_ns\":%lu,\"flows\":%zu,\"sent\":%lu,\"sent_bytes\":%lu,"
	       "\"arrived\":%lu,\"arrived_bytes\":%lu,"
	       "\"not_ip\":%lu,\"too_long\":%lu,\"left_out\":%lu,\"send_failed\":%lu,"
	       "\"stray\":%lu,\"lost_in_socket\":%lu}\n",
	       now_ns(), r->frames.n_flows, all.sent, all.sent_bytes, all.arrived,
	       all.arrived_bytes, r->frames.not_ip, r->frames.too_long, r->frames.left_out,
	       r->send_failed, r->stray, r->lost_in_socket);
	fflush(stdout);
}

/* Receives until due_ns; true when it is time to end. */
static bool wait_until(struct replay *r, uint64_t due_ns)
{
	for (;;) {
		struct pollfd fds[2] = {{.fd = r->socket[0].fd, .events = POLLIN},
					{.fd = r->socket[1].fd, .events = POLLIN}};
		uint64_t now = now_ns(), left = due_ns > now ? due_ns - now : 0;
		struct timespec wait = {.tv_sec = (time_t)(left / 1000000000),
					.tv_nsec = (long)(left % 1000000000)};

		if (report_wanted) {
			report_wanted = 0;
			report(r);
		}
		if (end_wanted)
			return true;
		ppoll(fds, 2, &wait, NULL);
		receive(r, SIDE_CLIENT);
		receive(r, SIDE_SERVER);
		if (now_ns() >= due_ns)
			return false;
	}
}

static void send_frame(struct replay *r, struct frame *frame)
{
	const struct side_socket *from = &r->socket[frame->side], *to = &r->socket[!frame->side];

	memcpy(frame->bytes, to->mac, 6);
	memcpy(frame->bytes + 6, from->mac, 6);
	if (send(from->fd, frame->bytes, frame->len, 0) != frame->len) {
		/* ENOBUFS is how a packet socket tells that TC egress dropped the packet */
		if (errno != ENOBUFS)
			r->send_failed++;
	}
	r->frames.flow[frame->flow].by_side[frame->side].sent++;
	r->frames.flow[frame->flow].by_side[frame->side].sent_bytes += frame->len - FRAME_LINK;
	if (r->written)
		write_frame(r->written, frame);
}

static void run(struct replay *r, const struct options *o)
{
	uint64_t start = now_ns(), end = o->seconds > 0 ? start + (uint64_t)(o->seconds * 1e9) : 0;

	for (unsigned long loop = 0; !o->loops || loop < o->loops; loop++) {
		for (size_t i = 0; i < r->frames.n; i++) {
			uint64_t due = start + r->frames.frame[i].due_ns;

			if (end && due > end) {
				wait_until(r, end);
				return;
			}
			if (wait_until(r, due))
				return;
			send_frame(r, &r->frames.frame[i]);
		}
		start += r->frames.frame[r->frames.n - 1].due_ns + 1000000;
	}
}

static double number(const char *name, const char *text, double least)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || value < least)
		fail("%s: a number of at least %g is wanted, not \"%s\"", name, least, text);
	return value;
}

static void usage(void)
{
	fprintf(stderr,
		"usage: replay --outside NETNS:IFACE --inside NETNS:IFACE [--inside-client]\n"
		"  [--speed X] [--max-gap MS] [--loop N (0: without end)] [--seconds N]\n"
		"  [--shift N] [--only PATTERN] [--without-syn] [--write FILE] CAPTURE...\n"
		"PATTERN is a shell pattern for a flow such as \"tcp 10.0.0.1:5000 > "
		"10.0.0.2:443\"\n");
	exit(2);
}

enum {
	OUTSIDE,
	INSIDE,
	INSIDE_CLIENT,
	SPEED,
	MAX_GAP,
	LOOP,
	SECONDS,
	SHIFT,
	ONLY,
	WITHOUT_SYN,
	WRITE
};

static const struct option long_options[] = {
	{"outside", required_argument, NULL, OUTSIDE},
	{"inside", required_argument, NULL, INSIDE},
	{"inside-client", no_argument, NULL, INSIDE_CLIENT},
	{"speed", required_argument, NULL, SPEED},
	{"max-gap", required_argument, NULL, MAX_GAP},
	{"loop", required_argument, NULL, LOOP},
	{"seconds", required_argument, NULL, SECONDS},
	{"shift", required_argument, NULL, SHIFT},
	{"only", required_argument, NULL, ONLY},
	{"without-syn", no_argument, NULL, WITHOUT_SYN},
	{"write", required_argument, NULL, WRITE},
	{NULL, 0, NULL, 0},
};

static void set_option(struct options *o, int option)
{
	switch (option) {
	case OUTSIDE:
		if (place_parse(optarg, &o->outside))
			usage();
		break;
	case INSIDE:
		if (place_parse(optarg, &o->inside))
			usage();
		break;
	case INSIDE_CLIENT:
		o->inside_client = true;
		break;
	case SPEED:
		o->frames.speed = number("--speed", optarg, 0.001);
		break;
	case MAX_GAP:
		o->frames.max_gap_ns = (uint64_t)(number("--max-gap", optarg, 0) * 1e6);
		break;
	case LOOP:
		o->loops = (unsigned long)number("--loop", optarg, 0);
		break;
	case SECONDS:
		o->seconds = number("--seconds", optarg, 0);
		break;
	case SHIFT:
		o->frames.shift = (unsigned)number("--shift", optarg, 0);
		break;
	case ONLY:
		o->frames.only = optarg;
		break;
	case WITHOUT_SYN:
		o->frames.without_syn = true;
		break;
	case WRITE:
		o->write_path = optarg;
		break;
	default:
		usage();
	}
}

static void read_options(struct options *o, int argc, char **argv)
{
	int option;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) >= 0)
		set_option(o, option);
	if (!o->outside.netns[0] || !o->inside.netns[0] || optind == argc)
		usage();
}

static void open_sockets(struct replay *r, struct options *o)
{
	int client = o->inside_client, mtu[2];

	r->socket[client].fd = netns_packet_socket(&o->outside, r->socket[client].mac, &mtu[0]);
	r->socket[!client].fd = netns_packet_socket(&o->inside, r->socket[!client].mac, &mtu[1]);
	o->frames.max_len = (size_t)(mtu[0] < mtu[1] ? mtu[0] : mtu[1]);
}

int main(int argc, char **argv)
{
	struct options o = {.loops = 1, .frames = {.speed = 1, .max_gap_ns = UINT64_MAX}};
	struct sigaction action = {.sa_handler = on_signal};
	struct replay r = {0};

	read_options(&o, argc, argv);
	open_sockets(&r, &o);
	for (int i = optind; i < argc; i++)
		frames_add_capture(&r.frames, argv[i], &o.frames);
	if (!r.frames.n)
		fail("no packet to send");
	frames_sort(&r.frames);
	if (o.write_path) {
		r.written = fopen(o.write_path, "wbe");
		if (!r.written)
			fail("%s: %s", o.write_path, strerror(errno));
		write_header(r.written);
	}
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	run(&r, &o);
	end_wanted = 0;
	wait_until(&r, now_ns() + DRAIN_NS);
	report(&r);
	if (r.written && fclose(r.written))
		fail("%s: %s", o.write_path, strerror(errno));
	frames_free(&r.frames);
	return r.lost_in_socket || r.send_failed;
}
