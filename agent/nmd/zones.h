/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The zone of a conversation. `net=` is matched against the ends that are not this host's own; if
 * both ends are (loopback), against both. Two candidates: the longest prefix wins, at a tie zone
 * never, then the flow's source.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "agent/policy/policy.h"
#include "maps/flow_key.h"

#define ZONES_MAX_OWN 1024

struct zones {
	uint32_t n_own;
	uint8_t own[ZONES_MAX_OWN][16]; /* sorted */
};

/* An address of this host came or went. True when the set changed. -ENOSPC is told by false and
 * a full table: the address then counts as foreign. */
bool zones_own_address(struct zones *z, const uint8_t addr[16], bool added);
bool zones_is_own(const struct zones *z, const uint8_t addr[16]);

uint32_t zones_resolve(const struct zones *z, const struct policy_program *program,
		       const struct flow_key *key, uint8_t source_direction);

/*
 * Renames the zones of a freshly compiled program so that a prefix which `old` has too keeps its
 * zone id, and fills the rows of ids that went away with the row of the zone that takes their
 * addresses over. Live verdicts carry zone ids: so they meet the right row from the moment that the
 * program is written until they are resolved anew.
 */
void zones_keep_ids(const struct policy_program *old, struct policy_program *program);

/* "default", "never" or the prefix. */
void zones_name(const struct policy_program *program, uint32_t zone_id, char *ret_name,
		size_t size);
