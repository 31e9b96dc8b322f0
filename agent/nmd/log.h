/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent's own log: one line a message on stderr, with the priority prefix of sd-daemon(3) when
 * stderr is the journal. Loop thread and inference thread may both call it.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "model/error.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* What `--debug=LIST` switches, one bit a module. */
#define LOG_MODULES(X)                                                                             \
	X(LIBBPF, "libbpf")                                                                        \
	X(ASSEMBLER, "assembler")                                                                  \
	X(BATCHER, "batcher")                                                                      \
	X(ENFORCE, "enforce")                                                                      \
	X(SWEEP, "sweep")                                                                          \
	X(POLICY, "policy")                                                                        \
	X(CONTROL, "control")

enum log_module {
#define X(name, text) LOG_##name,
	LOG_MODULES(X)
#undef X
};

int log_level_parse(const char *text, enum log_level *ret_level);
/* A module's name or "all" (but libbpf); 0 and its bits. */
int log_module_parse(const char *text, uint32_t *ret_bits);
void log_setup(enum log_level level, uint32_t debug_modules);

#define LOG_PRINTF __attribute__((format(printf, 1, 2)))
LOG_PRINTF void log_error(const char *format, ...);
LOG_PRINTF void log_warning(const char *format, ...);
LOG_PRINTF void log_info(const char *format, ...);
__attribute__((format(printf, 2, 3))) void log_debug(enum log_module module, const char *format,
						     ...);
bool log_enabled(enum log_level level);

/* At most `burst` messages a second pass; true when this one may. The number held back is told by
 * the next that passes (ret_suppressed). Zero-initialised. */
struct log_limit {
	uint64_t second;
	uint32_t used;
	uint64_t suppressed;
};
bool log_limit_pass(struct log_limit *limit, uint32_t burst, uint64_t now_ns,
		    uint64_t *ret_suppressed);
