/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's way of a packet in user space: bpf/parse.h, the flow counting of bpf/flow_table.h
 * and the record of bpf/extract.h over packets of a capture. tests/bpf holds both worlds together
 * byte by byte.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "maps/config.h"
#include "maps/packet_record.h"
#include "maps/reason.h"

/* A record with its bytes behind it (header_bytes, then payload_bytes). */
struct record_buffer {
	struct packet_record record;
	uint8_t data[RECORD_DATA_LARGE];
};
/* Both are borrowed during the call. */
typedef void (*record_fn)(void *ctx, const struct packet_record *record, const uint8_t *data);

struct extractor;

/* config as the programs have it; max_flows bounds the flow table (least recently used goes).
 * -EINVAL for a config or max_flows that cannot be, -ENOMEM. */
int extractor_new(const struct nm_config *config, uint32_t max_flows, record_fn on_record,
		  void *ctx, struct extractor **ret_extractor);
void extractor_free(struct extractor *x); /* accepts NULL */

/*
 * One packet. link says where it begins: EXTRACT_ETHERNET with an Ethernet header, as XDP sees it;
 * EXTRACT_IP with the IP header (capture.c strips other link headers). Returns the PACKET reason
 * that the kernel would count (REASON_UNDECIDED, _NOT_IP, _MALFORMED, ...).
 */
enum extract_link { EXTRACT_ETHERNET, EXTRACT_IP };
enum reason extractor_packet(struct extractor *x, enum extract_link link, const uint8_t *packet,
			     size_t captured, uint64_t time_ns);

/* NOTE reasons counted so far, index by enum reason. */
const uint64_t *extractor_counters(const struct extractor *x);
