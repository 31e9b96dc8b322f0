/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Errors and ownership, for every user-space layer.
 *
 * Functions return 0 or a negative errno. Where a person must act, the last parameter is
 * `struct error *` (may be NULL), filled at the first place that knows: what, where, what would be
 * right. Out-parameters (`ret_...`) are written on success only.
 */
#pragma once
#include <stdarg.h>
#include <stdio.h>

struct error {
	int code; /* negative errno, 0 = none */
	char text[256];
};

/* Fills e and returns code, so that a check is one line: return error_set(e, -EINVAL, "..."). */
__attribute__((format(printf, 3, 4))) static inline int error_set(struct error *e, int code,
								  const char *format, ...)
{
	if (e) {
		va_list args;

		e->code = code;
		va_start(args, format);
		vsnprintf(e->text, sizeof(e->text), format, args);
		va_end(args);
	}
	return code;
}

/* cleanup(fn) runs fn(&variable) at scope exit; take_ptr hands ownership out and leaves NULL. */
#define cleanup(fn) __attribute__((cleanup(fn)))
#define take_ptr(p)                                                                                \
	({                                                                                         \
		__auto_type taken_ = (p);                                                          \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})
