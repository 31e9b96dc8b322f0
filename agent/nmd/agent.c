/* SPDX-License-Identifier: BSD-2-Clause */
/* Start, wire, stop. What the loop does in between is agent_loop.c. */
#include "agent/nmd/agent.h"
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>
#include "agent/nmd/clock.h"
#include "agent/nmd/control.h"
#include "agent/nmd/log.h"
#include "agent/nmd/privileges.h"

/* The kernel's LRU of undecided flows, for each that is assembled. */
#define FLOWS_KEPT    4
#define MAX_ENDPOINTS 16384
#define MAX_FRAGMENTS 8192

/* ---- settings ---- */

int agent_read_settings(const struct agent_sources *sources, struct settings *ret_settings,
			struct error *e)
{
	struct settings s;
	int rc = settings_init(&s, e);

	if (rc)
		return rc;
	if (sources->config_path) {
		settings_next_source(&s);
		rc = settings_read_file(&s, sources->config_path, e);
	}
	settings_next_source(&s);
	for (unsigned i = 0; i < sources->n_words && !rc; i++)
		rc = settings_set_word(&s, sources->words[i], e);
	if (!rc)
		rc = settings_check(&s, e);
	if (rc) {
		settings_fini(&s);
		return rc;
	}
	*ret_settings = s;
	return 0;
}

void agent_setup_log(const struct settings *s)
{
	enum log_level level = LOG_LEVEL_INFO;
	uint32_t modules = 0, bits;

	log_level_parse(s->log_level, &level);
	for (unsigned i = 0; i < s->debug.n; i++)
		if (!log_module_parse(s->debug.items[i], &bits))
			modules |= bits;
	log_setup(level, modules);
}

/* ---- interfaces ---- */

static void link_appeared(void *ctx, int ifindex, const char *ifname)
{
	interfaces_add(&((struct agent *)ctx)->interfaces, ifindex, ifname);
}

static void link_gone(void *ctx, int ifindex, const char *ifname)
{
	interfaces_remove(&((struct agent *)ctx)->interfaces, ifindex, ifname);
}

static void link_renamed(void *ctx, int ifindex, const char *ifname)
{
	interfaces_rename(&((struct agent *)ctx)->interfaces, ifindex, ifname);
}

static void link_address(void *ctx, const uint8_t addr[16], bool added)
{
	struct agent *a = ctx;

	if (zones_own_address(&a->zones, addr, added))
		a->rezone_wanted = true;
}

/* ---- start ---- */

int agent_lock(const char *run_dir, bool create, int *ret_fd, struct error *e)
{
	char path[AGENT_PATH];
	int fd;

	if (snprintf(path, sizeof(path), "%s/nmd.pid", run_dir) >= (int)sizeof(path))
		return error_set(e, -ENAMETOOLONG, "run_dir %s: too long", run_dir);
	fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
	if (fd < 0)
		return error_set(e, -errno, "%s: cannot be opened: %m", path);
	/* Who may read it may lock it, and so keep an agent from starting. */
	if (fchmod(fd, 0600)) {
		close(fd);
		return error_set(e, -errno, "%s: %m", path);
	}
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		close(fd);
		return error_set(e, -EBUSY,
				 "%s is locked: an nmd runs with run_dir = %s; stop it first", path,
				 run_dir);
	}
	*ret_fd = fd;
	return 0;
}

static int take_run_dir(struct agent *a, struct error *e)
{
	char pid[16];
	int n, rc;

	if (mkdir(a->settings.run_dir, 0755) && errno != EEXIST)
		return error_set(e, -errno, "run_dir %s: cannot be made: %m", a->settings.run_dir);
	rc = agent_lock(a->settings.run_dir, true, &a->pid_fd, e);
	if (rc)
		return rc;
	snprintf(a->pin_dir, sizeof(a->pin_dir), "%s/bpf", a->settings.run_dir);
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(a->pid_fd, 0) || pwrite(a->pid_fd, pid, n, 0) != n)
		return error_set(e, -errno, "%s/nmd.pid: cannot be written: %m",
				 a->settings.run_dir);
	return 0;
}

static void kernel_said(void *ctx, bool warning, const char *text)
{
	int len = (int)strcspn(text, "\n");

	(void)ctx;
	if (warning)
		log_warning("kernel: %.*s", len, text);
	else
		log_debug(LOG_LIBBPF, "%.*s", len, text);
}

static int start_kernel(struct agent *a, struct error *e)
{
	struct kernel_config config = {
		.pin_dir = a->pin_dir,
		.max_flows = (uint32_t)a->settings.max_flows * FLOWS_KEPT,
		.max_verdicts = (uint32_t)a->settings.max_verdicts,
		.max_endpoints = MAX_ENDPOINTS,
		.max_fragments = MAX_FRAGMENTS,
		.ring_bytes = (uint32_t)a->settings.ring_kb * 1024,
	};
	int rc;

	kernel_log_set(kernel_said, NULL);
	rc = agent_model_programs(a, a->model, &config.programs, e);
	if (!rc)
		rc = kernel_open(&config, &a->kernel, e);
	if (rc)
		return rc;
	log_info("kernel: %s", kernel_adopted(a->kernel) ? "maps of a former run taken over"
							 : "programs and maps loaded");
	rc = classes_load(&a->classes, a->kernel, e);
	if (!rc)
		rc = classes_adopt_model(&a->classes, a->kernel, a->model, e);
	return rc;
}

static int start_links(struct agent *a, struct error *e)
{
	static const struct links_callbacks callbacks = {
		.appeared = link_appeared,
		.gone = link_gone,
		.renamed = link_renamed,
		.address = link_address,
	};

	a->interfaces.kernel = a->kernel;
	a->interfaces.pin_dir = a->pin_dir;
	a->interfaces.hold = true;
	if (!a->settings.iface.n)
		log_warning("no interface is named: nothing is guarded (setting iface)");
	return links_new((const char *const *)a->settings.iface.items, a->settings.iface.n,
			 &callbacks, a, &a->links, e);
}

