/* SPDX-License-Identifier: BSD-2-Clause */
/* A folder of the test's own, removed with all that is in it. */
#pragma once
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static inline int tree_remove_entry(const char *path, const struct stat *st, int type,
				    struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static inline void tree_make(char dir[64])
{
	strcpy(dir, "/tmp/nm-nmd-XXXXXX");
	assert_non_null(mkdtemp(dir));
}

static inline void tree_remove(const char *dir)
{
	nftw(dir, tree_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void tree_write(const char *dir, const char *name, const char *text)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}
