/* SPDX-License-Identifier: BSD-2-Clause */
/* Any packets of any length: nothing is read past a packet's end, and records hold what they say.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "agent/flow/parse_user.h"

static const struct nm_config config = {.byte_packets = 3,
					.header_bytes = 80,
					.payload_bytes = 100,
					.record_packets = 8,
					.flow_idle_ns = 20000000000ULL,
					.newcomer_mask = 1023};

static void on_record(void *ctx, const struct packet_record *r, const uint8_t *data)
{
	uint32_t used = r->header_bytes + r->payload_bytes;

	(void)ctx;
	assert(r->header_len <= r->ip_len_bytes && r->header_bytes <= r->header_len);
	assert(r->header_bytes <= config.header_bytes && r->payload_bytes <= config.payload_bytes);
	assert(r->payload_bytes <= r->ip_len_bytes - r->header_len);
	assert(r->packet_index < config.record_packets && r->direction <= 1 && !r->key.pad);
	assert(r->packet_index < config.byte_packets || !used);
	assert(memcmp(r->key.addr_lo, r->key.addr_hi, sizeof(r->key.addr_lo)) <= 0);
	for (uint32_t i = used; i < RECORD_DATA_LARGE; i++)
		assert(!data[i]);
}

/* Each packet: 1 byte link type (bit 0) and seconds since the last, 2 bytes length, its bytes. It
 * is copied to an allocation of its own, so that ASan sees a read past it. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct extractor *x;
	uint64_t now_ns = 0;

	if (extractor_new(&config, 4, on_record, NULL, &x))
		return 0;
	while (size >= 3) {
		size_t len = (size_t)bytes[1] << 8 | bytes[2];
		enum extract_link link = bytes[0] & 1 ? EXTRACT_IP : EXTRACT_ETHERNET;
		uint8_t *packet;

		now_ns += (bytes[0] >> 1) * 1000000000ULL;
		bytes += 3;
		size -= 3;
		if (len > size)
			len = size;
		packet = malloc(len ? len : 1);
		if (!packet)
			break;
		memcpy(packet, bytes, len);
		extractor_packet(x, link, packet, len, now_ns);
		free(packet);
		bytes += len;
		size -= len;
	}
	extractor_free(x);
	return 0;
}
