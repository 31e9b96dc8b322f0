/* SPDX-License-Identifier: BSD-2-Clause */
/* What a sample holds: order, directions, bytes, restarts, segmentation offload. */
#include "tests/flow/records.h"

static void records_out_of_order_give_packets_in_time_order(void **state)
{
	static const uint32_t order[] = {3, 0, 4, 1, 5, 2};
	struct assembler_config config = config_of(&bi_shape);
	const struct handed *h;
	struct fixture f;

	(void)state;
	begin(&f, &config);
	for (int i = 0; i < 6; i++) {
		char bytes[2] = {'a' + order[i], 0};

		add(&f, (struct packet){.time_ns = order[i] * MS,
					.index = order[i],
					.len = 100 + order[i],
					.header = bytes,
					.payload = bytes});
	}
	h = &f.handed[0];
	assert_int_equal(h->n_packets, 6);
	for (uint32_t i = 0; i < 6; i++) {
		assert_int_equal(h->packets[i].time_ns, i * MS);
		assert_int_equal(h->packets[i].ip_len_bytes, 100 + i);
		assert_int_equal(h->packets[i].header_bytes, i < 3);
		assert_int_equal(h->packets[i].payload_bytes, i < 3);
	}
	for (int i = 0; i < 3; i++) {
		uint8_t row[16] = {[0] = 'a' + i, [8] = 'a' + i};

		assert_memory_equal(h->rows[i], row, sizeof(row));
	}
	assert_int_equal(h->info.first_ns, 0);
	assert_int_equal(h->info.last_ns, 5 * MS);
	assert_int_equal(assembler_counters(f.assembler)->records_missing, 0);
	finish(&f);
}

static void at_equal_times_the_index_decides(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = MS, .index = 1, .len = 201});
	add(&f, (struct packet){.time_ns = MS, .index = 0, .len = 200});
	assembler_flush(f.assembler);
	assert_int_equal(f.handed[0].packets[0].ip_len_bytes, 200);
	assert_int_equal(f.handed[0].packets[1].ip_len_bytes, 201);
	finish(&f);
}

static void the_earliest_packet_decides_the_first_direction(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 2 * MS, .index = 1, .dir = 1, .tcp_flags = SYN | ACK});
	/* The start, overtaken in another ring, is this flow's own. */
	add(&f, (struct packet){.time_ns = 1 * MS, .tcp_flags = SYN, .flags = RECORD_FLOW_START});
	add(&f, (struct packet){.time_ns = 3 * MS, .index = 2});
	assembler_flush(f.assembler);
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].info.first_direction, FLOW_DIR_FORWARD);
	assert_int_equal(f.handed[0].n_packets, 3);
	assert_false(f.handed[0].packets[0].against);
	assert_true(f.handed[0].packets[1].against);
	assert_false(f.handed[0].packets[2].against);
	finish(&f);
}

static void gaps_in_the_index_are_counted_once_the_flow_is_judged(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 1 * MS, .index = 1});
	add(&f, (struct packet){.time_ns = 4 * MS, .index = 4});
	add(&f, (struct packet){.time_ns = 3 * MS, .index = 3});
	assert_int_equal(assembler_counters(f.assembler)->records_missing, 0);
	assembler_flush(f.assembler);
	assert_int_equal(assembler_counters(f.assembler)->records_missing, 2);
	finish(&f);
}

static void a_start_hands_out_the_flow_before_and_begins_a_new_one(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 1 * MS, .tcp_flags = SYN, .flags = RECORD_FLOW_START});
	add(&f, (struct packet){.time_ns = 2 * MS, .index = 1, .dir = 1});
	add(&f, (struct packet){.time_ns = 5 * MS,
				.dir = 1,
				.tcp_flags = SYN,
				.flags = RECORD_FLOW_START,
				.len = 60});
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].why, READY_END);
	assert_int_equal(f.handed[0].n_packets, 2);
	/* A record of the flow before that was still in another ring. */
	add(&f, (struct packet){.time_ns = 3 * MS, .index = 2});
	assembler_flush(f.assembler);
	assert_int_equal(f.n_handed, 2);
	assert_int_equal(f.handed[1].n_packets, 1);
	assert_int_equal(f.handed[1].packets[0].ip_len_bytes, 60);
	assert_int_equal(f.handed[1].info.first_direction, FLOW_DIR_REVERSE);
	assert_int_equal(assembler_counters(f.assembler)->records_late, 1);
	assert_int_equal(assembler_counters(f.assembler)->flows_started, 2);
	finish(&f);
}

