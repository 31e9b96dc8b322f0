/* SPDX-License-Identifier: BSD-2-Clause */
/* When a flow is handed out, and why. */
#include "tests/flow/records.h"

static void a_flow_is_full_at_seq_len_packets(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	for (uint32_t i = 0; i < 5; i++)
		add(&f, (struct packet){.time_ns = i * MS, .index = i});
	assert_int_equal(f.n_handed, 0);
	add(&f, (struct packet){.time_ns = 5 * MS, .index = 5});
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].why, READY_FULL);
	assert_int_equal(f.handed[0].n_packets, 6);
	assert_int_equal(assembler_counters(f.assembler)->flows_judged, 1);
	assert_int_equal(assembler_counters(f.assembler)->flows_assembling, 0);
	finish(&f);
}

static void records_of_a_judged_flow_do_not_begin_it_anew(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	for (uint32_t i = 0; i < 9; i++)
		add(&f, (struct packet){.time_ns = i * MS, .index = i});
	assembler_flush(f.assembler);
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(assembler_counters(f.assembler)->records_late, 3);
	assert_int_equal(f.n_done, 1);
	assert_int_equal(f.done[0].packets, 9);
	assert_int_equal(f.done[0].bytes, 900);
	assert_ptr_equal(f.done[0].user, &f.done[0]);
	finish(&f);
}

static void an_early_judgement_comes_once_and_does_not_end_the_flow(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	config.early_packets = 3;
	begin(&f, &config);
	for (uint32_t i = 0; i < 6; i++)
		add(&f, (struct packet){.time_ns = i * MS, .index = i});
	assert_int_equal(f.n_handed, 2);
	assert_int_equal(f.handed[0].why, READY_EARLY);
	assert_int_equal(f.handed[0].n_packets, 3);
	assert_int_equal(f.handed[1].why, READY_FULL);
	assert_int_equal(f.handed[1].n_packets, 6);
	finish(&f);
}

static void what_follows_a_judgement_on_few_packets_is_judged_again(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	config.again_below = 3;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 0, .index = 0});
	add(&f, (struct packet){.time_ns = 1 * MS, .index = 1});
	assembler_tick(f.assembler, 11 * S);
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].why, READY_IDLE);
	add(&f, (struct packet){.time_ns = 12 * S, .index = 2, .len = 40}); /* no payload */
	for (uint32_t i = 3; i < 9; i++)
		add(&f, (struct packet){.time_ns = 12 * S + i * MS, .index = i});
	assert_int_equal(f.n_handed, 2);
	assert_int_equal(f.handed[1].why, READY_FULL);
	assert_int_equal(f.handed[1].n_packets, 6);
	assert_int_equal(f.handed[1].packets[0].ip_len_bytes, 100);
	assert_int_equal(assembler_counters(f.assembler)->records_missing, 0);
	add(&f, (struct packet){.time_ns = 13 * S, .index = 9});
	assembler_flush(f.assembler);
	assert_int_equal(f.n_handed, 2);
	finish(&f);
}

static void what_follows_a_judgement_on_enough_packets_or_comes_late_is_not(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	config.again_below = 2;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 1 * MS, .index = 0, .flow = 1});
	add(&f, (struct packet){.time_ns = 2 * MS, .index = 1, .flow = 1});
	add(&f, (struct packet){.time_ns = 2 * MS, .index = 1, .flow = 2});
	assembler_tick(f.assembler, 11 * S);
	assert_int_equal(f.n_handed, 2);
	add(&f, (struct packet){.time_ns = 12 * S, .index = 2, .flow = 1});
	add(&f, (struct packet){.time_ns = 1 * MS, .index = 0, .flow = 2}); /* from another ring */
	assert_int_equal(f.n_started, 2);
	assert_int_equal(assembler_counters(f.assembler)->records_late, 2);
	finish(&f);
}

