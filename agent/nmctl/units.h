/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbers for people. Each writes into the caller's buffer and returns it. JSON output never goes
 * through here: it keeps the exact numbers.
 */
#pragma once
#include <stdint.h>

#define UNIT_BUFFER 48

char *units_count(double n, char buffer[UNIT_BUFFER]);          /* 950, 12.3k, 4.56M */
char *units_bytes(double bytes, char buffer[UNIT_BUFFER]);      /* 950 B, 12.3 kB, 4.56 MB */
char *units_rate(double bytes_per_s, char buffer[UNIT_BUFFER]); /* 2 mbit, as the policy has it */
char *units_duration(double seconds, char buffer[UNIT_BUFFER]); /* 45s, 12m30s, 3h05m, 2d04h */
char *units_percent(double fraction, char buffer[UNIT_BUFFER]); /* 98.3% */
char *units_time(int64_t seconds, char buffer[UNIT_BUFFER]);    /* 2026-11-24 22:05:11, local */
char *units_time_of_day(int64_t seconds, char buffer[UNIT_BUFFER]); /* 22:05:11, local */
