/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever drops privileges runs in a child: there is no way back. */
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "agent/nmd/attach.h"
#include "agent/nmd/dispatcher.h"
#include "agent/nmd/links.h"
#include "agent/nmd/privileges.h"
#include "tests/nmd/netns.h"

#define NOBODY 65534
#define GROUP  4242

static bool have_root;

#define check(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static void in_child(void (*claim)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		claim();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static uint64_t capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	check(!syscall(SYS_capget, &header, data));
	check(data[0].effective == data[0].permitted && data[1].effective == data[1].permitted);
	return data[0].permitted | (uint64_t)data[1].permitted << 32;
}

static uint64_t kept(void)
{
	uint64_t caps = 1ull << CAP_NET_ADMIN | 1ull << CAP_BPF | 1ull << CAP_PERFMON;

	return dispatcher_supported() ? caps | 1ull << CAP_SYS_ADMIN : caps;
}

static pthread_barrier_t dropped;

static void *idle_thread(void *arg)
{
	pthread_barrier_wait(&dropped);
	*(uint64_t *)arg = capabilities();
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? arg : NULL;
}

static void drop_with_a_thread(void)
{
	uint64_t of_thread;
	pthread_t thread;
	void *result;

	pthread_barrier_init(&dropped, NULL, 2);
	check(!pthread_create(&thread, NULL, idle_thread, &of_thread));
	check(!privileges_drop(NULL));
	pthread_barrier_wait(&dropped);
	check(!pthread_join(thread, &result));
	check(result != NULL);
	check(capabilities() == kept());
	check(of_thread == kept());
	check(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
}

static void every_thread_keeps_three_capabilities_and_gains_no_more(void **state)
{
	(void)state;
	if (!have_root)
		skip();
	in_child(drop_with_a_thread);
}

static void drop_twice(void)
{
	check(!privileges_drop(NULL));
	check(!privileges_drop(NULL));
	check(capabilities() == kept());
}

static void a_second_drop_changes_nothing(void **state)
{
	(void)state;
	if (!have_root)
		skip();
	in_child(drop_twice);
}

static void hear_link(void *ctx, int ifindex, const char *ifname)
{
	(void)ifname;
	*(int *)ctx = ifindex;
}

static void hear_address(void *ctx, const uint8_t addr[16], bool added)
{
	(void)ctx;
	(void)addr;
	(void)added;
}

static char pin_dir[64];

static void work_after_the_drop(void)
{
	static const char *const patterns[] = {END_A};
	const struct links_callbacks callbacks = {hear_link, hear_link, hear_link, hear_address};
	struct nm_config programs;
	struct attachment a;
	struct kernel *k;
	struct links *links;
	struct error e = {0};
	int ifindex = 0;

	veth_make();
	k = open_kernel(pin_dir);
	check(!privileges_drop(&e));

	check(!links_new(patterns, 1, &callbacks, &ifindex, &links, &e));
	check(ifindex > 0);
	check(!attach_interface(k, ifindex, END_A, &a, &e));
	check(a.tc != TC_METHOD_NONE);
	programs = small_config(pin_dir).programs;
	programs.record_packets = 3;
	check(!kernel_reload(k, &programs, &e));
	check(!attach_update(k, &a, &e));
	check(packets_seen(k) == 0);
	check(!attach_remove(pin_dir, ifindex, &e));
	links_free(links);
	kernel_close(k);
	veth_remove();
}

static void the_agent_can_do_its_work_after_the_drop(void **state)
{
	char dir[] = "/tmp/nm-kernel-XXXXXX";
	unsigned removed;

	(void)state;
	if (!have_root)
		skip();
	assert_non_null(mkdtemp(dir));
	snprintf(pin_dir, sizeof(pin_dir), "%s/bpf", dir);
	in_child(work_after_the_drop);
	assert_int_equal(attach_remove_all(pin_dir, &removed, NULL), 0);
	rmdir(dir);
}

/* What a socket whose peer has this user and group is told. */
static bool allowed(uid_t uid, gid_t gid, const char *group)
{
	int pair[2], status;
	pid_t pid = fork();
	uint32_t seen;

	if (!pid) {
		if (setgroups(0, NULL) || setgid(gid) || setuid(uid) ||
		    socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
			_exit(2);
		_exit(!privileges_peer_allowed(pair[0], group, &seen) + 3 * (seen != uid));
	}
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
	return WEXITSTATUS(status) == 0;
}

static void root_and_members_of_the_group_may_speak(void **state)
{
	(void)state;
	if (!have_root)
		skip();
	/* a group data base of our own, in our own mount namespace */
	assert_int_equal(shell("cp /etc/group /tmp/nm-kernel-group && "
			       "echo netmamba:x:%d:nobody >>/tmp/nm-kernel-group && "
			       "mount --bind /tmp/nm-kernel-group /etc/group",
			       GROUP),
			 0);
	assert_true(allowed(0, 0, "netmamba"));
	assert_true(allowed(0, 0, "no-such-group"));
	assert_true(allowed(NOBODY, NOBODY, "netmamba"));
	assert_true(allowed(4711, GROUP, "netmamba"));
	assert_false(allowed(4711, NOBODY, "netmamba"));
	assert_false(allowed(NOBODY, NOBODY, "no-such-group"));
	assert_false(allowed(NOBODY, NOBODY, "daemon"));
	shell("umount /etc/group; rm /tmp/nm-kernel-group");
}

static void a_descriptor_without_a_peer_is_refused(void **state)
{
	uint32_t uid = 0;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_false(privileges_peer_allowed(fd, "netmamba", &uid));
	assert_int_equal(uid, UINT32_MAX);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_thread_keeps_three_capabilities_and_gains_no_more),
		cmocka_unit_test(a_second_drop_changes_nothing),
		cmocka_unit_test(the_agent_can_do_its_work_after_the_drop),
		cmocka_unit_test(root_and_members_of_the_group_may_speak),
		cmocka_unit_test(a_descriptor_without_a_peer_is_refused),
	};

	have_root = netns_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