static void a_start_after_the_judgement_begins_a_new_flow(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	for (uint32_t i = 0; i < 6; i++)
		add(&f, (struct packet){.time_ns = i * MS, .index = i});
	add(&f, (struct packet){.time_ns = 9 * MS, .flags = RECORD_FLOW_START, .tcp_flags = SYN});
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.n_done, 1);
	assembler_flush(f.assembler);
	assert_int_equal(f.n_handed, 2);
	assert_int_equal(f.n_done, 2);
	finish(&f);
}

static void a_second_start_of_a_single_packet_goes_on_with_the_flow(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 1 * MS, .tcp_flags = SYN, .flags = RECORD_FLOW_START});
	add(&f, (struct packet){.time_ns = 2 * MS, .tcp_flags = SYN, .flags = RECORD_FLOW_START});
	add(&f, (struct packet){.time_ns = 3 * MS, .dir = 1, .index = 1});
	assembler_flush(f.assembler);
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].n_packets, 3);
	assert_int_equal(assembler_counters(f.assembler)->records_missing, 0);
	finish(&f);
}

static void a_lost_start_is_known_by_the_index_that_fell_back(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	for (uint32_t i = 0; i < 6; i++)
		add(&f, (struct packet){.time_ns = i * MS, .index = i});
	add(&f, (struct packet){.time_ns = 3 * S, .index = 1, .dir = 1});
	add(&f, (struct packet){.time_ns = 3 * S + MS, .index = 2});
	assembler_flush(f.assembler);
	assert_int_equal(f.n_handed, 2);
	assert_int_equal(f.handed[1].n_packets, 2);
	assert_int_equal(assembler_counters(f.assembler)->records_missing, 1);
	finish(&f);
}

/* Records of two CPUs may cross, and two packets may have been given one index. */
static void an_index_that_falls_back_a_little_begins_nothing(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 0, .index = 0});
	add(&f, (struct packet){.time_ns = 1 * MS, .index = 3});
	add(&f, (struct packet){.time_ns = 2 * MS, .index = 1});
	add(&f, (struct packet){.time_ns = 3 * S, .index = 3});
	assert_int_equal(f.n_handed, 0);
	assert_int_equal(f.n_started, 1);
	finish(&f);
}

static void a_start_that_is_no_syn_begins_a_new_flow_as_well(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 1 * MS, .flags = RECORD_FLOW_START});
	add(&f, (struct packet){.time_ns = 2 * MS, .index = 1});
	add(&f, (struct packet){.time_ns = 3 * MS, .flags = RECORD_FLOW_START});
	assert_int_equal(f.n_handed, 1);
	assembler_tick(f.assembler, 20 * S); /* and after a judgement */
	assert_int_equal(f.n_handed, 2);
	add(&f, (struct packet){.time_ns = 21 * S, .flags = RECORD_FLOW_START});
	assert_int_equal(assembler_counters(f.assembler)->flows_started, 3);
	finish(&f);
}

static void a_syn_after_a_single_stray_packet_begins_a_new_flow(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 1 * MS, .flags = RECORD_FLOW_START});
	add(&f, (struct packet){.time_ns = 2 * MS, .tcp_flags = SYN, .flags = RECORD_FLOW_START});
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].why, READY_END);
	finish(&f);
}

static void a_flow_knows_its_interface(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.ifindex = 7});
	assembler_flush(f.assembler);
	assert_int_equal(f.handed[0].info.ifindex, 7);
	finish(&f);
}

