/* SPDX-License-Identifier: BSD-2-Clause */
#include <bpf/bpf.h>
#include "agent/nmd/attach.h"
#include "maps/packet_record.h"
#include "tests/nmd/netns.h"

#define TOR   3
#define VIDEO 4

static bool have_kernel;
static char dir[64], pin_dir[128];

/* Policy entries, meters and zones as they stand in the kernel, seen through the pins. */
static int pinned(const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/maps/%s", pin_dir, name);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	return fd;
}

static struct policy_action action_now(uint32_t zone, uint32_t class_id, unsigned hook)
{
	uint32_t index = policy_index(zone, class_id);
	struct policy_entry entry;
	int fd = pinned("policy");

	assert_int_equal(bpf_map_lookup_elem(fd, &index, &entry), 0);
	close(fd);
	return entry.by_hook[hook];
}

static struct meter meter_now(uint32_t id)
{
	struct meter m;
	int fd = pinned("meters");

	assert_int_equal(bpf_map_lookup_elem(fd, &id, &m), 0);
	close(fd);
	return m;
}

static void meter_runs(uint32_t id, uint64_t tat_ns)
{
	struct meter m = meter_now(id);
	int fd = pinned("meters");

	m.tat_ns = tat_ns;
	assert_int_equal(bpf_map_update_elem(fd, &id, &m, BPF_ANY), 0);
	close(fd);
}

/* -1 when no prefix holds it. */
static int zone_now(uint8_t a, uint8_t b)
{
	struct zone_key key = {128, {[10] = 0xff, 0xff, a, b, 0, 1}};
	int fd = pinned("zones"), err;
	uint32_t zone;

	err = bpf_map_lookup_elem(fd, &key, &zone);
	close(fd);
	return err ? -1 : (int)zone;
}

static struct policy_program *program_new(void)
{
	struct policy_program *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	return p;
}

static void set_both(struct policy_program *p, uint32_t zone, uint32_t class_id,
		     struct policy_action action)
{
	struct policy_entry *entry = &p->entries[policy_index(zone, class_id)];

	entry->by_hook[HOOK_INGRESS] = entry->by_hook[HOOK_EGRESS] = action;
}

static void add_meter(struct policy_program *p, uint32_t rule_id, uint64_t ps_per_byte)
{
	uint32_t id = ++p->n_meters;

	p->meters[id] = (struct meter){.ps_per_byte = ps_per_byte, .burst_ns = 1000};
	p->meter_rule_id[id] = rule_id;
}

static void add_zone(struct policy_program *p, uint8_t a, uint32_t zone_id)
{
	p->zones[p->n_zones++] = (struct policy_zone){
		.prefix = {.prefix_len = 104, .addr = {[10] = 0xff, 0xff, a}}, .zone_id = zone_id};
}

static void write_policy(struct kernel *k, struct policy_program *p, kernel_rezone_fn between)
{
	struct error e = {0};

	if (kernel_policy_write_rezoned(k, p, between, NULL, &e))
		fail_msg("%s", e.text);
	free(p);
}

static const struct policy_action drop = {.action = ACTION_DROP, .rule_id = 1};

static struct policy_action limit(uint32_t rule_id, uint16_t meter_id)
{
	return (struct policy_action){ACTION_LIMIT, 0, meter_id, rule_id};
}

static int fresh(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/nm-kernel-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(pin_dir, sizeof(pin_dir), "%s/bpf", dir);
	*state = have_kernel ? open_kernel(pin_dir) : NULL;
	return 0;
}

static int leave(void **state)
{
	unsigned removed;

	kernel_close(*state);
	return attach_remove_all(pin_dir, &removed, NULL) || rmdir(dir);
}

