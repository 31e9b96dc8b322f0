/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A kernel side and a veth pair of its own for each test of attaching, with nothing left behind.
 * A program sets `usable` in main; where it stays false the tests skip.
 */
#pragma once
#include <bpf/libbpf.h>
#include "agent/nmd/attach.h"
#include "tests/nmd/netns.h"

#define N_FRAMES 20

static bool usable;
static char dir[64], pin_dir[128];

static int fresh(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/nm-kernel-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(pin_dir, sizeof(pin_dir), "%s/bpf", dir);
	*state = NULL;
	if (!usable)
		return 0;
	veth_make();
	*state = open_kernel(pin_dir);
	return 0;
}

static int leave(void **state)
{
	unsigned removed;
	int err;

	kernel_close(*state);
	err = attach_remove_all(pin_dir, &removed, NULL);
	if (usable)
		veth_remove();
	return err || rmdir(dir);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, leave)

static inline struct attachment attach_with(struct kernel *k, struct attach_options options)
{
	struct attachment a = {0};
	struct error e = {0};

	if (attach_interface_with(k, (int)if_nametoindex(END_A), END_A, &options, &a, &e))
		fail_msg("%s", e.text);
	return a;
}

static inline unsigned xdp_prog_id(void)
{
	__u32 id = 0;

	assert_int_equal(bpf_xdp_query_id((int)if_nametoindex(END_A), 0, &id), 0);
	return id;
}
