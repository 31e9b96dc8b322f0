/* SPDX-License-Identifier: BSD-2-Clause */
/* Decisions to verdicts in the real map: classes, enforcement. */
#include <bpf/bpf.h>
#include "agent/nmd/clock.h"
#include "agent/nmd/enforce.h"
#include "agent/nmd/kernel_maps.h"
#include "tests/nmd/one_kernel.h"

static struct model model = {
	.n_classes = 4,
	.class_name = {"tor", "tls", "ssh", "mining"},
	.calibration = {.threshold = {0.5f, 0.5f, 0.5f, 0.5f}, .watch_only = {[3] = true}}};
static struct classes classes;
static struct zones zones;
static struct protect protect;
static struct breaker breaker;
static struct sinks sinks;
static struct enforce enforce;
static struct flow_event last;
static unsigned n_events, n_trips;

static void on_event(void *ctx, const struct flow_event *event)
{
	(void)ctx;
	last = *event;
	n_events++;
}

static void on_trip(void *ctx)
{
	(void)ctx;
	n_trips++;
}

static struct policy_program *compile(const char *text)
{
	struct policy_classes known = {classes.n, classes.name, classes.watch_only};
	struct policy_program *program = NULL;
	struct policy *policy = NULL;
	struct error e;

	if (policy_parse("test", text, strlen(text), &policy, &e) ||
	    policy_compile(policy, &known, NULL, 0, &program, &e))
		fail_msg("%s", e.text);
	policy_free(policy);
	return program;
}

static void use_policy(const char *text)
{
	struct policy_program *program = compile(text);

	policy_program_free((struct policy_program *)enforce.program);
	enforce.program = program;
}

static int forget_verdict(void *ctx, const struct flow_key *key, const struct verdict *v)
{
	(void)ctx, (void)v;
	return kernel_verdict_delete(k, key);
}

/* The map is emptied before each test. */
static int begin(void **state)
{
	struct protect_port ssh = {IPPROTO_TCP, 22};
	struct error e = {0};

	(void)state;
	if (!have_kernel)
		return 0;
	kernel_verdict_walk(k, forget_verdict, NULL);
	for (uint32_t id = 0; id < MAX_CLASSES; id++)
		kernel_class_name_set(k, id, "");
	if (classes_load(&classes, k, &e) || classes_adopt_model(&classes, k, &model, &e))
		fail_msg("%s", e.text);
	memset(&zones, 0, sizeof(zones));
	protect = (struct protect){.ports = {ssh}, .n_ports = 1};
	memset(&breaker, 0, sizeof(breaker));
	breaker_configure(&breaker, true, 0.5, 10);
	sinks = (struct sinks){0};
	sinks_add(&sinks, on_event, NULL);
	enforce = (struct enforce){.kernel = k,
				   .classes = &classes,
				   .zones = &zones,
				   .protect = &protect,
				   .breaker = &breaker,
				   .sinks = &sinks,
				   .on_trip = on_trip};
	n_events = n_trips = 0;
	use_policy("block class=tor\n");
	return 0;
}

static int end(void **state)
{
	(void)state;
	policy_program_free((struct policy_program *)enforce.program);
	enforce.program = NULL;
	return 0;
}

static struct judged_flow flow(int class_index, enum decided_by by, enum ready_reason why)
{
	uint64_t now_ns = clock_monotonic_ns();
	struct judged_flow j = {.info = {.key = frame_key(1000, 2000),
					 .first_direction = FLOW_DIR_FORWARD,
					 .hooks_seen = 3,
					 .first_ns = now_ns - NS_PER_S,
					 .last_ns = now_ns,
					 .packets = 12,
					 .directions_seen = 3},
				.why = why,
				.decision = {.class_index = class_index,
					     .confidence = by == DECIDED_CLASS ? 0.9f : 0.3f,
					     .unknown = by == DECIDED_UNKNOWN,
					     .by = by},
				.model = &model,
				.model_id = 1,
				.queued_ns = now_ns};

	j.decision.probability[class_index] = j.decision.confidence;
	return j;
}

static struct verdict judge(struct judged_flow j)
{
	struct verdict v = {.class_id = UINT16_MAX};

	enforce_judged(&enforce, &j);
	kernel_verdict_get(k, &j.info.key, &v);
	return v;
}

