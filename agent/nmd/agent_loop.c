/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the agent does between start and stop.
 *
 * The loop has one thread and three sources of work: the rings, the batcher's results and the
 * control socket; timers do the rest. The rings' reader is woken at most once a millisecond, so
 * after each reading they are looked at once more a little later, and ten times a second anyway.
 */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include "agent/nmd/agent.h"
#include "agent/nmd/clock.h"
#include "agent/nmd/log.h"

#define TICK_MS        100
#define LOOK_AGAIN_MS  2
#define SWEEPS_A_LIMIT 10 /* walks within verdict_idle_s */

static void wants_restart(void *ctx, const char *key)
{
	(void)ctx;
	log_warning("settings: %s has changed and wants a restart", key);
}

static void schedule_beats(struct agent *a)
{
	uint64_t ms = heartbeat_period_ms(a->settings.fail_open_s);
	struct timeval period = {.tv_sec = (time_t)(ms / 1000), .tv_usec = ms % 1000 * 1000};

	event_add(a->beat_timer, &period);
}

static void reload_settings(struct agent *a)
{
	struct settings fresh;
	struct error e = {0};
	char notes[POLICY_NOTES];
	int rc = agent_read_settings(&a->sources, &fresh, &e);

	if (!rc) {
		rc = settings_reload(&a->settings, &fresh, wants_restart, NULL, &e);
		settings_fini(&fresh);
	}
	if (rc) {
		log_error("settings: not read again: %s", e.text);
		return;
	}
	agent_setup_log(&a->settings);
	sink_log_reopen(a->log);
	breaker_configure(&a->breaker, a->settings.breaker, a->settings.breaker_share,
			  a->settings.breaker_flows);
	heartbeat_set_fail_open(&a->heartbeat, a->settings.fail_open_s);
	schedule_beats(a);
	rc = agent_set_mode(a);
	if (!rc)
		rc = agent_policy_set_never(a, &e);
	if (!rc)
		rc = policy_state_reinstall(a->policy, notes, &e);
	if (rc)
		log_error("settings: %s", e.text);
	else
		log_info("settings read again");
}

void agent_on_record(void *ctx, const struct packet_record *record, const uint8_t *data)
{
	struct agent *a = ctx;
	bool began = assembler_add_record(a->assembler, record, data);

	if (began && record->flags & RECORD_FLOW_START)
		enforce_flow_start(&a->enforce, record);
}

void agent_on_hit(void *ctx, const struct packet_record *record, const uint8_t *data)
{
	struct agent *a = ctx;

	(void)data;
	enforce_hit(&a->enforce, record);
}

static void read_rings(struct agent *a)
{
	static const struct timeval again = {.tv_usec = LOOK_AGAIN_MS * 1000};
	int n = rings_consume(a->rings);

	if (n > 0) {
		event_add(a->drain_timer, &again);
		log_debug(LOG_ASSEMBLER, "%d records", n);
	}
}

static void on_rings(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd, (void)what;
	read_rings(ctx);
}

static void tell_failed_batches(struct agent *a, const struct batcher_counters *now)
{
	char text[256];
	uint64_t held;

	if (now->failed == a->batches_told.failed ||
	    !log_limit_pass(&a->batch_limit, 1, clock_monotonic_ns(), &held))
		return;
	batcher_last_error(a->batcher, text, sizeof(text));
	log_error("the model could not judge %llu flows: %s",
		  (unsigned long long)(now->failed - a->batches_told.failed), text);
	a->batches_told = *now;
}

static void on_results(evutil_socket_t fd, short what, void *ctx)
{
	struct agent *a = ctx;
	struct batcher_counters now;

	(void)fd, (void)what;
	batcher_collect(a->batcher);
	batcher_counters(a->batcher, &now);
	log_debug(LOG_BATCHER, "%llu flows judged in %llu batches, %llu wait",
		  (unsigned long long)now.judged, (unsigned long long)now.batches,
		  (unsigned long long)now.waiting);
	tell_failed_batches(a, &now);
}

static void on_links(evutil_socket_t fd, short what, void *ctx)
{
	struct agent *a = ctx;
	struct error e = {0};

	(void)fd, (void)what;
	if (links_read(a->links, &e))
		log_error("links: %s", e.text);
}

static void on_beat(evutil_socket_t fd, short what, void *ctx)
{
	struct agent *a = ctx;

	(void)fd, (void)what;
	heartbeat_beat(&a->heartbeat);
}

