/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The running agent: every part, and who feeds whom.
 *
 *   rings -> assembler -> batcher -> enforce -> kernel maps, sinks
 *
 * agent.c wires and unwires the parts, agent_loop.c turns; agent_policy.c puts policies into force,
 * agent_model.c models. The control verbs see this struct and nothing else does.
 */
#pragma once
#include "agent/flow/assembler.h"
#include "agent/flow/rings.h"
#include "agent/nmd/batcher.h"
#include "agent/nmd/breaker.h"
#include "agent/nmd/classes.h"
#include "agent/nmd/enforce.h"
#include "agent/nmd/heartbeat.h"
#include "agent/nmd/interfaces.h"
#include "agent/nmd/policy_state.h"
#include "agent/nmd/protect.h"
#include "agent/nmd/settings.h"
#include "agent/nmd/sink_log.h"
#include "agent/nmd/store.h"
#include "agent/nmd/sweep.h"
#include "agent/nmd/zones.h"

#define AGENT_PATH      256
#define AGENT_MAX_NEVER 256

struct control_server;
struct event;
struct event_base;

/* What came from the command line, for reading the settings once more. */
struct agent_sources {
	const char *config_path;  /* NULL: none */
	const char *const *words; /* key=value */
	unsigned n_words;
};

struct agent {
	struct agent_sources sources;
	struct settings settings;
	uint64_t started_ns;
	char pin_dir[AGENT_PATH];
	int pid_fd;

	struct model *model;
	uint32_t model_id;
	struct kernel *kernel;
	struct heartbeat heartbeat;
	struct classes classes;
	struct zone_key never[AGENT_MAX_NEVER];
	uint32_t n_never;
	struct policy_state *policy;
	struct policy_program *program;
	bool starting; /* the stored policy may name classes that no map knows yet */
	struct zones zones;
	struct protect protect;
	struct breaker breaker;
	struct links *links;
	struct interfaces interfaces;
	struct rings *rings;
	struct assembler *assembler;
	struct batcher *batcher;
	struct enforce enforce;
	struct sinks sinks;
	struct sweep *sweep;
	struct store *store;
	struct sink_log *log;
	struct control_server *control;

	struct event_base *loop;
	struct event *watch_rings, *watch_results, *watch_links, *beat_timer, *tick_timer,
		*drain_timer, *on_term, *on_int, *on_hup;
	uint64_t next_second_ns, next_sweep_ns, next_room_ns;
	uint64_t written_at_walk; /* verdicts written before the last walk over them */
	bool rezone_wanted;       /* an address of the host came or went */
	struct batcher_counters batches_told;
	struct log_limit batch_limit;
};

/* sources must outlive the agent. */
int agent_start(struct agent *a, const struct agent_sources *sources, struct error *e);
/* Turns until a signal ends it. */
int agent_run(struct agent *a, struct error *e);
/* The kernel side stays: it enforces until the fail-open deadline, as after a crash, so that a
 * restart leaves no gap. `nmd --detach` removes it. Accepts a half-started agent. */
void agent_stop(struct agent *a);

/* Defaults, then the file, then the words. */
int agent_read_settings(const struct agent_sources *sources, struct settings *ret_settings,
			struct error *e);

/* The pid file of a run dir, locked; -EBUSY when another agent has it. create false: -ENOENT when
 * there is none. */
int agent_lock(const char *run_dir, bool create, int *ret_fd, struct error *e);

void agent_setup_log(const struct settings *s);

/* ---- agent_loop.c ---- */
/* For the rings; ctx is the struct agent. */
void agent_on_record(void *ctx, const struct packet_record *record, const uint8_t *data);
void agent_on_hit(void *ctx, const struct packet_record *record, const uint8_t *data);
int agent_loop_start(struct agent *a, struct error *e);
void agent_loop_stop(struct agent *a);

/* ---- agent_policy.c ---- */
/* Compiles without putting into force. */
int agent_policy_compile(const struct agent *a, const struct policy *p,
			 struct policy_program **ret_program, struct error *e);
int agent_policy_start(struct agent *a, struct error *e);
/* The settings `never` and `protect_*`. */
int agent_policy_set_never(struct agent *a, struct error *e);
/* For enforce: the breaker tripped; ctx is the struct agent. */
void agent_breaker_tripped(void *ctx);
/* The mode that settings and breaker leave. */
int agent_set_mode(struct agent *a);
int agent_arm_breaker(struct agent *a);

/* ---- agent_model.c ---- */
int agent_model_start(struct agent *a, struct error *e);
/* Another model from now on; flows in flight are judged by the old or the new one, none is lost. */
int agent_model_swap(struct agent *a, const char *path, struct error *e);
int agent_model_programs(const struct agent *a, const struct model *m,
			 struct nm_config *ret_programs, struct error *e);
int agent_assembler_new(struct agent *a, const struct model *m, struct assembler **ret_assembler,
			struct error *e);
