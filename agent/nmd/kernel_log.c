/* SPDX-License-Identifier: BSD-2-Clause */
/* The one place where the text of libbpf and libxdp ends up. */
#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>
#include "agent/nmd/kernel_log.h"

static kernel_log_fn log_fn;
static void *log_ctx;
static char cause[160];

void kernel_log_set(kernel_log_fn fn, void *ctx)
{
	log_fn = fn;
	log_ctx = ctx;
}

void kernel_log_print(bool warning, const char *format, va_list args)
{
	char text[1024];

	vsnprintf(text, sizeof(text), format, args);
	if (warning && !cause[0])
		snprintf(cause, sizeof(cause), ": %.*s", (int)strcspn(text, "\n"), text);
	if (log_fn)
		log_fn(log_ctx, warning, text);
}

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	kernel_log_print(level == LIBBPF_WARN, format, args);
	return 0;
}

void kernel_log_begin(void)
{
	libbpf_set_print(print_libbpf);
	cause[0] = '\0';
}

const char *kernel_log_cause(void)
{
	return cause;
}
