/* SPDX-License-Identifier: BSD-2-Clause */
/* Data set files from any payload, with a right header and checksum: what a hostile hand can make.
 */
#pragma once
#include <endian.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include "agent/nmtrain/dataset_format.h"

/* The whole file; caller frees. */
static inline uint8_t *nmd_wrap(const uint8_t *payload, size_t n, size_t *ret_n)
{
	size_t room = ZSTD_compressBound(n);
	uint8_t *file = calloc(1, NMD_HEADER_BYTES + room);
	struct nmd_header h = {.version_le = htole32(NMD_VERSION)};
	size_t packed;

	if (!file)
		abort();
	packed = ZSTD_compress(file + NMD_HEADER_BYTES, room, payload, n, 1);
	if (ZSTD_isError(packed))
		abort();
	memcpy(h.magic, NMD_MAGIC, sizeof(h.magic));
	h.payload_bytes_le = htole64(packed);
	crypto_hash_sha256(h.sha256, file + NMD_HEADER_BYTES, packed);
	memcpy(file, &h, sizeof(h));
	*ret_n = NMD_HEADER_BYTES + packed;
	return file;
}

static inline void nmd_put(const char *path, const uint8_t *bytes, size_t n)
{
	FILE *file = fopen(path, "wb");

	if (!file || fwrite(bytes, 1, n, file) != n || fclose(file))
		abort();
}

static inline uint8_t *nmd_get(const char *path, size_t *ret_n)
{
	FILE *file = fopen(path, "rb");
	uint8_t *bytes = malloc(1 << 20);

	if (!file || !bytes)
		abort();
	*ret_n = fread(bytes, 1, 1 << 20, file);
	fclose(file);
	return bytes;
}

/* Of a small file; caller frees. */
static inline uint8_t *nmd_payload(const char *path, size_t *ret_n)
{
	size_t n;
	uint8_t *file = nmd_get(path, &n), *payload = malloc(1 << 20);

	if (!payload)
		abort();
	*ret_n = ZSTD_decompress(payload, 1 << 20, file + NMD_HEADER_BYTES, n - NMD_HEADER_BYTES);
	if (ZSTD_isError(*ret_n))
		abort();
	free(file);
	return payload;
}
