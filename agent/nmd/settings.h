/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Settings: every key with its type, range, default and help in one table (settings.c). Sources,
 * the later one wins: defaults, the file, the command line. A list key that is repeated within one
 * source adds to the list; the first mention in a source replaces what the earlier source said.
 *
 * Ownership: struct settings owns its strings; settings_fini frees them.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "model/error.h"

#define SETTINGS_DEFAULT_FILE  "/etc/netmamba/nmd.conf"
#define SETTINGS_DEFAULT_MODEL "/usr/share/netmamba/model/bootstrap.safetensors"
#define SETTINGS_MAX           64

struct text_list {
	char **items; /* NULL behind the last */
	unsigned n;
};

struct settings {
	struct text_list iface;
	char *model, *engine, *mode, *run_dir, *state_dir, *socket_group, *log_level, *json_log;
	struct text_list debug;
	uint64_t fail_open_s;
	uint64_t max_flows, max_verdicts, ring_kb, newcomers_per_ms;
	uint64_t early_packets, idle_s, total_s, verdict_idle_s;
	uint64_t batch_flows, batch_ms, queue_flows;
	struct text_list protect_ports, protect_peers, never;
	bool breaker, endpoints;
	double breaker_share;
	uint64_t breaker_flows;
	uint64_t store_rows;

	uint64_t given;  /* bit a key: mentioned by any source */
	uint64_t source; /* bit a key: mentioned by the source being read */
};

int settings_init(struct settings *s, struct error *e);
void settings_fini(struct settings *s); /* accepts a zeroed one */

/* What follows comes from another source (see above). */
void settings_next_source(struct settings *s);
int settings_read_file(struct settings *s, const char *path, struct error *e);
int settings_set(struct settings *s, const char *key, const char *value, struct error *e);
/* "key=value". */
int settings_set_word(struct settings *s, const char *word, struct error *e);
/* What no single key can tell. */
int settings_check(const struct settings *s, struct error *e);
bool settings_given(const struct settings *s, const char *key);

/* For SIGHUP: takes into `running` what may change at run time from `fresh`; on_other is called for
 * each key that differs and wants a restart. Both stay their owners'. */
int settings_reload(struct settings *running, struct settings *fresh,
		    void (*on_other)(void *ctx, const char *key), void *ctx, struct error *e);

/* `nmd --help-settings`. */
void settings_print_help(FILE *out);
