/* SPDX-License-Identifier: BSD-2-Clause */
/* A packet's bytes through debiasing: the first byte is the bits, the second cuts header from
 * payload; both lie in memory of exactly their size. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "model/debias.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static uint8_t *copy(const uint8_t *bytes, size_t n)
{
	uint8_t *own = malloc(n ? n : 1);

	if (!own)
		abort();
	memcpy(own, bytes, n);
	return own;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	size_t header_bytes;
	uint8_t *header, *payload;

	if (n < 2)
		return 0;
	header_bytes = bytes[1] < n - 2 ? bytes[1] : n - 2;
	header = copy(bytes + 2, header_bytes);
	payload = copy(bytes + 2 + header_bytes, n - 2 - header_bytes);
	debias_packet(header, header_bytes, payload, n - 2 - header_bytes, bytes[0]);
	free(header);
	free(payload);
	return 0;
}
