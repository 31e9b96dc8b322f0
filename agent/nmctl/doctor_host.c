/* SPDX-License-Identifier: BSD-2-Clause */
/* What the host has around the kernel: rights, clock, processor, files, the agent itself. */
#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "agent/nmctl/doctor.h"
#include "agent/nmctl/human.h"
#include "model/model_file.h"

#define DEFAULT_CONFIG "/etc/netmamba/nmd.conf"
#define SOCKET_GROUP   "netmamba"
#define CUDA_PLUGIN    "/usr/lib/netmamba/netmamba-cuda.so"

static bool have_capability(cap_t caps, cap_value_t value)
{
	cap_flag_value_t set = CAP_CLEAR;

	return !cap_get_flag(caps, value, CAP_EFFECTIVE, &set) && set == CAP_SET;
}

void doctor_capabilities(struct doctor *d)
{
	static const struct {
		cap_value_t value;
		const char *name;
	} needed[] = {{CAP_BPF, "CAP_BPF"},
		      {CAP_NET_ADMIN, "CAP_NET_ADMIN"},
		      {CAP_PERFMON, "CAP_PERFMON"},
		      {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}};
	char missing[80] = "";
	cap_t caps = cap_get_proc();

	for (size_t i = 0; caps && i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!have_capability(caps, needed[i].value))
			snprintf(missing + strlen(missing), sizeof(missing) - strlen(missing),
				 "%s%s", *missing ? ", " : "", needed[i].name);
	if (caps)
		cap_free(caps);
	if (!*missing)
		doctor_say(d, HEALTH_OK,
			   "you have what nmd needs to start: CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, "
			   "CAP_SYS_ADMIN (for the bpffs mount)");
	else if (geteuid())
		doctor_say(d, HEALTH_WARN,
			   "you lack %s: nmd is started as root; nmctl needs none of them",
			   missing);
	else
		doctor_say(d, HEALTH_WARN,
			   "even root lacks %s here: give them to this container or unit", missing);
}

void doctor_clock(struct doctor *d)
{
	static const char *const cheap[] = {"tsc", "kvm-clock", "hyperv_clocksource_tsc_page",
					    "arch_sys_counter"};
	char line[64];

	if (doctor_read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource",
			     line, sizeof(line))) {
		doctor_say(d, HEALTH_WARN, "the clock source cannot be read");
		return;
	}
	for (size_t i = 0; i < sizeof(cheap) / sizeof(cheap[0]); i++) {
		if (!strcmp(line, cheap[i])) {
			doctor_say(d, HEALTH_OK, "%s: cheap to read for each packet", line);
			return;
		}
	}
	doctor_say(d, HEALTH_WARN,
		   "%s: dear to read, and nmd reads it for each undecided packet; prefer tsc",
		   line);
}

void doctor_memlock(struct doctor *d)
{
	struct rlimit limit;
	char text[HUMAN_TEXT];

	if (getrlimit(RLIMIT_MEMLOCK, &limit))
		doctor_say(d, HEALTH_WARN, "the limit cannot be read: %s", strerror(errno));
	else if (limit.rlim_cur == RLIM_INFINITY)
		doctor_say(d, HEALTH_OK, "unlimited");
	else
		doctor_say(d, HEALTH_OK,
			   "%s; since Linux 5.11 BPF maps count to the memory cgroup instead",
			   human_bytes((double)limit.rlim_cur, text));
}

void doctor_cpu(struct doctor *d)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx512f"))
		doctor_say(d, HEALTH_OK, "%ld CPUs with AVX2 and AVX-512", n);
	else if (__builtin_cpu_supports("avx2"))
		doctor_say(d, HEALTH_OK, "%ld CPUs with AVX2", n);
	else
		doctor_say(d, HEALTH_WARN, "%ld CPUs without AVX2: judging is several times slower",
			   n);
#else
	doctor_say(d, HEALTH_OK, "%ld CPUs", n);
#endif
}

/* The driver's library is asked, not linked: most hosts have none. -1 when it cannot be asked. */
static int count_gpus(void)
{
	void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	int (*init)(unsigned) = NULL, (*count)(int *) = NULL;
	int n = -1;

	if (!library)
		return -1;
	*(void **)&init = dlsym(library, "cuInit");
	*(void **)&count = dlsym(library, "cuDeviceGetCount");
	if (!init || !count || init(0) || count(&n))
		n = 0;
	dlclose(library);
	return n;
}

void doctor_cuda(struct doctor *d)
{
	bool plugin = !access(CUDA_PLUGIN, R_OK);
	int n = count_gpus();

	if (n > 0 && plugin)
		doctor_say(d, HEALTH_OK, "%d GPU%s, and the plug-in " CUDA_PLUGIN, n,
			   human_plural(n));
	else if (n > 0)
		doctor_say(d, HEALTH_MISSING,
			   "%d GPU%s, but no plug-in " CUDA_PLUGIN ": the CPU judges", n,
			   human_plural(n));
	else if (n == 0)
		doctor_say(d, HEALTH_MISSING,
			   "libcuda.so.1 is there but finds no GPU: the CPU judges");
	else
		doctor_say(d, HEALTH_MISSING, "no CUDA driver (libcuda.so.1): the CPU judges");
}

