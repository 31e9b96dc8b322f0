/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The real programs under BPF_PROG_TEST_RUN: loaded once, never attached. Time is the test's own
 * (config.replay), each run happens on one CPU, and what the ring got is there after each run.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "agent/flow/parse_user.h"
#include "maps/control.h"
#include "maps/reason.h"
#include "maps/verdict.h"
#include "tests/bpf/packets.h"

#define HARNESS_RECORDS 8

struct netmamba;
struct ring_buffer;
struct flow_state;

struct harness {
	struct netmamba *skel;
	struct ring_buffer *reader;
	int ring_fd;
	bool multi_buffer; /* the kernel took the XDP program as multi-buffer aware */
	uint64_t now_ns;   /* of the next run */
	uint32_t generation;
	uint32_t gso_segments, gso_size_bytes; /* of the next run, egress; 0 = none */
	uint32_t linear_bytes; /* of the next run, ingress: the rest lies in fragments; 0 = all */
	bool reader_sleeps;    /* the ring is not read */
	uint32_t policy_set[64], n_policy_set; /* entries to take back at the next reset */
	struct counter before[REASON_ROWS];
	bool proven[REASON_ROWS]; /* reasons that a fixture asked for and got */
	/* What the last run left: */
	bool dropped;
	uint32_t n_records;
	struct record_buffer records[HARNESS_RECORDS];
	uint32_t record_size[HARNESS_RECORDS]; /* bytes in the ring */
};

struct harness_options {
	struct nm_config config;
	uint32_t max_flows; /* 0 = as the object has it */
	uint32_t ring_bytes;
	bool flows_refuse; /* `flows` is a plain hash of one entry, which can be full */
};

/* NULL, with the reason printed, where the kernel or our rights do not allow it; where they do and
 * the programs are refused all the same, the test ends. */
struct harness *harness_new(const struct harness_options *options);
void harness_free(struct harness *h); /* accepts NULL */

/* The configuration of most tests: official NetMamba+ bi, replay. */
struct nm_config harness_config(void);

/* Nothing decided, nothing remembered, control as given by harness_enforce. */
void harness_reset(struct harness *h);
void harness_enforce(struct harness *h);
void harness_control(struct harness *h, const struct control *control);

/* 0, or the kernel's negative errno: a packet that it cannot run. */
int harness_run(struct harness *h, int hook, const uint8_t *packet, size_t len);
int harness_run_packet(struct harness *h, int hook, struct packet *p);

/* Packets counted since harness_reset. */
struct counter harness_counted(struct harness *h, uint32_t reason);
struct counter harness_row(struct harness *h, uint32_t row);

void harness_verdict(struct harness *h, struct packet *p, const struct verdict *v);
struct verdict harness_verdict_get(struct harness *h, struct packet *p);
void harness_policy(struct harness *h, uint32_t zone_id, uint32_t class_id, int hook,
		    struct policy_action action);
void harness_meter(struct harness *h, uint32_t id, uint64_t rate_bytes_per_s, uint64_t burst_bytes);
bool harness_flow(struct harness *h, struct packet *p, struct flow_state *ret_state);
