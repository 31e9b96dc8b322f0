/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The flow table behind the readers. A flow is in one of three lists, each in order of the last
 * activity: assembling (has a sample), ended (has a sample, waits ASSEMBLER_LINGER_NS for records
 * of other rings), judged (no sample). Those with a sample are also in one list by their start.
 * Every limit is therefore a look at the head of a list, and a tick costs what it hands out.
 *
 * Entries are one array, samples a free list that grows up to max_flows: once it is warm nothing
 * is allocated. The table's hash is keyed by chance, so that nobody can aim at one bucket.
 */
#include <errno.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include "agent/flow/assembler.h"
#include "agent/flow/sample_fill.h"
#include "bpf/parse.h"

/* A later packet with a lower index, and not by a race between CPUs: the flow began anew and the
 * record that said so was lost. */
#define LOST_START_NS 1000000000ULL

enum flow_state_list { ASSEMBLING, ENDED, JUDGED, N_LISTS };

struct flow {
	struct flow_info info;
	struct flow_sample *sample;     /* NULL once judged */
	uint64_t active_ns;             /* last record, or the judgement */
	uint64_t not_before_ns;         /* older records are of the flow before on these ports */
	uint64_t n_indexes, next_index; /* until judged: indexes seen, and past the highest */
	enum flow_state_list list;
	uint8_t fins_seen; /* bit per FLOW_DIR_* */
	uint8_t tcp_flags; /* OR of all */
	bool early_done;
	bool again; /* judged on so few packets that what comes is judged again */
	LIST_ENTRY(flow) in_bucket;
	TAILQ_ENTRY(flow) by_activity;
	TAILQ_ENTRY(flow) by_start;
};

LIST_HEAD(bucket, flow);
TAILQ_HEAD(flow_list, flow);

struct assembler {
	struct assembler_config config;
	flow_ready_fn on_ready;
	void *ctx;
	struct assembler_counters counters;
	uint64_t seed[2];
	struct bucket *buckets;
	uint32_t bucket_mask;
	struct flow *flows;     /* max_flows * 2 */
	uint32_t n_flows_taken; /* of the array; pages behind them are not there yet */
	struct flow_list free_flows, lists[N_LISTS], started;
	struct flow_sample **free_samples; /* stack */
	uint32_t n_free_samples, n_samples;
};

const char *ready_reason_name(enum ready_reason r)
{
	static const char *const names[] = {
		[READY_EARLY] = "early", [READY_FULL] = "full", [READY_END] = "end",
		[READY_IDLE] = "idle",   [READY_TIME] = "time", [READY_EVICTED] = "evicted",
		[READY_FLUSH] = "flush",
	};

	return (unsigned int)r < sizeof(names) / sizeof(names[0]) ? names[r] : "?";
}

static bool config_is_sound(const struct assembler_config *config)
{
	const struct sample_shape *shape = &config->shape;

	return config->max_flows > 0 && config->max_flows <= UINT32_MAX / 4 && shape->seq_len > 0 &&
	       shape->packets <= shape->seq_len;
}

static int allocate(struct assembler *a)
{
	uint32_t n_flows = a->config.max_flows * 2, n_buckets = 2;

	while (n_buckets < n_flows)
		n_buckets *= 2;
	a->bucket_mask = n_buckets - 1;
	a->buckets = calloc(n_buckets, sizeof(*a->buckets));
	a->flows = calloc(n_flows, sizeof(*a->flows));
	a->free_samples = calloc(a->config.max_flows, sizeof(struct flow_sample *));
	if (!a->buckets || !a->flows || !a->free_samples)
		return -ENOMEM;
	return 0;
}

int assembler_new(const struct assembler_config *config, flow_ready_fn on_ready, void *ctx,
		  struct assembler **ret_assembler)
{
	struct assembler *a;