static void bytes_beyond_the_shape_are_left_out(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.header = "0123456789AB", .payload = "pqrstuvwxyz"});
	add(&f, (struct packet){.time_ns = MS, .index = 1, .header = "h"});
	assembler_flush(f.assembler);
	assert_memory_equal(f.handed[0].rows[0], "01234567pqrstuvw", 16);
	assert_int_equal(f.handed[0].packets[0].header_bytes, 8);
	assert_int_equal(f.handed[0].packets[0].payload_bytes, 8);
	assert_memory_equal(f.handed[0].rows[1], "h\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	finish(&f);
}

static void a_row_that_a_late_packet_takes_over_keeps_nothing(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	for (uint32_t i = 1; i < 4; i++)
		add(&f, (struct packet){.time_ns = i * MS,
					.index = i,
					.header = "HHHHHHHH",
					.payload = "PPPPPPPP"});
	add(&f, (struct packet){.time_ns = 0, .header = "h"});
	assembler_flush(f.assembler);
	assert_memory_equal(f.handed[0].rows[0], "h\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	finish(&f);
}

static void a_flow_seen_in_one_direction_only_is_a_flow(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	for (uint32_t i = 0; i < 6; i++)
		add(&f, (struct packet){.time_ns = i * MS, .index = i, .dir = 1});
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].info.first_direction, FLOW_DIR_REVERSE);
	assert_int_equal(f.handed[0].info.directions_seen, 1 << FLOW_DIR_REVERSE);
	for (int i = 0; i < 6; i++)
		assert_false(f.handed[0].packets[i].against);
	finish(&f);
}

static void a_uni_shape_takes_the_first_direction_and_counts_both(void **state)
{
	struct assembler_config config = config_of(&uni_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	for (uint32_t i = 0; i < 11; i++)
		add(&f,
		    (struct packet){.time_ns = i * MS, .index = i, .dir = i & 1, .len = 100 + i});
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].why, READY_FULL);
	for (uint32_t i = 0; i < 6; i++)
		assert_int_equal(f.handed[0].packets[i].ip_len_bytes, 100 + 2 * i);
	assert_int_equal(f.handed[0].info.packets, 11);
	assert_int_equal(assembler_counters(f.assembler)->records_missing, 0);
	finish(&f);
}

static void a_uni_shape_turns_to_the_direction_of_an_earlier_packet(void **state)
{
	struct assembler_config config = config_of(&uni_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 2 * MS, .index = 1, .dir = 1, .len = 222});
	add(&f, (struct packet){.time_ns = 1 * MS, .index = 0, .len = 111});
	assembler_flush(f.assembler);
	assert_int_equal(f.handed[0].n_packets, 1);
	assert_int_equal(f.handed[0].packets[0].ip_len_bytes, 111);
	assert_int_equal(f.handed[0].info.first_direction, FLOW_DIR_FORWARD);
	finish(&f);
}

static void a_segmented_buffer_becomes_the_packets_of_the_wire(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	const struct handed *h = NULL;
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.time_ns = 1 * MS,
				.len = 40 + 2 * 1000 + 300,
				.gso_segments = 3,
				.gso_size = 1000,
				.hook = HOOK_EGRESS,
				.header = "H",
				.payload = "P"});
	add(&f, (struct packet){.time_ns = 2 * MS, .index = 3, .dir = 1});
	assembler_flush(f.assembler);
	h = &f.handed[0];
	assert_int_equal(h->n_packets, 4);
	assert_int_equal(h->packets[0].ip_len_bytes, 1040);
	assert_int_equal(h->packets[1].ip_len_bytes, 1040);
	assert_int_equal(h->packets[2].ip_len_bytes, 340);
	assert_int_equal(h->packets[2].time_ns, 1 * MS);
	assert_int_equal(h->packets[0].header_bytes, 1);
	assert_int_equal(h->packets[1].header_bytes, 0);
	assert_int_equal(h->rows[0][0], 'H');
	assert_int_equal(h->rows[1][0], 0);
	assert_int_equal(h->info.packets, 4);
	assert_int_equal(h->info.bytes, 1040 + 1040 + 340 + 100);
	assert_int_equal(h->info.hooks_seen, 1 << HOOK_EGRESS | 1 << HOOK_INGRESS);
	assert_int_equal(assembler_counters(f.assembler)->records_missing, 0);
	finish(&f);
}

