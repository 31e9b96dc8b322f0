/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables of labels: which row is a flow's, and what is refused. */
#include "tests/flow/captures.h"
#include <errno.h>
#include <netinet/in.h>
#include "agent/flow/labels_file.h"

#define HEADER "pcap\tproto\taddr_a\tport_a\taddr_b\tport_b\tlabel\tclass\tpackets\tbytes\n"

static struct scratch s;
static struct labels_file *file;
static struct error e;

static int read_text(const char *text)
{
	int status;

	memset(&e, 0, sizeof(e));
	file = NULL;
	scratch_open(&s);
	fputs(text, s.file);
	status = labels_file_read(scratch_close(&s), &file, &e);
	scratch_remove(&s);
	return status;
}

static int end(void **state)
{
	(void)state;
	labels_file_free(file);
	file = NULL;
	return 0;
}

/* Ports in host order; the lower end first, as the caller must know. */
static struct flow_key make_key(uint8_t proto, const char *lo, uint16_t port_lo, const char *hi,
				uint16_t port_hi)
{
	struct flow_key key = {
		.proto = proto, .port_lo_be = htons(port_lo), .port_hi_be = htons(port_hi)};

	assert_int_equal(inet_pton(AF_INET6, lo, key.addr_lo), 1);
	assert_int_equal(inet_pton(AF_INET6, hi, key.addr_hi), 1);
	return key;
}

static void assert_label(const char *wanted, const char *capture, struct flow_key key)
{
	const struct labels_row *row = labels_file_find(file, capture, &key);

	if (!wanted)
		assert_null(row);
	else if (!row)
		fail_msg("no row, but %s", wanted);
	else
		assert_string_equal(row->label, wanted);
}

static void a_flow_is_found_whichever_end_stands_first(void **state)
{
	(void)state;
	assert_int_equal(read_text(HEADER "a.pcap\ttcp\t10.0.0.2\t80\t10.0.0.1\t4000\tA\tx\t1\t1\n"
					  "a.pcap\ttcp\t10.0.0.1\t4001\t10.0.0.2\t80\tB\tx\t1\t1\n"
					  "b.pcap\tudp\tfd00::2\t9\tFD00:0::1\t8\tC\ty\t1\t1\n"
					  "b.pcap\t132\t10.0.0.1\t0\t10.0.0.2\t0\tD\ty\t1\t1\n"
					  "a.pcap\tudp\t10.0.0.1\t53\t10.0.0.1\t9\tE\tx\t1\t1\n"),
			 0);
	assert_label("A", "a.pcap",
		     make_key(IPPROTO_TCP, "::ffff:10.0.0.1", 4000, "::ffff:10.0.0.2", 80));
	assert_label("B", "/any/where/a.pcap",
		     make_key(IPPROTO_TCP, "::ffff:10.0.0.1", 4001, "::ffff:10.0.0.2", 80));
	assert_label("C", "b.pcap", make_key(IPPROTO_UDP, "fd00::1", 8, "fd00::2", 9));
	assert_label("D", "b.pcap", make_key(132, "::ffff:10.0.0.1", 0, "::ffff:10.0.0.2", 0));
	assert_label("E", "a.pcap",
		     make_key(IPPROTO_UDP, "::ffff:10.0.0.1", 9, "::ffff:10.0.0.1", 53));
	assert_label(NULL, "b.pcap",
		     make_key(IPPROTO_TCP, "::ffff:10.0.0.1", 4000, "::ffff:10.0.0.2", 80));
	assert_label(NULL, "a.pcap",
		     make_key(IPPROTO_UDP, "::ffff:10.0.0.1", 4000, "::ffff:10.0.0.2", 80));
	assert_label(NULL, "a.pcap",
		     make_key(IPPROTO_TCP, "::ffff:10.0.0.1", 4000, "::ffff:10.0.0.2", 81));
}

