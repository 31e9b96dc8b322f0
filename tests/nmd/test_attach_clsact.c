/* SPDX-License-Identifier: BSD-2-Clause */
/* Egress on kernels without TCX, which the options stand in for. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "tests/nmd/guarded.h"

static const char filters[] = "tc filter show dev " END_A " egress";
static const char qdiscs[] = "tc qdisc show dev " END_A;

static struct attachment attach_a(struct kernel *k, bool no_tcx)
{
	return attach_with(k, (struct attach_options){.no_dispatcher = true, .no_tcx = no_tcx});
}

static void leave_a(void)
{
	struct error e = {0};

	if (attach_remove(pin_dir, (int)if_nametoindex(END_A), &e))
		fail_msg("%s", e.text);
}

/* A filter that is not ours, at a handle and priority. */
static void add_foreign(unsigned handle, unsigned priority)
{
	const struct bpf_insn program[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex(END_A),
		    .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = handle, .priority = priority);
	int err = bpf_tc_hook_create(&hook);

	assert_true(err == 0 || err == -EEXIST);
	opts.prog_fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "foreign", "GPL", program, 2, NULL);
	assert_true(opts.prog_fd >= 0);
	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
	close(opts.prog_fd);
}

static void without_tcx_a_filter_sees_what_leaves(void **state)
{
	struct attachment a;

	if (!usable)
		skip();
	a = attach_a(*state, true);
	assert_int_equal(a.tc, TC_METHOD_CLSACT);
	assert_string_equal(tc_method_name(a.tc), "clsact");
	assert_true(output_holds(filters, "nm_egress"));
	send_frames(END_A, N_FRAMES);
	assert_int_equal(packets_seen(*state), N_FRAMES);
}

static void a_filter_is_replaced_in_place_and_never_joined_by_tcx(void **state)
{
	struct attachment a;

	if (!usable)
		skip();
	attach_a(*state, true);
	a = attach_a(*state, true);
	assert_int_equal(a.tc, TC_METHOD_CLSACT);
	assert_true(output_holds("tc filter show dev " END_A " egress | grep -c handle", "1"));
	a = attach_a(*state, false);
	assert_int_equal(a.tc, TC_METHOD_CLSACT);
	send_frames(END_A, N_FRAMES);
	assert_int_equal(packets_seen(*state), N_FRAMES);
}

static void a_qdisc_of_ours_goes_with_the_filter(void **state)
{
	if (!usable)
		skip();
	attach_a(*state, true);
	assert_true(output_holds(qdiscs, "clsact"));
	leave_a();
	assert_false(output_holds(qdiscs, "clsact"));
	attach_a(*state, true);
	send_frames(END_A, N_FRAMES);
	assert_int_equal(packets_seen(*state), N_FRAMES);
}

static void a_qdisc_of_another_stays(void **state)
{
	if (!usable)
		skip();
	assert_int_equal(shell("tc qdisc add dev " END_A " clsact"), 0);
	attach_a(*state, true);
	leave_a();
	assert_true(output_holds(qdiscs, "clsact"));
	assert_false(output_holds(filters, "nm_egress"));
}

static void a_filter_of_another_stays_and_so_does_our_qdisc_under_it(void **state)
{
	if (!usable)
		skip();
	attach_a(*state, true);
	add_foreign(1, 1);
	send_frames(END_A, N_FRAMES);
	assert_int_equal(packets_seen(*state), N_FRAMES);
	leave_a();
	assert_true(output_holds(filters, "foreign"));
	assert_false(output_holds(filters, "nm_egress"));
}

static void a_foreign_filter_in_our_place_is_left_and_egress_told_as_unguarded(void **state)
{
	struct attachment a;

	if (!usable)
		skip();
	add_foreign(0x6e6d, 0x6e);
	a = attach_a(*state, true);
	assert_int_equal(a.tc, TC_METHOD_NONE);
	assert_non_null(strstr(a.note, "egress is not guarded"));
	assert_non_null(strstr(a.note, "foreign filter"));
	leave_a();
	assert_true(output_holds(filters, "foreign"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_tcx_a_filter_sees_what_leaves),
		TEST(a_filter_is_replaced_in_place_and_never_joined_by_tcx),
		TEST(a_qdisc_of_ours_goes_with_the_filter),
		TEST(a_qdisc_of_another_stays),
		TEST(a_filter_of_another_stays_and_so_does_our_qdisc_under_it),
		TEST(a_foreign_filter_in_our_place_is_left_and_egress_told_as_unguarded),
	};

	usable = netns_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
