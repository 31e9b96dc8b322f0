/* SPDX-License-Identifier: BSD-2-Clause */
/* The loaded programs for the tests, the parity check and the benchmark: see harness.h. */
#include "tests/bpf/harness.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bpf/parse.h"
#include "netmamba.skel.h"

#define START_NS 1000000000000ULL

struct nm_config harness_config(void)
{
	return (struct nm_config){
		.byte_packets = 10,
		.header_bytes = 80,
		.payload_bytes = 80,
		.record_packets = 50,
		.flow_idle_ns = 60000000000ULL,
		.newcomers_per_ms = 4,
		.newcomer_mask = NEWCOMER_ROWS * NEWCOMERS_PER_ROW - 1,
		.n_rings = 1,
		.replay = 1,
	};
}

static int on_ring(void *ctx, void *data, size_t size)
{
	struct harness *h = ctx;
	uint32_t i = h->n_records++;

	if (i >= HARNESS_RECORDS || size > sizeof(h->records[i]))
		return 0;
	memset(&h->records[i], 0, sizeof(h->records[i]));
	memcpy(&h->records[i], data, size);
	h->record_size[i] = size;
	return 0;
}

static int make_ring(struct harness *h, uint32_t ring_bytes)
{
	uint32_t zero = 0;

	h->ring_fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "nm_ring", 0, 0,
				    ring_bytes ? ring_bytes : 1 << 16, NULL);
	if (h->ring_fd < 0)
		return h->ring_fd;
	h->reader = ring_buffer__new(h->ring_fd, on_ring, h, NULL);
	if (!h->reader)
		return -errno;
	return bpf_map__update_elem(h->skel->maps.events, &zero, sizeof(zero), &h->ring_fd,
				    sizeof(h->ring_fd), 0);
}

static int open_and_load(struct harness *h, const struct harness_options *options, bool frags)
{
	int error;

	h->skel = netmamba__open();
	if (!h->skel)
		return -errno;
	memcpy((void *)&h->skel->rodata->config, &options->config, sizeof(options->config));
	if (options->max_flows)
		bpf_map__set_max_entries(h->skel->maps.flows, options->max_flows);
	if (options->flows_refuse) {
		bpf_map__set_type(h->skel->maps.flows, BPF_MAP_TYPE_HASH);
		bpf_map__set_max_entries(h->skel->maps.flows, 1);
	}
	if (frags) {
		((struct nm_config *)&h->skel->rodata->config)->xdp_load_bytes = 1;
		bpf_program__set_flags(h->skel->progs.nm_ingress, BPF_F_XDP_HAS_FRAGS);
	}
	error = netmamba__load(h->skel);
	if (error) {
		netmamba__destroy(h->skel);
		h->skel = NULL;
	}
	h->multi_buffer = frags;
	return error;
}

static void stay_on_one_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

/* Where we have the rights and the kernel is new enough, only our own fault is left: no test may be
 * skipped for a program that the verifier refuses. */
static bool must_load(void)
{
	return libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL) == 1 &&
	       libbpf_probe_bpf_helper(BPF_PROG_TYPE_XDP, BPF_FUNC_ktime_get_coarse_ns, NULL) == 1;
}

struct harness *harness_new(const struct harness_options *options)
{
	struct harness *h = calloc(1, sizeof(*h));
	libbpf_print_fn_t loud;
	int error;

	if (!h)
		return NULL;
	h->ring_fd = -1;
	stay_on_one_cpu();
	loud = libbpf_set_print(quiet);
	error = open_and_load(h, options, true);
	libbpf_set_print(loud);
	if (error)
		error = open_and_load(h, options, false);
	if (!error)
		error = make_ring(h, options->ring_bytes);
	if (error) {
		printf("# the programs cannot be loaded here: %s\n", strerror(-error));
		harness_free(h);
		if (must_load())
			exit(1);
		return NULL;
	}
	harness_reset(h);
	return h;
}

void harness_free(struct harness *h)
{
	if (!h)
		return;
	ring_buffer__free(h->reader);
	if (h->ring_fd >= 0)
		close(h->ring_fd);
	netmamba__destroy(h->skel);
	free(h);
}

static void empty_map(struct bpf_map *map)
{
	int fd = bpf_map__fd(map);
	uint8_t key[64];

	while (!bpf_map_get_next_key(fd, NULL, key))
		bpf_map_delete_elem(fd, key);
}

static void zero_array(struct bpf_map *map)
{
	static const uint8_t zero[64];
	uint32_t n = bpf_map__max_entries(map);

	assert(bpf_map__value_size(map) <= sizeof(zero));
	for (uint32_t i = 0; i < n; i++)
		bpf_map__update_elem(map, &i, sizeof(i), zero, bpf_map__value_size(map), 0);
}

struct counter harness_row(struct harness *h, uint32_t row)
{
	int n_cpus = libbpf_num_possible_cpus();
	struct counter per_cpu[n_cpus], sum = {0, 0};

	assert(!bpf_map__lookup_elem(h->skel->maps.counters, &row, sizeof(row), per_cpu,
				     sizeof(per_cpu), 0));
	for (int i = 0; i < n_cpus; i++) {
		sum.packets += per_cpu[i].packets;
		sum.bytes += per_cpu[i].bytes;
	}
	return sum;
}

struct counter harness_counted(struct harness *h, uint32_t reason)
{
	struct counter now = harness_row(h, reason);

	now.packets -= h->before[reason].packets;
	now.bytes -= h->before[reason].bytes;
	return now;
}

