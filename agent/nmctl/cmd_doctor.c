/* SPDX-License-Identifier: BSD-2-Clause */
/* `nmctl doctor`: the table of checks, and how their sentences are printed. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include "agent/nmctl/doctor.h"

static const struct {
	const char *name;
	void (*run)(struct doctor *d);
} checks[] = {
	{"kernel", doctor_kernel},
	{"capabilities", doctor_capabilities},
	{"bpf load", doctor_load},
	{"ring buffer", doctor_ringbuf},
	{"jit", doctor_jit},
	{"unprivileged", doctor_unprivileged},
	{"btf", doctor_btf},
	{"bpffs", doctor_bpffs},
	{"egress", doctor_tcx},
	{"dispatcher", doctor_dispatcher},
	{"interface", doctor_interfaces},
	{"memory lock", doctor_memlock},
	{"clock", doctor_clock},
	{"cpu", doctor_cpu},
	{"cuda", doctor_cuda},
	{"model", doctor_model},
	{"settings", doctor_settings},
	{"group", doctor_group},
	{"daemon", doctor_daemon},
};

static const char *health_name(enum health health)
{
	switch (health) {
	case HEALTH_OK:
		return "ok";
	case HEALTH_WARN:
		return "warn";
	default:
		return "missing";
	}
}

void doctor_say(struct doctor *d, enum health health, const char *format, ...)
{
	cleanup(drop_json) json_t *row = NULL;
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (health == HEALTH_STOPS)
		d->n_stops++;
	row = json_pack("{s:s, s:s, s:b, s:s+}", "check", d->check, "state", health_name(health),
			"stops", health == HEALTH_STOPS, "text", text, "");
	/* A path in the text may be no UTF-8. */
	if (!row)
		row = json_pack("{s:s, s:s, s:b, s:s}", "check", d->check, "state",
				health_name(health), "stops", health == HEALTH_STOPS, "text", "?");
	if (!row || output_row(d->output, row))
		d->failed = -EIO;
}

int doctor_read_line(const char *path, char *buffer, size_t size)
{
	FILE *file = fopen(path, "re");
	int ret = 0;

	if (!file)
		return -errno;
	if (!fgets(buffer, (int)size, file))
		ret = -EIO;
	fclose(file);
	buffer[ret ? 0 : strcspn(buffer, "\n")] = 0;
	return ret;
}

enum status cmd_doctor(struct nmctl *ctl)
{
	static const struct column columns[] = {
		COLUMN("CHECK", "check", UNIT_TEXT),
		COLUMN("STATE", "state", UNIT_TEXT, .colour = true),
		COLUMN("WHAT IT MEANS", "text", UNIT_TEXT, .wrap = true),
	};
	cleanup(drop_output) struct output *output = NULL;
	struct doctor d = {.ctl = ctl};
	int ret = output_new(ctl->out, ctl->options.format, false, columns, 3, &output);

	if (ret)
		return nmctl_result(ctl, ret);
	d.output = output;
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		d.check = checks[i].name;
		checks[i].run(&d);
	}
	ret = output_end(output);
	if (ret || d.failed)
		return nmctl_result(ctl, ret ? ret : d.failed);
	if (d.n_stops)
		return nmctl_failed(ctl, "nmd cannot run here: %u of what it needs is missing",
				    d.n_stops);
	return STATUS_DONE;
}
