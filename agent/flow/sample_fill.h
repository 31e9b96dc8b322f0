/* SPDX-License-Identifier: BSD-2-Clause */
/* Packet records into a flow sample: time order, direction of the first packet, GSO expansion. */
#pragma once
#include <stdint.h>
#include "maps/packet_record.h"
#include "model/flow_sample.h"

/* Packets that the record stands for on the wire: more than one after segmentation offload. */
uint32_t record_wire_packets(const struct packet_record *record);
uint64_t record_wire_bytes(const struct packet_record *record);

/* Empties a used sample. */
void sample_clear(struct flow_sample *s);

/*
 * Adds the record's packets as long as there is room. first_direction (FLOW_DIR_*) is set by the
 * first packet and moved when an earlier one comes: the sample then turns round, and one that keeps
 * one direction only begins again.
 */
void sample_add_record(struct flow_sample *s, uint8_t *first_direction,
		       const struct packet_record *record, const uint8_t *data);
