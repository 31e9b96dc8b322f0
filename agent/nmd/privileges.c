/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Capabilities belong to threads, and capset(2) changes the caller alone. The BLAS starts its
 * threads before main does, so the drop is carried to each thread by a signal, as the C library
 * itself does for setuid(2): every thread makes the same system calls in a handler. (libcap's way
 * to all threads, libpsx, knows only threads whose creation it has wrapped.)
 */
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "agent/nmd/dispatcher.h"
#include "agent/nmd/privileges.h"

#define MAX_THREADS     4096
#define MAX_GROUPS      65536 /* NGROUPS_MAX */
#define THREAD_WAIT_MS  2000
#define NAME_DATA_BYTES 16384

/* What every thread is to become; written before the signal, read in its handler. */
static struct __user_cap_header_struct wanted_header = {.version = _LINUX_CAPABILITY_VERSION_3};
static struct __user_cap_data_struct wanted[_LINUX_CAPABILITY_U32S_3];
static atomic_int drop_error;
static atomic_uint threads_done;

static int drop_this_thread(void)
{
	struct __user_cap_header_struct header = wanted_header;

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
		return -errno;
	for (unsigned cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (!(wanted[CAP_TO_INDEX(cap)].permitted & CAP_TO_MASK(cap)) &&
		    prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno != EINVAL && errno != EPERM)
			return -errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_capset, &header, wanted))
		return -errno;
	return 0;
}

static void on_drop_signal(int number)
{
	int saved_errno = errno, err = drop_this_thread();

	(void)number;
	if (err)
		atomic_store(&drop_error, err);
	atomic_fetch_add(&threads_done, 1);
	errno = saved_errno;
}

/* Signals every thread but this one; returns how many, or a negative errno. */
static int signal_threads(int number)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	pid_t self = gettid();
	int n = 0;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir)) && n < MAX_THREADS) {
		pid_t tid = atoi(entry->d_name);

		if (tid > 0 && tid != self && !syscall(SYS_tgkill, getpid(), tid, number))
			n++;
	}
	closedir(dir);
	return n;
}

static int drop_other_threads(void)
{
	struct sigaction action = {.sa_handler = on_drop_signal, .sa_flags = SA_RESTART}, before;
	int number = SIGRTMAX - 1, n, err = 0;

	sigfillset(&action.sa_mask);
	if (sigaction(number, &action, &before))
		return -errno;
	atomic_store(&drop_error, 0);
	atomic_store(&threads_done, 0);
	n = signal_threads(number);
	for (int ms = 0; n > 0 && atomic_load(&threads_done) < (unsigned)n; ms++) {
		if (ms == THREAD_WAIT_MS) {
			err = -ETIMEDOUT; /* it blocks all signals: keep the handler for it */
			break;
		}
		usleep(1000);
	}
	if (!err)
		sigaction(number, &before, NULL);
	if (n < 0)
		return n;
	return err ? err : atomic_load(&drop_error);
}

/* Of those to keep, what the process has at all. */
static int plan(void)
{
	static const unsigned keep[] = {CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON};
	struct __user_cap_header_struct header = wanted_header;
	struct __user_cap_data_struct have[_LINUX_CAPABILITY_U32S_3] = {0};
	bool sys_admin = prctl(PR_CAPBSET_READ, CAP_BPF, 0, 0, 0) < 0 || dispatcher_supported();

	if (syscall(SYS_capget, &header, have))
		return -errno;
	memset(wanted, 0, sizeof(wanted));
	for (size_t i = 0; i < sizeof(keep) / sizeof(*keep); i++)
		wanted[CAP_TO_INDEX(keep[i])].permitted |= CAP_TO_MASK(keep[i]);
	if (sys_admin)
		wanted[CAP_TO_INDEX(CAP_SYS_ADMIN)].permitted |= CAP_TO_MASK(CAP_SYS_ADMIN);
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		wanted[i].permitted &= have[i].permitted;
		wanted[i].effective = wanted[i].permitted;
	}
	return 0;
}

int privileges_drop(struct error *e)
{
	int err = plan();

	if (!err)
		err = drop_other_threads();
	if (!err)
		err = drop_this_thread();
	if (err)
		return error_set(e, err, "giving up privileges: %s", strerror(-err));
	return 0;
}

static bool group_find(const char *name, gid_t *ret_gid)
{
	struct group group, *found = NULL;
	char data[NAME_DATA_BYTES];

	if (getgrnam_r(name, &group, data, sizeof(data), &found) || !found)
		return false;
	*ret_gid = found->gr_gid;
	return true;
}

static void free_groups(gid_t **groups)
{
	free(*groups);
}

static bool user_in_group(uid_t uid, gid_t wanted_gid)
{
	cleanup(free_groups) gid_t *groups = NULL;
	struct passwd user, *found = NULL;
	char data[NAME_DATA_BYTES];
	int n = 0;

	if (getpwuid_r(uid, &user, data, sizeof(data), &found) || !found)
		return false;
	getgrouplist(found->pw_name, found->pw_gid, NULL, &n); /* how many */
	if (n <= 0 || n > MAX_GROUPS)
		return false;
	groups = calloc(n, sizeof(*groups));
	if (!groups || getgrouplist(found->pw_name, found->pw_gid, groups, &n) < 0)
		return false;
	for (int i = 0; i < n; i++)
		if (groups[i] == wanted_gid)
			return true;
	return false;
}

bool privileges_peer_allowed(int fd, const char *group, uint32_t *ret_uid)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	gid_t gid;
	bool known = !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) && len == sizeof(peer);

	if (ret_uid)
		*ret_uid = known ? peer.uid : UINT32_MAX;
	if (!known || peer.uid == UINT32_MAX)
		return false;
	if (peer.uid == 0)
		return true;
	if (!group_find(group, &gid))
		return false;
	return peer.gid == gid || user_in_group(peer.uid, gid);
}
