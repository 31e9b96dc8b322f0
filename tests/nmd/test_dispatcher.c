/* SPDX-License-Identifier: BSD-2-Clause */
/* libxdp's dispatcher, where the kernel lets it load; its pins go to a bpffs of the test's own. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "agent/nmd/dispatcher.h"
#include "tests/nmd/guarded.h"

/* Comes with libxdp: passes what no AF_XDP socket wants. */
#define OTHER_FILE "xsk_def_xdp_prog.o"
#define OTHER_NAME "xsk_def_prog"

static struct attachment attach_a(struct kernel *k)
{
	struct attachment a = attach_with(k, (struct attach_options){0});

	assert_int_equal(a.xdp, XDP_METHOD_DISPATCHER);
	return a;
}

static const char *other_file(void)
{
	static const char *const places[] = {"/usr/lib/x86_64-linux-gnu/bpf/" OTHER_FILE,
					     "/usr/lib/aarch64-linux-gnu/bpf/" OTHER_FILE,
					     "/usr/lib/bpf/" OTHER_FILE,
					     "/usr/lib64/bpf/" OTHER_FILE};

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
		if (!access(places[i], R_OK))
			return places[i];
	return NULL;
}

/* Another's program, through libxdp as xdp-loader would. */
static struct bpf_object *attach_other(void)
{
	struct bpf_object *object = bpf_object__open(other_file());
	struct error e = {0};

	assert_non_null(object);
	if (dispatcher_attach(object, OTHER_NAME, (int)if_nametoindex(END_A), false, &e))
		fail_msg("%s", e.text);
	return object;
}

static void a_free_interface_gets_a_dispatcher(void **state)
{
	struct attachment a;

	if (!usable)
		skip();
	a = attach_a(*state);
	assert_int_equal(a.mode, XDP_MODE_NATIVE);
	assert_false(a.adopted);
	assert_true(output_holds("ip -details link show " END_A, DISPATCHER_NAME));
	send_frames(END_B, N_FRAMES);
	assert_int_equal(packets_seen(*state), N_FRAMES);
	assert_int_equal(attach_remove(pin_dir, a.ifindex, NULL), 0);
	assert_int_equal(xdp_prog_id(), 0);
}

static void a_restarted_agent_replaces_its_program_in_the_dispatcher(void **state)
{
	if (!usable)
		skip();
	attach_a(*state);
	assert_true(attach_a(*state).adopted);
	send_frames(END_B, N_FRAMES);
	assert_int_equal(packets_seen(*state), N_FRAMES); /* not twice */
}

static void after_a_reload_the_new_program_runs_in_the_dispatcher(void **state)
{
	struct nm_config programs = small_config(pin_dir).programs;
	struct attachment a;
	struct error e = {0};
	unsigned before;

	if (!usable)
		skip();
	a = attach_a(*state);
	before = xdp_prog_id();
	programs.record_packets = 3;
	assert_int_equal(kernel_reload(*state, &programs, &e), 0);
	if (attach_update(*state, &a, &e))
		fail_msg("%s", e.text);
	assert_int_not_equal(xdp_prog_id(), before);
	send_frames(END_B, N_FRAMES);
	assert_int_equal(packets_seen(*state), N_FRAMES);
}

static void an_interface_that_returns_under_its_old_number_is_attached_anew(void **state)
{
	struct attachment a;

	if (!usable)
		skip();
	a = attach_a(*state);
	veth_remove();
	assert_int_equal(shell("ip link add " END_A " index %d type veth peer name " END_B
			       " && ip link set " END_A " up && ip link set " END_B " up",
			       a.ifindex),
			 0);
	assert_false(attach_a(*state).adopted);
	send_frames(END_B, N_FRAMES);
	assert_int_equal(packets_seen(*state), N_FRAMES);
}

static void another_program_in_the_dispatcher_is_joined_and_stays(void **state)
{
	struct bpf_object *other;
	struct attachment a;

	if (!usable)
		skip();
	if (!other_file()) {
		print_message("skipped: libxdp's " OTHER_FILE " is not installed\n");
		skip();
	}
	other = attach_other();
	a = attach_a(*state);
	send_frames(END_B, N_FRAMES);
	assert_int_equal(packets_seen(*state), N_FRAMES);
	assert_int_equal(attach_remove(pin_dir, a.ifindex, NULL), 0);
	assert_int_not_equal(xdp_prog_id(), 0);
	send_frames(END_B, N_FRAMES);
	assert_int_equal(packets_seen(*state), N_FRAMES);
	assert_int_equal(dispatcher_detach(OTHER_NAME, a.ifindex, NULL), 0);
	assert_int_equal(xdp_prog_id(), 0);
	bpf_object__close(other);
}

static void another_program_may_join_ours_later(void **state)
{
	struct bpf_object *other;
	int ifindex;

	if (!usable)
		skip();
	if (!other_file()) {
		print_message("skipped: libxdp's " OTHER_FILE " is not installed\n");
		skip();
	}
	ifindex = attach_a(*state).ifindex;
	other = attach_other();
	assert_true(attach_a(*state).adopted);
	send_frames(END_B, N_FRAMES);
	assert_int_equal(packets_seen(*state), N_FRAMES);
	assert_int_equal(attach_remove(pin_dir, ifindex, NULL), 0);
	assert_int_equal(dispatcher_detach(OTHER_NAME, ifindex, NULL), 0);
	assert_int_equal(xdp_prog_id(), 0);
	bpf_object__close(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_free_interface_gets_a_dispatcher),
		TEST(a_restarted_agent_replaces_its_program_in_the_dispatcher),
		TEST(after_a_reload_the_new_program_runs_in_the_dispatcher),
		TEST(an_interface_that_returns_under_its_old_number_is_attached_anew),
		TEST(another_program_in_the_dispatcher_is_joined_and_stays),
		TEST(another_program_may_join_ours_later),
	};

	if (netns_enter()) {
		usable = dispatcher_supported() && !mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL);
		if (!usable)
			print_message("skipped: no XDP dispatcher here: the kernel does not load "
				      "freplace programs, or /sys/fs/bpf is missing\n");
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
