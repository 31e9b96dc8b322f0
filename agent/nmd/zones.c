/* SPDX-License-Identifier: BSD-2-Clause */
/* Which zone a conversation is in, and zone ids that survive a change of policy. */
#include "agent/nmd/zones.h"
#include <arpa/inet.h>
#include <string.h>

#define MAPPED_PREFIX_BITS 96

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

/* Where addr is, or would be inserted. */
static uint32_t own_position(const struct zones *z, const uint8_t addr[16])
{
	uint32_t lo = 0, hi = z->n_own;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (memcmp(z->own[mid], addr, 16) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool zones_is_own(const struct zones *z, const uint8_t addr[16])
{
	uint32_t at = own_position(z, addr);

	return at < z->n_own && !memcmp(z->own[at], addr, 16);
}

bool zones_own_address(struct zones *z, const uint8_t addr[16], bool added)
{
	uint32_t at = own_position(z, addr);
	bool have = at < z->n_own && !memcmp(z->own[at], addr, 16);

	if (have == added || (added && z->n_own >= ZONES_MAX_OWN))
		return false;
	if (added) {
		memmove(z->own[at + 1], z->own[at], (z->n_own - at) * sizeof(z->own[0]));
		memcpy(z->own[at], addr, 16);
		z->n_own++;
		return true;
	}
	z->n_own--;
	memmove(z->own[at], z->own[at + 1], (z->n_own - at) * sizeof(z->own[0]));
	return true;
}

struct candidate {
	uint32_t zone_id;
	uint8_t prefix_len;
};

static struct candidate candidate_of(const struct policy_program *program, const uint8_t addr[16])
{
	struct candidate c = {0};

	c.zone_id = policy_zone_of(program, addr, &c.prefix_len);
	if (c.zone_id == ZONE_DEFAULT)
		c.prefix_len = 0;
	return c;
}

uint32_t zones_resolve(const struct zones *z, const struct policy_program *program,
		       const struct flow_key *key, uint8_t source_direction)
{
	bool lo_first = source_direction == FLOW_DIR_FORWARD;
	const uint8_t *source = lo_first ? key->addr_lo : key->addr_hi;
	const uint8_t *peer = lo_first ? key->addr_hi : key->addr_lo;
	bool source_own = zones_is_own(z, source), peer_own = zones_is_own(z, peer);
	struct candidate best = {0}, other = {0};

	if (!source_own || peer_own)
		best = candidate_of(program, source);
	if (!peer_own || source_own)
		other = candidate_of(program, peer);
	if (other.prefix_len > best.prefix_len ||
	    (other.prefix_len == best.prefix_len && other.zone_id == ZONE_NEVER))
		best = other;
	else if (best.zone_id == ZONE_DEFAULT && other.zone_id != ZONE_DEFAULT)
		best = other; /* a zone of 0.0.0.0/0 or ::/0 beats none */
	return best.zone_id;
}

static uint32_t id_of_prefix(const struct policy_program *program, const struct zone_key *prefix)
{
	for (uint32_t i = 0; i < program->n_zones; i++)
		if (!memcmp(&program->zones[i].prefix, prefix, sizeof(*prefix)))
			return program->zones[i].zone_id;
	return ZONE_DEFAULT;
}

/* Several prefixes may share an id (zone never); an id of the fresh program gets one new name. */
static void choose_names(const struct policy_program *old, const struct policy_program *program,
			 uint32_t rename[MAX_ZONES], bool taken[MAX_ZONES])
{
	bool in_old[MAX_ZONES] = {[ZONE_DEFAULT] = true, [ZONE_NEVER] = true};

	for (uint32_t i = 0; i < old->n_zones; i++)
		in_old[old->zones[i].zone_id] = true;
	for (uint32_t i = 0; i < program->n_zones; i++) {
		uint32_t id = program->zones[i].zone_id;
		uint32_t kept = id_of_prefix(old, &program->zones[i].prefix);

		if (id <= ZONE_NEVER || rename[id] || kept <= ZONE_NEVER || taken[kept])
			continue;
		rename[id] = kept;
		taken[kept] = true;
	}
	/* New prefixes take ids that no live verdict carries, as long as there are such. */
	for (int pass = 0; pass < 2; pass++) {
		uint32_t next = ZONE_NEVER + 1;

		for (uint32_t i = 0; i < program->n_zones; i++) {
			uint32_t id = program->zones[i].zone_id;

			if (id <= ZONE_NEVER || rename[id])
				continue;
			while (next < MAX_ZONES && (taken[next] || (!pass && in_old[next])))
				next++;
			if (next == MAX_ZONES)
				break;
			rename[id] = next;
			taken[next] = true;
		}
	}
}

static void copy_row(struct policy_entry *entries, uint32_t to, const struct policy_entry *row)
{
	memcpy(&entries[policy_index(to, 0)], row, MAX_CLASSES * sizeof(*row));
}

void zones_keep_ids(const struct policy_program *old, struct policy_program *program)
{
	static struct policy_entry renamed[MAX_ZONES * MAX_CLASSES]; /* loop thread only */
	uint32_t rename[MAX_ZONES] = {0};
	bool taken[MAX_ZONES] = {[ZONE_DEFAULT] = true, [ZONE_NEVER] = true};

	choose_names(old, program, rename, taken);
	memset(renamed, 0, sizeof(renamed));
	copy_row(renamed, ZONE_DEFAULT, &program->entries[policy_index(ZONE_DEFAULT, 0)]);
	copy_row(renamed, ZONE_NEVER, &program->entries[policy_index(ZONE_NEVER, 0)]);
	for (uint32_t i = 0; i < program->n_zones; i++) {
		uint32_t id = program->zones[i].zone_id;

		if (id <= ZONE_NEVER)
			continue;
		copy_row(renamed, rename[id], &program->entries[policy_index(id, 0)]);
		program->zones[i].zone_id = rename[id];
	}
	for (uint32_t i = 0; i < old->n_zones; i++) {
		uint32_t id = old->zones[i].zone_id;
		uint32_t heir;

		if (taken[id])
			continue;
		heir = policy_zone_of(program, old->zones[i].prefix.addr, NULL);
		copy_row(renamed, id, &renamed[policy_index(heir, 0)]);
	}
	memcpy(program->entries, renamed, sizeof(renamed));
}

void zones_name(const struct policy_program *program, uint32_t zone_id, char *ret_name, size_t size)
{
	char text[INET6_ADDRSTRLEN] = "";

	snprintf(ret_name, size, "%s", zone_id == ZONE_NEVER ? "never" : "default");
	if (zone_id <= ZONE_NEVER)
		return;
	for (uint32_t i = 0; i < program->n_zones; i++) {
		const struct zone_key *prefix = &program->zones[i].prefix;
		bool v4 = !memcmp(prefix->addr, mapped_prefix, sizeof(mapped_prefix)) &&
			  prefix->prefix_len >= MAPPED_PREFIX_BITS;

		if (program->zones[i].zone_id != zone_id)
			continue;
		inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? prefix->addr + 12 : prefix->addr, text,
			  sizeof(text));
		snprintf(ret_name, size, "%s/%u", text,
			 v4 ? prefix->prefix_len - MAPPED_PREFIX_BITS : prefix->prefix_len);
		return;
	}
}
