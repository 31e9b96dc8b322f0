/* SPDX-License-Identifier: BSD-2-Clause */
/* The built nmd, running in a network namespace of the test's own, and what it says. */
#pragma once
#include <bpf/bpf.h>
#include <signal.h>
#include "agent/nmd/store.h"
#include "agent/wire/wire.h"
#include "tests/nmd/netns.h"

#define STORED 3000

static bool have_namespace;
static char program[256], dir[64], socket_path[128];
static pid_t nmd;
static struct error e;

/* ---- the program ---- */

static inline pid_t spawn(const char *const *more)
{
	char run_dir[96], state_dir[96], log_path[96];
	const char *args[32] = {program,
				"--run-dir",
				run_dir,
				"--state-dir",
				state_dir,
				"--model",
				"model/weights/bootstrap.safetensors"};
	unsigned n = 7;
	pid_t pid;

	snprintf(run_dir, sizeof(run_dir), "%s/run", dir);
	snprintf(state_dir, sizeof(state_dir), "%s/state", dir);
	snprintf(log_path, sizeof(log_path), "%s/log", dir);
	while (more && *more)
		args[n++] = *more++;
	pid = fork();
	if (pid)
		return pid;
	if (!freopen(log_path, "a", stderr) || !freopen(log_path, "a", stdout))
		_exit(99);
	execv(program, (char *const *)args);
	_exit(98);
}

static inline int wait_status(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline bool log_says(const char *text)
{
	char command[128];

	snprintf(command, sizeof(command), "cat %s/log", dir);
	return output_holds(command, text);
}

static inline void start(void)
{
	nmd = spawn(NULL);
	for (int i = 0; i < 600; i++) {
		if (!access(socket_path, F_OK) &&
		    !wire_call(socket_path, (const char *[]){"status"}, 1, NULL, NULL, NULL, NULL,
			       &e))
			return;
		usleep(50000);
	}
	shell("cat %s/log >&2", dir);
	fail_msg("nmd does not answer");
}

static inline void stop(int signal_number, int wanted)
{
	kill(nmd, signal_number);
	assert_int_equal(wait_status(nmd), wanted);
	nmd = 0;
}

/* History for `flows`, larger than any socket buffer. */
static inline void fill_store(void)
{
	struct flow_event event = {.class_name = "tor",
				   .action = "watch",
				   .ready = "full",
				   .key = {.proto = IPPROTO_TCP},
				   .n_scores = EVENT_MAX_SCORES};
	struct store *store;
	char path[96];

	for (unsigned i = 0; i < EVENT_MAX_SCORES; i++)
		snprintf(event.scores[i].class_name, CLASS_NAME_LEN, "class-with-a-long-name-%u",
			 i);
	shell("mkdir -p %s/state", dir);
	snprintf(path, sizeof(path), "%s/state/store.db", dir);
	assert_int_equal(store_open(path, 100000, &store, &e), 0);
	for (event.flow_id = 1; event.flow_id <= STORED; event.flow_id++)
		store_event(store, &event);
	store_close(store);
}

static inline int open_all(void **state)
{
	const char *build = getenv("BUILD");

	(void)state;
	snprintf(program, sizeof(program), "%s/nmd", build ? build : "build");
	if (access(program, X_OK)) {
		print_message("skipped: no %s; make it, or name its folder with BUILD\n", program);
		return 0;
	}
	have_namespace = netns_enter();
	if (!have_namespace)
		return 0;
	snprintf(dir, sizeof(dir), "/tmp/nm-control-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/run/nmd.sock", dir);
	fill_store();
	start();
	return 0;
}

static inline int close_all(void **state)
{
	(void)state;
	if (!have_namespace)
		return 0;
	if (nmd)
		stop(SIGKILL, 128 + SIGKILL);
	shell("%s --run-dir %s/run --detach >/dev/null", program, dir);
	return shell("rm -rf %s", dir);
}

#define NEEDS_NMD                                                                                  \
	do {                                                                                       \
		(void)state;                                                                       \
		if (!have_namespace)                                                               \
			skip();                                                                    \
	} while (0)

/* ---- talking ---- */

static inline int split(char *copy, const char *words[WIRE_MAX_WORDS])
{
	char *save = NULL;
	int n = 0;

	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		words[n++] = word;
	return n;
}

static inline int count_row(void *ctx, const json_t *row)
{
	assert_true(json_is_object(row));
	++*(unsigned *)ctx;
	return 0;
}

static inline int ask(const char *request, const char *text, unsigned *rows, json_t **done)
{
	const char *words[WIRE_MAX_WORDS];
	char copy[256];
	unsigned ignored = 0;
	int n;

	snprintf(copy, sizeof(copy), "%s", request);
	n = split(copy, words);
	memset(&e, 0, sizeof(e));
	return wire_call(socket_path, words, n, text, count_row, rows ? rows : &ignored, done, &e);
}

static inline json_t *must(const char *request, const char *text)
{
	json_t *done = NULL;

	if (ask(request, text, NULL, &done))
		fail_msg("%s: %s", request, e.text);
	return done;
}

static inline void must_fail(const char *request, const char *text, bool usage, const char *message)
{
	json_t *done = NULL;
	int rc = ask(request, text, NULL, &done);

	if (!rc)
		fail_msg("%s was done", request);
	if ((rc == -EINVAL) != usage || !strstr(e.text, message))
		fail_msg("%s: %d \"%s\" is not \"%s\"", request, rc, e.text, message);
}

static inline int64_t number(json_t *json, const char *name)
{
	json_t *value = json_object_get(json, name);

	assert_true(json_is_integer(value));
	return json_integer_value(value);
}