static void class_ids_stay_when_another_model_comes(void **state)
{
	struct model other = {.n_classes = 2, .class_name = {"voip", "tls"}};
	struct classes again;
	struct error e;
	int tls;

	NEEDS_KERNEL;
	tls = classes_find(&classes, "tls");
	assert_true(classes.watch_only[classes_find(&classes, "mining")]);
	assert_true(classes.threshold[tls] == 0.5f);
	assert_int_equal(classes_find(&classes, "unknown"), 0);
	assert_int_equal(classes_adopt_model(&classes, k, &other, &e), 0);
	assert_int_equal(classes_find(&classes, "tls"), tls);
	assert_int_equal(classes_find(&classes, "voip"), 5);
	assert_false(classes.in_model[classes_find(&classes, "tor")]);
	assert_true(classes.threshold[classes_find(&classes, "tor")] == 0);
	assert_false(classes.watch_only[classes_find(&classes, "mining")]);
	assert_int_equal(classes_load(&again, k, &e), 0);
	assert_int_equal(again.n, 6);
	assert_memory_equal(again.name, classes.name, sizeof(again.name));
}

static void class_ids_end_at_the_maps_size_with_a_message(void **state)
{
	struct error e = {0};
	char name[CLASS_NAME_LEN + 1];

	NEEDS_KERNEL;
	memset(name, 'a', CLASS_NAME_LEN);
	name[CLASS_NAME_LEN] = '\0';
	assert_int_equal(classes_register(&classes, k, name, &e), -ENAMETOOLONG);
	for (int i = 5; i < MAX_CLASSES; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		assert_int_equal(classes_register(&classes, k, name, &e), i);
	}
	assert_int_equal(classes_register(&classes, k, "tor", &e), 1);
	assert_int_equal(classes_register(&classes, k, "more", &e), -ENOSPC);
	assert_non_null(strstr(e.text, "nmd --detach"));
}

static void a_sure_final_judgement_is_a_verdict_of_its_class(void **state)
{
	struct verdict v;

	NEEDS_KERNEL;
	v = judge(flow(0, DECIDED_CLASS, READY_FULL));
	assert_int_equal(v.class_id, classes_find(&classes, "tor"));
	assert_int_equal(v.flags & (VERDICT_PROVISIONAL | VERDICT_PROTECTED), 0);
	assert_int_equal(v.packets_judged, 12);
	assert_int_equal(v.expires_ns, 0);
	assert_string_equal(last.action, "drop");
	assert_int_equal(last.rule_id, 1);
}

static void
a_verdict_says_how_much_was_judged_whose_flow_it_is_and_how_long_it_is_kept(void **state)
{
	struct judged_flow j = flow(0, DECIDED_CLASS, READY_END);
	struct verdict v;

	NEEDS_KERNEL;
	j.info.packets = 70000;
	j.info.first_direction = FLOW_DIR_REVERSE;
	v = judge(j);
	assert_int_equal(v.packets_judged, UINT16_MAX);
	assert_true(v.flags & VERDICT_SOURCE_HIGHER);
	assert_int_equal(v.expires_ns - v.judged_ns, 60 * NS_PER_S);
}

static void an_event_tells_what_happens_where_the_flow_was_seen(void **state)
{
	struct judged_flow j = flow(0, DECIDED_CLASS, READY_FULL);

	NEEDS_KERNEL;
	use_policy("block class=tor dir=out\n");
	judge(j);
	assert_string_equal(last.action, "drop");
	j.info.hooks_seen = 1u << HOOK_INGRESS;
	judge(j);
	assert_string_equal(last.action, "watch");
	j.info.hooks_seen = 1u << HOOK_EGRESS;
	judge(j);
	assert_string_equal(last.action, "drop");
}

static uint64_t id_of(const struct judged_flow *j)
{
	judge(*j);
	return last.flow_id;
}

static void a_flow_id_is_of_one_conversation(void **state)
{
	struct judged_flow j = flow(0, DECIDED_CLASS, READY_FULL);
	uint64_t id;

	NEEDS_KERNEL;
	id = id_of(&j);
	assert_true(id_of(&j) == id);
	j.info.first_ns += 2;
	assert_true(id_of(&j) != id);
	j.info.first_ns -= 2;
	j.info.key.port_lo_be ^= 1;
	assert_true(id_of(&j) != id);
}