static void segments_beyond_the_sample_are_left_out(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.len = 40 + 43 * 1448 + 10, .gso_segments = 44, .gso_size = 1448});
	assert_int_equal(f.n_handed, 1);
	assert_int_equal(f.handed[0].why, READY_FULL);
	assert_int_equal(f.handed[0].n_packets, 6);
	assert_int_equal(f.handed[0].info.packets, 44);
	finish(&f);
}

static void contradictory_segments_are_one_packet(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	begin(&f, &config);
	add(&f, (struct packet){.len = 60, .gso_segments = 3, .gso_size = 1000});
	add(&f, (struct packet){.len = 20, .gso_segments = 3, .gso_size = 10, .index = 1});
	add(&f, (struct packet){.len = 60, .gso_segments = 65535, .gso_size = 65535, .index = 2});
	add(&f, (struct packet){.len = 60, .gso_segments = 3, .index = 3});
	assembler_flush(f.assembler);
	assert_int_equal(f.handed[0].n_packets, 4);
	assert_int_equal(f.handed[0].packets[0].ip_len_bytes, 60);
	assert_int_equal(f.handed[0].info.bytes, 200);
	finish(&f);
}

static void a_used_sample_comes_back_empty(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct fixture f;

	(void)state;
	config.max_flows = 1;
	begin(&f, &config);
	add(&f, (struct packet){.flow = 1, .header = "HHHHHHHH", .payload = "PPPPPPPP"});
	add(&f, (struct packet){.flow = 2, .header = "h"});
	assembler_flush(f.assembler);
	assert_int_equal(f.n_handed, 2);
	assert_int_equal(f.handed[1].n_packets, 1);
	assert_memory_equal(f.handed[1].rows[0], "h\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	finish(&f);
}

static void hits_and_impossible_records_are_passed_over(void **state)
{
	struct assembler_config config = config_of(&bi_shape);
	struct packet_record hit = {.kind = RECORD_HIT}, odd = {.direction = 2},
			     hook = {.hook = 200};
	uint8_t data[RECORD_DATA_LARGE] = {0};
	struct fixture f;

	(void)state;
	begin(&f, &config);
	assembler_add_record(f.assembler, &hit, data);
	assembler_add_record(f.assembler, &odd, data);
	assembler_add_record(f.assembler, &hook, data);
	assert_int_equal(assembler_counters(f.assembler)->flows_started, 0);
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_out_of_order_give_packets_in_time_order),
		cmocka_unit_test(at_equal_times_the_index_decides),
		cmocka_unit_test(the_earliest_packet_decides_the_first_direction),
		cmocka_unit_test(gaps_in_the_index_are_counted_once_the_flow_is_judged),
		cmocka_unit_test(a_start_hands_out_the_flow_before_and_begins_a_new_one),
		cmocka_unit_test(a_start_after_the_judgement_begins_a_new_flow),
		cmocka_unit_test(a_second_start_of_a_single_packet_goes_on_with_the_flow),
		cmocka_unit_test(a_lost_start_is_known_by_the_index_that_fell_back),
		cmocka_unit_test(an_index_that_falls_back_a_little_begins_nothing),
		cmocka_unit_test(a_start_that_is_no_syn_begins_a_new_flow_as_well),
		cmocka_unit_test(a_syn_after_a_single_stray_packet_begins_a_new_flow),
		cmocka_unit_test(a_flow_knows_its_interface),
		cmocka_unit_test(bytes_beyond_the_shape_are_left_out),
		cmocka_unit_test(a_row_that_a_late_packet_takes_over_keeps_nothing),
		cmocka_unit_test(a_flow_seen_in_one_direction_only_is_a_flow),
		cmocka_unit_test(a_uni_shape_takes_the_first_direction_and_counts_both),
		cmocka_unit_test(a_uni_shape_turns_to_the_direction_of_an_earlier_packet),
		cmocka_unit_test(a_segmented_buffer_becomes_the_packets_of_the_wire),
		cmocka_unit_test(segments_beyond_the_sample_are_left_out),
		cmocka_unit_test(contradictory_segments_are_one_packet),
		cmocka_unit_test(a_used_sample_comes_back_empty),
		cmocka_unit_test(hits_and_impossible_records_are_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
