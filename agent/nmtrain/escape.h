/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of files, classes and labels come from outside: what they may not do to a page or to a
 * terminal. */
#pragma once
#include <stdio.h>

/* For HTML and SVG text and quoted attributes. What is no UTF-8, and control characters, come out
 * as U+FFFD. */
void escape_html(FILE *out, const char *text);

/* One line for a terminal: control characters, and what is no UTF-8, come out as '?'. Returns the
 * columns that it took (one a character). */
int escape_terminal(FILE *out, const char *text);
