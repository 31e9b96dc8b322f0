/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The skeleton and its pins. Maps are made by libbpf when the programs load; those that are pinned
 * already are handed to it first. The last thing of all is control.schema_version: a pin set
 * without one was left by a start that was cut short, guards nothing, and is made anew. Programs
 * are not pinned: the links hold them.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/nmd/clock.h"
#include "agent/nmd/kernel_maps.h"
#include "agent/nmd/pins.h"
#include "netmamba.skel.h"

#define MAX_CONTROL_BYTES 4096            /* of any schema */
#define LOAD_NS           (10 * NS_PER_S) /* verifying takes a second or two, more on a busy host */

static const char *const map_name[N_KERNEL_MAPS] = {
#define X(name) #name,
	KERNEL_MAPS(X)
#undef X
};

static int map_path(const struct kernel *k, const char *name, char path[PATH_MAX])
{
	int n = snprintf(path, PATH_MAX, "%s/maps/%s", k->config.pin_dir, name);

	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* A pin's descriptor, -ENOENT when there is none. */
static int open_pin(const struct kernel *k, const char *name)
{
	char path[PATH_MAX];
	int err = map_path(k, name, path);

	return err ? err : bpf_obj_get(path);
}

static int make_pin(const struct kernel *k, const char *name, int fd, struct error *e)
{
	char path[PATH_MAX];
	int err = map_path(k, name, path);

	if (!err)
		err = bpf_obj_pin(fd, path);
	if (err)
		return error_set(e, err, "pinning map %s under %s/maps: %s", name,
				 k->config.pin_dir, strerror(-err));
	return 0;
}

/* 0 when there is no control map, or none that was finished. */
static int read_schema(const struct kernel *k, uint32_t *ret_schema)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);
	union {
		__u32 schema; /* stands first in every schema */
		char bytes[MAX_CONTROL_BYTES];
	} value;
	int err, fd = open_pin(k, "control");

	if (fd == -ENOENT) {
		*ret_schema = 0;
		return 0;
	}
	if (fd < 0)
		return fd;
	err = bpf_obj_get_info_by_fd(fd, &info, &len);
	if (!err && (info.type != BPF_MAP_TYPE_ARRAY || info.value_size < sizeof(value.schema) ||
		     info.value_size > sizeof(value)))
		err = -EINVAL;
	if (!err)
		err = bpf_map_lookup_elem(fd, &(__u32){0}, &value);
	close(fd);
	if (!err)
		*ret_schema = value.schema;
	return err;
}

static int examine_pins(struct kernel *k, struct error *e)
{
	uint32_t schema;
	int err = read_schema(k, &schema);

	if (err)
		return error_set(e, err, "%s/maps/control: %s; `nmd --detach` removes these pins",
				 k->config.pin_dir, strerror(-err));
	if (!schema)
		return pins_remove_maps(k->config.pin_dir, e);
	if (schema != SCHEMA_VERSION)
		return error_set(e, -EPROTO,
				 "the maps pinned under %s have schema %u, this nmd has %u: run "
				 "`nmd --detach` (enforcement ends), then start again",
				 k->config.pin_dir, schema, SCHEMA_VERSION);
	k->adopted = true;
	return 0;
}

/* wanted: from the program object, or for a ring made up by us. */
struct definition {
	const char *name;
	uint32_t type, key_bytes, value_bytes, max_entries, flags;
};

static int check_definition(const struct definition *wanted, int fd, struct error *e)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);
	int err = bpf_obj_get_info_by_fd(fd, &info, &len);

	if (err)
		return error_set(e, err, "pinned map %s: %s", wanted->name, strerror(-err));
	if (info.type != wanted->type || info.key_size != wanted->key_bytes ||
	    info.value_size != wanted->value_bytes || info.map_flags != wanted->flags)
		return error_set(e, -EPROTO,
				 "pinned map %s was made by another nmd: run `nmd --detach` "
				 "(enforcement ends), then start again",
				 wanted->name);
	if (info.max_entries != wanted->max_entries)
		return error_set(e, -EPROTO,
				 "pinned map %s has size %u, the settings want %u: set it back, or "
				 "run `nmd --detach` (enforcement ends), then start again",
				 wanted->name, info.max_entries, wanted->max_entries);
	return 0;
}