static void entries_meters_and_zones_arrive_in_the_kernel(void **state)
{
	struct policy_program *p;

	if (!have_kernel)
		skip();
	p = program_new();
	set_both(p, 0, TOR, drop);
	set_both(p, 2, VIDEO, limit(2, 1));
	add_meter(p, 2, 4000000);
	add_zone(p, 10, 2);
	add_zone(p, 11, ZONE_NEVER);
	write_policy(*state, p, NULL);
	assert_int_equal(action_now(0, TOR, HOOK_INGRESS).action, ACTION_DROP);
	assert_int_equal(action_now(0, TOR, HOOK_EGRESS).action, ACTION_DROP);
	assert_int_equal(action_now(2, VIDEO, HOOK_EGRESS).meter_id, 1);
	assert_int_equal(meter_now(1).ps_per_byte, 4000000);
	assert_int_equal(zone_now(10, 1), 2);
	assert_int_equal(zone_now(11, 1), ZONE_NEVER);
	assert_int_equal(zone_now(12, 1), -1);
	write_policy(*state, program_new(), NULL);
	assert_int_equal(action_now(0, TOR, HOOK_INGRESS).action, ACTION_WATCH);
	assert_int_equal(zone_now(10, 1), -1);
}

static void a_kept_rule_keeps_its_meter_state_wherever_the_meter_moves(void **state)
{
	struct policy_program *p;

	if (!have_kernel)
		skip();
	p = program_new();
	add_meter(p, 7, 4000000);
	add_meter(p, 8, 5000000);
	set_both(p, 0, TOR, limit(7, 1));
	set_both(p, 0, VIDEO, limit(8, 2));
	write_policy(*state, p, NULL);
	meter_runs(1, 111);
	meter_runs(2, 222);

	/* the first rule goes, so that the second one's meter moves to place 1; a new one comes */
	p = program_new();
	add_meter(p, 8, 5000000);
	add_meter(p, 9, 6000000);
	set_both(p, 0, VIDEO, limit(8, 1));
	set_both(p, 0, TOR, limit(9, 2));
	write_policy(*state, p, NULL);
	assert_int_equal(meter_now(1).tat_ns, 222);
	assert_int_equal(meter_now(1).ps_per_byte, 5000000);
	assert_int_equal(meter_now(2).tat_ns, 0);
	meter_runs(2, 333);

	/* another rate begins anew; the other stays */
	p = program_new();
	add_meter(p, 8, 7000000);
	add_meter(p, 9, 6000000);
	set_both(p, 0, VIDEO, limit(8, 1));
	set_both(p, 0, TOR, limit(9, 2));
	write_policy(*state, p, NULL);
	assert_int_equal(meter_now(1).tat_ns, 0);
	assert_int_equal(meter_now(1).ps_per_byte, 7000000);
	assert_int_equal(meter_now(2).tat_ns, 333);
	meter_runs(1, 444);

	/* so does another burst, and another rule of the same rate */
	p = program_new();
	add_meter(p, 8, 7000000);
	p->meters[1].burst_ns = 2000;
	add_meter(p, 10, 6000000);
	set_both(p, 0, VIDEO, limit(8, 1));
	set_both(p, 0, TOR, limit(10, 2));
	write_policy(*state, p, NULL);
	assert_int_equal(meter_now(1).tat_ns, 0);
	assert_int_equal(meter_now(1).burst_ns, 2000);
	assert_int_equal(meter_now(2).tat_ns, 0);
}

static int see_milder_policy(void *ctx)
{
	(void)ctx;
	/* was drop, becomes watch: granted already; was watch, becomes drop: not yet */
	assert_int_equal(action_now(0, TOR, HOOK_INGRESS).action, ACTION_WATCH);
	assert_int_equal(action_now(0, VIDEO, HOOK_INGRESS).action, ACTION_WATCH);
	/* was a limit, becomes a drop; its meter stays, so the limit holds meanwhile */
	assert_int_equal(action_now(0, 5, HOOK_INGRESS).action, ACTION_LIMIT);
	/* a limit whose meter is rewritten passes meanwhile, even where the entry is the same */
	assert_int_equal(action_now(0, 6, HOOK_INGRESS).action, ACTION_WATCH);
	/* both zones know their new prefixes, and the old prefix is gone */
	assert_int_equal(zone_now(20, 1), ZONE_NEVER);
	assert_int_equal(zone_now(10, 1), -1);
	return 0;
}

