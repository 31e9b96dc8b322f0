/* SPDX-License-Identifier: BSD-2-Clause */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include "agent/nmd/dispatcher.h"
#include "tests/nmd/guarded.h"

#define TCX_EGRESS 47
#define N_RESTARTS 5

/* Nothing is attached here by a dispatcher: what the tests look at are the links. */
static struct attachment attach_a(struct kernel *k)
{
	return attach_with(k, (struct attach_options){.no_dispatcher = true});
}

/* How many TCX programs the egress hook has; -1 where the kernel has no TCX. */
static int tcx_programs(__u32 ids[8])
{
	__u32 n = 8;

	return bpf_prog_query((int)if_nametoindex(END_A), TCX_EGRESS, 0, NULL, ids, &n) ? -1
											: (int)n;
}

static unsigned prog_id(int fd)
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

/* A program that returns a constant. */
static int load_foreign(enum bpf_prog_type type, int verdict)
{
	const struct bpf_insn program[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = verdict},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(type, "foreign", "GPL", program, 2, NULL);

	assert_true(fd >= 0);
	return fd;
}

static void both_directions_of_an_interface_meet_the_programs(void **state)
{
	struct attachment a;

	if (!usable)
		skip();
	a = attach_a(*state);
	assert_string_equal(a.ifname, END_A);
	assert_int_equal(a.mode, XDP_MODE_NATIVE);
	assert_int_equal(a.xdp, XDP_METHOD_LINK);
	assert_int_not_equal(a.tc, TC_METHOD_NONE);
	assert_false(a.adopted);
	send_frames(END_B, N_FRAMES);
	assert_int_equal(packets_seen(*state), N_FRAMES);
	send_frames(END_A, N_FRAMES);
	assert_int_equal(packets_seen(*state), 2 * N_FRAMES);
}

static void an_interface_with_jumbo_frames_is_attached_in_its_driver(void **state)
{
	if (!usable)
		skip();
	if (libbpf_probe_bpf_helper(BPF_PROG_TYPE_XDP, BPF_FUNC_xdp_load_bytes, NULL) != 1) {
		print_message("skipped: XDP knows no packets of several buffers here\n");
		skip();
	}
	assert_int_equal(shell("ip link set %s mtu 9000 && ip link set %s mtu 9000", END_A, END_B),
			 0);
	assert_int_equal(attach_a(*state).mode, XDP_MODE_NATIVE);
	send_frames(END_B, N_FRAMES);
	assert_int_equal(packets_seen(*state), N_FRAMES);
}

static void generic_xdp_is_told_and_sees_the_same(void **state)
{
	struct attachment a;

	if (!usable)
		skip();
	a = attach_with(*state, (struct attach_options){.no_dispatcher = true, .no_native = true});
	assert_int_equal(a.mode, XDP_MODE_GENERIC);
	assert_string_equal(xdp_mode_name(a.mode), "generic");
	send_frames(END_B, N_FRAMES);
	assert_int_equal(packets_seen(*state), N_FRAMES);
	a = attach_a(*state);
	assert_true(a.adopted);
	assert_int_equal(a.mode, XDP_MODE_GENERIC);
}

/* After its carrier came back an end's queue sleeps for a moment. */
static void expect_frames_to_arrive(struct kernel *k)
{
	uint64_t before = packets_seen(k);

	for (int tries = 0; tries < 300 && packets_seen(k) == before; tries++) {
		send_frames(END_B, 1);
		usleep(10000);
	}
	assert_int_not_equal(packets_seen(k), before);
}

static void an_interface_that_is_down_is_attached_too(void **state)
{
	if (!usable)
		skip();
	shell("ip link set " END_A " down");
	attach_a(*state);
	shell("ip link set " END_A " up");
	expect_frames_to_arrive(*state);
}

/* Slow enough for a veth's queue; returns how many were sent. */
static unsigned send_until(int stop_fd)
{
	struct frame f = frame_udp(1000, 2000);
	int in = packet_socket(END_B), out = packet_socket(END_A);
	unsigned n = 0;
	char byte;

	while (read(stop_fd, &byte, 1) < 0) {
		n += send(in, &f, sizeof(f), 0) == sizeof(f);
		n += send(out, &f, sizeof(f), 0) == sizeof(f);
		usleep(50);
	}
	return n;
}

