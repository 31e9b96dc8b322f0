/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A bounded table with 40-byte keys (flow_key, fragment_key) whose least recently used entry makes
 * room: what LRU hash maps are to the kernel's programs. Single threaded.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "maps/flow_key.h"

struct key_table;

/* NULL when memory is short, or when a size is 0. */
struct key_table *key_table_new(uint32_t max_entries, size_t value_bytes);
void key_table_free(struct key_table *t); /* accepts NULL */

/* The value, 8-byte aligned and good until the next put; NULL when the key is not there. */
void *key_table_get(struct key_table *t, const void *key);
/* The same, made anew and zeroed when it is not there. Never NULL. */
void *key_table_put(struct key_table *t, const void *key);
