/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nanoseconds a packet of the loaded ingress program by BPF_PROG_TEST_RUN, against a program that
 * only returns XDP_PASS and against the parser alone. All variants take turns in one run, and the
 * median of the rounds is told, so that a busy neighbour or a changing clock meets all of them.
 *
 * A packet is the same each time, so caches are warm: figures are the program's own cost. "New
 * flow" is a SYN on old ports, which takes the newcomers' way each time.
 *
 * Where a decided flow's nanoseconds go (AMD EPYC VM, kernel 6.18, noop 22): parser 15, of which
 * the key is most; look-up in `verdicts` 33, which is hashing and comparing 40 bytes; policy, two
 * rows of counters and two atomic additions to the verdict together 5, and leaving out the
 * additions or a row changes nothing that can be measured. A drop adds 18: the coarse clock (11),
 * two more additions and the rule's row. A limit adds 40: the fine clock (24) and the meter's
 * division and exchange. Zeroing the packet's view before the parser fills it was 5 and is gone.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "bpf/parse.h"
#include "tests/bpf/harness.h"
#include "netmamba.skel.h"

#define ROUNDS     45
#define REPEAT     100000
#define RING_BYTES (1 << 25) /* REPEAT of the larger records */

enum variant {
	NOOP,
	PARSE_ONLY,
	DECIDED,
	BLOCKED,
	LIMITED,
	UNDECIDED_BYTES,
	UNDECIDED,
	UNDECIDED_DONE,
	NEW_FLOW,
	FLOOD,
	VARIANTS,
};

static const char *const names[VARIANTS] = {
	[NOOP] = "noop",
	[PARSE_ONLY] = "parse_only",
	[DECIDED] = "decided_flow",
	[BLOCKED] = "blocked_flow",
	[LIMITED] = "limited_flow",
	[UNDECIDED_BYTES] = "undecided_flow_with_bytes",
	[UNDECIDED] = "undecided_flow",
	[UNDECIDED_DONE] = "undecided_flow_no_record",
	[NEW_FLOW] = "new_flow",
	[FLOOD] = "new_flow_over_budget",
};

static const char *const what[VARIANTS] = {
	[NOOP] = "XDP_PASS and nothing else",
	[PARSE_ONLY] = "the parser",
	[DECIDED] = "a decided flow passes",
	[BLOCKED] = "a decided flow is dropped",
	[LIMITED] = "a decided flow passes within its rate",
	[UNDECIDED_BYTES] = "a record with 40 + 80 bytes goes up",
	[UNDECIDED] = "a record without bytes goes up",
	[UNDECIDED_DONE] = "counted, no record wanted any more",
	[NEW_FLOW] = "a first packet with its record",
	[FLOOD] = "a first packet whose record is withheld",
};

struct bench {
	struct harness *harness; /* NULL: noop_fd */
	int fd;
	struct packet packet;
	double ns[ROUNDS];
};

static struct bench benches[VARIANTS];

static int load_noop(void)
{
	const struct bpf_insn program[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(BPF_PROG_TYPE_XDP, "nm_noop", "BSD", program, 2, NULL);
}

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static void set_policy(struct bench *b, uint8_t action)
{
	harness_verdict(b->harness, &b->packet, &(struct verdict){.class_id = 1});
	harness_policy(b->harness, 0, 1, HOOK_INGRESS,
		       (struct policy_action){.action = action, .meter_id = 1, .rule_id = 1});
	harness_meter(b->harness, 1, 100000000000ULL, 1000000000ULL);
}

static int prepare(enum variant v)
{
	struct bench *b = &benches[v];
	struct harness_options options = {.config = harness_config(), .ring_bytes = RING_BYTES};
	struct nm_config *c = &options.config;

	packet_make_tcp(&b->packet, "10.0.0.1", "10.0.0.2", 50000, 443,
			v == NEW_FLOW || v == FLOOD ? TCP_SYN : TCP_ACK, 1000);
	if (v == NOOP) {
		b->fd = load_noop();
		return b->fd < 0 ? b->fd : 0;
	}
	c->replay = 0;
	c->parse_only = v == PARSE_ONLY;
	c->newcomers_per_ms = v == FLOOD ? 1 : 0;
	c->byte_packets = v == UNDECIDED_BYTES ? UINT32_MAX : 0;
	c->record_packets = v == UNDECIDED_DONE ? 1 : UINT32_MAX;
	b->harness = harness_new(&options);
	if (!b->harness)
		return -ENOTSUP;
	b->fd = bpf_program__fd(b->harness->skel->progs.nm_ingress);
	harness_control(b->harness, &(struct control){.schema_version = SCHEMA_VERSION,
						      .mode = MODE_ENFORCE,
						      .heartbeat_ns = monotonic_ns(),
						      .fail_open_ns = 3600000000000ULL});
	if (v == DECIDED || v == NEW_FLOW || v == FLOOD)
		set_policy(b, ACTION_PASS);
	else if (v == BLOCKED)
		set_policy(b, ACTION_DROP);
	else if (v == LIMITED)
		set_policy(b, ACTION_LIMIT);
	return 0;
}

static double run(struct bench *b)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet_bytes(&b->packet),
		    .data_size_in = b->packet.len, .repeat = REPEAT);

	if (bpf_prog_test_run_opts(b->fd, &opts)) {
		fprintf(stderr, "BPF_PROG_TEST_RUN: %s\n", strerror(errno));
		exit(1);
	}
	if (b->harness)
		ring_buffer__consume(b->harness->reader);
	return opts.duration; /* whole ns; the kernel leaves out the time that others had the CPU */
}

