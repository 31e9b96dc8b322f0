/* SPDX-License-Identifier: BSD-2-Clause */
/* nmd, the agent: the command line, and start, run, stop. */
#include <errno.h>
#include <getopt.h>
#include <unistd.h>
#include "agent/nmd/agent.h"
#include "agent/nmd/attach.h"
#include "agent/nmd/log.h"

enum exit_status { EXIT_DONE, EXIT_FAILED, EXIT_USAGE };
enum task { TASK_RUN, TASK_CHECK_CONFIG, TASK_DETACH };

#define MAX_WORDS 256
#define MAX_WORD  1024

static const char usage_text[] =
	"usage: nmd [options]\n"
	"The NetMamba agent: guards interfaces, judges flows, enforces the policy. It stays in "
	"the\n"
	"foreground and logs to stderr. A stopped agent leaves its programs in the kernel: they\n"
	"enforce until the fail-open deadline (fail_open_s), so that a restart leaves no gap.\n"
	"\n"
	"  --config FILE      settings; default " SETTINGS_DEFAULT_FILE "\n"
	"  --iface PATTERN    guard these interfaces (repeatable)\n"
	"  --model FILE       the model file\n"
	"  --run-dir DIR      socket, pid file, BPF file system\n"
	"  --state-dir DIR    policy history and event store\n"
	"  --set KEY=VALUE    any setting (repeatable)\n"
	"  --debug LIST       debug messages of these parts, or all\n"
	"  --check-config     read the settings, say whether they are right, and end\n"
	"  --detach           remove every program, map and hook from the kernel, and end\n"
	"  --help-settings    the settings with their ranges and defaults\n"
	"  --version, --help\n";

static const struct option options[] = {
	{"config", required_argument, NULL, 'c'},
	{"iface", required_argument, NULL, 'i'},
	{"model", required_argument, NULL, 'm'},
	{"run-dir", required_argument, NULL, 'r'},
	{"state-dir", required_argument, NULL, 's'},
	{"set", required_argument, NULL, 'S'},
	{"debug", required_argument, NULL, 'd'},
	{"check-config", no_argument, NULL, 'C'},
	{"detach", no_argument, NULL, 'D'},
	{"help-settings", no_argument, NULL, 'H'},
	{"version", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* Which setting an option is; NULL for --set, whose argument names it. */
static const char *option_key(int letter)
{
	switch (letter) {
	case 'i':
		return "iface";
	case 'm':
		return "model";
	case 'r':
		return "run_dir";
	case 's':
		return "state_dir";
	case 'd':
		return "debug";
	default:
		return NULL;
	}
}

struct command_line {
	enum task task;
	const char *words[MAX_WORDS];
	char text[MAX_WORDS][MAX_WORD];
	struct agent_sources sources;
};

static int add_word(struct command_line *line, int letter, const char *value)
{
	unsigned n = line->sources.n_words;
	const char *key = option_key(letter);
	int len;

	if (n == MAX_WORDS)
		return -E2BIG;
	if (key)
		len = snprintf(line->text[n], MAX_WORD, "%s=%s", key, value);
	else
		len = snprintf(line->text[n], MAX_WORD, "%s", value);
	if (len >= MAX_WORD)
		return -E2BIG;
	line->words[n] = line->text[n];
	line->sources.n_words++;
	return 0;
}

/* -1 to go on, else the exit status. */
static int take_option(struct command_line *line, int letter)
{
	switch (letter) {
	case 'c':
		line->sources.config_path = optarg;
		return -1;
	case 'C':
		line->task = TASK_CHECK_CONFIG;
		return -1;
	case 'D':
		line->task = TASK_DETACH;
		return -1;
	case 'H':
		settings_print_help(stdout);
		return EXIT_DONE;
	case 'v':
		printf("nmd %s\n", NM_VERSION);
		return EXIT_DONE;
	case 'h':
		fputs(usage_text, stdout);
		return EXIT_DONE;
	case '?':
		fputs("nmd: `nmd --help` lists the options\n", stderr);
		return EXIT_USAGE;
	}
	if (!add_word(line, letter, optarg))
		return -1;
	fputs("nmd: too many options, or one too long\n", stderr);
	return EXIT_USAGE;
}

static int parse_command_line(struct command_line *line, int argc, char **argv)
{
	int letter, status;

	line->sources.words = line->words;
	while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
		status = take_option(line, letter);
		if (status >= 0)
			return status;
	}
	if (optind < argc) {
		fprintf(stderr, "nmd: what is \"%s\"? `nmd --help` lists the options\n",
			argv[optind]);
		return EXIT_USAGE;
	}
	if (!line->sources.config_path && !access(SETTINGS_DEFAULT_FILE, F_OK))
		line->sources.config_path = SETTINGS_DEFAULT_FILE;
	return -1;
}

static int failed(const struct error *e)
{
	log_error("%s", e->text);
	return EXIT_FAILED;
}

static int check_config(const struct command_line *line)
{
	struct settings settings;
	struct error e = {0};

	if (agent_read_settings(&line->sources, &settings, &e))
		return failed(&e);
	settings_fini(&settings);
	puts("settings OK");
	return EXIT_DONE;
}

static int detach(const struct command_line *line)
{
	struct settings settings;
	struct error e = {0};
	char pin_dir[AGENT_PATH];
	int rc, lock = -1;
	unsigned n;

	if (agent_read_settings(&line->sources, &settings, &e))
		return failed(&e);
	snprintf(pin_dir, sizeof(pin_dir), "%s/bpf", settings.run_dir);
	rc = agent_lock(settings.run_dir, false, &lock, &e);
	settings_fini(&settings);
	if (rc == -EBUSY)
		return failed(&e);
	rc = attach_remove_all(pin_dir, &n, &e);
	if (lock >= 0)
		close(lock);
	if (rc)
		return failed(&e);
	printf("%u interface%s released, nothing remains under %s\n", n, n == 1 ? "" : "s",
	       pin_dir);
	return EXIT_DONE;
}

static int run(const struct command_line *line)
{
	static struct agent agent;
	struct error e = {0};
	int rc = agent_start(&agent, &line->sources, &e);

	if (!rc)
		rc = agent_run(&agent, &e);
	agent_stop(&agent);
	return rc ? failed(&e) : EXIT_DONE;
}

int main(int argc, char **argv)
{
	static struct command_line line;
	int status = parse_command_line(&line, argc, argv);

	if (status >= 0)
		return status;
	if (line.task == TASK_CHECK_CONFIG)
		return check_config(&line);
	if (line.task == TASK_DETACH)
		return detach(&line);
	return run(&line);
}
