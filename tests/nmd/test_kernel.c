/* SPDX-License-Identifier: BSD-2-Clause */
#include <bpf/bpf.h>
#include "agent/nmd/attach.h"
#include "tests/nmd/netns.h"

static bool have_kernel;
static char dir[64], pin_dir[128];

static void remove_pins(void)
{
	struct error e = {0};
	unsigned removed;

	if (attach_remove_all(pin_dir, &removed, &e))
		fail_msg("%s", e.text);
}

static int fresh(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/nm-kernel-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(pin_dir, sizeof(pin_dir), "%s/run/bpf", dir);
	return 0;
}

static int leave(void **state)
{
	(void)state;
	remove_pins();
	return shell("rmdir %s/run 2>/dev/null; rmdir %s", dir, dir);
}

static struct verdict verdict_of(uint16_t class_id)
{
	return (struct verdict){.class_id = class_id, .zone_id = ZONE_DEFAULT, .packets = 7};
}

static int open_with(const struct kernel_config *config, struct error *e)
{
	struct kernel *k = NULL;
	int err = kernel_open(config, &k, e);

	kernel_close(k);
	return err;
}

static void a_second_agent_finds_verdicts_policy_and_class_names_of_the_first(void **state)
{
	struct flow_key key = frame_key(1000, 2000);
	struct verdict v = verdict_of(5), found;
	char name[CLASS_NAME_LEN];
	struct control control;
	struct kernel *k;

	(void)state;
	if (!have_kernel)
		skip();
	k = open_kernel(pin_dir);
	assert_false(kernel_adopted(k));
	assert_int_equal(kernel_control_get(k, &control), 0);
	assert_int_equal(control.schema_version, SCHEMA_VERSION);
	assert_int_equal(control.mode, MODE_WATCH);
	control.mode = MODE_ENFORCE;
	assert_int_equal(kernel_control_set(k, &control), 0);
	assert_int_equal(kernel_verdict_put(k, &key, &v), 0);
	assert_int_equal(kernel_class_name_set(k, 5, "tor"), 0);
	kernel_close(k);

	k = open_kernel(pin_dir);
	assert_true(kernel_adopted(k));
	assert_int_equal(kernel_verdict_get(k, &key, &found), 0);
	assert_memory_equal(&found, &v, sizeof(v));
	assert_int_equal(kernel_class_name_get(k, 5, name), 0);
	assert_string_equal(name, "tor");
	assert_int_equal(kernel_control_get(k, &control), 0);
	assert_int_equal(control.mode, MODE_ENFORCE);
	kernel_close(k);
}

static void every_cpu_has_a_ring_that_is_kept(void **state)
{
	struct bpf_map_info before = {0}, after = {0};
	__u32 len = sizeof(before);
	struct kernel *k;
	const int *fds;
	uint32_t n;

	(void)state;
	if (!have_kernel)
		skip();
	k = open_kernel(pin_dir);
	n = kernel_ring_fds(k, &fds);
	assert_int_equal(n, sysconf(_SC_NPROCESSORS_CONF));
	assert_int_equal(bpf_obj_get_info_by_fd(fds[n - 1], &before, &len), 0);
	assert_int_equal(before.type, BPF_MAP_TYPE_RINGBUF);
	assert_int_equal(before.max_entries, 65536);
	kernel_close(k);
	k = open_kernel(pin_dir);
	kernel_ring_fds(k, &fds);
	assert_int_equal(bpf_obj_get_info_by_fd(fds[n - 1], &after, &len), 0);
	assert_int_equal(after.id, before.id);
	kernel_close(k);
}

static void a_ring_size_is_rounded_up_to_pages(void **state)
{
	struct kernel_config config = small_config(pin_dir);
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);
	struct kernel *k = NULL;
	struct error e;
	const int *fds;

	(void)state;
	if (!have_kernel)
		skip();
	config.ring_bytes = 5000;
	assert_int_equal(kernel_open(&config, &k, &e), 0);
	kernel_ring_fds(k, &fds);
	assert_int_equal(bpf_obj_get_info_by_fd(fds[0], &info, &len), 0);
	assert_true(info.max_entries >= 5000 && info.max_entries % sysconf(_SC_PAGESIZE) == 0);
	kernel_close(k);
	config.ring_bytes = UINT32_MAX;
	assert_int_equal(open_with(&config, &e), -EINVAL);
	assert_non_null(strstr(e.text, "ring_bytes=4294967295: too large"));
}