	if (!config_is_sound(config))
		return -EINVAL;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->config = *config;
	a->on_ready = on_ready;
	a->ctx = ctx;
	TAILQ_INIT(&a->free_flows);
	TAILQ_INIT(&a->started);
	for (int i = 0; i < N_LISTS; i++)
		TAILQ_INIT(&a->lists[i]);
	if (getrandom(a->seed, sizeof(a->seed), 0) != sizeof(a->seed) || allocate(a)) {
		assembler_free(a);
		return -ENOMEM;
	}
	*ret_assembler = a;
	return 0;
}

void assembler_free(struct assembler *a)
{
	struct flow *flow;

	if (!a)
		return;
	TAILQ_FOREACH(flow, &a->started, by_start)
	flow_sample_free(flow->sample);
	for (uint32_t i = 0; i < a->n_free_samples; i++)
		flow_sample_free(a->free_samples[i]);
	free(a->free_samples);
	free(a->flows);
	free(a->buckets);
	free(a);
}

const struct assembler_counters *assembler_counters(const struct assembler *a)
{
	return &a->counters;
}

/* Multiply and fold, as wyhash does; the seed is what keeps an attacker from choosing buckets. */
static uint64_t fold(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static struct bucket *find_bucket(struct assembler *a, const struct flow_key *key)
{
	uint64_t words[sizeof(*key) / sizeof(uint64_t)];
	uint64_t hash = a->seed[0];

	memcpy(words, key, sizeof(words));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		hash = fold(hash ^ words[i], a->seed[1] | 1) + words[i];
	return &a->buckets[fold(hash, 0x9e3779b97f4a7c15ULL) & a->bucket_mask];
}

static struct flow *find_flow(struct assembler *a, const struct flow_key *key)
{
	struct flow *flow;

	LIST_FOREACH(flow, find_bucket(a, key), in_bucket)
	if (!memcmp(&flow->info.key, key, sizeof(*key)))
		return flow;
	return NULL;
}

/* To the young end of a list. */
static void move_to(struct assembler *a, struct flow *flow, enum flow_state_list list)
{
	TAILQ_REMOVE(&a->lists[flow->list], flow, by_activity);
	flow->list = list;
	TAILQ_INSERT_TAIL(&a->lists[list], flow, by_activity);
}

static void give_sample_back(struct assembler *a, struct flow *flow)
{
	a->free_samples[a->n_free_samples++] = flow->sample;
	flow->sample = NULL;
}

static void hand_out(struct assembler *a, struct flow *flow, enum ready_reason why)
{
	a->counters.ready[why]++;
	a->on_ready(a->ctx, &flow->info, flow->sample, why);
	if (why == READY_EARLY)
		return;
	flow->again = why != READY_FLUSH && flow->sample->n_packets < a->config.again_below;
	if (flow->next_index > flow->n_indexes)
		a->counters.records_missing += flow->next_index - flow->n_indexes;
	a->counters.flows_assembling--;
	a->counters.flows_judged++;
	TAILQ_REMOVE(&a->started, flow, by_start);
	give_sample_back(a, flow);
	move_to(a, flow, JUDGED);
}

static void forget(struct assembler *a, struct flow *flow)
{
	if (a->config.on_done)
		a->config.on_done(a->ctx, &flow->info);
	a->counters.flows_judged--;
	LIST_REMOVE(flow, in_bucket);
	TAILQ_REMOVE(&a->lists[flow->list], flow, by_activity);
	TAILQ_INSERT_HEAD(&a->free_flows, flow, by_activity);
}

static void evict_one(struct assembler *a)
{
	struct flow *flow = TAILQ_FIRST(&a->lists[ENDED]);

	if (flow) {
		hand_out(a, flow, READY_END);
		return;
	}
	a->counters.flows_evicted++;
	hand_out(a, TAILQ_FIRST(&a->lists[ASSEMBLING]), READY_EVICTED);
}

static struct flow_sample *take_sample(struct assembler *a)
{
	struct flow_sample *s;

	if (!a->n_free_samples && a->n_samples == a->config.max_flows)
		evict_one(a);
	if (a->n_free_samples) {
		s = a->free_samples[--a->n_free_samples];
		sample_clear(s);
		return s;
	}
	s = flow_sample_new(&a->config.shape);
	if (s)
		a->n_samples++;
	return s;
}

/* As many entries as samples are without one, so when all are in use some are judged. */
static struct flow *take_entry(struct assembler *a)
{
	struct flow *flow = TAILQ_FIRST(&a->free_flows);

	if (!flow && a->n_flows_taken < a->config.max_flows * 2)
		return &a->flows[a->n_flows_taken++];
	if (!flow) {
		forget(a, TAILQ_FIRST(&a->lists[JUDGED]));
		flow = TAILQ_FIRST(&a->free_flows);
	}
	TAILQ_REMOVE(&a->free_flows, flow, by_activity);
	memset(flow, 0, sizeof(*flow));
	return flow;
}

static struct flow *start_flow(struct assembler *a, const struct packet_record *record)
{
	struct flow_sample *sample = take_sample(a);
	struct flow *flow;

	if (!sample) {
		a->counters.flows_no_memory++;
		return NULL;
	}
	flow = take_entry(a);
	flow->sample = sample;
	flow->info.key = record->key;
	flow->info.ifindex = record->ifindex;
	flow->info.first_direction = record->direction;
	flow->info.first_ns = flow->info.last_ns = record->time_ns;
	LIST_INSERT_HEAD(find_bucket(a, &record->key), flow, in_bucket);
	TAILQ_INSERT_TAIL(&a->lists[ASSEMBLING], flow, by_activity);
	TAILQ_INSERT_TAIL(&a->started, flow, by_start);
	a->counters.flows_started++;
	a->counters.flows_assembling++;
	if (a->config.on_start)
		a->config.on_start(a->ctx, &flow->info);
	return flow;
}

/*
 * Does this record belong to a new flow on the same ports? A start from before the flow's first
 * record is its own start, overtaken in another ring. A second start after a single packet is a
 * packet whose fingerprint another flow had overwritten in `newcomers`, unless it is a new SYN.
 */
static bool begins_anew(const struct flow *flow, const struct packet_record *record)
{
	bool new_syn = (record->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
		       (flow->tcp_flags & ~TCP_SYN);

	if (!(record->flags & RECORD_FLOW_START))
		return record->packet_index + 1ULL < flow->next_index &&
		       record->time_ns > flow->info.last_ns &&
		       record->time_ns - flow->info.last_ns > LOST_START_NS;
	if (record->time_ns <= flow->info.first_ns)
		return false;
	return flow->list != ASSEMBLING || flow->next_index > 1 || new_syn;
}

/* Whoever sends a SYN after every few packets would have each of them begin a flow, and none ever
 * judged: what has too few packets for a judgement takes in what comes, and lives on. */
static bool take_in(struct assembler *a, struct flow *flow)
{
	if (!flow->sample || flow->sample->n_packets >= a->config.again_below)
		return false;
	flow->n_indexes = flow->next_index = 0;
	flow->fins_seen = flow->tcp_flags = 0;
	move_to(a, flow, ASSEMBLING);
	return true;
}

/* Nobody is to be judged by a handshake, a pause and nothing else. */
static bool goes_on(const struct flow *flow, const struct packet_record *record)
{
	return flow->again && record->time_ns > flow->info.last_ns &&
	       record->ip_len_bytes > record->header_len;
}

static void finish(struct assembler *a, struct flow *flow, enum ready_reason why)
{
	if (flow->sample)
		hand_out(a, flow, why);
	forget(a, flow);
}

static void count_record(struct flow *flow, const struct packet_record *record)
{
	struct flow_info *info = &flow->info;
	/* The kernel counts segments, whatever the record's lengths say. */
	uint64_t end =
		(uint64_t)record->packet_index + (record->gso_segments ? record->gso_segments : 1);

	info->packets += record_wire_packets(record);
	info->bytes += record_wire_bytes(record);
	info->directions_seen |= 1 << record->direction;
	info->hooks_seen |= 1 << record->hook;
	if (record->time_ns < info->first_ns)
		info->first_ns = record->time_ns;
	if (record->time_ns > info->last_ns)
		info->last_ns = record->time_ns;
	if (record->time_ns > flow->active_ns)
		flow->active_ns = record->time_ns;
	if (!flow->sample)
		return;
	flow->n_indexes += end - record->packet_index;
	if (end > flow->next_index)
		flow->next_index = end;
	flow->tcp_flags |= record->tcp_flags;
	if (record->tcp_flags & TCP_FIN)
		flow->fins_seen |= 1 << record->direction;
}

static void after_packet(struct assembler *a, struct flow *flow)
{
	const struct flow_sample *sample = flow->sample;
	uint32_t early = a->config.early_packets;

	if (sample->n_packets >= a->config.shape.seq_len) {
		hand_out(a, flow, READY_FULL);
		return;
	}
	if (early && !flow->early_done && sample->n_packets >= early) {
		flow->early_done = true;
		hand_out(a, flow, READY_EARLY);
	}
	if (flow->list == ENDED)
		return;
	if (flow->fins_seen == 3 || (flow->tcp_flags & TCP_RST))
		move_to(a, flow, ENDED);
	else
		move_to(a, flow, ASSEMBLING);
}

bool assembler_add_record(struct assembler *a, const struct packet_record *record,
			  const uint8_t *data)
{
	struct flow *flow;
	bool anew, more, began;

	if (record->kind != RECORD_PACKET || record->direction > FLOW_DIR_REVERSE ||
	    record->hook > HOOK_EGRESS)
		return false;
	a->counters.records++;
	flow = find_flow(a, &record->key);
	anew = flow && begins_anew(flow, record) && !take_in(a, flow);
	more = flow && !anew && goes_on(flow, record);
	if (anew || more) {
		finish(a, flow, READY_END);
		flow = NULL;
	}
	began = !flow;
	if (began)
		flow = start_flow(a, record);
	if (!flow)
		return false;
	if (anew || more)
		flow->not_before_ns = record->time_ns;
	if (more)
		flow->n_indexes = record->packet_index;
	count_record(flow, record);
	if (!flow->sample || record->time_ns < flow->not_before_ns) {
		a->counters.records_late++;
		move_to(a, flow, flow->list);
		return began;
	}
	sample_add_record(flow->sample, &flow->info.first_direction, record, data);
	after_packet(a, flow);
	return began;
}

static bool is_past(uint64_t since_ns, uint64_t limit_ns, uint64_t now_ns)
{
	return limit_ns && now_ns > since_ns && now_ns - since_ns >= limit_ns;
}

void assembler_tick(struct assembler *a, uint64_t now_ns)
{
	uint64_t idle_ns = a->config.idle_ns;
	struct flow *flow;

	while ((flow = TAILQ_FIRST(&a->lists[ENDED])) &&
	       is_past(flow->active_ns, ASSEMBLER_LINGER_NS, now_ns)) {
		hand_out(a, flow, READY_END);
		flow->active_ns = now_ns;
	}
	while ((flow = TAILQ_FIRST(&a->lists[ASSEMBLING])) &&
	       is_past(flow->active_ns, idle_ns, now_ns)) {
		hand_out(a, flow, READY_IDLE);
		flow->active_ns = now_ns;
	}
	while ((flow = TAILQ_FIRST(&a->started)) &&
	       is_past(flow->info.first_ns, a->config.total_ns, now_ns)) {
		hand_out(a, flow, READY_TIME);
		flow->active_ns = now_ns;
	}
	while ((flow = TAILQ_FIRST(&a->lists[JUDGED])) && is_past(flow->active_ns, idle_ns, now_ns))
		forget(a, flow);
}

void assembler_flush(struct assembler *a)
{
	struct flow *flow;

	while ((flow = TAILQ_FIRST(&a->started)))
		finish(a, flow, READY_FLUSH);
	while ((flow = TAILQ_FIRST(&a->lists[JUDGED])))
		forget(a, flow);
}
