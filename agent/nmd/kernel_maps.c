/* SPDX-License-Identifier: BSD-2-Clause */
/* Typed access to the maps: one system call each, no state of its own. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmd/kernel_maps.h"

#define WALK_BATCH     1024
#define WALK_BATCH_MAX (1u << 20) /* entries of one bucket: never so many */

int kernel_control_get(const struct kernel *k, struct control *ret_control)
{
	return bpf_map_lookup_elem(k->map_fd[MAP_control], &(__u32){0}, ret_control);
}

int kernel_control_set(struct kernel *k, const struct control *control)
{
	return bpf_map_update_elem(k->map_fd[MAP_control], &(__u32){0}, control, BPF_ANY);
}

int kernel_verdict_put(struct kernel *k, const struct flow_key *key, const struct verdict *v)
{
	return bpf_map_update_elem(k->map_fd[MAP_verdicts], key, v, BPF_ANY);
}

int kernel_verdict_get(const struct kernel *k, const struct flow_key *key,
		       struct verdict *ret_verdict)
{
	return bpf_map_lookup_elem(k->map_fd[MAP_verdicts], key, ret_verdict);
}

int kernel_verdict_delete(struct kernel *k, const struct flow_key *key)
{
	return bpf_map_delete_elem(k->map_fd[MAP_verdicts], key);
}

struct walk {
	struct flow_key *keys;
	struct verdict *verdicts;
	__u32 size;
};

static void free_walk(struct walk *w)
{
	free(w->keys);
	free(w->verdicts);
}

static int grow_walk(struct walk *w, __u32 size)
{
	free_walk(w);
	*w = (struct walk){.keys = calloc(size, sizeof(*w->keys)),
			   .verdicts = calloc(size, sizeof(*w->verdicts)),
			   .size = size};
	return w->keys && w->verdicts ? 0 : -ENOMEM;
}

/* The kernel hands out whole buckets; -ENOSPC says that one is larger than the room. */
int kernel_verdict_walk(struct kernel *k, kernel_verdict_fn fn, void *ctx)
{
	cleanup(free_walk) struct walk w = {0};
	int err = grow_walk(&w, WALK_BATCH), stop;
	bool more = true, started = false;
	__u32 position;

	while (!err && more) {
		__u32 n = w.size;

		err = bpf_map_lookup_batch(k->map_fd[MAP_verdicts], started ? &position : NULL,
					   &position, w.keys, w.verdicts, &n, NULL);
		if (err == -ENOSPC && w.size < WALK_BATCH_MAX) {
			err = grow_walk(&w, w.size * 2);
			continue;
		}
		if (err && err != -ENOENT)
			break;
		more = !err;
		started = true;
		err = 0;
		for (__u32 i = 0; i < n; i++)
			if ((stop = fn(ctx, &w.keys[i], &w.verdicts[i])))
				return stop;
	}
	return err;
}

int kernel_endpoint_put(struct kernel *k, const struct endpoint_key *key,
			const struct endpoint_verdict *v)
{
	return bpf_map_update_elem(k->map_fd[MAP_endpoints], key, v, BPF_ANY);
}

int kernel_class_name_get(const struct kernel *k, uint32_t class_id, char ret_name[CLASS_NAME_LEN])
{
	return bpf_map_lookup_elem(k->map_fd[MAP_class_names], &class_id, ret_name);
}

int kernel_class_name_set(struct kernel *k, uint32_t class_id, const char *name)
{
	char value[CLASS_NAME_LEN] = {0};

	if (strlen(name) >= sizeof(value))
		return -ENAMETOOLONG;
	memcpy(value, name, strlen(name));
	return bpf_map_update_elem(k->map_fd[MAP_class_names], &class_id, value, BPF_ANY);
}

static void free_counters(struct counter **rows)
{
	free(*rows);
}

int kernel_counters_read(const struct kernel *k, struct counter *rows)
{
	cleanup(free_counters) struct counter *per_cpu = NULL;
	int n_cpus = libbpf_num_possible_cpus();
	__u32 position, n = COUNTER_ROWS;
	__u32 keys[COUNTER_ROWS];
	int err;

	if (n_cpus < 0)
		return n_cpus;
	per_cpu = calloc((size_t)COUNTER_ROWS * n_cpus, sizeof(*per_cpu));
	if (!per_cpu)
		return -ENOMEM;
	err = bpf_map_lookup_batch(k->map_fd[MAP_counters], NULL, &position, keys, per_cpu, &n,
				   NULL);
	if (err && err != -ENOENT) /* -ENOENT: that was all */
		return err;
	memset(rows, 0, COUNTER_ROWS * sizeof(*rows));
	for (__u32 i = 0; i < n; i++) {
		for (int cpu = 0; cpu < n_cpus; cpu++) {
			rows[keys[i]].packets += per_cpu[(size_t)i * n_cpus + cpu].packets;
			rows[keys[i]].bytes += per_cpu[(size_t)i * n_cpus + cpu].bytes;
		}
	}
	return 0;
}
