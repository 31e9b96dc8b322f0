/* SPDX-License-Identifier: BSD-2-Clause */
/* Names near a mistyped one. */
#include "agent/policy/nearest.h"
#include <string.h>

#define MAX_WORD 32

static unsigned least(unsigned a, unsigned b, unsigned c)
{
	unsigned ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Letters to insert, delete or change (Levenshtein); words over 31 letters are far from all. */
static unsigned distance_of(const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b);
	unsigned row[MAX_WORD];

	if (a_len >= MAX_WORD || b_len >= MAX_WORD)
		return MAX_WORD;
	for (unsigned j = 0; j <= b_len; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a_len; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= b_len; j++) {
			unsigned changed = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = least(row[j] + 1, row[j - 1] + 1, changed);
		}
	}
	return row[b_len];
}

bool nearest_is_near(const char *word, const char *name)
{
	unsigned distance = distance_of(word, name);

	return distance <= 2 && distance * 2 <= strlen(name);
}

const char *nearest_of(const char *word, const char *const *names, size_t n)
{
	const char *best = NULL;

	for (size_t i = 0; i < n; i++) {
		if (!nearest_is_near(word, names[i]))
			continue;
		if (!best || distance_of(word, names[i]) < distance_of(word, best))
			best = names[i];
	}
	return best;
}
