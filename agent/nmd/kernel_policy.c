/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writing a policy under traffic. Three maps change, one entry at a time, and packets meet whatever
 * stands there. The order makes every state in between at most as harsh as the old policy and at
 * most as harsh as the new one:
 *
 *   1. each entry becomes the milder of its old and new self; a limit, also one that stays, counts
 *      as a pass while the meter it names is to be rewritten;
 *   2. meters, which no entry uses now unless they stay as they are;
 *   3. zones: prefixes that are never acted on, then the other new ones, then the old ones go: no
 *      address is without its zone for a moment;
 *   4. the caller gives live verdicts their new zone;
 *   5. the new entries.
 *
 * What stays: a meter whose rule, rate and burst are the same keeps its arrival time, even when it
 * moves to another place. Which rule a meter in the kernel serves is read from the entries that use
 * it, so that this holds for a restarted agent too.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmd/kernel_maps.h"

#define N_ENTRIES (MAX_ZONES * MAX_CLASSES)

struct in_kernel {
	struct policy_entry entries[N_ENTRIES];
	struct meter meters[MAX_METERS];
	uint32_t meter_rule_id[MAX_METERS]; /* 0 = no entry uses it */
	struct policy_zone zones[2 * MAX_ZONES];
	uint32_t n_zones;
};

/* Values of an array map by index. */
static int read_array(int fd, void *values, uint32_t n)
{
	uint32_t position, *keys = calloc(n, sizeof(*keys));
	int err;

	if (!keys)
		return -ENOMEM;
	err = bpf_map_lookup_batch(fd, NULL, &position, keys, values, &n, NULL);
	free(keys);
	return err == -ENOENT ? 0 : err; /* -ENOENT: that was all */
}

static int read_zones(int fd, struct in_kernel *now)
{
	struct zone_key key, *previous = NULL;
	int err = 0;

	while (now->n_zones < 2 * MAX_ZONES && !(err = bpf_map_get_next_key(fd, previous, &key))) {
		struct policy_zone *zone = &now->zones[now->n_zones];

		zone->prefix = key;
		previous = &zone->prefix;
		err = bpf_map_lookup_elem(fd, &key, &zone->zone_id);
		if (err)
			return err;
		now->n_zones++;
	}
	return err == -ENOENT ? 0 : err;
}

static int read_kernel(const struct kernel *k, struct in_kernel *now)
{
	int err = read_array(k->map_fd[MAP_policy], now->entries, N_ENTRIES);

	if (!err)
		err = read_array(k->map_fd[MAP_meters], now->meters, MAX_METERS);
	if (!err)
		err = read_zones(k->map_fd[MAP_zones], now);
	for (unsigned i = 0; !err && i < N_ENTRIES; i++) {
		for (unsigned hook = 0; hook < 2; hook++) {
			const struct policy_action *a = &now->entries[i].by_hook[hook];

			if (a->action == ACTION_LIMIT && a->meter_id < MAX_METERS)
				now->meter_rule_id[a->meter_id] = a->rule_id;
		}
	}
	return err;
}

static bool same_meter(const struct in_kernel *now, uint32_t i,
		       const struct policy_program *program, uint32_t j)
{
	return now->meter_rule_id[i] && now->meter_rule_id[i] == program->meter_rule_id[j] &&
	       now->meters[i].ps_per_byte == program->meters[j].ps_per_byte &&
	       now->meters[i].burst_ns == program->meters[j].burst_ns;
}

/* Meter ids are 1 to n_meters. */
static bool meter_stays(const struct in_kernel *now, const struct policy_program *program,
			uint32_t i)
{
	return i && i <= program->n_meters && same_meter(now, i, program, i);
}

static unsigned harshness(const struct policy_action *a)
{
	switch (a->action) {
	case ACTION_DROP:
		return 2;
	case ACTION_LIMIT:
		return 1;
	default:
		return 0;
	}
}

static struct policy_action milder(const struct policy_action *old, const struct policy_action *new,
				   const bool stays[MAX_METERS])
{
	struct policy_action result = harshness(old) < harshness(new) ? *old : *new;

	result.flags = old->flags & new->flags;
	if (result.action == ACTION_LIMIT &&
	    (result.meter_id >= MAX_METERS || !stays[result.meter_id]))
		return (struct policy_action){.action = ACTION_WATCH};
	return result;
}

