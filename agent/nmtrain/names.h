/* SPDX-License-Identifier: BSD-2-Clause */
/* Texts numbered in the order in which they come. Owner: the caller; names_fini. */
#pragma once
#include <stdint.h>

struct name {
	char *text;
	uint32_t index;
};

struct names {
	void *tree; /* of struct name, by text (tsearch) */
	struct name **list;
	uint32_t n, room;
};

/* The text's number, new or old; -ENOMEM, -EFBIG when it would be the max-th. */
int names_add(struct names *names, const char *text, uint32_t max);
/* -1 when it is not there. */
int names_find(const struct names *names, const char *text);
void names_fini(struct names *names);
