/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `nmctl doctor`: what this host can do for the agent, found out by trying where that leaves
 * nothing behind. A check is a function that says one or more sentences; the table of them is in
 * cmd_doctor.c. No check attaches anything to an interface.
 */
#pragma once
#include "agent/nmctl/nmctl.h"

enum health {
	HEALTH_OK,
	HEALTH_WARN,    /* nmd runs, but worse or more dangerously */
	HEALTH_MISSING, /* something nmd can do without */
	HEALTH_STOPS,   /* missing, and nmd cannot run */
};

struct doctor {
	struct nmctl *ctl;
	struct output *output;
	const char *check; /* the name of the running one */
	unsigned n_stops;
	int failed; /* of the output */
};

/* One sentence: what was found, what it means, what to do. */
__attribute__((format(printf, 3, 4))) void doctor_say(struct doctor *d, enum health health,
						      const char *format, ...);

/* A file of one line, such as in /proc/sys; -errno when it cannot be read. */
int doctor_read_line(const char *path, char *buffer, size_t size);

/* doctor_kernel.c */
void doctor_kernel(struct doctor *d);
void doctor_btf(struct doctor *d);
void doctor_bpffs(struct doctor *d);
void doctor_jit(struct doctor *d);
void doctor_unprivileged(struct doctor *d);
void doctor_load(struct doctor *d);
void doctor_ringbuf(struct doctor *d);
void doctor_tcx(struct doctor *d);
void doctor_dispatcher(struct doctor *d);

/* doctor_host.c */
void doctor_capabilities(struct doctor *d);
void doctor_clock(struct doctor *d);
void doctor_memlock(struct doctor *d);
void doctor_cpu(struct doctor *d);
void doctor_cuda(struct doctor *d);
void doctor_model(struct doctor *d);
void doctor_settings(struct doctor *d);
void doctor_group(struct doctor *d);
void doctor_daemon(struct doctor *d);

/* doctor_interfaces.c */
void doctor_interfaces(struct doctor *d);
