/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbered texts in the C library's tree. */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmtrain/names.h"

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

int names_find(const struct names *names, const char *text)
{
	const struct name wanted = {.text = (char *)text};
	void *const *found = tfind(&wanted, &names->tree, compare);

	return found ? (int)(*(struct name *const *)found)->index : -1;
}

static int reserve(struct names *names)
{
	uint32_t room = names->room ? names->room * 2 : 64;
	struct name **grown;

	if (names->n < names->room)
		return 0;
	grown = realloc(names->list, room * sizeof(struct name *));
	if (!grown)
		return -ENOMEM;
	names->list = grown;
	names->room = room;
	return 0;
}

int names_add(struct names *names, const char *text, uint32_t max)
{
	int found = names_find(names, text);
	struct name *name;

	if (found >= 0)
		return found;
	if (names->n >= max)
		return -EFBIG;
	name = malloc(sizeof(*name));
	if (name)
		*name = (struct name){.text = strdup(text), .index = names->n};
	if (!name || !name->text || reserve(names) || !tsearch(name, &names->tree, compare)) {
		if (name)
			free(name->text);
		free(name);
		return -ENOMEM;
	}
	names->list[names->n] = name;
	return (int)names->n++;
}

static void leave(void *name)
{
	(void)name; /* the list has it */
}

void names_fini(struct names *names)
{
	tdestroy(names->tree, leave);
	for (uint32_t i = 0; i < names->n; i++) {
		free(names->list[i]->text);
		free(names->list[i]);
	}
	free(names->list);
	*names = (struct names){0};
}