static int write_entry(const struct kernel *k, uint32_t i, const struct policy_entry *entry)
{
	return bpf_map_update_elem(k->map_fd[MAP_policy], &i, entry, BPF_ANY);
}

static int write_grants(const struct kernel *k, const struct in_kernel *now,
			const struct policy_program *program, const bool stays[MAX_METERS])
{
	int err = 0;

	for (uint32_t i = 0; !err && i < N_ENTRIES; i++) {
		const struct policy_entry *old = &now->entries[i], *new = &program->entries[i];
		struct policy_entry both;

		for (unsigned hook = 0; hook < 2; hook++)
			both.by_hook[hook] =
				milder(&old->by_hook[hook], &new->by_hook[hook], stays);
		if (memcmp(old, &both, sizeof(both)) != 0)
			err = write_entry(k, i, &both);
	}
	return err;
}

static int write_meters(const struct kernel *k, const struct in_kernel *now,
			const struct policy_program *program, const bool stays[MAX_METERS])
{
	int err = 0;

	for (uint32_t i = 1; !err && i <= program->n_meters; i++) {
		struct meter m = program->meters[i];

		if (stays[i])
			continue;
		for (uint32_t from = 1; from < MAX_METERS; from++)
			if (same_meter(now, from, program, i))
				m.tat_ns = now->meters[from].tat_ns;
		err = bpf_map_update_elem(k->map_fd[MAP_meters], &i, &m, BPF_ANY);
	}
	return err;
}

static bool has_zone(const struct policy_zone *zones, uint32_t n, const struct zone_key *prefix)
{
	for (uint32_t i = 0; i < n; i++)
		if (!memcmp(&zones[i].prefix, prefix, sizeof(*prefix)))
			return true;
	return false;
}

static int add_zones(const struct kernel *k, const struct policy_program *program, bool never)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < program->n_zones; i++) {
		const struct policy_zone *zone = &program->zones[i];

		if ((zone->zone_id == ZONE_NEVER) == never)
			err = bpf_map_update_elem(k->map_fd[MAP_zones], &zone->prefix,
						  &zone->zone_id, BPF_ANY);
	}
	return err;
}

static int write_zones(const struct kernel *k, const struct in_kernel *now,
		       const struct policy_program *program)
{
	int err = add_zones(k, program, true);

	if (!err)
		err = add_zones(k, program, false);
	for (uint32_t i = 0; !err && i < now->n_zones; i++)
		if (!has_zone(program->zones, program->n_zones, &now->zones[i].prefix))
			err = bpf_map_delete_elem(k->map_fd[MAP_zones], &now->zones[i].prefix);
	return err;
}

static int write_entries(const struct kernel *k, const struct in_kernel *before,
			 const struct policy_program *program)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < N_ENTRIES; i++)
		if (memcmp(&before->entries[i], &program->entries[i],
			   sizeof(program->entries[i])) != 0)
			err = write_entry(k, i, &program->entries[i]);
	return err;
}

static void free_in_kernel(struct in_kernel **now)
{
	free(*now);
}

int kernel_policy_write_rezoned(struct kernel *k, const struct policy_program *program,
				kernel_rezone_fn rezone, void *ctx, struct error *e)
{
	cleanup(free_in_kernel) struct in_kernel *now = calloc(1, sizeof(*now));
	bool stays[MAX_METERS];
	int err;

	if (!now)
		return error_set(e, -ENOMEM, "out of memory for the policy");
	err = read_kernel(k, now);
	if (!err) {
		for (uint32_t i = 0; i < MAX_METERS; i++)
			stays[i] = meter_stays(now, program, i);
		err = write_grants(k, now, program, stays);
	}
	if (!err)
		err = write_meters(k, now, program, stays);
	if (!err)
		err = write_zones(k, now, program);
	if (!err && rezone)
		err = rezone(ctx);
	if (!err)
		err = read_array(k->map_fd[MAP_policy], now->entries, N_ENTRIES);
	if (!err)
		err = write_entries(k, now, program);
	if (err)
		return error_set(e, err,
				 "writing the policy: %s; the milder of the old and the new "
				 "policy is in force",
				 strerror(-err));
	return 0;
}

int kernel_policy_write(struct kernel *k, const struct policy_program *program, struct error *e)
{
	return kernel_policy_write_rezoned(k, program, NULL, NULL, e);
}