static void wire_enforce(struct agent *a)
{
	struct enforce *e = &a->enforce;

	e->kernel = a->kernel;
	e->classes = &a->classes;
	e->zones = &a->zones;
	e->protect = &a->protect;
	e->breaker = &a->breaker;
	e->sinks = &a->sinks;
	e->endpoints = a->settings.endpoints;
	e->on_trip = agent_breaker_tripped;
	e->ctx = a;
	breaker_configure(&a->breaker, a->settings.breaker, a->settings.breaker_share,
			  a->settings.breaker_flows);
}

static int start_line(struct agent *a, struct error *e)
{
	struct batcher_config config = {
		.engine = a->settings.engine,
		.batch_flows = (uint32_t)a->settings.batch_flows,
		.queue_flows = (uint32_t)a->settings.queue_flows,
		.wait_ns = a->settings.batch_ms * NS_PER_MS,
	};
	const int *fds;
	uint32_t n = kernel_ring_fds(a->kernel, &fds);
	int rc = batcher_new(&config, a->model, a->model_id, enforce_judged, &a->enforce,
			     &a->batcher, e);

	if (!rc)
		rc = agent_assembler_new(a, a->model, &a->assembler, e);
	if (!rc)
		rc = rings_new(fds, n, agent_on_record, agent_on_hit, a, &a->rings, e);
	if (rc)
		return rc;
	rc = sweep_new((uint32_t)a->settings.max_verdicts, &a->sweep);
	return rc ? error_set(e, rc, "sweep: %s", strerror(-rc)) : 0;
}

static int start_sinks(struct agent *a, struct error *e)
{
	char path[AGENT_PATH + 16];
	int rc = sink_log_new(a->settings.json_log, &a->log, e);

	if (rc)
		return rc;
	snprintf(path, sizeof(path), "%s/store.db", a->settings.state_dir);
	rc = store_open(path, a->settings.store_rows, &a->store, e);
	if (rc)
		return rc;
	sinks_add(&a->sinks, sink_log_event, a->log);
	sinks_add(&a->sinks, store_event, a->store);
	return 0;
}

/* The safe order: what acts is in place and consistent before packets meet it. */
static int start_parts(struct agent *a, struct error *e)
{
	bool watch_only = !strcmp(a->settings.mode, "watch");
	int rc = take_run_dir(a, e);

	if (!rc)
		rc = agent_model_start(a, e);
	if (!rc)
		rc = start_kernel(a, e);
	if (!rc)
		rc = start_links(a, e); /* the host's own addresses, for zones */
	if (rc)
		return rc;
	wire_enforce(a);
	rc = agent_policy_start(a, e);
	if (!rc)
		rc = heartbeat_start(&a->heartbeat, a->kernel, watch_only, a->settings.fail_open_s,
				     a->settings.endpoints, e);
	if (rc)
		return rc;
	if (heartbeat_tripped(&a->heartbeat))
		breaker_stay_tripped(&a->breaker);
	a->enforce.watch = watch_only || a->breaker.tripped;
	interfaces_release(&a->interfaces);
	interfaces_leave_others(&a->interfaces);
	rc = start_sinks(a, e);
	if (!rc)
		rc = start_line(a, e);
	if (!rc)
		rc = control_start(a, &a->control, e);
	if (rc)
		return rc;
	sinks_add(&a->sinks, control_event, a->control);
	rc = agent_loop_start(a, e);
	return rc ? rc : privileges_drop(e);
}

int agent_start(struct agent *a, const struct agent_sources *sources, struct error *e)
{
	int rc;

	memset(a, 0, sizeof(*a));
	a->pid_fd = -1;
	a->sources = *sources;
	a->started_ns = clock_monotonic_ns();
	rc = agent_read_settings(sources, &a->settings, e);
	if (rc)
		return rc;
	agent_setup_log(&a->settings);
	signal(SIGPIPE, SIG_IGN);
	a->loop = event_base_new();
	if (!a->loop)
		return error_set(e, -ENOMEM, "the event loop: out of memory");
	return start_parts(a, e);
}

int agent_run(struct agent *a, struct error *e)
{
	uint32_t n_rules = policy_state_current(a->policy)->n_rules;

	log_info("ready: mode %s, %u interface%s, %u rule%s", a->settings.mode, a->interfaces.n,
		 a->interfaces.n == 1 ? "" : "s", n_rules, n_rules == 1 ? "" : "s");
	sd_notify(0, "READY=1");
	if (event_base_dispatch(a->loop) < 0)
		return error_set(e, -EIO, "the event loop failed");
	sd_notify(0, "STOPPING=1");
	return 0;
}

void agent_stop(struct agent *a)
{
	/* What still waits for the model is sent up anew to the next agent: no reason to linger. */
	if (a->batcher)
		batcher_collect(a->batcher);
	agent_loop_stop(a);
	control_stop(a->control);
	links_free(a->links);
	rings_free(a->rings);
	assembler_free(a->assembler);
	batcher_free(a->batcher);
	sweep_free(a->sweep);
	store_close(a->store);
	sink_log_free(a->log);
	policy_state_free(a->policy);
	policy_program_free(a->program);
	kernel_close(a->kernel);
	model_unref(a->model);
	if (a->loop)
		event_base_free(a->loop);
	if (a->pid_fd >= 0)
		close(a->pid_fd); /* the file stays: removing it would race with a successor */
	settings_fini(&a->settings);
	memset(a, 0, sizeof(*a));
	a->pid_fd = -1;
}
