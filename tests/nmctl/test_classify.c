/* SPDX-License-Identifier: BSD-2-Clause */
/* `nmctl classify`: one line a flow, totals, order, broken captures, labels. */
#include "tests/nmctl/run_nmctl.h"
#include "tests/flow/captures.h"

#define A 0x0a000001
#define B 0x0a000002

static uint32_t now_us;

static void put_tcp(struct scratch *s, bool reply, uint16_t port, uint8_t flags, uint16_t payload)
{
	uint8_t bytes[1600];
	size_t len = reply ? make_tcp4(bytes, B, A, 443, port, flags, payload)
			   : make_tcp4(bytes, A, B, port, 443, flags, payload);

	put_pcap_packet(s->file, 1000 + now_us / 1000000, now_us % 1000000, bytes, len);
	now_us += 1000;
}

static void put_udp(struct scratch *s, uint16_t port)
{
	uint8_t bytes[64];
	size_t len = make_udp4(bytes, A, B, port, 53, 20);

	put_pcap_packet(s->file, 1000 + now_us / 1000000, now_us % 1000000, bytes, len);
	now_us += 1000;
}

static void begin(struct scratch *s)
{
	now_us = 0;
	scratch_open(s);
	put_pcap_header(s->file, PCAP_MICRO, LINK_RAW);
}

static struct result classify(const char *options, const char *paths)
{
	char line[512];

	snprintf(line, sizeof(line), "classify --model " TREE_MODEL " %s %s", options, paths);
	return run(line);
}