static void nothing_harsher_than_the_old_or_the_new_policy_stands_in_between(void **state)
{
	struct policy_program *p;

	if (!have_kernel)
		skip();
	p = program_new();
	add_meter(p, 5, 4000000);
	add_meter(p, 6, 4000000);
	set_both(p, 0, TOR, drop);
	set_both(p, 0, 5, limit(5, 1));
	set_both(p, 0, 6, limit(6, 2));
	add_zone(p, 10, ZONE_NEVER);
	write_policy(*state, p, NULL);

	p = program_new();
	add_meter(p, 5, 4000000);
	add_meter(p, 6, 9000000);
	set_both(p, 0, VIDEO, drop);
	set_both(p, 0, 5, drop);
	set_both(p, 1, 5, limit(5, 1));
	set_both(p, 0, 6, limit(6, 2));
	add_zone(p, 20, ZONE_NEVER);
	write_policy(*state, p, see_milder_policy);
	assert_int_equal(action_now(0, VIDEO, HOOK_INGRESS).action, ACTION_DROP);
	assert_int_equal(action_now(0, 5, HOOK_INGRESS).action, ACTION_DROP);
	assert_int_equal(action_now(0, 6, HOOK_INGRESS).action, ACTION_LIMIT);
	assert_int_equal(action_now(0, TOR, HOOK_INGRESS).action, ACTION_WATCH);
}

static int refuse(void *ctx)
{
	(void)ctx;
	return -EIO;
}

static void a_write_that_is_ended_in_between_leaves_the_milder_policy(void **state)
{
	struct policy_program *p;
	struct error e = {0};

	if (!have_kernel)
		skip();
	p = program_new();
	set_both(p, 0, TOR, drop);
	write_policy(*state, p, NULL);
	p = program_new();
	set_both(p, 0, VIDEO, drop);
	assert_int_equal(kernel_policy_write_rezoned(*state, p, refuse, NULL, &e), -EIO);
	free(p);
	assert_int_equal(action_now(0, TOR, HOOK_INGRESS).action, ACTION_WATCH);
	assert_int_equal(action_now(0, VIDEO, HOOK_INGRESS).action, ACTION_WATCH);
	assert_non_null(strstr(e.text, "the milder of the old and the new policy"));
}

static void force_holds_only_when_both_policies_have_it(void **state)
{
	const struct policy_action forced = {ACTION_DROP, POLICY_FORCE, 0, 1};
	struct policy_program *p;
	struct error e;

	if (!have_kernel)
		skip();
	p = program_new();
	set_both(p, 0, TOR, forced);
	write_policy(*state, p, NULL);
	p = program_new();
	set_both(p, 0, TOR, drop);
	assert_int_equal(kernel_policy_write_rezoned(*state, p, refuse, NULL, &e), -EIO);
	free(p);
	assert_int_equal(action_now(0, TOR, HOOK_INGRESS).action, ACTION_DROP);
	assert_int_equal(action_now(0, TOR, HOOK_INGRESS).flags, 0);
	p = program_new();
	set_both(p, 0, TOR, forced);
	assert_int_equal(kernel_policy_write_rezoned(*state, p, refuse, NULL, &e), -EIO);
	free(p);
	assert_int_equal(action_now(0, TOR, HOOK_INGRESS).flags, 0);
}

static void a_full_set_of_zones_can_be_exchanged_for_another(void **state)
{
	struct policy_program *p;
	struct kernel *k = *state;

	if (!have_kernel)
		skip();
	p = program_new();
	for (unsigned i = 0; i < MAX_ZONES; i++)
		add_zone(p, i, 2);
	write_policy(k, p, NULL);
	p = program_new();
	for (unsigned i = 0; i < MAX_ZONES; i++) {
		add_zone(p, i, 3);
		p->zones[i].prefix.prefix_len = 112;
		p->zones[i].prefix.addr[13] = 1;
	}
	write_policy(k, p, NULL);
	assert_int_equal(zone_now(255, 1), 3);
	assert_int_equal(zone_now(255, 2), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, leave)
	const struct CMUnitTest tests[] = {
		TEST(entries_meters_and_zones_arrive_in_the_kernel),
		TEST(a_kept_rule_keeps_its_meter_state_wherever_the_meter_moves),
		TEST(nothing_harsher_than_the_old_or_the_new_policy_stands_in_between),
		TEST(a_write_that_is_ended_in_between_leaves_the_milder_policy),
		TEST(force_holds_only_when_both_policies_have_it),
		TEST(a_full_set_of_zones_can_be_exchanged_for_another),
	};

	have_kernel = netns_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