static void a_flow_that_takes_in_a_syn_is_open_again(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	config.again_below = 5;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 1 * MS, .index = 0, .tcp_flags = FIN | ACK});
	add(&f, (struct packet){.time_ns = 2 * MS, .index = 1, .dir = 1, .tcp_flags = FIN | ACK});
	add(&f, (struct packet){.time_ns = 3 * MS, .tcp_flags = SYN, .flags = RECORD_FLOW_START});
	add(&f, (struct packet){.time_ns = 4 * MS, .index = 2}); /* index 1 is lost */
	assembler_tick(f.assembler, 5 * S);
	assert_int_equal(f.n_handed, 0);
	assembler_flush(f.assembler);
	assert_int_equal(f.handed[0].n_packets, 4);
	assert_int_equal(assembler_counters(f.assembler)->records_missing, 1);
	finish(&f);
}

static void syns_among_few_packets_do_not_keep_a_flow_from_its_judgement(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	config.again_below = 5;
	begin(&f, &config);
	for (uint32_t i = 0; i < 6; i++)
		add(&f, (struct packet){.time_ns = i * 2 * S,
					.index = i % 2,
					.tcp_flags = i % 2 ? ACK : SYN,
					.flags = i % 2 ? 0 : RECORD_FLOW_START});
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].why, READY_FULL);
	assert_int_equal(f.handed[0].n_packets, 6);
	assert_int_equal(f.n_done, 0);
	finish(&f);
}

static void a_flow_with_enough_packets_is_ended_by_a_syn(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	config.again_below = 2;
	begin(&f, &config);
	for (uint32_t i = 0; i < 3; i++)
		add(&f, (struct packet){.time_ns = i * MS, .index = i, .tcp_flags = ACK});
	add(&f, (struct packet){.time_ns = 3 * MS, .tcp_flags = SYN, .flags = RECORD_FLOW_START});
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].why, READY_END);
	assert_int_equal(f.handed[0].n_packets, 3);
	finish(&f);
}

static void a_fin_from_one_side_does_not_end_a_flow(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 0, .index = 0, .tcp_flags = FIN | ACK});
	add(&f, (struct packet){.time_ns = 1 * MS, .index = 1, .tcp_flags = FIN | ACK});
	assembler_tick(f.assembler, 9 * S);
	assert_int_equal(f.n_handed, 0);
	finish(&f);
}

static void fins_from_both_sides_end_a_flow_with_its_last_packets(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 0, .index = 0});
	add(&f, (struct packet){.time_ns = 1 * MS, .index = 1, .tcp_flags = FIN | ACK});
	/* The other side may go on sending after it heard the first FIN. */
	add(&f, (struct packet){.time_ns = 2 * MS, .index = 2, .dir = 1});
	add(&f, (struct packet){.time_ns = 3 * MS, .index = 3, .dir = 1, .tcp_flags = FIN | ACK});
	assembler_tick(f.assembler, 4 * MS);
	assert_int_equal(f.n_handed, 0);
	add(&f, (struct packet){.time_ns = 5 * MS, .index = 4});
	assembler_tick(f.assembler, 5 * MS + ASSEMBLER_LINGER_NS);
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].why, READY_END);
	assert_int_equal(f.handed[0].n_packets, 5);
	assert_int_equal(f.handed[0].info.directions_seen, 3);
	finish(&f);
}

static void a_reset_ends_a_flow_and_what_follows_is_only_counted(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 0, .index = 0});
	add(&f, (struct packet){.time_ns = 1 * MS, .index = 1, .dir = 1, .tcp_flags = RST});
	assembler_tick(f.assembler, 1 * S);
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].why, READY_END);
	add(&f, (struct packet){.time_ns = 2 * S, .index = 2});
	assembler_flush(f.assembler);
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.done[0].packets, 3);
	finish(&f);
}

