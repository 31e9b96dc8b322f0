/* SPDX-License-Identifier: BSD-2-Clause */
/* The pin directory made and unmade. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "agent/nmd/pins.h"

#define MOUNT_SOURCE "netmamba"
#define MAX_STACKED  8 /* mounts one over the other */

int pins_make_dir(const char *path)
{
	return mkdir(path, 0700) && errno != EEXIST ? -errno : 0;
}

static int make_parents(const char *path)
{
	char part[PATH_MAX];
	int err = 0;

	if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
		return -ENAMETOOLONG;
	for (char *slash = strchr(part + 1, '/'); slash && !err; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		err = pins_make_dir(part);
		*slash = '/';
	}
	return err ? err : pins_make_dir(part);
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

static bool is_mounted_by_us(const char *pin_dir)
{
	char real[PATH_MAX], line[PATH_MAX + 512];
	struct mntent entry, *found;
	bool ours = false;
	FILE *mounts;

	if (!realpath(pin_dir, real) || !(mounts = setmntent("/proc/self/mounts", "r")))
		return false;
	/* The last line for a directory is the mount on top. */
	while ((found = getmntent_r(mounts, &entry, line, sizeof(line))))
		if (!strcmp(found->mnt_dir, real))
			ours = !strcmp(found->mnt_type, "bpf") &&
			       !strcmp(found->mnt_fsname, MOUNT_SOURCE);
	endmntent(mounts);
	return ours;
}

int pins_prepare(const char *pin_dir, struct error *e)
{
	char maps[PATH_MAX];
	int err = make_parents(pin_dir);

	if (err)
		return error_set(e, err, "%s: %s", pin_dir, strerror(-err));
	if (!is_bpffs(pin_dir) &&
	    mount(MOUNT_SOURCE, pin_dir, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700")) {
		err = -errno;
		return error_set(e, err,
				 "%s: mounting a bpffs: %s; run as root, or mount one there "
				 "(mount -t bpf bpf %s)",
				 pin_dir, strerror(-err), pin_dir);
	}
	if (snprintf(maps, sizeof(maps), "%s/maps", pin_dir) >= (int)sizeof(maps))
		return error_set(e, -ENAMETOOLONG, "%s: too long", pin_dir);
	err = pins_make_dir(maps);
	if (err)
		return error_set(e, err, "%s: %s", maps, strerror(-err));
	return 0;
}

int pins_remove_maps(const char *pin_dir, struct error *e)
{
	char path[PATH_MAX];
	struct dirent *entry;
	int err = 0;
	DIR *dir;

	if (snprintf(path, sizeof(path), "%s/maps", pin_dir) >= (int)sizeof(path))
		return error_set(e, -ENAMETOOLONG, "%s: too long", pin_dir);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : error_set(e, -errno, "%s: %s", path, strerror(errno));
	while (!err && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && unlinkat(dirfd(dir), entry->d_name, 0) &&
		    errno != ENOENT)
			err = error_set(e, -errno, "%s/%s: %s", path, entry->d_name,
					strerror(errno));
	closedir(dir);
	return err;
}

static int remove_dir(const char *pin_dir, const char *name, struct error *e)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", pin_dir, name) >= (int)sizeof(path))
		return error_set(e, -ENAMETOOLONG, "%s: too long", pin_dir);
	if (rmdir(path) && errno != ENOENT)
		return error_set(e, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

/* A mount that somebody stands in goes when he leaves. */
static int unmount_ours(const char *pin_dir, struct error *e)
{
	for (int i = 0; i < MAX_STACKED && is_mounted_by_us(pin_dir); i++)
		if (umount2(pin_dir, UMOUNT_NOFOLLOW) &&
		    (errno != EBUSY || umount2(pin_dir, UMOUNT_NOFOLLOW | MNT_DETACH)))
			return error_set(e, -errno, "%s: unmounting: %s", pin_dir, strerror(errno));
	return 0;
}

int pins_remove(const char *pin_dir, struct error *e)
{
	int err;

	/* Anything but a bpffs there is none of ours, down to the empty directory. */
	if (is_bpffs(pin_dir)) {
		err = pins_remove_maps(pin_dir, e);
		if (!err)
			err = remove_dir(pin_dir, "maps", e);
		if (!err)
			err = remove_dir(pin_dir, "links", e);
		if (!err)
			err = unmount_ours(pin_dir, e);
		if (err)
			return err;
	}
	/* Not empty, or a mount that is not ours: it stays. */
	if (rmdir(pin_dir) && errno != ENOENT && errno != ENOTEMPTY && errno != EBUSY)
		return error_set(e, -errno, "%s: %s", pin_dir, strerror(errno));
	return 0;
}
