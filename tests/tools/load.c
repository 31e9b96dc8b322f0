/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load: UDP flows at a steady rate between two namespaces, counted where it arrives.
 *
 *   load --from NETNS:ADDRESS --to NETNS:ADDRESS [--port N] [--from-port N] [--bytes N]
 *        [--mbit N] [--seconds N] [--flows N]
 *
 * --flows takes so many source ports in turn, from --from-port on (0: any).
 * --bytes is the length of the IP packets, --mbit counts them whole. When ready, on SIGUSR1 and at
 * the end it prints {"t_ns":..,"sent":..,"arrived":..,"arrived_bytes":..}: counts since the start,
 * so that two lines give a rate over any window. SIGTERM ends it early.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include "tests/tools/netns.h"

#define MAX_BYTES 1500
#define MAX_FLOWS 1000
#define DRAIN_NS  200000000ULL

struct load {
	struct place from, to;
	uint16_t port, from_port;
	unsigned bytes;
	double mbit, seconds;
	unsigned flows;
	int sender[MAX_FLOWS], receiver;
	size_t headers; /* IP and UDP */
	uint64_t sent, arrived, arrived_bytes;
};

static volatile sig_atomic_t report_wanted, end_wanted;

static void on_signal(int number)
{
	if (number == SIGUSR1)
		report_wanted = 1;
	else
		end_wanted = 1;
}

static socklen_t address_of(const char *text, uint16_t port, struct sockaddr_storage *ret_address)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;

	memset(ret_address, 0, sizeof(*ret_address));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
		fail("%s: not an address", text);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	return sizeof(*v6);
}

static int open_bound(const struct place *place, uint16_t port)
{
	struct sockaddr_storage address;
	socklen_t len = address_of(place->rest, port, &address);
	int size = 8 << 20;
	int fd = netns_socket(place->netns, address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		fail("receive buffer: %s", strerror(errno));
	if (bind(fd, (struct sockaddr *)&address, len))
		fail("bind to %s: %s", place->rest, strerror(errno));
	return fd;
}

static void open_sockets(struct load *l)
{
	struct sockaddr_storage address;
	socklen_t len = address_of(l->to.rest, l->port, &address);

	l->headers = address.ss_family == AF_INET ? 28 : 48;
	if (l->bytes < l->headers || l->bytes > MAX_BYTES)
		fail("--bytes: between %zu and %d", l->headers, MAX_BYTES);
	l->receiver = open_bound(&l->to, l->port);
	for (unsigned i = 0; i < l->flows; i++) {
		uint16_t port = l->from_port ? (uint16_t)(l->from_port + i) : 0;

		l->sender[i] = open_bound(&l->from, port);
		if (connect(l->sender[i], (struct sockaddr *)&address, len))
			fail("connect to %s: %s", l->to.rest, strerror(errno));
	}
}

static void receive(struct load *l)
{
	char buffer[MAX_BYTES];
	ssize_t n;

	while ((n = recv(l->receiver, buffer, sizeof(buffer), 0)) >= 0) {
		l->arrived++;
		l->arrived_bytes += (uint64_t)n + l->headers;
	}
}

static void report(const struct load *l)
{
	printf("{\"t_ns\":%lu,\"sent\":%lu,\"arrived\":%lu,\"arrived_bytes\":%lu}\n", now_ns(),
	       l->sent, l->arrived, l->arrived_bytes);
	fflush(stdout);
}

static void report_if_wanted(struct load *l)
{
	if (!report_wanted)
		return;
	report_wanted = 0;
	receive(l);
	report(l);
}

static void run(struct load *l)
{
	static const char payload[MAX_BYTES] = "netmamba test load";
	uint64_t start = now_ns(), gap_ns = (uint64_t)(l->bytes * 8 * 1000 / l->mbit);
	uint64_t end = start + (uint64_t)(l->seconds * 1e9);

	for (uint64_t due = start; due < end && !end_wanted; due += gap_ns) {
		while (now_ns() < due && !end_wanted) {
			struct timespec nap = {.tv_nsec = 200000};

			nanosleep(&nap, NULL);
			receive(l);
			report_if_wanted(l);
		}
		/* an error here is the packet's fate on its way out, and shows at the far side */
		(void)!send(l->sender[l->sent % l->flows], payload, l->bytes - l->headers, 0);
		l->sent++;
		receive(l);
		report_if_wanted(l);
	}
}

static void drain(struct load *l)
{
	uint64_t end = now_ns() + DRAIN_NS;

	while (now_ns() < end) {
		struct timespec nap = {.tv_nsec = 1000000};

		receive(l);
		nanosleep(&nap, NULL);
	}
}

static void usage(void)
{
	fprintf(stderr, "usage: load --from NETNS:ADDRESS --to NETNS:ADDRESS [--port N]\n"
			"  [--from-port N] [--bytes N] [--mbit N] [--seconds N] [--flows N]\n");
	exit(2);
}

static const struct option long_options[] = {
	{"from", required_argument, NULL, 'f'},
	{"to", required_argument, NULL, 't'},
	{"port", required_argument, NULL, 'p'},
	{"from-port", required_argument, NULL, 'P'},
	{"bytes", required_argument, NULL, 'b'},
	{"mbit", required_argument, NULL, 'm'},
	{"seconds", required_argument, NULL, 's'},
	{"flows", required_argument, NULL, 'n'},
	{NULL, 0, NULL, 0},
};

static void read_options(struct load *l, int argc, char **argv)
{
	int option;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
		if (option == 'f' && !place_parse(optarg, &l->from))
			continue;
		if (option == 't' && !place_parse(optarg, &l->to))
			continue;
		if (option == 'p')
			l->port = (uint16_t)atoi(optarg);
		else if (option == 'P')
			l->from_port = (uint16_t)atoi(optarg);
		else if (option == 'b')
			l->bytes = (unsigned)atoi(optarg);
		else if (option == 'm')
			l->mbit = atof(optarg);
		else if (option == 's')
			l->seconds = atof(optarg);
		else if (option == 'n')
			l->flows = (unsigned)atoi(optarg);
		else
			usage();
	}
	if (!l->from.netns[0] || !l->to.netns[0] || optind != argc || l->mbit <= 0 || !l->flows ||
	    l->flows > MAX_FLOWS)
		usage();
}

int main(int argc, char **argv)
{
	struct load l = {.port = 5001, .bytes = 1228, .mbit = 1, .seconds = 5, .flows = 1};
	struct sigaction action = {.sa_handler = on_signal};

	read_options(&l, argc, argv);
	open_sockets(&l);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	report(&l);
	run(&l);
	drain(&l);
	report(&l);
	return 0;
}