static void a_silent_flow_is_idle_by_tick_and_not_a_moment_before(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 1 * S, .index = 0});
	add(&f, (struct packet){.time_ns = 3 * S, .index = 1});
	assembler_tick(f.assembler, 13 * S - 1);
	assert_int_equal(f.n_handed, 0);
	assembler_tick(f.assembler, 13 * S);
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].why, READY_IDLE);
	/* The entry stays for another such time, then goes. */
	assert_int_equal(f.n_done, 0);
	assembler_tick(f.assembler, 23 * S);
	assert_int_equal(f.n_done, 1);
	assert_int_equal(assembler_counters(f.assembler)->flows_judged, 0);
	finish(&f);
}

static void idle_is_by_last_activity_not_by_start(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 1 * S, .flow = 1});
	add(&f, (struct packet){.time_ns = 2 * S, .flow = 2});
	add(&f, (struct packet){.time_ns = 5 * S, .flow = 1, .index = 1});
	assembler_tick(f.assembler, 12 * S);
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].info.key.port_lo_be, 2);
	finish(&f);
}

static void a_record_that_comes_late_makes_no_flow_older(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 5 * S, .index = 1});
	add(&f, (struct packet){.time_ns = 1 * S, .index = 0});
	assembler_tick(f.assembler, 4 * S); /* the clock of the tick may be behind, too */
	assembler_tick(f.assembler, 15 * S - 1);
	assert_int_equal(f.n_handed, 0);
	assembler_tick(f.assembler, 15 * S);
	assert_int_equal(f.n_handed, 1);
	finish(&f);
}

static void a_judged_flow_is_remembered_from_its_judgement_or_last_record_on(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	config.total_ns = 20 * S;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 0, .flow = 1, .tcp_flags = RST});
	assembler_tick(f.assembler, 5 * S);
	assert_int_equal(f.n_handed, 1);
	add(&f, (struct packet){.time_ns = 6 * S, .flow = 2, .tcp_flags = RST});
	assembler_tick(f.assembler, 7 * S);
	assert_int_equal(f.n_handed, 2);
	add(&f, (struct packet){.time_ns = 8 * S, .flow = 1, .index = 1});
	assembler_tick(f.assembler, 17 * S - 1);
	assert_int_equal(f.n_done, 0);
	assembler_tick(f.assembler, 17 * S);
	assert_int_equal(f.n_done, 1);
	assert_int_equal(f.done[0].key.port_lo_be, 2);
	assembler_tick(f.assembler, 18 * S);
	assert_int_equal(f.n_done, 2);
	for (uint32_t i = 0; i < 3; i++)
		add(&f, (struct packet){.time_ns = 20 * S + i * 9 * S, .flow = 3, .index = i});
	assembler_tick(f.assembler, 40 * S);
	assert_int_equal(f.handed[2].why, READY_TIME);
	assembler_tick(f.assembler, 50 * S - 1);
	assert_int_equal(f.n_done, 2);
	assembler_tick(f.assembler, 50 * S);
	assert_int_equal(f.n_done, 3);
	finish(&f);
}

static void a_flow_that_keeps_talking_is_judged_after_the_total_time(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	config.total_ns = 20 * S;
	begin(&f, &config);
	for (uint32_t i = 0; i < 4; i++)
		add(&f, (struct packet){.time_ns = 1 + i * 6 * S, .index = i});
	assembler_tick(f.assembler, 20 * S);
	assert_int_equal(f.n_handed, 0);
	assembler_tick(f.assembler, 20 * S + 1);
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].why, READY_TIME);
	assert_int_equal(f.handed[0].n_packets, 4);
	finish(&f);
}

static void limits_of_zero_are_no_limits(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	config.idle_ns = config.total_ns = 0;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 0});
	assembler_tick(f.assembler, UINT64_MAX);
	assert_int_equal(f.n_handed, 0);
	assembler_flush(f.assembler);
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].why, READY_FLUSH);
	assert_int_equal(f.n_done, 1);
	finish(&f);
}