static int adopt_map(struct kernel *k, enum kernel_map m, const struct bpf_map *map,
		     struct error *e)
{
	const struct definition wanted = {.name = map_name[m],
					  .type = bpf_map__type(map),
					  .key_bytes = bpf_map__key_size(map),
					  .value_bytes = bpf_map__value_size(map),
					  .max_entries = bpf_map__max_entries(map),
					  .flags = bpf_map__map_flags(map)};
	int fd = open_pin(k, map_name[m]);

	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return error_set(e, fd, "pinned map %s: %s", map_name[m], strerror(-fd));
	k->map_fd[m] = fd;
	return check_definition(&wanted, fd, e);
}

static struct bpf_map *find_map(const struct netmamba *skeleton, enum kernel_map m)
{
	return bpf_object__find_map_by_name(skeleton->obj, map_name[m]);
}

static int size_maps(const struct kernel *k, struct netmamba *skeleton)
{
	const struct {
		struct bpf_map *map;
		uint32_t max_entries;
	} sizes[] = {{skeleton->maps.flows, k->config.max_flows},
		     {skeleton->maps.verdicts, k->config.max_verdicts},
		     {skeleton->maps.endpoints, k->config.max_endpoints},
		     {skeleton->maps.fragments, k->config.max_fragments},
		     {skeleton->maps.zones, 2 * MAX_ZONES}, /* old and new, for a moment */
		     {skeleton->maps.events, k->n_rings}};
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(sizes) / sizeof(*sizes); i++)
		err = bpf_map__set_max_entries(sizes[i].map, sizes[i].max_entries);
	return err;
}

static void destroy_skeleton(struct netmamba **skeleton)
{
	netmamba__destroy(*skeleton);
}

/* Open, sized, configured; on the maps whose descriptors are there. */
static int open_skeleton(struct kernel *k, const struct nm_config *programs,
			 struct netmamba **ret_skeleton, struct error *e)
{
	cleanup(destroy_skeleton) struct netmamba *skeleton = NULL;
	uint32_t newcomer_mask;
	int err;

	kernel_log_begin();
	skeleton = netmamba__open();
	if (!skeleton)
		return error_set(e, -errno, "opening the BPF object: %s%s", strerror(errno),
				 kernel_log_cause());
	newcomer_mask = skeleton->rodata->config.newcomer_mask; /* the object knows its map */
	skeleton->rodata->config = *programs;
	skeleton->rodata->config.n_rings = k->n_rings;
	skeleton->rodata->config.newcomer_mask = newcomer_mask;
	err = size_maps(k, skeleton);
	for (int m = 0; !err && m < N_KERNEL_MAPS; m++)
		if (k->map_fd[m] >= 0)
			err = bpf_map__reuse_fd(find_map(skeleton, m), k->map_fd[m]);
	if (err)
		return error_set(e, err, "setting up the BPF object: %s%s", strerror(-err),
				 kernel_log_cause());
	*ret_skeleton = take_ptr(skeleton);
	return 0;
}

/* Packets of several buffers (jumbo frames, Linux 5.18) are taken, and read past the first one. The
 * object for libxdp does without: its dispatcher decides for all programs in it. */
static void allow_multi_buffer(struct netmamba *skeleton)
{
	if (libbpf_probe_bpf_helper(BPF_PROG_TYPE_XDP, BPF_FUNC_xdp_load_bytes, NULL) != 1)
		return;
	skeleton->rodata->config.xdp_load_bytes = 1;
	bpf_program__set_flags(skeleton->progs.nm_ingress, BPF_F_XDP_HAS_FRAGS);
}

static int load_skeleton(const struct kernel *k, struct netmamba *skeleton, struct error *e)
{
	int err;

	kernel_log_begin();
	err = netmamba__load(skeleton);
	/* -E2BIG is also what the verifier says of a program; libbpf's text tells them apart. */
	if (err == -ENOMEM || (err == -E2BIG && !strstr(kernel_log_cause(), "prog '")))
		return error_set(e, err,
				 "not enough memory for the maps (%u flows, %u verdicts): set "
				 "max_flows or max_verdicts lower%s",
				 k->config.max_flows, k->config.max_verdicts, kernel_log_cause());
	if (err == -EPERM)
		return error_set(e, err, "loading the BPF programs: %s; nmd must start as root%s",
				 strerror(-err), kernel_log_cause());
	if (err)
		return error_set(e, err, "loading the BPF programs: %s%s", strerror(-err),
				 kernel_log_cause());
	return 0;
}

