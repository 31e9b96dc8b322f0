/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What libbpf and libxdp have to say. Both print on stderr unless told otherwise; here their text
 * goes to one callback, and the first warning is kept for error messages: it is usually the cause,
 * and the later ones are its consequences. Process-wide; one thread loads and attaches.
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>

/* Without a callback (the start, or NULL) nothing is printed. text is one or more lines. */
typedef void (*kernel_log_fn)(void *ctx, bool warning, const char *text);
void kernel_log_set(kernel_log_fn fn, void *ctx);

/* For those who call the libraries: redirects libbpf and forgets the kept warning. */
void kernel_log_begin(void);
/* "" or ": TEXT", such as goes behind an error's own words. */
const char *kernel_log_cause(void);
void kernel_log_print(bool warning, const char *format, va_list args);
