/* SPDX-License-Identifier: BSD-2-Clause */
/* Prefixes, ambiguity and "did you mean" for commands, verbs and options. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include "agent/nmctl/names.h"

#define MAX_LETTERS 63

static unsigned min2(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

unsigned names_distance(const char *a, const char *b)
{
	size_t n_a = strnlen(a, MAX_LETTERS), n_b = strnlen(b, MAX_LETTERS);
	unsigned d[MAX_LETTERS + 1][MAX_LETTERS + 1];

	for (size_t i = 0; i <= n_a; i++)
		d[i][0] = i;
	for (size_t j = 0; j <= n_b; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= n_a; i++) {
		for (size_t j = 1; j <= n_b; j++) {
			unsigned differ = a[i - 1] != b[j - 1];

			d[i][j] =
				min2(min2(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + differ);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d[i][j] = min2(d[i][j], d[i - 2][j - 2] + 1);
		}
	}
	return d[n_a][n_b];
}

static bool seen_before(const char *const *names, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (!strcmp(names[k], names[i]))
			return true;
	return false;
}

/* Appends ", name" or " or name"; a list that does not fit is cut at a name's end. */
static void list_add(char *list, size_t size, const char *name, const char *separator)
{
	size_t used = strlen(list);

	if (used + strlen(separator) + strlen(name) + 1 > size)
		return;
	snprintf(list + used, size - used, "%s%s", used ? separator : "", name);
}

static int ambiguous(const char *const *names, size_t n_names, const char *word, const char *what,
		     struct error *e)
{
	char list[160] = "";

	for (size_t i = 0; i < n_names; i++)
		if (!strncmp(names[i], word, strlen(word)) && !seen_before(names, i))
			list_add(list, sizeof(list), names[i], " or ");
	return error_set(e, -EINVAL, "ambiguous %s \"%.40s\": %s", what, word, list);
}

static int unknown(const char *const *names, size_t n_names, const char *word, const char *what,
		   struct error *e)
{
	/* Two slips in a long word, one in a short one: more would propose nonsense. */
	unsigned best = strlen(word) > 4 ? 3 : 2;
	const char *nearest = NULL;
	char list[160] = "";

	for (size_t i = 0; i < n_names; i++) {
		unsigned distance = names_distance(word, names[i]);

		if (distance < best) {
			best = distance;
			nearest = names[i];
		}
		if (!seen_before(names, i))
			list_add(list, sizeof(list), names[i], ", ");
	}
	if (nearest)
		return error_set(e, -EINVAL, "unknown %s \"%.40s\"; did you mean \"%s\"?", what,
				 word, nearest);
	return error_set(e, -EINVAL, "unknown %s \"%.40s\"; use %s", what, word, list);
}

int names_find(const char *const *names, size_t n_names, const char *word, const char *what,
	       struct error *e)
{
	size_t len = strlen(word);
	int found = -1;

	for (size_t i = 0; i < n_names; i++)
		if (!strcmp(names[i], word))
			return i;
	for (size_t i = 0; len && i < n_names; i++) {
		if (strncmp(names[i], word, len) || seen_before(names, i))
			continue;
		if (found >= 0)
			return ambiguous(names, n_names, word, what, e);
		found = i;
	}
	return found >= 0 ? found : unknown(names, n_names, word, what, e);
}
