/* SPDX-License-Identifier: BSD-2-Clause */
/* Hash chains and an age list over one array; entry 0 is the list's head and no entry. */
#include "agent/flow/key_table.h"

#include <stdlib.h>
#include <string.h>
#include "bpf/flow_table.h"
#include "model/error.h"

#define KEY_BYTES sizeof(struct flow_key)
_Static_assert(sizeof(struct fragment_key) == KEY_BYTES, "one key size for both tables");

struct entry {
	uint8_t key[KEY_BYTES];
	uint32_t chain;        /* next in the bucket */
	uint32_t older, newer; /* 0 = the list's head */
	uint32_t pad;
	uint64_t value[];
};

struct key_table {
	uint32_t used, max, bucket_mask;
	size_t entry_bytes;
	uint32_t *buckets;
	uint8_t *entries; /* max + 1 of entry_bytes */
};

static struct entry *entry_at(struct key_table *t, uint32_t i)
{
	return (struct entry *)(void *)(t->entries + i * t->entry_bytes);
}

static uint32_t *bucket_of(struct key_table *t, const void *key)
{
	return &t->buckets[flow_hash(key, 0) & t->bucket_mask];
}

struct key_table *key_table_new(uint32_t max_entries, size_t value_bytes)
{
	struct key_table *t;

	if (!max_entries || max_entries > UINT32_MAX / 4 || !value_bytes)
		return NULL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->max = max_entries;
	t->entry_bytes = sizeof(struct entry) + (value_bytes + 7) / 8 * 8;
	for (t->bucket_mask = 1; t->bucket_mask < max_entries; t->bucket_mask *= 2)
		;
	t->buckets = calloc(t->bucket_mask, sizeof(*t->buckets));
	t->bucket_mask--;
	t->entries = calloc((size_t)max_entries + 1, t->entry_bytes);
	if (!t->buckets || !t->entries) {
		key_table_free(t);
		return NULL;
	}
	return t;
}

void key_table_free(struct key_table *t)
{
	if (!t)
		return;
	free(t->buckets);
	free(t->entries);
	free(t);
}

static void age_remove(struct key_table *t, uint32_t i)
{
	struct entry *e = entry_at(t, i);

	entry_at(t, e->older)->newer = e->newer;
	entry_at(t, e->newer)->older = e->older;
}

static void age_add_newest(struct key_table *t, uint32_t i)
{
	struct entry *e = entry_at(t, i), *head = entry_at(t, 0);

	e->older = head->older;
	e->newer = 0;
	entry_at(t, head->older)->newer = i;
	head->older = i;
}

/* The head's neighbours: `older` is the newest entry, `newer` the oldest. */
static uint32_t take_oldest(struct key_table *t)
{
	uint32_t i = entry_at(t, 0)->newer;
	uint32_t *link = bucket_of(t, entry_at(t, i)->key);

	while (*link != i)
		link = &entry_at(t, *link)->chain;
	*link = entry_at(t, i)->chain;
	age_remove(t, i);
	return i;
}

void *key_table_get(struct key_table *t, const void *key)
{
	for (uint32_t i = *bucket_of(t, key); i; i = entry_at(t, i)->chain) {
		if (memcmp(entry_at(t, i)->key, key, KEY_BYTES))
			continue;
		age_remove(t, i);
		age_add_newest(t, i);
		return entry_at(t, i)->value;
	}
	return NULL;
}

void *key_table_put(struct key_table *t, const void *key)
{
	void *value = key_table_get(t, key);
	uint32_t i, *bucket;
	struct entry *e;

	if (value)
		return value;
	i = t->used < t->max ? ++t->used : take_oldest(t);
	e = entry_at(t, i);
	memset(e, 0, t->entry_bytes);
	memcpy(e->key, key, KEY_BYTES);
	bucket = bucket_of(t, key);
	e->chain = *bucket;
	*bucket = i;
	age_add_newest(t, i);
	return e->value;
}
