/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A typed word against a list of names: exact, or an unambiguous prefix, or an error that says
 * which names it could have been.
 */
#pragma once
#include <stddef.h>
#include "model/error.h"

/*
 * The index of the name that word means. -EINVAL with
 *   ambiguous WHAT "cl": classes or classify
 *   unknown WHAT "polcy"; did you mean "policy"?
 *   unknown WHAT "xyz"; use classes, flows, policy
 * Equal names in the list are one name: the first is returned.
 */
int names_find(const char *const *names, size_t n_names, const char *word, const char *what,
	       struct error *e);