/* A process that sends on both ends until the returned descriptor is closed. */
static pid_t start_sender(int *ret_stop_fd, int *ret_count_fd)
{
	int stop[2], count[2];
	pid_t pid;

	assert_int_equal(pipe2(stop, O_NONBLOCK | O_CLOEXEC), 0);
	assert_int_equal(pipe2(count, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		unsigned n;

		close(stop[1]);
		n = send_until(stop[0]);
		_exit(write(count[1], &n, sizeof(n)) != sizeof(n));
	}
	close(stop[0]);
	close(count[1]);
	*ret_stop_fd = stop[1];
	*ret_count_fd = count[0];
	return pid;
}

static void restart_in_another_process(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct kernel *k = open_kernel(pin_dir);
		struct attachment a = attach_a(k);

		_exit(!(kernel_adopted(k) && a.adopted));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void restarted_agents_take_over_without_missing_a_packet(void **state)
{
	unsigned before, sent = 0;
	int stop, count;
	pid_t sender;

	if (!usable)
		skip();
	attach_a(*state);
	before = xdp_prog_id();
	sender = start_sender(&stop, &count);
	for (int i = 0; i < N_RESTARTS; i++)
		restart_in_another_process();
	close(stop);
	assert_int_equal(read(count, &sent, sizeof(sent)), sizeof(sent));
	close(count);
	waitpid(sender, NULL, 0);
	assert_int_not_equal(xdp_prog_id(), before);
	assert_true(sent > 0);
	assert_int_equal(packets_seen(*state), sent);
}

static void a_foreign_xdp_program_is_named_and_left_alone(void **state)
{
	int ifindex, foreign;
	struct attachment a;
	struct error e = {0};
	char id[32];

	if (!usable)
		skip();
	ifindex = (int)if_nametoindex(END_A);
	foreign = load_foreign(BPF_PROG_TYPE_XDP, XDP_PASS);
	assert_int_equal(bpf_xdp_attach(ifindex, foreign, XDP_FLAGS_DRV_MODE, NULL), 0);
	assert_int_equal(attach_interface(*state, ifindex, END_A, &a, &e), -EBUSY);
	snprintf(id, sizeof(id), "(\"foreign\", id %u)", prog_id(foreign));
	assert_non_null(strstr(e.text, END_A ": another XDP program"));
	assert_non_null(strstr(e.text, id));
	assert_int_equal(xdp_prog_id(), prog_id(foreign));
	attach_remove(pin_dir, ifindex, &e);
	assert_int_equal(xdp_prog_id(), prog_id(foreign));
	close(foreign);
}

static void a_foreign_tcx_program_stays_and_cannot_pass_packets_by_ours(void **state)
{
	int ifindex, foreign, link;
	__u32 ids[8];

	if (!usable)
		skip();
	if (tcx_programs(ids) < 0) {
		print_message("skipped: no TCX in this kernel\n");
		skip();
	}
	ifindex = (int)if_nametoindex(END_A);
	foreign = load_foreign(BPF_PROG_TYPE_SCHED_CLS, 0 /* TCX_PASS: ends the walk */);
	link = bpf_link_create(foreign, ifindex, TCX_EGRESS, NULL);
	assert_true(link >= 0);
	assert_int_equal(attach_a(*state).tc, TC_METHOD_TCX);
	send_frames(END_A, N_FRAMES);
	assert_int_equal(packets_seen(*state), N_FRAMES);
	assert_int_equal(tcx_programs(ids), 2);
	assert_int_equal(ids[1], prog_id(foreign));
	assert_int_equal(attach_remove(pin_dir, ifindex, NULL), 0);
	assert_int_equal(tcx_programs(ids), 1);
	assert_int_equal(ids[0], prog_id(foreign));
	close(link);
	close(foreign);
}

static void detaching_leaves_nothing_even_under_a_running_agent(void **state)
{
	unsigned removed = 0;
	__u32 ids[8];
	struct error e;

	if (!usable)
		skip();
	attach_a(*state);
	assert_int_equal(attach_remove_all(pin_dir, &removed, &e), 0);
	assert_int_equal(removed, 1);
	assert_int_equal(xdp_prog_id(), 0);
	assert_true(tcx_programs(ids) <= 0);
	assert_false(output_holds("ip -details link show " END_A, "xdp"));
	assert_int_equal(access(pin_dir, F_OK), -1);
	assert_int_equal(attach_remove_all(pin_dir, &removed, &e), 0);
	assert_int_equal(removed, 0);
}

static void an_interface_that_returns_under_its_old_number_is_attached_anew(void **state)
{
	struct attachment a;
	int ifindex;

	if (!usable)
		skip();
	ifindex = attach_a(*state).ifindex;
	veth_remove();
	assert_int_equal(shell("ip link add " END_A " index %d type veth peer name " END_B
			       " && ip link set " END_A " up && ip link set " END_B " up",
			       ifindex),
			 0);
	a = attach_a(*state);
	assert_int_equal(a.ifindex, ifindex);
	assert_false(a.adopted);
	send_frames(END_B, N_FRAMES);
	send_frames(END_A, N_FRAMES);
	assert_int_equal(packets_seen(*state), 2 * N_FRAMES);
}

static void an_interface_that_is_gone_can_be_left(void **state)
{
	int ifindex, found[4];
	struct error e = {0};
	struct attachment a;

	if (!usable)
		skip();
	ifindex = attach_a(*state).ifindex;
	veth_remove();
	assert_int_equal(attach_pinned(pin_dir, found, 4), 1);
	assert_int_equal(found[0], ifindex);
	assert_int_equal(attach_remove(pin_dir, ifindex, &e), 0);
	assert_int_equal(attach_pinned(pin_dir, found, 4), 0);
	assert_true(attach_interface(*state, ifindex, END_A, &a, &e) < 0);
	assert_non_null(strstr(e.text, END_A ": "));
	assert_int_equal(attach_pinned(pin_dir, found, 4), 0);
}

static void an_interface_without_ethernet_is_refused(void **state)
{
	int found[4], rc;
	struct error e = {0};
	struct attachment a;

	if (!usable)
		skip();
	if (shell("ip tuntap add nm-kernel-t mode tun")) {
		print_message("skipped: no tun interfaces here\n");
		skip();
	}
	rc = attach_interface(*state, (int)if_nametoindex("nm-kernel-t"), "nm-kernel-t", &a, &e);
	shell("ip link del nm-kernel-t");
	assert_int_equal(rc, -EOPNOTSUPP);
	assert_non_null(strstr(e.text, "nm-kernel-t: its packets have no Ethernet header"));
	assert_int_equal(attach_pinned(pin_dir, found, 4), 0);
}

static void a_renamed_interface_stays_guarded_and_can_be_adopted(void **state)
{
	if (!usable)
		skip();
	attach_a(*state);
	/* kernels before 6.2 rename only what is down */
	assert_int_equal(shell("ip link set " END_A " down && ip link set " END_A
			       " name nm-kernel-c && ip link set nm-kernel-c up"),
			 0);
	expect_frames_to_arrive(*state);
	assert_int_equal(shell("ip link set nm-kernel-c down && ip link set nm-kernel-c name " END_A
			       " && ip link set " END_A " up"),
			 0);
	assert_true(attach_a(*state).adopted);
}

static void after_a_reload_both_hooks_run_the_new_programs(void **state)
{
	struct nm_config programs = small_config(pin_dir).programs;
	struct attachment a;
	struct error e = {0};
	__u32 ids[8];

	if (!usable)
		skip();
	a = attach_a(*state);
	programs.record_packets = 3;
	assert_int_equal(kernel_reload(*state, &programs, &e), 0);
	assert_int_not_equal(xdp_prog_id(), prog_id(kernel_ingress_fd(*state)));
	if (attach_update(*state, &a, &e))
		fail_msg("%s", e.text);
	assert_int_equal(xdp_prog_id(), prog_id(kernel_ingress_fd(*state)));
	if (tcx_programs(ids) >= 0)
		assert_int_equal(ids[0], prog_id(kernel_egress_fd(*state)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(both_directions_of_an_interface_meet_the_programs),
		TEST(an_interface_with_jumbo_frames_is_attached_in_its_driver),
		TEST(generic_xdp_is_told_and_sees_the_same),
		TEST(an_interface_that_is_down_is_attached_too),
		TEST(restarted_agents_take_over_without_missing_a_packet),
		TEST(a_foreign_xdp_program_is_named_and_left_alone),
		TEST(a_foreign_tcx_program_stays_and_cannot_pass_packets_by_ours),
		TEST(detaching_leaves_nothing_even_under_a_running_agent),
		TEST(an_interface_that_returns_under_its_old_number_is_attached_anew),
		TEST(an_interface_that_is_gone_can_be_left),
		TEST(an_interface_without_ethernet_is_refused),
		TEST(a_renamed_interface_stays_guarded_and_can_be_adopted),
		TEST(after_a_reload_both_hooks_run_the_new_programs),
	};

	usable = netns_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