/* Judges the flow and asks for its far end, which is forgotten again. */
static bool far_end_known(struct judged_flow j)
{
	bool lo = j.info.first_direction == FLOW_DIR_REVERSE;
	struct endpoint_key far = {.port_be = lo ? j.info.key.port_lo_be : j.info.key.port_hi_be,
				   .proto = j.info.key.proto};
	struct endpoint_verdict v;
	int fd = k->map_fd[MAP_endpoints];

	memcpy(far.addr, lo ? j.info.key.addr_lo : j.info.key.addr_hi, sizeof(far.addr));
	judge(j);
	if (bpf_map_lookup_elem(fd, &far, &v))
		return false;
	assert_int_equal(v.class_id, classes_find(&classes, "tor"));
	assert_true(v.expires_ns > clock_monotonic_ns());
	assert_int_equal(bpf_map_delete_elem(fd, &far), 0);
	assert_int_equal(bpf_map_get_next_key(fd, NULL, &far), -ENOENT); /* nor any other */
	return true;
}

static void a_server_is_known_by_a_blocked_flow_of_ours_and_by_no_other(void **state)
{
	struct judged_flow j = flow(0, DECIDED_CLASS, READY_FULL);

	NEEDS_KERNEL;
	enforce.endpoints = true;
	assert_false(far_end_known(j)); /* not ours */
	zones_own_address(&zones, j.info.key.addr_lo, true);
	enforce.endpoints = false;
	assert_false(far_end_known(j));
	enforce.endpoints = true;
	assert_true(far_end_known(j));
	j.info.first_direction = FLOW_DIR_REVERSE;
	assert_false(far_end_known(j)); /* a client of ours */
	zones_own_address(&zones, j.info.key.addr_hi, true);
	assert_true(far_end_known(j));
	assert_false(far_end_known(flow(0, DECIDED_CLASS, READY_EARLY)));
	assert_false(far_end_known(flow(1, DECIDED_CLASS, READY_FULL))); /* only watched */
	use_policy("block class=unknown\nblock class=tor force\n");
	assert_false(far_end_known(flow(0, DECIDED_THRESHOLD, READY_FULL)));
	j.info.key.proto = IPPROTO_TCP;
	assert_true(far_end_known(j));
	j.info.key.port_hi_be = htons(22); /* protected, forced or not */
	assert_false(far_end_known(j));
}

static void an_unsure_or_strange_one_is_unknown_and_passes(void **state)
{
	NEEDS_KERNEL;
	assert_int_equal(judge(flow(0, DECIDED_THRESHOLD, READY_FULL)).class_id, CLASS_UNKNOWN);
	assert_string_equal(last.action, "watch");
	assert_int_equal(judge(flow(0, DECIDED_UNKNOWN, READY_FULL)).class_id, CLASS_UNKNOWN);
	assert_string_equal(last.class_name, "tor");
	assert_true(last.unknown);
}

static void an_early_sure_judgement_is_provisional_and_acts(void **state)
{
	struct verdict v;

	NEEDS_KERNEL;
	v = judge(flow(0, DECIDED_CLASS, READY_EARLY));
	assert_int_equal(v.class_id, classes_find(&classes, "tor"));
	assert_true(v.flags & VERDICT_PROVISIONAL);
	assert_string_equal(last.action, "drop");
	v = judge(flow(1, DECIDED_CLASS, READY_FULL));
	assert_int_equal(v.class_id, classes_find(&classes, "tls"));
	assert_false(v.flags & VERDICT_PROVISIONAL);
}

static void a_judgement_on_few_packets_is_told_as_final_and_recorded_on(void **state)
{
	struct judged_flow j = flow(1, DECIDED_CLASS, READY_IDLE);

	NEEDS_KERNEL;
	enforce.again_below = 6;
	j.n_packets = 5;
	assert_true(judge(j).flags & VERDICT_PROVISIONAL);
	assert_false(last.provisional);
	j.n_packets = 6;
	assert_false(judge(j).flags & VERDICT_PROVISIONAL);
	enforce.again_below = 0;
}

static void an_early_unsure_judgement_changes_nothing(void **state)
{
	NEEDS_KERNEL;
	use_policy("block class=unknown\n");
	assert_int_equal(judge(flow(0, DECIDED_THRESHOLD, READY_EARLY)).class_id, UINT16_MAX);
	assert_int_equal(judge(flow(0, DECIDED_UNKNOWN, READY_FLUSH)).class_id, UINT16_MAX);
	assert_int_equal(n_events, 0);
}

