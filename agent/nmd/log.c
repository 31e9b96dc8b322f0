/* SPDX-License-Identifier: BSD-2-Clause */
/* The log: stderr, a line a message, the journal's priorities where the journal listens. */
#include "agent/nmd/log.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LOG_LINE 1024

static const char *const level_name[] = {"error", "warning", "info", "debug"};
/* syslog(3) severities, as sd-daemon(3) wants them in front of the line. */
static const char level_priority[] = {'3', '4', '6', '7'};

static const char *const module_name[] = {
#define X(name, text) [LOG_##name] = text,
	LOG_MODULES(X)
#undef X
};
#define N_MODULES (sizeof(module_name) / sizeof(module_name[0]))

static _Atomic int current_level = LOG_LEVEL_INFO;
static _Atomic uint32_t current_modules;
static _Atomic bool to_journal;

/* libbpf drowns the rest: only by its name. */
#define ALL_MODULES (((1u << N_MODULES) - 1) & ~(1u << LOG_LIBBPF))

int log_level_parse(const char *text, enum log_level *ret_level)
{
	for (unsigned i = 0; i < sizeof(level_name) / sizeof(level_name[0]); i++) {
		if (strcmp(text, level_name[i]))
			continue;
		*ret_level = i;
		return 0;
	}
	return -EINVAL;
}

int log_module_parse(const char *text, uint32_t *ret_bits)
{
	if (!strcmp(text, "all")) {
		*ret_bits = ALL_MODULES;
		return 0;
	}
	for (unsigned i = 0; i < N_MODULES; i++) {
		if (strcmp(text, module_name[i]))
			continue;
		*ret_bits = 1u << i;
		return 0;
	}
	return -EINVAL;
}

void log_setup(enum log_level level, uint32_t debug_modules)
{
	if (level == LOG_LEVEL_DEBUG)
		debug_modules |= ALL_MODULES;
	current_level = level;
	current_modules = debug_modules;
	to_journal = getenv("JOURNAL_STREAM") != NULL;
}

bool log_enabled(enum log_level level)
{
	return level <= (enum log_level)current_level;
}

/* One write a line, so that the two threads' lines do not mix. */
static void log_write(enum log_level level, const char *module, const char *format, va_list args)
{
	char line[LOG_LINE];
	int at = 0, n;

	if (to_journal)
		at = snprintf(line, sizeof(line), "<%c>", level_priority[level]);
	at += snprintf(line + at, sizeof(line) - at, "nmd: %s%s", module, *module ? ": " : "");
	n = vsnprintf(line + at, sizeof(line) - at, format, args);
	if (n < 0)
		return;
	at = (size_t)at + n >= sizeof(line) - 1 ? (int)sizeof(line) - 2 : at + n;
	line[at++] = '\n';
	fwrite(line, 1, at, stderr);
}

#define LOG_FUNCTION(name, level)                                                                  \
	void name(const char *format, ...)                                                         \
	{                                                                                          \
		va_list args;                                                                      \
                                                                                                   \
		if (!log_enabled(level))                                                           \
			return;                                                                    \
		va_start(args, format);                                                            \
		log_write(level, "", format, args);                                                \
		va_end(args);                                                                      \
	}

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warning, LOG_LEVEL_WARNING)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)

void log_debug(enum log_module module, const char *format, ...)
{
	va_list args;

	if (!(current_modules & (1u << module)))
		return;
	va_start(args, format);
	log_write(LOG_LEVEL_DEBUG, module_name[module], format, args);
	va_end(args);
}

bool log_limit_pass(struct log_limit *limit, uint32_t burst, uint64_t now_ns,
		    uint64_t *ret_suppressed)
{
	uint64_t second = now_ns / 1000000000;

	if (second != limit->second) {
		limit->second = second;
		limit->used = 0;
	}
	if (limit->used >= burst) {
		limit->suppressed++;
		return false;
	}
	limit->used++;
	*ret_suppressed = limit->suppressed;
	limit->suppressed = 0;
	return true;
}
