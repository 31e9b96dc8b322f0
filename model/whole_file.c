/* SPDX-License-Identifier: BSD-2-Clause */
/* See whole_file.h. */
#include "model/whole_file.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The process's number in the name: two that write the same path never share a temporary file. */
int whole_file_create(struct whole_file *f, const char *path, mode_t mode, struct error *e)
{
	struct stat status;

	f->path = path;
	if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
		return error_set(e, -EINVAL, "%s: is there and no regular file", path);
	if ((size_t)snprintf(f->temporary, sizeof(f->temporary), "%s.%d.tmp", path,
			     (int)getpid()) >= sizeof(f->temporary))
		return error_set(e, -ENAMETOOLONG, "%.100s...: the path is too long", path);
	unlink(f->temporary); /* of a process that had our number and died */
	f->fd = open(f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (f->fd < 0)
		return error_set(e, -errno, "%s: cannot create a file beside it: %s", path,
				 strerror(errno));
	return 0;
}

int whole_file_add(struct whole_file *f, const void *bytes, size_t n)
{
	const char *at = bytes;

	while (n) {
		ssize_t done = write(f->fd, at, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		at += done;
		n -= done;
	}
	return 0;
}

/* A rename lasts only when its folder is synced too. */
static int sync_folder(const char *path)
{
	char copy[PATH_MAX];
	int fd, r;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return r;
}

int whole_file_end(struct whole_file *f, int status, struct error *e)
{
	int r = status;

	if (!r && fsync(f->fd) < 0)
		r = -errno;
	if (close(f->fd) < 0 && !r)
		r = -errno;
	if (!r && rename(f->temporary, f->path) < 0)
		r = -errno;
	if (r) {
		unlink(f->temporary);
		return error_set(e, r, "%s: cannot write: %s", f->path, strerror(-r));
	}
	r = sync_folder(f->path);
	return r ? error_set(e, r, "%s: cannot sync its folder: %s", f->path, strerror(-r)) : 0;
}
