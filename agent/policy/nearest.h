/* SPDX-License-Identifier: BSD-2-Clause */
/* "Did you mean": which known name is nearest to a mistyped one. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Whether a mistyped word may have meant name: at most two slips, and not most of the word. */
bool nearest_is_near(const char *word, const char *name);

/* The nearest of n names that is near; NULL when none is. */
const char *nearest_of(const char *word, const char *const *names, size_t n);