/* The n-th line as JSON. */
static json_t *row(const struct result *r, int n)
{
	const char *at = r->out;
	json_t *json;

	for (; n > 0 && at; n--)
		at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL;
	json = at && *at ? json_loads(at, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
	if (!json)
		fail_msg("no such line in:\n%s%s", r->out, r->error);
	return json;
}

static int n_lines(const struct result *r)
{
	int n = 0;

	for (const char *at = r->out; *at; at++)
		n += *at == '\n';
	return n;
}

static json_int_t number(const json_t *json, const char *name)
{
	return json_integer_value(json_object_get(json, name));
}

static void a_flow_is_one_line_with_totals_over_the_whole_capture(void **state)
{
	struct scratch s;
	struct result r;
	json_t *flow;

	(void)state;
	begin(&s);
	put_tcp(&s, true, 50000, TCP_FLAG_SYN, 0); /* the server side speaks first here */
	for (int i = 0; i < 199; i++)
		put_tcp(&s, i % 2, 50000, TCP_FLAG_ACK, 100);
	r = classify("-o json", scratch_close(&s));
	assert_int_equal(r.status, STATUS_DONE);
	assert_int_equal(n_lines(&r), 1);
	flow = row(&r, 0);
	assert_int_equal(number(flow, "packets"), 200);
	assert_int_equal(number(flow, "bytes"), 200 * 40 + 199 * 100);
	assert_string_equal(json_string_value(json_object_get(flow, "proto")), "tcp");
	assert_string_equal(json_string_value(json_object_get(flow, "src")), "10.0.0.2");
	assert_int_equal(number(flow, "sport"), 443);
	assert_string_equal(json_string_value(json_object_get(flow, "dst")), "10.0.0.1");
	assert_int_equal(number(flow, "dport"), 50000);
	assert_true(json_is_string(json_object_get(flow, "class")));
	assert_true(json_is_real(json_object_get(flow, "confidence")));
	assert_true(json_is_real(json_object_get(flow, "ood_score")));
	assert_true(json_is_boolean(json_object_get(flow, "unknown")));
	assert_null(json_object_get(flow, "capture"));
	json_decref(flow);
	result_free(&r);
	scratch_remove(&s);
}

/* Data behind the reset is the old flow's, the next SYN is a new one. */
static void ports_used_again_after_the_end_are_a_new_flow(void **state)
{
	static const uint8_t first[] = {TCP_FLAG_SYN, TCP_FLAG_ACK, TCP_FLAG_RST, TCP_FLAG_ACK};
	struct scratch s;
	struct result r;
	json_t *flow;

	(void)state;
	begin(&s);
	for (size_t i = 0; i < sizeof(first); i++)
		put_tcp(&s, i % 2, 50000, first[i], 10);
	now_us += 500000;
	put_tcp(&s, false, 50000, TCP_FLAG_SYN, 0);
	put_tcp(&s, true, 50000, TCP_FLAG_SYN | TCP_FLAG_ACK, 0);
	r = classify("-o json", scratch_close(&s));
	assert_int_equal(n_lines(&r), 2);
	flow = row(&r, 0);
	assert_int_equal(number(flow, "packets"), 4);
	json_decref(flow);
	flow = row(&r, 1);
	assert_int_equal(number(flow, "packets"), 2);
	json_decref(flow);
	result_free(&r);
	scratch_remove(&s);
}

static void flows_stand_in_order_of_their_first_packet(void **state)
{
	struct scratch s;
	struct result r;

	(void)state;
	begin(&s);
	/* More than a batch, and each ends before the ones that began earlier. */
	for (int port = 0; port < 100; port++)
		put_tcp(&s, false, 2000 + port, TCP_FLAG_SYN, 0);
	for (int port = 99; port >= 0; port--)
		put_tcp(&s, true, 2000 + port, TCP_FLAG_RST, 0);
	r = classify("-o json", scratch_close(&s));
	assert_int_equal(n_lines(&r), 100);
	for (int i = 0; i < 100; i++) {
		json_t *flow = row(&r, i);

		assert_int_equal(number(flow, "sport"), 2000 + i);
		assert_int_equal(number(flow, "packets"), 2);
		json_decref(flow);
	}
	result_free(&r);
	scratch_remove(&s);
}

static void a_broken_capture_gives_what_was_readable_and_then_the_error(void **state)
{
	struct scratch s;
	struct result r;
	json_t *flow;

	(void)state;
	begin(&s);
	put_udp(&s, 4001);
	put_udp(&s, 4002);
	fwrite("half a header", 5, 1, s.file);
	r = classify("-o json", scratch_close(&s));
	assert_int_equal(r.status, STATUS_FAILED);
	assert_contains(r.error, s.path);
	assert_contains(r.error, "packet 3:");
	assert_int_equal(n_lines(&r), 2);
	flow = row(&r, 1);
	assert_int_equal(number(flow, "sport"), 4002);
	json_decref(flow);
	result_free(&r);
	scratch_remove(&s);
}

static void several_captures_are_told_apart(void **state)
{
	struct scratch one, two;
	char paths[80];
	struct result r;
	json_t *flow;

	(void)state;
	begin(&one);
	put_udp(&one, 4001);
	begin(&two);
	put_udp(&two, 4001);
	scratch_close(&one);
	scratch_close(&two);
	snprintf(paths, sizeof(paths), "%s %s", one.path, two.path);
	r = classify("-o json", paths);
	assert_int_equal(r.status, STATUS_DONE);
	assert_int_equal(n_lines(&r), 2);
	flow = row(&r, 1);
	assert_string_equal(json_string_value(json_object_get(flow, "capture")), two.path);
	json_decref(flow);
	result_free(&r);
	r = classify("", paths);
	assert_contains(r.out, "CAPTURE");
	result_free(&r);
	scratch_remove(&one);
	scratch_remove(&two);
}

static void one_unreadable_capture_does_not_keep_the_others_back(void **state)
{
	struct scratch s;
	struct result r;
	char paths[80];

	(void)state;
	begin(&s);
	put_udp(&s, 4001);
	snprintf(paths, sizeof(paths), "/nonexistent.pcap %s", scratch_close(&s));
	r = classify("-o json", paths);
	assert_int_equal(r.status, STATUS_FAILED);
	assert_string_equal(r.error, "/nonexistent.pcap: No such file or directory");
	assert_int_equal(n_lines(&r), 1);
	result_free(&r);
	scratch_remove(&s);
}

static void standard_input_is_a_capture(void **state)
{
	struct scratch s;
	struct result r;

	(void)state;
	begin(&s);
	put_udp(&s, 4001);
	assert_non_null(freopen(scratch_close(&s), "r", stdin));
	r = classify("-o json", "-");
	assert_string_equal(r.error, "");
	assert_int_equal(n_lines(&r), 1);
	result_free(&r);
	scratch_remove(&s);
}

static void a_table_closes_with_a_sum_for_each_class_and_what_is_in_no_flow(void **state)
{
	static const uint8_t not_ip[40];
	struct scratch s;
	struct result r;

	(void)state;
	begin(&s);
	put_udp(&s, 4001);
	put_udp(&s, 4002);
	put_pcap_packet(s.file, 2000, 0, not_ip, sizeof(not_ip));
	r = classify("", scratch_close(&s));
	assert_int_equal(r.status, STATUS_DONE);
	assert_contains(r.out, "PROTO SOURCE");
	assert_contains(r.out, "10.0.0.1:4002");
	assert_contains(r.out, "FLOWS PACKETS BYTES UNKNOWN");
	assert_contains(r.out, "3 packets, 2 flows; packets not IP: 1");
	result_free(&r);
	scratch_remove(&s);
}

static void put_labels(struct scratch *labels, const char *capture, const char *class_name)
{
	scratch_open(labels);
	fputs("pcap\tproto\taddr_a\tport_a\taddr_b\tport_b\tlabel\tclass\tpackets\tbytes\n",
	      labels->file);
	/* The pair is unordered. */
	fprintf(labels->file, "%s\tudp\t10.0.0.2\t53\t10.0.0.1\t4001\tX\t%s\t1\t48\n",
		strrchr(capture, '/') + 1, class_name);
	fprintf(labels->file, "%s\tudp\t10.0.0.1\t4002\t10.0.0.2\t53\tX\tunlisted\t1\t48\n",
		strrchr(capture, '/') + 1);
	scratch_close(labels);
}

static void labels_give_accuracy_over_the_flows_that_have_one(void **state)
{
	struct scratch s, labels;
	struct result r;
	char options[80], class_name[32];
	json_t *flow;

	(void)state;
	begin(&s);
	put_udp(&s, 4001);
	put_udp(&s, 4002);
	put_udp(&s, 4003);
	r = classify("-o json", scratch_close(&s));
	flow = row(&r, 0);
	snprintf(class_name, sizeof(class_name), "%s",
		 json_string_value(json_object_get(flow, "class")));
	json_decref(flow);
	result_free(&r);

	put_labels(&labels, s.path, class_name);
	snprintf(options, sizeof(options), "--labels %s", labels.path);
	r = classify(options, s.path);
	assert_contains(r.out, "1 labelled flows of 1 classes: accuracy 1.000, macro F1 1.000");
	result_free(&r);
	scratch_remove(&labels);

	put_labels(&labels, s.path, strcmp(class_name, "tor") ? "tor" : "dns");
	snprintf(options, sizeof(options), "--labels %s", labels.path);
	r = classify(options, s.path);
	assert_contains(r.out, "1 labelled flows of 1 classes: accuracy 0.000, macro F1 0.000");
	result_free(&r);
	scratch_remove(&labels);
	scratch_remove(&s);
}

static void a_file_that_is_no_table_of_labels_is_refused_with_its_line(void **state)
{
	struct scratch labels;
	struct result r;
	char options[80];

	(void)state;
	scratch_open(&labels);
	fputs("pcap\tproto\n", labels.file);
	snprintf(options, sizeof(options), "--labels %s", scratch_close(&labels));
	r = classify(options, "/nonexistent.pcap");
	assert_int_equal(r.status, STATUS_FAILED);
	assert_contains(r.error, ":1: not a table of labels");
	result_free(&r);
	scratch_remove(&labels);
}

static void a_missing_model_is_named(void **state)
{
	struct result r = run("classify --model /nonexistent.safetensors x.pcap");

	(void)state;
	assert_int_equal(r.status, STATUS_FAILED);
	assert_contains(r.error, "/nonexistent.safetensors");
	result_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flow_is_one_line_with_totals_over_the_whole_capture),
		cmocka_unit_test(ports_used_again_after_the_end_are_a_new_flow),
		cmocka_unit_test(flows_stand_in_order_of_their_first_packet),
		cmocka_unit_test(a_broken_capture_gives_what_was_readable_and_then_the_error),
		cmocka_unit_test(several_captures_are_told_apart),
		cmocka_unit_test(one_unreadable_capture_does_not_keep_the_others_back),
		cmocka_unit_test(standard_input_is_a_capture),
		cmocka_unit_test(a_table_closes_with_a_sum_for_each_class_and_what_is_in_no_flow),
		cmocka_unit_test(labels_give_accuracy_over_the_flows_that_have_one),
		cmocka_unit_test(a_file_that_is_no_table_of_labels_is_refused_with_its_line),
		cmocka_unit_test(a_missing_model_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
