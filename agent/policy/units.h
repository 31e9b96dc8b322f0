/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Values of the policy language, both ways: rates, bursts, durations, times, prefixes. Errors name
 * the value's fault alone; the caller puts the key and the place before it. Writers return buffer.
 */
#pragma once
#include <stdint.h>
#include "model/error.h"

#define UNITS_TEXT 64 /* holds any value that is written */

int units_parse_rate(const char *text, uint64_t *ret_bytes_per_s, struct error *e);
int units_parse_burst(const char *text, uint64_t *ret_bytes, struct error *e);
int units_parse_duration(const char *text, uint64_t max_s, uint64_t *ret_s, struct error *e);
/* RFC 3339 in UTC, whole seconds: 2026-11-24T23:00:00Z. */
int units_parse_time(const char *text, int64_t *ret_epoch_s, struct error *e);

/* A tenth of a second at the rate, at least 16 kb: a TCP sender gets near the rate, and over five
 * seconds the burst adds no more than 2%. */
uint64_t units_default_burst(uint64_t rate_bytes_per_s);

const char *units_write_rate(uint64_t bytes_per_s, char buffer[UNITS_TEXT]);
const char *units_write_burst(uint64_t bytes, char buffer[UNITS_TEXT]);
const char *units_write_duration(uint64_t seconds, char buffer[UNITS_TEXT]);
const char *units_write_time(int64_t epoch_s, char buffer[UNITS_TEXT]);
const char *units_write_prefix(const uint8_t addr[16], uint8_t prefix_len, char buffer[UNITS_TEXT]);
