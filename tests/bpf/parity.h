/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One parser, two worlds: a capture goes packet by packet through the loaded program and through
 * the extractor; what comes out must be equal, byte for byte.
 */
#pragma once
#include "tests/bpf/harness.h"

struct parity {
	struct harness *kernel;
	struct extractor *user;
	int hook;
	struct record_buffer from_user; /* of the packet under way */
	bool user_sent;
	uint64_t user_reasons[REASON_ROWS];
	/* What was seen: */
	uint64_t captures, unreadable, packets, not_runnable, records, record_bytes, differences;
};

/* NULL where the programs cannot be loaded. */
struct parity *parity_new(int hook);
void parity_free(struct parity *p); /* accepts NULL */

/* All captures below a folder. Prints each difference (the first ten) and counts it. */
void parity_folder(struct parity *p, const char *path);
/* Both worlds' counters of everything so far; differences are counted. */
void parity_counters(struct parity *p);
void parity_print(const struct parity *p);