static void run_sweep(struct agent *a, uint64_t now_ns)
{
	uint64_t every_s = a->settings.verdict_idle_s / SWEEPS_A_LIMIT, took_ns;
	int n;

	if (now_ns < a->next_sweep_ns)
		return;
	every_s = every_s < 1 ? 1 : every_s > 30 ? 30 : every_s;
	a->next_sweep_ns = now_ns + every_s * NS_PER_S;
	a->written_at_walk = a->enforce.counters.verdicts_written;
	n = sweep_run(a->sweep, a->kernel, now_ns, a->settings.verdict_idle_s * NS_PER_S);
	took_ns = clock_monotonic_ns() - now_ns;
	if (n < 0)
		log_error("sweep: %s", strerror(-n));
	else
		log_debug(LOG_SWEEP, "%d verdicts removed, %llu live, %.1f ms", n,
			  (unsigned long long)sweep_live(a->sweep), took_ns / 1e6);
}

/* Before the map is full: a verdict that found no room is not tried again. The loop is to spend but
 * little of its time on it. */
static void make_room(struct agent *a, uint64_t now_ns)
{
	uint64_t written = a->enforce.counters.verdicts_written;
	uint64_t live = sweep_live(a->sweep) + written - a->written_at_walk, start_ns;
	int n;

	if (live < a->settings.max_verdicts / 8 * 7 || now_ns < a->next_room_ns)
		return;
	start_ns = clock_monotonic_ns();
	a->written_at_walk = written;
	n = sweep_make_room(a->sweep, a->kernel, now_ns);
	a->next_room_ns = now_ns + 20 * (clock_monotonic_ns() - start_ns);
	log_debug(LOG_SWEEP, "%d verdicts removed to make room", n);
}

static void on_second(struct agent *a, uint64_t now_ns)
{
	policy_state_tick(a->policy, clock_wall_s());
	store_tick(a->store);
	if (a->rezone_wanted) {
		a->rezone_wanted = false;
		enforce_rezone(&a->enforce, a->program);
	}
	run_sweep(a, now_ns);
	make_room(a, now_ns);
	sd_notify(0, "WATCHDOG=1");
}

static void on_tick(evutil_socket_t fd, short what, void *ctx)
{
	struct agent *a = ctx;
	uint64_t now_ns = clock_monotonic_ns();

	(void)fd, (void)what;
	read_rings(a);
	assembler_tick(a->assembler, now_ns);
	if (now_ns >= a->next_second_ns) {
		a->next_second_ns = now_ns + NS_PER_S;
		on_second(a, now_ns);
	}
}

static void on_end(evutil_socket_t number, short what, void *ctx)
{
	struct agent *a = ctx;

	(void)what;
	log_info("ending: %s", strsignal((int)number));
	event_base_loopbreak(a->loop);
}

static void on_reload(evutil_socket_t number, short what, void *ctx)
{
	(void)number, (void)what;
	reload_settings(ctx);
}

static struct event *watch(struct agent *a, int fd, short what, event_callback_fn fn)
{
	struct event *event = event_new(a->loop, fd, what | EV_PERSIST, fn, a);

	if (event)
		event_add(event, NULL);
	return event;
}

int agent_loop_start(struct agent *a, struct error *e)
{
	static const struct timeval tick = {.tv_usec = TICK_MS * 1000};

	a->watch_rings = watch(a, rings_epoll_fd(a->rings), EV_READ, on_rings);
	a->watch_results = watch(a, batcher_result_fd(a->batcher), EV_READ, on_results);
	a->watch_links = watch(a, links_fd(a->links), EV_READ, on_links);
	a->on_term = watch(a, SIGTERM, EV_SIGNAL, on_end);
	a->on_int = watch(a, SIGINT, EV_SIGNAL, on_end);
	a->on_hup = watch(a, SIGHUP, EV_SIGNAL, on_reload);
	a->drain_timer = evtimer_new(a->loop, on_rings, a);
	a->tick_timer = event_new(a->loop, -1, EV_PERSIST, on_tick, a);
	a->beat_timer = event_new(a->loop, -1, EV_PERSIST, on_beat, a);
	if (!a->watch_rings || !a->watch_results || !a->watch_links || !a->on_term || !a->on_int ||
	    !a->on_hup || !a->drain_timer || !a->tick_timer || !a->beat_timer)
		return error_set(e, -ENOMEM, "the event loop: out of memory");
	event_add(a->tick_timer, &tick);
	schedule_beats(a);
	return 0;
}

static void free_event(struct event *event)
{
	if (event)
		event_free(event);
}

void agent_loop_stop(struct agent *a)
{
	struct event *const events[] = {a->watch_rings, a->watch_results, a->watch_links,
					a->beat_timer,  a->tick_timer,    a->drain_timer,
					a->on_term,     a->on_int,        a->on_hup};

	for (unsigned i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		free_event(events[i]);
}