/* Both programs, loaded. */
static int open_programs(struct kernel *k, const struct nm_config *programs,
			 struct netmamba **ret_skeleton, struct error *e)
{
	cleanup(destroy_skeleton) struct netmamba *skeleton = NULL;
	int err = open_skeleton(k, programs, &skeleton, e);

	if (err)
		return err;
	allow_multi_buffer(skeleton);
	err = load_skeleton(k, skeleton, e);
	if (!err)
		*ret_skeleton = take_ptr(skeleton);
	return err;
}

static int adopt_maps(struct kernel *k, struct error *e)
{
	cleanup(destroy_skeleton) struct netmamba *skeleton = NULL;
	int err = open_skeleton(k, &k->config.programs, &skeleton, e);

	for (int m = 0; !err && m < N_KERNEL_MAPS; m++)
		err = adopt_map(k, m, find_map(skeleton, m), e);
	return err;
}

/* Maps that libbpf has just made: a descriptor of our own, and the pin. */
static int keep_new_maps(struct kernel *k, struct error *e)
{
	int err = 0;

	for (int m = 0; !err && m < N_KERNEL_MAPS; m++) {
		if (k->map_fd[m] >= 0)
			continue;
		k->map_fd[m] = fcntl(bpf_map__fd(find_map(k->programs, m)), F_DUPFD_CLOEXEC, 0);
		if (k->map_fd[m] < 0)
			return error_set(e, -errno, "map %s: %s", map_name[m], strerror(errno));
		err = make_pin(k, map_name[m], k->map_fd[m], e);
	}
	return err;
}

static int open_ring(struct kernel *k, uint32_t i, struct error *e)
{
	const struct definition wanted = {.name = "of events",
					  .type = BPF_MAP_TYPE_RINGBUF,
					  .max_entries = k->config.ring_bytes};
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "ring-%u", i);
	fd = open_pin(k, name);
	if (fd >= 0) {
		k->ring_fd[i] = fd;
		return check_definition(&wanted, fd, e);
	}
	if (fd != -ENOENT)
		return error_set(e, fd, "pinned map %s: %s", name, strerror(-fd));
	fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "nm_ring", 0, 0, k->config.ring_bytes, NULL);
	if (fd < 0)
		return error_set(e, fd, "making a ring of %u bytes: %s", k->config.ring_bytes,
				 fd == -ENOMEM ? "not enough memory: set ring_kb lower"
					       : strerror(-fd));
	k->ring_fd[i] = fd;
	return make_pin(k, name, fd, e);
}

static int open_rings(struct kernel *k, struct error *e)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < k->n_rings; i++) {
		err = open_ring(k, i, e);
		if (err)
			return err;
		err = bpf_map_update_elem(k->map_fd[MAP_events], &i, &k->ring_fd[i], BPF_ANY);
		if (err)
			error_set(e, err, "putting ring %u into events: %s", i, strerror(-err));
	}
	return err;
}

static int round_ring_bytes(uint32_t wanted, uint32_t *ret_bytes, struct error *e)
{
	uint64_t bytes = sysconf(_SC_PAGESIZE);

	while (bytes < wanted)
		bytes *= 2;
	if (bytes > INT_MAX)
		return error_set(e, -EINVAL, "ring_bytes=%u: too large; at most 1073741824",
				 wanted);
	*ret_bytes = bytes;
	return 0;
}

static int kernel_new(const struct kernel_config *config, struct kernel **ret_kernel,
		      struct error *e)
{
	struct kernel *k = calloc(1, sizeof(*k));
	int n_cpus = libbpf_num_possible_cpus();

	if (!k)
		return error_set(e, -ENOMEM, "out of memory");
	k->config = *config;
	for (int m = 0; m < N_KERNEL_MAPS; m++)
		k->map_fd[m] = -1;
	k->n_rings = n_cpus > 0 ? n_cpus : 1;
	k->config.pin_dir = strdup(config->pin_dir);
	k->ring_fd = malloc(k->n_rings * sizeof(*k->ring_fd));
	for (uint32_t i = 0; k->ring_fd && i < k->n_rings; i++)
		k->ring_fd[i] = -1;
	*ret_kernel = k;
	if (!k->config.pin_dir || !k->ring_fd)
		return error_set(e, -ENOMEM, "out of memory");
	return round_ring_bytes(config->ring_bytes, &k->config.ring_bytes, e);
}