static void the_safety_net_marks_the_verdict(void **state)
{
	struct judged_flow j;

	NEEDS_KERNEL;
	j = flow(0, DECIDED_CLASS, READY_FULL);
	j.info.key.proto = IPPROTO_TCP;
	j.info.key.port_hi_be = htons(22);
	assert_true(judge(j).flags & VERDICT_PROTECTED);
	assert_string_equal(last.action, "pass");
	assert_true(last.protected_flow);
	assert_true(judge(flow(2, DECIDED_CLASS, READY_FULL)).flags & VERDICT_PROTECTED);
	assert_false(judge(flow(2, DECIDED_THRESHOLD, READY_FULL)).flags & VERDICT_PROTECTED);
	use_policy("block class=tor force\n");
	judge(j);
	assert_string_equal(last.action, "drop");
}

static void in_watch_mode_the_event_says_watch(void **state)
{
	NEEDS_KERNEL;
	enforce.watch = true;
	judge(flow(0, DECIDED_CLASS, READY_FULL));
	assert_string_equal(last.action, "watch");
	assert_int_equal(last.rule_id, 1);
}

static void most_flows_to_be_dropped_trip_the_breaker_once(void **state)
{
	NEEDS_KERNEL;
	for (int i = 0; i < 9; i++)
		judge(flow(0, DECIDED_CLASS, i % 2 ? READY_EARLY : READY_FULL));
	assert_int_equal(n_trips, 0);
	judge(flow(0, DECIDED_CLASS, READY_FULL));
	judge(flow(0, DECIDED_CLASS, READY_FULL));
	assert_int_equal(n_trips, 1);
}

static void flows_that_the_safety_net_holds_do_not_trip_the_breaker(void **state)
{
	struct judged_flow j;

	NEEDS_KERNEL;
	j = flow(0, DECIDED_CLASS, READY_FULL);
	j.info.key.proto = IPPROTO_TCP;
	j.info.key.port_hi_be = htons(22);
	for (int i = 0; i < 100; i++)
		judge(j);
	assert_int_equal(n_trips, 0);
}

static struct packet_record start_at(uint64_t time_ns)
{
	return (struct packet_record){
		.key = frame_key(1000, 2000), .time_ns = time_ns, .flags = RECORD_FLOW_START};
}

static void a_flow_that_begins_anew_loses_the_old_verdict(void **state)
{
	struct flow_key key = frame_key(1000, 2000);
	struct packet_record record;
	struct verdict v;

	NEEDS_KERNEL;
	judge(flow(0, DECIDED_CLASS, READY_FULL));
	record = start_at(clock_monotonic_ns() - NS_PER_S);
	enforce_flow_start(&enforce, &record);
	assert_int_equal(kernel_verdict_get(k, &key, &v), 0);
	record = start_at(clock_monotonic_ns() + NS_PER_S);
	enforce_flow_start(&enforce, &record);
	assert_int_equal(kernel_verdict_get(k, &key, &v), -ENOENT);
	assert_int_equal(enforce.counters.verdicts_replaced_by_start, 1);
}

static void a_judgement_of_the_flow_before_does_not_reach_its_successor(void **state)
{
	struct judged_flow j;
	struct packet_record record;

	NEEDS_KERNEL;
	j = flow(0, DECIDED_CLASS, READY_END);
	record = start_at(j.info.last_ns + 1);
	enforce_flow_start(&enforce, &record);
	assert_int_equal(judge(j).class_id, UINT16_MAX);
	assert_int_equal(enforce.counters.judged_stale, 1);
	assert_int_equal(n_events, 1);
}

static void a_flow_that_was_told_to_begin_is_judged(void **state)
{
	struct judged_flow j = flow(0, DECIDED_CLASS, READY_FULL);
	struct packet_record record = start_at(j.info.first_ns);

	NEEDS_KERNEL;
	enforce_flow_start(&enforce, &record);
	assert_int_equal(judge(j).class_id, classes_find(&classes, "tor"));
	assert_int_equal(enforce.counters.judged_stale, 0);
}

static void a_flow_that_passes_is_counted_once_though_judged_twice(void **state)
{
	NEEDS_KERNEL;
	judge(flow(1, DECIDED_CLASS, READY_EARLY));
	judge(flow(1, DECIDED_CLASS, READY_FULL));
	assert_int_equal(enforce.counters.flows[classes_find(&classes, "tls")], 1);
	assert_int_equal(enforce.counters.judged_total, 2);
}

static void a_full_map_is_counted_and_the_flow_is_still_told(void **state)
{
	NEEDS_KERNEL;
	for (uint32_t i = 0; i < 1200; i++) {
		struct judged_flow j = flow(1, DECIDED_CLASS, READY_FULL);

		j.info.key.port_lo_be = htons((uint16_t)i);
		enforce_judged(&enforce, &j);
	}
	assert_int_equal(enforce.counters.verdicts_full, 1200 - 1024);
	assert_int_equal(enforce.counters.verdicts_written, 1024);
	assert_int_equal(n_events, 1200);
}

