/* SPDX-License-Identifier: BSD-2-Clause */
/* Any records in any order: samples stay ordered and within bounds, every flow ends once. */
#include <assert.h>
#include <string.h>
#include "agent/flow/assembler.h"

static uint64_t n_judged, n_done;

static void on_ready(void *ctx, const struct flow_info *info, const struct flow_sample *s,
		     enum ready_reason why)
{
	uint32_t rows = 0;

	(void)ctx;
	assert(s->n_packets > 0 && s->n_packets <= s->shape.seq_len);
	assert(info->first_ns <= info->last_ns && info->packets >= 1);
	for (int i = 0; i < s->n_packets; i++) {
		const struct sample_packet *p = &s->packets[i];

		assert(i == 0 || s->packets[i - 1].time_ns <= p->time_ns);
		assert(s->shape.bidirectional || !p->against);
		assert(i < s->shape.packets ? !(rows & 1u << p->byte_slot) : !p->header_bytes);
		rows |= i < s->shape.packets ? 1u << p->byte_slot : 0;
	}
	assert(!s->packets[0].against);
	n_judged += why != READY_EARLY;
}

static void on_done(void *ctx, const struct flow_info *info)
{
	(void)ctx, (void)info;
	n_done++;
}

/* One record in 13 bytes: small keys and times, so that flows meet. */
static void add(struct assembler *a, const uint8_t *b)
{
	static uint8_t data[RECORD_DATA_LARGE];
	struct packet_record r = {.key.proto = b[0] & 7,
				  .time_ns = (uint64_t)b[1] << (b[2] & 31),
				  .packet_index = b[3] == 255 ? UINT32_MAX : b[3],
				  .ip_len_bytes = (uint32_t)b[4] << (b[2] >> 5) * 3,
				  .header_len = b[5],
				  .header_bytes = b[6] % (RECORD_MAX_HEADER + 1),
				  .payload_bytes = b[7] % (RECORD_MAX_PAYLOAD + 1),
				  .gso_segments = b[8],
				  .gso_size_bytes = b[9] * 7,
				  .direction = b[10] & 1,
				  .hook = b[10] >> 1 & 1,
				  .flags = b[11],
				  .tcp_flags = b[12]};

	memset(data, b[4], sizeof(data));
	assembler_add_record(a, &r, data);
	if (b[10] & 0x80)
		assembler_tick(a, r.time_ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct assembler_config config = {
		.shape = {.packets = 3, .header_bytes = 80, .payload_bytes = 80, .seq_len = 7},
		.max_flows = 3,
		.idle_ns = 1 << 20,
		.total_ns = 1 << 24,
		.on_done = on_done};
	struct assembler *a;

	if (size < 1)
		return 0;
	config.shape.bidirectional = bytes[0] & 1;
	config.early_packets = bytes[0] >> 1 & 7;
	if (assembler_new(&config, on_ready, NULL, &a))
		return 0;
	n_judged = n_done = 0;
	for (size_t at = 1; at + 13 <= size; at += 13)
		add(a, bytes + at);
	assembler_flush(a);
	assert(n_judged == assembler_counters(a)->flows_started && n_done == n_judged);
	assert(!assembler_counters(a)->flows_assembling && !assembler_counters(a)->flows_judged);
	assembler_free(a);
	return 0;
}