static void vlan_and_what_icmp_has_for_ports_do_not_matter(void **state)
{
	struct flow_key key =
		make_key(IPPROTO_ICMP, "::ffff:10.0.0.1", 77, "::ffff:10.0.0.2", 2048);

	(void)state;
	assert_int_equal(read_text(HEADER "a.pcap\ticmp\t10.0.0.2\t0\t10.0.0.1\t0\tA\tx\t1\t1\n"
					  "a.pcap\ticmp6\tfe80::1\t0\tfe80::2\t0\tB\tx\t1\t1\n"),
			 0);
	key.vlan_id = 5;
	assert_label("A", "a.pcap", key);
	assert_label("B", "a.pcap", make_key(IPPROTO_ICMPV6, "fe80::1", 1, "fe80::2", 0x8000));
}

static void of_two_rows_of_one_flow_the_first_counts(void **state)
{
	(void)state;
	assert_int_equal(read_text(HEADER "a.pcap\ttcp\t10.0.0.1\t1\t10.0.0.2\t2\tA\tx\t1\t1\r\n"
					  "a.pcap\ttcp\t10.0.0.2\t2\t10.0.0.1\t1\tB\ty\t1\t1\n"
					  "a.pcap\ttcp\t10.0.0.1\t1\t10.0.0.2\t2\tC\tz\t1\t1\n"),
			 0);
	assert_label("A", "a.pcap",
		     make_key(IPPROTO_TCP, "::ffff:10.0.0.1", 1, "::ffff:10.0.0.2", 2));
}

static void a_table_without_rows_finds_nothing(void **state)
{
	(void)state;
	assert_int_equal(read_text(HEADER), 0);
	assert_label(NULL, "a.pcap", make_key(IPPROTO_TCP, "::1", 1, "::2", 2));
}

static void what_is_no_table_is_refused_with_its_line(void **state)
{
	static const struct {
		const char *text, *wanted;
	} bad[] = {
		{"", "empty"},
		{"pcap\tproto\n", ":1: not a table of labels"},
		{"1\t2\t3\t4\t5\t6\t7\t8\t9\t10\n", ":1: not a table of labels"},
		{HEADER "a.pcap\ttcp\t10.0.0.1\t1\t10.0.0.2\t2\tA\tx\t1\n", ":2: not a table"},
		{HEADER "a\ttcp\t10.0.0.1\t1\t10.0.0.2\t2\tA\tx\t1\t1\t1\n", ":2: not a table"},
		{HEADER "a\tsctp\t10.0.0.1\t1\t10.0.0.2\t2\tA\tx\t1\t1\n", ":2: \"sctp "},
		{HEADER "a\t256\t10.0.0.1\t1\t10.0.0.2\t2\tA\tx\t1\t1\n", "is no flow"},
		{HEADER "a\ttcp\t10.0.0\t1\t10.0.0.2\t2\tA\tx\t1\t1\n", "is no flow"},
		{HEADER "a\ttcp\t10.0.0.1\t1\thost\t2\tA\tx\t1\t1\n", "is no flow"},
		{HEADER "a\ttcp\t10.0.0.1\t65536\t10.0.0.2\t2\tA\tx\t1\t1\n", "is no flow"},
		{HEADER "a\ttcp\t10.0.0.1\t-1\t10.0.0.2\t2\tA\tx\t1\t1\n", "is no flow"},
		{HEADER "a\ttcp\t10.0.0.1\t1x\t10.0.0.2\t2\tA\tx\t1\t1\n", "is no flow"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(read_text(bad[i].text), -EINVAL);
		if (!strstr(e.text, bad[i].wanted))
			fail_msg("\"%s\" does not say \"%s\"", e.text, bad[i].wanted);
		assert_null(file);
	}
	assert_int_equal(labels_file_read("/nonexistent/labels.tsv", &file, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/nonexistent/labels.tsv"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_flow_is_found_whichever_end_stands_first, end),
		cmocka_unit_test_teardown(vlan_and_what_icmp_has_for_ports_do_not_matter, end),
		cmocka_unit_test_teardown(of_two_rows_of_one_flow_the_first_counts, end),
		cmocka_unit_test_teardown(a_table_without_rows_finds_nothing, end),
		cmocka_unit_test_teardown(what_is_no_table_is_refused_with_its_line, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
