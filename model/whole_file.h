/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file that is written whole or not at all: under a name of its own beside the path, synced,
 * renamed, and the folder synced. A reader, or a process that dies, finds the old file or the new.
 */
#pragma once
#include <limits.h>
#include <stddef.h>
#include <sys/types.h>
#include "model/error.h"

struct whole_file {
	const char *path; /* borrowed */
	char temporary[PATH_MAX];
	int fd; /* for who seeks */
};

/* mode as of open(2), less the umask. -EINVAL, told: there is something that is no regular file,
 * which would be replaced, not written. After 0 whole_file_end must follow. */
int whole_file_create(struct whole_file *f, const char *path, mode_t mode, struct error *e);
/* All of the bytes: 0 or a negative errno. */
int whole_file_add(struct whole_file *f, const void *bytes, size_t n);
/* status: of the writing. Where that, or what is left to do, has failed, nothing remains but what
 * was there, and the error is told. */
int whole_file_end(struct whole_file *f, int status, struct error *e);