/* A figure of packets that took another way would be worth nothing. */
static int check(enum variant v, enum reason reason, uint64_t records)
{
	struct harness *h = benches[v].harness;
	uint64_t packets = harness_counted(h, reason).packets;
	uint64_t sent = harness_counted(h, REASON_RECORD_SENT).packets;
	uint64_t all = (uint64_t)(ROUNDS + 1) * REPEAT;

	if (packets == all && sent * 100 >= records * 95)
		return 0;
	fprintf(stderr, "%s: %llu of %llu packets and %llu records took the measured way\n",
		names[v], (unsigned long long)packets, (unsigned long long)all,
		(unsigned long long)sent);
	return 1;
}

static int check_all(void)
{
	uint64_t all = (uint64_t)(ROUNDS + 1) * REPEAT;

	return check(DECIDED, REASON_PASSED, 0) | check(BLOCKED, REASON_DROPPED, 0) |
	       check(LIMITED, REASON_WITHIN_RATE, 0) |
	       check(UNDECIDED_BYTES, REASON_UNDECIDED, all) |
	       check(UNDECIDED, REASON_UNDECIDED, all) |
	       check(UNDECIDED_DONE, REASON_UNDECIDED, 0) | check(NEW_FLOW, REASON_NEWCOMER, all) |
	       check(FLOOD, REASON_NEWCOMER, 0);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The mean of the middle third: a median that knows tenths of a nanosecond. */
static double median(enum variant v)
{
	double sum = 0;

	qsort(benches[v].ns, ROUNDS, sizeof(double), by_value);
	for (int i = ROUNDS / 3; i < ROUNDS - ROUNDS / 3; i++)
		sum += benches[v].ns[i];
	return sum / (ROUNDS - 2 * (ROUNDS / 3));
}

int main(void)
{
	double ns[VARIANTS];

	for (enum variant v = 0; v < VARIANTS; v++) {
		int error = prepare(v);

		if (error) {
			fprintf(stderr, "%s: %s\n", names[v], strerror(-error));
			return 1;
		}
		run(&benches[v]); /* warms up */
	}
	for (int round = 0; round < ROUNDS; round++)
		for (enum variant v = 0; v < VARIANTS; v++)
			benches[v].ns[round] = run(&benches[v]);
	if (check_all())
		return 1;
	printf("%-28s %9s %12s\n", "ingress, ns a packet", "median", "over parse");
	for (enum variant v = 0; v < VARIANTS; v++)
		ns[v] = median(v);
	for (enum variant v = 0; v < VARIANTS; v++)
		printf("%-28s %9.1f %12.1f   %s\n", names[v], ns[v], ns[v] - ns[PARSE_ONLY],
		       what[v]);
	for (enum variant v = 0; v < VARIANTS; v++)
		printf("figure %s %.1f ns\n", names[v], ns[v]);
	for (enum variant v = DECIDED; v < VARIANTS; v++)
		printf("figure %s_over_parse %.1f ns\n", names[v], ns[v] - ns[PARSE_ONLY]);
	for (enum variant v = 0; v < VARIANTS; v++)
		harness_free(benches[v].harness);
	return 0;
}
