/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Known classes of captures' flows: a tab-separated file with the header
 *
 *	pcap proto addr_a port_a addr_b port_b label class packets bytes
 *
 * proto is tcp, udp, icmp, icmp6 or a number; the pair of ends is unordered; ICMP's ports are 0.
 *pcap is a file's name without folders. A row stands for every flow of its ends in that capture; of
 *two rows for the same ends the first counts. Immutable after it was read.
 */
#pragma once
#include "maps/flow_key.h"
#include "model/error.h"

struct labels_file;

struct labels_row {
	const char *label;      /* the fine name, "TLS.Facebook" */
	const char *class_name; /* "unlisted": a protocol of no class */
};

#define LABELS_UNLISTED "unlisted"

int labels_file_read(const char *path, struct labels_file **ret_file, struct error *e);
void labels_file_free(struct labels_file *f); /* accepts NULL */

/* NULL when the flow has no row. capture: a path or a name; the key's VLAN does not matter. */
const struct labels_row *labels_file_find(const struct labels_file *f, const char *capture,
					  const struct flow_key *key);
