/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file *.nmd, all numbers little endian:
 *
 *	header, 64 bytes: magic (8), version u32, reserved u32 (0), payload bytes u64, reserved u64
 *	(0), SHA-256 of the payload (32)
 *	payload: one zstd frame of
 *	  shape: packets, header_bytes, payload_bytes, seq_len u16 each, bidirectional u8
 *	  n_flows, n_captures, n_classes, n_labels, n_folds u32 each
 *	  provenance: u32 length, JSON
 *	  class names, label names: u8 length, text, each
 *	  captures: name, source (u8 length, text), SHA-256 (32)
 *	  flows: class i16, label u16, capture u32, piece u32, fold u8, packets u64, bytes u64,
 *	         n_packets u16, then a packet: ns since the one before (the first: since the epoch)
 *	         u64, ip_len u32, packet_index u32, against u8, and of the first P: header_bytes,
 *	         payload_bytes u16, the valid bytes
 *	and nothing after.
 */
#pragma once
#include <stdint.h>

#define NMD_MAGIC          "NMDATA\r\n"
#define NMD_VERSION        1
#define NMD_HEADER_BYTES   64
#define NMD_MAX_FLOWS      (1U << 24)
#define NMD_MAX_CAPTURES   (1U << 20)
#define NMD_MAX_LABELS     65535
#define NMD_MAX_NAME       255
#define NMD_MAX_PROVENANCE (1U << 20)
/* What the samples of one set may take in memory. */
#define NMD_MAX_MEMORY (16ULL << 30)

struct nmd_header {
	char magic[8];
	uint32_t version_le, reserved32;
	uint64_t payload_bytes_le, reserved64;
	uint8_t sha256[32];
};
_Static_assert(sizeof(struct nmd_header) == NMD_HEADER_BYTES, "nmd_header is a file's");