static void pins_of_a_start_that_was_cut_short_are_made_anew(void **state)
{
	struct flow_key key = frame_key(1000, 2000);
	struct control unfinished = {.schema_version = 0};
	struct verdict v = verdict_of(5);
	struct kernel *k;

	(void)state;
	if (!have_kernel)
		skip();
	k = open_kernel(pin_dir);
	assert_int_equal(kernel_verdict_put(k, &key, &v), 0);
	assert_int_equal(kernel_control_set(k, &unfinished), 0);
	kernel_close(k);
	k = open_kernel(pin_dir);
	assert_false(kernel_adopted(k));
	assert_int_equal(kernel_verdict_get(k, &key, &v), -ENOENT);
	kernel_close(k);

	assert_int_equal(shell("rm %s/maps/control", pin_dir), 0);
	k = open_kernel(pin_dir);
	assert_false(kernel_adopted(k));
	kernel_close(k);
}

static void a_single_missing_pin_is_completed(void **state)
{
	struct flow_key key = frame_key(1000, 2000);
	struct verdict v = verdict_of(5);
	struct kernel *k;

	(void)state;
	if (!have_kernel)
		skip();
	k = open_kernel(pin_dir);
	assert_int_equal(kernel_verdict_put(k, &key, &v), 0);
	kernel_close(k);
	assert_int_equal(shell("rm %s/maps/meters %s/maps/ring-0", pin_dir, pin_dir), 0);
	k = open_kernel(pin_dir);
	assert_true(kernel_adopted(k));
	assert_int_equal(kernel_verdict_get(k, &key, &v), 0);
	assert_int_equal(shell("test -e %s/maps/meters -a -e %s/maps/ring-0", pin_dir, pin_dir), 0);
	kernel_close(k);
}

static void pins_of_another_schema_are_refused_with_the_way_out(void **state)
{
	struct kernel_config config = small_config(pin_dir);
	struct control other = {.schema_version = SCHEMA_VERSION + 1};
	struct kernel *k;
	struct error e;

	(void)state;
	if (!have_kernel)
		skip();
	k = open_kernel(pin_dir);
	assert_int_equal(kernel_control_set(k, &other), 0);
	kernel_close(k);
	assert_int_equal(open_with(&config, &e), -EPROTO);
	assert_non_null(strstr(e.text, "schema 2, this nmd has 1"));
	assert_non_null(strstr(e.text, "`nmd --detach`"));
	assert_int_equal(shell("test -e %s/maps/verdicts", pin_dir), 0);
}

static void pins_of_another_size_are_refused_and_named(void **state)
{
	struct kernel_config config = small_config(pin_dir);
	struct error e;

	(void)state;
	if (!have_kernel)
		skip();
	kernel_close(open_kernel(pin_dir));
	config.max_verdicts = 2048;
	assert_int_equal(open_with(&config, &e), -EPROTO);
	assert_non_null(strstr(e.text, "verdicts has size 1024, the settings want 2048"));
	config = small_config(pin_dir);
	config.ring_bytes *= 2;
	assert_int_equal(open_with(&config, &e), -EPROTO);
	assert_non_null(strstr(e.text, "65536"));
}

static void maps_too_large_for_the_memory_are_an_error_that_says_so(void **state)
{
	struct kernel_config config = small_config(pin_dir);
	struct error e = {0};

	(void)state;
	if (!have_kernel)
		skip();
	config.max_verdicts = 2000000000;
	assert_true(open_with(&config, &e) < 0);
	if (!strstr(e.text, "2000000000 verdicts): set max_flows or max_verdicts lower"))
		fail_msg("%s", e.text);
	assert_int_equal(access(pin_dir, F_OK), -1); /* nothing is left of it */
	config.max_verdicts = 1024;
	assert_int_equal(open_with(&config, &e), 0);
}

static void a_full_verdict_map_says_so(void **state)
{
	struct verdict v = verdict_of(5);
	struct kernel *k;
	int err = 0;

	(void)state;
	if (!have_kernel)
		skip();
	k = open_kernel(pin_dir);
	for (unsigned i = 0; !err && i < 2000; i++) {
		struct flow_key key = frame_key(i, 53);

		err = kernel_verdict_put(k, &key, &v);
	}
	assert_int_equal(err, -E2BIG);
	kernel_close(k);
}

struct walked {
	struct kernel *k;
	unsigned seen[1000];
	unsigned n, stop_after;
};

static int on_verdict(void *ctx, const struct flow_key *key, const struct verdict *v)
{
	struct walked *w = ctx;
	unsigned i = ntohs(key->port_lo_be);

	w->seen[i]++;
	w->n++;
	assert_int_equal(v->class_id, i % 100);
	if (i % 2)
		assert_int_equal(kernel_verdict_delete(w->k, key), 0);
	return w->n == w->stop_after ? 42 : 0;
}