void doctor_model(struct doctor *d)
{
	const char *path = nmctl_model_path(d->ctl);
	struct model *m = NULL;
	struct error e = {0};

	if (!path)
		doctor_say(d, HEALTH_STOPS,
			   "no model at " DEFAULT_MODEL
			   ": install one there or name it with --model");
	else if (model_load(path, &m, &e))
		doctor_say(d, HEALTH_STOPS, "%s", e.text);
	else
		doctor_say(d, HEALTH_OK, "%.160s: %u classes, sha256 %.12s, every tensor checked",
			   path, m->n_classes, m->sha256);
	model_unref(m);
}

/* nmd beside this program, else the one in PATH. */
static void find_nmd(char path[PATH_MAX])
{
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - 8);
	char *slash;

	path[len > 0 ? len : 0] = 0;
	slash = strrchr(path, '/');
	if (slash)
		strcpy(slash + 1, "nmd");
	if (!slash || access(path, X_OK))
		strcpy(path, "nmd");
}

/* The first line that the command prints, and its exit status; -errno when it did not run. */
static int run_nmd(const char *nmd, const char *config, char *line, size_t size)
{
	int pipes[2], state;
	FILE *file;
	pid_t child;

	if (pipe(pipes))
		return -errno;
	child = fork();
	if (child == 0) {
		dup2(pipes[1], 1);
		dup2(pipes[1], 2);
		close(pipes[0]);
		execlp(nmd, "nmd", "--check-config", "--config", config, (char *)NULL);
		_exit(127);
	}
	close(pipes[1]);
	file = fdopen(pipes[0], "r");
	line[0] = 0;
	if (file) {
		char rest[256];

		if (fgets(line, (int)size, file))
			line[strcspn(line, "\n")] = 0;
		while (fgets(rest, sizeof(rest), file))
			;
		fclose(file);
	}
	if (child < 0 || waitpid(child, &state, 0) != child || !WIFEXITED(state))
		return -ECHILD;
	return WEXITSTATUS(state);
}

void doctor_settings(struct doctor *d)
{
	const char *config = d->ctl->options.config_path;
	char nmd[PATH_MAX], line[256];
	int ret;

	config = config ? config : DEFAULT_CONFIG;
	if (access(config, F_OK)) {
		doctor_say(d, d->ctl->options.config_path ? HEALTH_STOPS : HEALTH_OK,
			   "no %.120s: %s", config,
			   d->ctl->options.config_path ? "nmd --config would refuse to start"
						       : "nmd runs with its defaults");
		return;
	}
	find_nmd(nmd);
	ret = run_nmd(nmd, config, line, sizeof(line));
	if (ret == 0)
		doctor_say(d, HEALTH_OK, "%.120s is valid", config);
	else if (ret == 127 || ret < 0)
		doctor_say(d, HEALTH_WARN, "%.120s was not checked: no nmd to ask", config);
	else
		doctor_say(d, HEALTH_STOPS, "%.120s: %.200s", config, line);
}

void doctor_group(struct doctor *d)
{
	if (getgrnam(SOCKET_GROUP))
		doctor_say(d, HEALTH_OK, SOCKET_GROUP ": its members may use nmctl");
	else
		doctor_say(d, HEALTH_MISSING,
			   "no group " SOCKET_GROUP
			   ": only root may use nmctl; `addgroup --system " SOCKET_GROUP
			   "` makes it");
}

void doctor_daemon(struct doctor *d)
{
	const char *words[] = {"status"};
	cleanup(drop_json) json_t *done = NULL;
	char text[HUMAN_TEXT];
	double age_s, deadline_s;

	if (nmctl_call(d->ctl, words, 1, NULL, NULL, NULL, &done)) {
		doctor_say(d, HEALTH_MISSING, "%s", d->ctl->error.text);
		d->ctl->error = (struct error){0};
		return;
	}
	age_s = output_number(done, "heartbeat_age_ms", 0) / 1000;
	deadline_s = output_number(done, "fail_open_s", 0);
	if (output_true(done, "breaker.tripped"))
		doctor_say(d, HEALTH_WARN, "the breaker has tripped: %.200s",
			   output_string(done, "breaker.reason", "?"));
	else if (deadline_s > 0 && age_s > deadline_s)
		doctor_say(d, HEALTH_WARN,
			   "answers, but its heartbeat is %s old: the kernel lets everything pass",
			   human_duration(age_s, text));
	else
		doctor_say(
			d, HEALTH_OK, "nmd %.40s answers, %.10s mode, %zu interface%s",
			output_string(done, "version", "?"), output_string(done, "mode", "?"),
			json_array_size(output_member(done, "interfaces")),
			human_plural((double)json_array_size(output_member(done, "interfaces"))));
}
