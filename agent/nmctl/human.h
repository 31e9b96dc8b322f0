/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbers for people. Each writes into the caller's buffer and returns it. JSON output never goes
 * through here: it keeps the exact numbers.
 */
#pragma once
#include <stdint.h>

#define HUMAN_TEXT 48

char *human_count(double n, char buffer[HUMAN_TEXT]);              /* 950, 12.3k, 4.56M */
char *human_bytes(double bytes, char buffer[HUMAN_TEXT]);          /* 950 B, 12.3 kB, 4.56 MB */
char *human_duration(double seconds, char buffer[HUMAN_TEXT]);     /* 45s, 12m30s, 3h05m, 2d04h */
char *human_percent(double fraction, char buffer[HUMAN_TEXT]);     /* 98.3% */
char *human_time(int64_t seconds, char buffer[HUMAN_TEXT]);        /* 2026-11-24 22:05:11, local */
char *human_time_of_day(int64_t seconds, char buffer[HUMAN_TEXT]); /* 22:05:11, local */

static inline const char *human_plural(double n)
{
	return n == 1 ? "" : "s";
}