static void a_walk_sees_every_verdict_once_and_may_delete(void **state)
{
	struct walked w = {0};

	(void)state;
	if (!have_kernel)
		skip();
	w.k = open_kernel(pin_dir);
	for (unsigned i = 0; i < 1000; i++) {
		struct flow_key key = frame_key(i, 53);
		struct verdict v = verdict_of(i % 100);

		assert_int_equal(kernel_verdict_put(w.k, &key, &v), 0);
	}
	assert_int_equal(kernel_verdict_walk(w.k, on_verdict, &w), 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(w.seen[i], 1);
	assert_int_equal(kernel_verdict_walk(w.k, on_verdict, &w), 0);
	assert_int_equal(w.n, 1500);
	w.stop_after = 1501;
	assert_int_equal(kernel_verdict_walk(w.k, on_verdict, &w), 42);
	assert_int_equal(w.n, 1501);
	kernel_close(w.k);
}

static void a_reload_changes_the_programs_and_keeps_the_maps(void **state)
{
	struct nm_config programs = small_config(pin_dir).programs;
	struct flow_key key = frame_key(1000, 2000);
	struct verdict v = verdict_of(5);
	struct kernel *k;
	struct error e;
	struct bpf_prog_info before = {0}, after = {0};
	__u32 len = sizeof(before);

	(void)state;
	if (!have_kernel)
		skip();
	k = open_kernel(pin_dir);
	assert_int_equal(kernel_verdict_put(k, &key, &v), 0);
	assert_int_equal(bpf_obj_get_info_by_fd(kernel_ingress_fd(k), &before, &len), 0);
	programs.record_packets = 50;
	if (kernel_reload(k, &programs, &e))
		fail_msg("%s", e.text);
	assert_int_equal(bpf_obj_get_info_by_fd(kernel_ingress_fd(k), &after, &len), 0);
	assert_int_not_equal(after.id, before.id);
	assert_int_equal(kernel_verdict_get(k, &key, &v), 0);
	kernel_close(k);
}

static void pins_lie_on_a_mount_of_our_own_that_goes_with_them(void **state)
{
	char command[256];

	(void)state;
	if (!have_kernel)
		skip();
	kernel_close(open_kernel(pin_dir));
	kernel_close(open_kernel(pin_dir));
	snprintf(command, sizeof(command), "grep -c ' %s bpf ' /proc/self/mounts", pin_dir);
	assert_true(output_holds(command, "1"));
	remove_pins();
	assert_true(output_holds(command, "0"));
	assert_int_equal(access(pin_dir, F_OK), -1);
	remove_pins(); /* nothing there is no error */
}

static void pins_on_a_mount_of_another_leave_the_mount(void **state)
{
	char command[256];

	(void)state;
	if (!have_kernel)
		skip();
	assert_int_equal(shell("mkdir -p %s && mount -t bpf bpf %s", pin_dir, pin_dir), 0);
	kernel_close(open_kernel(pin_dir));
	remove_pins();
	snprintf(command, sizeof(command), "grep -c ' %s bpf ' /proc/self/mounts", pin_dir);
	assert_true(output_holds(command, "1"));
	assert_int_equal(shell("test -e %s/maps -o -e %s/links", pin_dir, pin_dir), 1);
	assert_int_equal(shell("umount %s && rmdir %s", pin_dir, pin_dir), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, leave)
	const struct CMUnitTest tests[] = {
		TEST(a_second_agent_finds_verdicts_policy_and_class_names_of_the_first),
		TEST(every_cpu_has_a_ring_that_is_kept),
		TEST(a_ring_size_is_rounded_up_to_pages),
		TEST(pins_of_a_start_that_was_cut_short_are_made_anew),
		TEST(a_single_missing_pin_is_completed),
		TEST(pins_of_another_schema_are_refused_with_the_way_out),
		TEST(pins_of_another_size_are_refused_and_named),
		TEST(maps_too_large_for_the_memory_are_an_error_that_says_so),
		TEST(a_full_verdict_map_says_so),
		TEST(a_walk_sees_every_verdict_once_and_may_delete),
		TEST(a_reload_changes_the_programs_and_keeps_the_maps),
		TEST(pins_lie_on_a_mount_of_our_own_that_goes_with_them),
		TEST(pins_on_a_mount_of_another_leave_the_mount),
	};

	have_kernel = netns_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
