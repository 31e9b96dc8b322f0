/* SPDX-License-Identifier: BSD-2-Clause */
/* One capture, from its first packet to the last hand-out. */
#include <errno.h>
#include <time.h>
#include "agent/flow/capture.h"
#include "agent/flow/offline.h"
#include "agent/flow/parse_user.h"

/* Records that a shape of one direction asks for, for each packet that it keeps. Bulk transfers
 * have two or three packets of data for each acknowledgement. */
#define UNI_FACTOR 4

struct offline {
	struct capture *capture;
	struct extractor *extractor;
	struct assembler *assembler;
};

int record_limits(const struct sample_shape *shape, struct nm_config *config, struct error *e)
{
	uint32_t factor = shape->bidirectional ? 1 : UNI_FACTOR;

	if (shape->header_bytes > RECORD_MAX_HEADER || shape->payload_bytes > RECORD_MAX_PAYLOAD)
		return error_set(e, -EINVAL,
				 "the model wants %u header and %u payload bytes a packet; "
				 "records hold %u and %u at most",
				 shape->header_bytes, shape->payload_bytes, RECORD_MAX_HEADER,
				 RECORD_MAX_PAYLOAD);
	config->byte_packets = shape->packets * factor;
	config->header_bytes = shape->header_bytes;
	config->payload_bytes = shape->payload_bytes;
	config->record_packets = shape->seq_len * factor;
	return 0;
}

static void take_record(void *ctx, const struct packet_record *record, const uint8_t *data)
{
	assembler_add_record(ctx, record, data);
}

static int build(const struct offline_config *config, struct offline *o, struct error *e)
{
	struct assembler_config flows = {
		.shape = config->shape,
		.max_flows = config->max_flows,
		.on_start = config->on_start,
		.on_done = config->on_done,
	};
	struct nm_config programs = {.flow_idle_ns = config->flow_idle_ns};
	int status = record_limits(&config->shape, &programs, e);

	if (status)
		return status;
	programs.record_packets = UINT32_MAX;
	status = assembler_new(&flows, config->on_ready, config->ctx, &o->assembler);
	if (!status)
		status = extractor_new(&programs, config->max_flows * 2, take_record, o->assembler,
				       &o->extractor);
	return status ? error_set(e, status, "cannot make a table of %u flows", config->max_flows)
		      : 0;
}

static void fini(struct offline *o)
{
	extractor_free(o->extractor);
	assembler_free(o->assembler);
	capture_close(o->capture);
}

static uint64_t clock_ns(bool wanted)
{
	struct timespec now;

	if (!wanted)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static int read_packets(struct offline *o, bool timed, struct offline_stats *stats, struct error *e)
{
	uint64_t start_ns = clock_ns(timed), read_ns, done_ns;
	struct capture_packet packet;
	enum reason reason;
	int status;

	while ((status = capture_next(o->capture, &packet, e)) == 1) {
		read_ns = clock_ns(timed);
		assembler_tick(o->assembler, packet.time_ns);
		reason = extractor_packet(o->extractor, packet.link, packet.bytes, packet.captured,
					  packet.time_ns);
		done_ns = clock_ns(timed);
		stats->packets++;
		stats->reasons[reason]++;
		stats->read_ns += read_ns - start_ns;
		stats->flow_ns += done_ns - read_ns;
		start_ns = done_ns;
	}
	return status;
}

static void add_counters(struct assembler_counters *sum, const struct assembler_counters *c)
{
	sum->records += c->records;
	sum->records_late += c->records_late;
	sum->records_missing += c->records_missing;
	sum->flows_started += c->flows_started;
	sum->flows_evicted += c->flows_evicted;
	sum->flows_no_memory += c->flows_no_memory;
	for (int i = 0; i <= READY_FLUSH; i++)
		sum->ready[i] += c->ready[i];
}

int offline_read(const char *path, const struct offline_config *config, struct offline_stats *stats,
		 struct error *e)
{
	cleanup(fini) struct offline o = {0};
	struct offline_stats unwanted = {0};
	uint64_t start_ns;
	int status;

	if (!stats)
		stats = &unwanted;
	status = capture_open(path, &o.capture, e);
	if (!status)
		status = build(config, &o, e);
	if (status)
		return status;
	status = read_packets(&o, config->timed, stats, e);
	start_ns = clock_ns(config->timed);
	assembler_flush(o.assembler);
	stats->flow_ns += clock_ns(config->timed) - start_ns;
	add_counters(&stats->assembler, assembler_counters(o.assembler));
	return status;
}
