/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The assembler: packet records (from rings or a capture) to flow samples. Same code after the
 * reader.
 *
 * A flow is handed to on_ready
 *   READY_EARLY  once, when it has early_packets packets (0 = never): a provisional judgement;
 *   READY_FULL   when seq_len packets are there;
 *   READY_END    ASSEMBLER_LINGER_NS after TCP FIN from both sides or RST, or when the same
 *                addresses and ports begin anew;
 *   READY_IDLE   after idle_ns without a packet (0 = no limit);
 *   READY_TIME   total_ns after its first packet (0 = no limit);
 *   READY_EVICTED when the table is full and it is the least recently used;
 *   READY_FLUSH  by assembler_flush (end of a capture, shutdown).
 * After any but READY_EARLY the flow is judged: it keeps a small entry without a sample, so that
 * records still in the ring do not begin it anew, until a record with RECORD_FLOW_START (or one
 * after again_below) does, or it ages out (idle_ns without a record).
 *
 * Rings are read one after the other, so records come out of order: packets are kept in time order,
 * the earliest one says which direction is the first, and an ended flow lingers for what other
 * rings still hold.
 *
 * Memory: at most max_flows samples of flow_sample_size(shape), and max_flows * 2 entries. Time is
 * the records' own: assembler_tick(now) drives the limits. Single threaded. Callbacks must not call
 * the assembler.
 */
#pragma once
#include <stdint.h>
#include "maps/packet_record.h"
#include "model/flow_sample.h"

enum ready_reason {
	READY_EARLY,
	READY_FULL,
	READY_END,
	READY_IDLE,
	READY_TIME,
	READY_EVICTED,
	READY_FLUSH,
};
const char *ready_reason_name(enum ready_reason r);

/* Long enough for the rings to be read round; nobody waits for the verdict of an ended flow. */
#define ASSEMBLER_LINGER_NS 200000000ULL

struct flow_info;

struct assembler_config {
	struct sample_shape shape;
	uint32_t max_flows;
	uint32_t early_packets;
	uint64_t idle_ns, total_ns;
	/* A flow that was judged on fewer packets begins anew with its next payload, and one that
	 * has fewer is not begun anew by a SYN but goes on (0 = neither). */
	uint32_t again_below;
	/* Optional, for who follows a flow through its whole life (nmctl classify): on_start may
	 * set info->user; on_done comes when the entry goes, with totals over all records, also
	 * those after the judgement. Each flow gets on_start, on_ready (not early) and on_done. */
	void (*on_start)(void *ctx, struct flow_info *info);
	void (*on_done)(void *ctx, const struct flow_info *info);
};

struct flow_info {
	struct flow_key key;
	uint8_t first_direction; /* FLOW_DIR_* of the first packet: its sender is the source */
	uint8_t hooks_seen;      /* bit per HOOK_* */
	uint32_t ifindex;
	uint64_t first_ns, last_ns;
	uint64_t packets, bytes; /* of the records seen, both directions, as on the wire */
	uint8_t directions_seen; /* bit per FLOW_DIR_* */
	void *user;              /* on_start's own */
};

/* info and sample are borrowed during the call. */
typedef void (*flow_ready_fn)(void *ctx, const struct flow_info *info,
			      const struct flow_sample *sample, enum ready_reason why);

struct assembler_counters {
	uint64_t records;
	uint64_t records_late;    /* of a judged flow, or of the one before on the same ports */
	uint64_t records_missing; /* gaps in packet_index of judged flows */
	uint64_t flows_started, flows_evicted;
	uint64_t flows_no_memory; /* a sample could not be had: the flow is not followed */
	uint64_t flows_assembling, flows_judged; /* now */
	uint64_t ready[READY_FLUSH + 1];
};

struct assembler;
/* -EINVAL for a shape or max_flows that cannot be, -ENOMEM. */
int assembler_new(const struct assembler_config *config, flow_ready_fn on_ready, void *ctx,
		  struct assembler **ret_assembler);
void assembler_free(struct assembler *a); /* accepts NULL; samples not ready are dropped */
/* data: header_bytes, then payload_bytes, as the readers have checked. Other kinds than
 * RECORD_PACKET are passed over. True when a flow began with this record. */
bool assembler_add_record(struct assembler *a, const struct packet_record *record,
			  const uint8_t *data);
void assembler_tick(struct assembler *a, uint64_t now_ns);
/* Hands out all that is assembling and forgets every flow. */
void assembler_flush(struct assembler *a);
const struct assembler_counters *assembler_counters(const struct assembler *a);