static void a_full_table_hands_out_the_least_recently_used_and_counts_it(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	for (uint32_t i = 1; i <= 4; i++)
		add(&f, (struct packet){.time_ns = i * MS, .flow = i});
	add(&f, (struct packet){.time_ns = 5 * MS, .flow = 1, .index = 1});
	add(&f, (struct packet){.time_ns = 6 * MS, .flow = 5});
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].why, READY_EVICTED);
	assert_int_equal(f.handed[0].info.key.port_lo_be, 2);
	assert_int_equal(assembler_counters(f.assembler)->flows_evicted, 1);
	assert_int_equal(assembler_counters(f.assembler)->flows_assembling, 4);
	finish(&f);
}

static void a_flood_of_flows_stays_within_the_table(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	const struct assembler_counters *c;
	struct fixture f;

	(void)state;
	config.on_start = NULL;
	config.on_done = NULL;
	begin(&f, &config);
	c = assembler_counters(f.assembler);
	for (uint32_t i = 1; i <= 20000; i++) {
		add(&f, (struct packet){.time_ns = i * MS, .flow = i});
		f.n_handed = 0;
		assert_in_range(c->flows_assembling, 1, 4);
		assert_in_range(c->flows_assembling + c->flows_judged, 1, 8);
	}
	assert_int_equal(c->flows_started, 20000);
	assert_int_equal(c->flows_evicted, 19996);
	finish(&f);
}

static void every_reason_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (int i = 0; i <= READY_FLUSH; i++) {
		assert_string_not_equal(ready_reason_name(i), "?");
		for (int j = 0; j < i; j++)
			assert_string_not_equal(ready_reason_name(i), ready_reason_name(j));
	}
	assert_string_equal(ready_reason_name(READY_FLUSH + 1), "?");
}

static void a_configuration_that_cannot_be_is_refused(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct assembler *a = NULL;

	(void)state;
	config.max_flows = 0;
	assert_int_equal(assembler_new(&config, remember, NULL, &a), -EINVAL);
	config.max_flows = 4;
	config.shape.packets = config.shape.seq_len + 1;
	assert_int_equal(assembler_new(&config, remember, NULL, &a), -EINVAL);
	assert_null(a);
	assembler_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flow_is_full_at_seq_len_packets),
		cmocka_unit_test(records_of_a_judged_flow_do_not_begin_it_anew),
		cmocka_unit_test(an_early_judgement_comes_once_and_does_not_end_the_flow),
		cmocka_unit_test(what_follows_a_judgement_on_few_packets_is_judged_again),
		cmocka_unit_test(what_follows_a_judgement_on_enough_packets_or_comes_late_is_not),
		cmocka_unit_test(a_flow_that_takes_in_a_syn_is_open_again),
		cmocka_unit_test(syns_among_few_packets_do_not_keep_a_flow_from_its_judgement),
		cmocka_unit_test(a_flow_with_enough_packets_is_ended_by_a_syn),
		cmocka_unit_test(a_fin_from_one_side_does_not_end_a_flow),
		cmocka_unit_test(fins_from_both_sides_end_a_flow_with_its_last_packets),
		cmocka_unit_test(a_reset_ends_a_flow_and_what_follows_is_only_counted),
		cmocka_unit_test(a_silent_flow_is_idle_by_tick_and_not_a_moment_before),
		cmocka_unit_test(idle_is_by_last_activity_not_by_start),
		cmocka_unit_test(a_record_that_comes_late_makes_no_flow_older),
		cmocka_unit_test(a_judged_flow_is_remembered_from_its_judgement_or_last_record_on),
		cmocka_unit_test(a_flow_that_keeps_talking_is_judged_after_the_total_time),
		cmocka_unit_test(limits_of_zero_are_no_limits),
		cmocka_unit_test(a_full_table_hands_out_the_least_recently_used_and_counts_it),
		cmocka_unit_test(a_flood_of_flows_stays_within_the_table),
		cmocka_unit_test(every_reason_has_a_name_of_its_own),
		cmocka_unit_test(a_configuration_that_cannot_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
