/* SPDX-License-Identifier: BSD-2-Clause */
/* One kernel side for all tests of a file, in a network namespace of its own: loading it takes a
 * second. For cmocka's group set-up; a test begins with NEEDS_KERNEL. */
#pragma once
#include "agent/nmd/attach.h"
#include "tests/nmd/netns.h"

static bool have_kernel;
static char dir[64], pin_dir[128];
static struct kernel *k;

static int open_all(void **state)
{
	(void)state;
	have_kernel = netns_enter();
	if (!have_kernel)
		return 0;
	snprintf(dir, sizeof(dir), "/tmp/nm-nmd-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(pin_dir, sizeof(pin_dir), "%s/run/bpf", dir);
	k = open_kernel(pin_dir);
	return 0;
}

static int close_all(void **state)
{
	struct error e;
	unsigned removed;

	(void)state;
	if (!have_kernel)
		return 0;
	kernel_close(k);
	attach_remove_all(pin_dir, &removed, &e);
	return shell("rm -r %s", dir);
}

#define NEEDS_KERNEL                                                                               \
	do {                                                                                       \
		(void)state;                                                                       \
		if (!have_kernel)                                                                  \
			skip();                                                                    \
	} while (0)
