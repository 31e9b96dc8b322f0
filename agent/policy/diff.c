/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What changes between two policies, line by line: a longest common subsequence of the rules as
 * they are typed, since at equal rank the later line decides and so their order is part of the
 * policy. At most 1024 lines a side, so the plain table (2 MB) does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/policy/policy.h"

#define LINE_BYTES 256 /* the longest rule is some 180 bytes */

struct lines {
	uint32_t n;
	char (*line)[LINE_BYTES];
};

static int lines_of(const struct policy *p, struct lines *ret)
{
	ret->n = p->n_rules + 1;
	ret->line = calloc(ret->n, sizeof(*ret->line));
	if (!ret->line)
		return -1;
	snprintf(ret->line[0], LINE_BYTES, "default %s", policy_verb_name(p->default_verb));
	for (uint32_t i = 0; i < p->n_rules; i++)
		policy_rule_format(&p->rules[i], ret->line[i + 1], LINE_BYTES);
	return 0;
}

/* common[i * (b->n + 1) + j]: lines in common of a from i on and b from j on. */
static uint16_t *common_lines(const struct lines *a, const struct lines *b)
{
	size_t width = (size_t)b->n + 1;
	uint16_t *common = calloc((size_t)(a->n + 1) * width, sizeof(*common));

	if (!common)
		return NULL;
	for (uint32_t i = a->n; i-- > 0;) {
		for (uint32_t j = b->n; j-- > 0;) {
			uint16_t *here = &common[i * width + j];

			if (strcmp(a->line[i], b->line[j]) == 0)
				*here = (uint16_t)(here[width + 1] + 1);
			else
				*here = here[width] > here[1] ? here[width] : here[1];
		}
	}
	return common;
}

static void write_diff(FILE *out, const struct lines *a, const struct lines *b,
		       const uint16_t *common)
{
	size_t width = (size_t)b->n + 1;
	uint32_t i = 0, j = 0;

	while (i < a->n || j < b->n) {
		const uint16_t *here = &common[i * width + j];

		if (i < a->n && j < b->n && strcmp(a->line[i], b->line[j]) == 0) {
			i++;
			j++;
		} else if (j == b->n || (i < a->n && here[width] >= here[1])) {
			fprintf(out, "- %s\n", a->line[i++]);
		} else {
			fprintf(out, "+ %s\n", b->line[j++]);
		}
	}
}

char *policy_diff(const struct policy *from, const struct policy *to)
{
	struct lines a = {0}, b = {0};
	uint16_t *common = NULL;
	char *text = NULL;
	size_t len;
	FILE *out;

	if (lines_of(from, &a) == 0 && lines_of(to, &b) == 0)
		common = common_lines(&a, &b);
	out = common ? open_memstream(&text, &len) : NULL;
	if (out) {
		write_diff(out, &a, &b, common);
		if (fclose(out) != 0) {
			free(text);
			text = NULL;
		}
	}
	free(common);
	free(a.line);
	free(b.line);
	return text;
}