/* The programs of a former run enforce while ours are verified, which can take longer than the
 * fail-open deadline has left: an agent that starts is alive. */
static int beat_for_load(struct kernel *k, struct error *e)
{
	struct control control;
	int err = kernel_control_get(k, &control);

	if (err)
		return error_set(e, err, "reading control: %s", strerror(-err));
	control.heartbeat_ns = clock_monotonic_ns() + LOAD_NS;
	err = kernel_control_set(k, &control);
	return err ? error_set(e, err, "writing control: %s", strerror(-err)) : 0;
}

static int fill(struct kernel *k, struct error *e)
{
	struct control control = {.schema_version = SCHEMA_VERSION};
	int err = adopt_maps(k, e);

	if (!err && k->adopted)
		err = beat_for_load(k, e);
	if (!err)
		err = open_programs(k, &k->config.programs, &k->programs, e);
	if (!err)
		err = keep_new_maps(k, e);
	if (!err)
		err = open_rings(k, e);
	if (err || k->adopted)
		return err;
	err = kernel_control_set(k, &control);
	return err ? error_set(e, err, "writing control: %s", strerror(-err)) : 0;
}

static void kernel_closep(struct kernel **k)
{
	kernel_close(*k);
}

int kernel_open(const struct kernel_config *config, struct kernel **ret_kernel, struct error *e)
{
	cleanup(kernel_closep) struct kernel *k = NULL;
	int err = kernel_new(config, &k, e);

	if (!err)
		err = pins_prepare(config->pin_dir, e);
	if (!err)
		err = examine_pins(k, e);
	if (err)
		return err;
	err = fill(k, e);
	if (err) {
		if (!k->adopted)
			pins_remove(config->pin_dir, NULL);
		return err;
	}
	*ret_kernel = take_ptr(k);
	return 0;
}

void kernel_close(struct kernel *k)
{
	if (!k)
		return;
	netmamba__destroy(k->for_libxdp);
	netmamba__destroy(k->programs);
	for (int m = 0; m < N_KERNEL_MAPS; m++)
		if (k->map_fd[m] >= 0)
			close(k->map_fd[m]);
	for (uint32_t i = 0; k->ring_fd && i < k->n_rings; i++)
		if (k->ring_fd[i] >= 0)
			close(k->ring_fd[i]);
	free(k->ring_fd);
	free((char *)k->config.pin_dir);
	free(k);
}

bool kernel_adopted(const struct kernel *k)
{
	return k->adopted;
}

int kernel_reload(struct kernel *k, const struct nm_config *programs, struct error *e)
{
	cleanup(destroy_skeleton) struct netmamba *skeleton = NULL;
	int err = open_programs(k, programs, &skeleton, e);

	if (err)
		return err;
	netmamba__destroy(k->programs); /* the links hold what runs */
	k->programs = take_ptr(skeleton);
	k->config.programs = *programs;
	return 0;
}

int kernel_ingress_object(struct kernel *k, struct bpf_object **ret_object, struct error *e)
{
	struct netmamba *skeleton;
	int err = open_skeleton(k, &k->config.programs, &skeleton, e);

	if (err)
		return err;
	bpf_program__set_autoload(skeleton->progs.nm_egress, false);
	netmamba__destroy(k->for_libxdp);
	k->for_libxdp = skeleton;
	*ret_object = skeleton->obj;
	return 0;
}

int kernel_ingress_fd(const struct kernel *k)
{
	return bpf_program__fd(k->programs->progs.nm_ingress);
}

int kernel_egress_fd(const struct kernel *k)
{
	return bpf_program__fd(k->programs->progs.nm_egress);
}

const char *kernel_pin_dir(const struct kernel *k)
{
	return k->config.pin_dir;
}

uint32_t kernel_ring_fds(const struct kernel *k, const int **ret_fds)
{
	*ret_fds = k->ring_fd;
	return k->n_rings;
}
