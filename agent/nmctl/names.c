/* SPDX-License-Identifier: BSD-2-Clause */
/* Prefixes, ambiguity and "did you mean" for commands, verbs and options. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include "agent/nmctl/names.h"
#include "agent/policy/nearest.h"

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
	const char *nearest = nearest_of(word, names, n_names);
	char list[160] = "";

	if (nearest)
		return error_set(e, -EINVAL, "unknown %s \"%.40s\"; did you mean \"%s\"?", what,
				 word, nearest);
	for (size_t i = 0; i < n_names; i++)
		if (!seen_before(names, i))
			list_add(list, sizeof(list), names[i], ", ");
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