static void live_verdicts_follow_a_change_of_zones(void **state)
{
	struct flow_key key = frame_key(1000, 2000);
	struct verdict v;

	NEEDS_KERNEL;
	assert_int_equal(judge(flow(1, DECIDED_CLASS, READY_FULL)).zone_id, ZONE_DEFAULT);
	use_policy("block class=tls net=10.0.0.2\n");
	assert_int_equal(enforce_rezone(&enforce, enforce.program), 1);
	assert_int_equal(kernel_verdict_get(k, &key, &v), 0);
	assert_true(v.zone_id > ZONE_NEVER);
	assert_int_equal(v.class_id, classes_find(&classes, "tls"));
	assert_int_equal(enforce_rezone(&enforce, enforce.program), 0);
	zones_own_address(&zones, key.addr_hi, true);
	assert_int_equal(enforce_rezone(&enforce, enforce.program), 1);
	assert_int_equal(kernel_verdict_get(k, &key, &v), 0);
	assert_int_equal(v.zone_id, ZONE_DEFAULT);
}

/* Of a flow whose first packet came from the higher address. */
static void a_change_of_zones_keeps_the_source(void **state)
{
	struct judged_flow j = flow(1, DECIDED_CLASS, READY_FULL);
	struct verdict v;

	NEEDS_KERNEL;
	j.info.first_direction = FLOW_DIR_REVERSE;
	judge(j);
	use_policy("block class=tls net=10.0.0.1\nblock class=tls net=10.0.0.2\n");
	assert_int_equal(enforce_rezone(&enforce, enforce.program), 1);
	assert_int_equal(kernel_verdict_get(k, &j.info.key, &v), 0);
	assert_int_equal(v.zone_id, policy_zone_of(enforce.program, j.info.key.addr_hi, NULL));
}

static void a_change_of_the_safety_net_reaches_live_verdicts(void **state)
{
	struct judged_flow j = flow(1, DECIDED_CLASS, READY_FULL);
	struct verdict v;

	NEEDS_KERNEL;
	judge(j);
	protect.ports[0] = (struct protect_port){IPPROTO_UDP, 2000};
	assert_int_equal(enforce_rezone(&enforce, enforce.program), 1);
	assert_int_equal(kernel_verdict_get(k, &j.info.key, &v), 0);
	assert_true(v.flags & VERDICT_PROTECTED);
	protect.n_ports = 0;
	assert_int_equal(enforce_rezone(&enforce, enforce.program), 1);
	assert_int_equal(kernel_verdict_get(k, &j.info.key, &v), 0);
	assert_false(v.flags & VERDICT_PROTECTED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(class_ids_stay_when_another_model_comes),
		TEST(class_ids_end_at_the_maps_size_with_a_message),
		TEST(a_sure_final_judgement_is_a_verdict_of_its_class),
		TEST(a_verdict_says_how_much_was_judged_whose_flow_it_is_and_how_long_it_is_kept),
		TEST(an_event_tells_what_happens_where_the_flow_was_seen),
		TEST(a_flow_id_is_of_one_conversation),
		TEST(a_server_is_known_by_a_blocked_flow_of_ours_and_by_no_other),
		TEST(an_unsure_or_strange_one_is_unknown_and_passes),
		TEST(an_early_sure_judgement_is_provisional_and_acts),
		TEST(a_judgement_on_few_packets_is_told_as_final_and_recorded_on),
		TEST(an_early_unsure_judgement_changes_nothing),
		TEST(the_safety_net_marks_the_verdict),
		TEST(in_watch_mode_the_event_says_watch),
		TEST(most_flows_to_be_dropped_trip_the_breaker_once),
		TEST(flows_that_the_safety_net_holds_do_not_trip_the_breaker),
		TEST(a_flow_that_begins_anew_loses_the_old_verdict),
		TEST(a_judgement_of_the_flow_before_does_not_reach_its_successor),
		TEST(a_flow_that_was_told_to_begin_is_judged),
		TEST(a_flow_that_passes_is_counted_once_though_judged_twice),
		TEST(a_full_map_is_counted_and_the_flow_is_still_told),
		TEST(live_verdicts_follow_a_change_of_zones),
		TEST(a_change_of_zones_keeps_the_source),
		TEST(a_change_of_the_safety_net_reaches_live_verdicts),
	};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