void harness_control(struct harness *h, const struct control *control)
{
	uint32_t zero = 0;

	assert(!bpf_map__update_elem(h->skel->maps.control, &zero, sizeof(zero), control,
				     sizeof(*control), 0));
}

void harness_enforce(struct harness *h)
{
	harness_control(h, &(struct control){.schema_version = SCHEMA_VERSION,
					     .mode = MODE_ENFORCE,
					     .heartbeat_ns = h->now_ns,
					     .fail_open_ns = 5000000000ULL,
					     .generation = h->generation});
}

static void policy_write(struct harness *h, uint32_t index, const struct policy_entry *entry)
{
	assert(!bpf_map__update_elem(h->skel->maps.policy, &index, sizeof(index), entry,
				     sizeof(*entry), 0));
}

/* A new generation makes all fingerprints strangers, so `newcomers` need not be emptied; a later
 * time renews all budgets. */
void harness_reset(struct harness *h)
{
	empty_map(h->skel->maps.fragments);
	empty_map(h->skel->maps.verdicts);
	empty_map(h->skel->maps.endpoints);
	empty_map(h->skel->maps.zones);
	empty_map(h->skel->maps.flows);
	zero_array(h->skel->maps.meters);
	while (h->n_policy_set)
		policy_write(h, h->policy_set[--h->n_policy_set], &(struct policy_entry){0});
	ring_buffer__consume(h->reader);
	h->generation++;
	h->now_ns = START_NS + h->generation * 10000000000ULL;
	h->gso_segments = h->gso_size_bytes = h->linear_bytes = 0;
	h->reader_sleeps = false;
	for (uint32_t i = 0; i < REASON_ROWS; i++)
		h->before[i] = harness_row(h, i);
	harness_enforce(h);
}

static int run_xdp(struct harness *h, const uint8_t *packet, size_t len)
{
	static uint8_t in[sizeof(struct replay_prefix) + PACKET_ROOM];
	struct replay_prefix prefix = {.time_ns = h->now_ns};
	struct xdp_md ctx = {.data = sizeof(prefix), .data_end = sizeof(prefix) + len};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = sizeof(prefix) + len,
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = 1);
	int error;

	if (len > PACKET_ROOM)
		return -E2BIG;
	if (h->linear_bytes)
		ctx.data_end = sizeof(prefix) + h->linear_bytes;
	memcpy(in, &prefix, sizeof(prefix));
	memcpy(in + sizeof(prefix), packet, len);
	error = bpf_prog_test_run_opts(bpf_program__fd(h->skel->progs.nm_ingress), &opts);
	h->dropped = opts.retval == XDP_DROP;
	assert(error || opts.retval == XDP_DROP || opts.retval == XDP_PASS);
	return error;
}

static int run_tc(struct harness *h, const uint8_t *packet, size_t len)
{
	struct __sk_buff ctx = {
		.tstamp = h->now_ns, .gso_segs = h->gso_segments, .gso_size = h->gso_size_bytes};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = 1);
	int error = bpf_prog_test_run_opts(bpf_program__fd(h->skel->progs.nm_egress), &opts);

	h->dropped = opts.retval == 2; /* TC_ACT_SHOT */
	assert(error || h->dropped || opts.retval == (uint32_t)-1);
	return error;
}

int harness_run(struct harness *h, int hook, const uint8_t *packet, size_t len)
{
	int error = hook == HOOK_INGRESS ? run_xdp(h, packet, len) : run_tc(h, packet, len);

	h->n_records = 0;
	if (!h->reader_sleeps)
		ring_buffer__consume(h->reader);
	return error;
}

int harness_run_packet(struct harness *h, int hook, struct packet *p)
{
	return harness_run(h, hook, packet_bytes(p), p->len);
}

/* As the parser makes it. */
static struct flow_key key_of(struct packet *p)
{
	struct packet_view v;

	assert(parse_ethernet(packet_bytes(p), packet_bytes(p) + p->len, p->len, 0, true, &v) ==
	       PARSE_FLOW);
	return v.key;
}

void harness_verdict(struct harness *h, struct packet *p, const struct verdict *v)
{
	struct flow_key key = key_of(p);

	assert(!bpf_map__update_elem(h->skel->maps.verdicts, &key, sizeof(key), v, sizeof(*v), 0));
}

struct verdict harness_verdict_get(struct harness *h, struct packet *p)
{
	struct flow_key key = key_of(p);
	struct verdict v;

	assert(!bpf_map__lookup_elem(h->skel->maps.verdicts, &key, sizeof(key), &v, sizeof(v), 0));
	return v;
}

void harness_policy(struct harness *h, uint32_t zone_id, uint32_t class_id, int hook,
		    struct policy_action action)
{
	uint32_t index = policy_index(zone_id, class_id);
	struct policy_entry entry = {0};

	entry.by_hook[hook] = action;
	policy_write(h, index, &entry);
	assert(h->n_policy_set < 64);
	h->policy_set[h->n_policy_set++] = index;
}

void harness_meter(struct harness *h, uint32_t id, uint64_t rate_bytes_per_s, uint64_t burst_bytes)
{
	struct meter m = {.ps_per_byte = 1000000000000ULL / rate_bytes_per_s,
			  .burst_ns = burst_bytes * 1000000000ULL / rate_bytes_per_s};

	assert(!bpf_map__update_elem(h->skel->maps.meters, &id, sizeof(id), &m, sizeof(m), 0));
}

bool harness_flow(struct harness *h, struct packet *p, struct flow_state *ret_state)
{
	struct flow_key key = key_of(p);

	return !bpf_map__lookup_elem(h->skel->maps.flows, &key, sizeof(key), ret_state,
				     sizeof(*ret_state), 0);
}
