/* SPDX-License-Identifier: BSD-2-Clause */
/* Captures of every link type, both formats, and broken ones. */
#include "tests/flow/captures.h"
#include <errno.h>
#include "agent/flow/capture.h"
#include "agent/flow/parse_user.h"
#include "maps/reason.h"

static void drop_record(void *ctx, const struct packet_record *record, const uint8_t *data)
{
	(void)data;
	*(struct packet_record *)ctx = *record;
}

/* Which link header goes before an IPv4, an IPv6 and a foreign packet. */
struct link_case {
	const char *name;
	uint32_t link_type;
	size_t len;
	uint8_t v4[24], v6[24], other[24]; /* other all zero: the link type carries IP only */
};

static const struct link_case link_cases[] = {
	{"Ethernet", LINK_ETHERNET, 14, {[12] = 8}, {[12] = 0x86, 0xdd}, {[12] = 8, 6}},
	{"Ethernet with a VLAN tag",
	 LINK_ETHERNET,
	 18,
	 {[12] = 0x81, 0, 0, 7, 8},
	 {[12] = 0x81, 0, 0, 7, 0x86, 0xdd},
	 {[12] = 0x81, 0, 0, 7, 8, 6}},
	{"cooked", LINK_SLL, 16, {[14] = 8}, {[14] = 0x86, 0xdd}, {[14] = 8, 6}},
	{"cooked with a VLAN tag",
	 LINK_SLL,
	 20,
	 {[14] = 0x81, 0, 0, 7, 8},
	 {[14] = 0x81, 0, 0, 7, 0x86, 0xdd},
	 {[14] = 0x81, 0, 0, 7, 8, 6}},
	{"cooked v2", LINK_SLL2, 20, {8, 0}, {0x86, 0xdd}, {8, 6}},
	{"null, little endian", LINK_NULL, 4, {2}, {30}, {7}},
	{"null, big endian", LINK_NULL, 4, {[3] = 2}, {[3] = 28}, {[3] = 7}},
	{"loop", LINK_LOOP, 4, {[3] = 2}, {[3] = 24}, {[3] = 7}},
	{"PPP", LINK_PPP, 2, {0, 0x21}, {0, 0x57}, {0xc0, 0x21}},
	{"PPP, short protocol", LINK_PPP, 1, {0x21}, {0x57}, {0xff}},
	{"PPP with address",
	 LINK_PPP,
	 4,
	 {0xff, 3, 0, 0x21},
	 {0xff, 3, 0, 0x57},
	 {0xff, 3, 0xc0, 0x21}},
	{"PPP serial",
	 LINK_PPP_HDLC,
	 4,
	 {0xff, 3, 0, 0x21},
	 {0xff, 3, 0, 0x57},
	 {0xff, 3, 0x80, 0x21}},
	{"PPPoE",
	 LINK_PPP_ETHER,
	 8,
	 {0x11, [7] = 0x21},
	 {0x11, [7] = 0x57},
	 {0x11, [6] = 0xc0, 0x21}},
	{"raw", LINK_RAW, 0, {0}, {0}, {0}},
	{"raw IPv4", LINK_IPV4, 0, {0}, {0}, {0}},
	{"raw IPv6", LINK_IPV6, 0, {0}, {0}, {0}},
};

static enum reason next_reason(struct capture *c, struct extractor *x)
{
	struct capture_packet packet;
	struct error e = {0};

	assert_int_equal(capture_next(c, &packet, &e), 1);
	return extractor_packet(x, packet.link, packet.bytes, packet.captured, packet.time_ns);
}

static void check_link(const struct link_case *k)
{
	struct nm_config config = {.record_packets = 100};
	struct packet_record record = {0};
	struct scratch file;
	struct extractor *x;
	struct capture *c;
	struct error e = {0};
	uint8_t bytes[128];
	size_t len;

	print_message("# %s\n", k->name);
	scratch_open(&file);
	put_pcap_header(file.file, PCAP_MICRO, k->link_type);
	memcpy(bytes, k->v4, k->len);
	len = k->len + make_udp4(bytes + k->len, 0x0a000001, 0x0a000002, 1234, 53, 9);
	put_pcap_packet(file.file, 100, 5, bytes, len);
	memcpy(bytes, k->v6, k->len);
	len = k->len + make_udp6(bytes + k->len, 1, 2);
	put_pcap_packet(file.file, 100, 6, bytes, len);
	memcpy(bytes, k->other, k->len);
	memset(bytes + k->len, 0, 60);
	put_pcap_packet(file.file, 100, 7, bytes, k->len + 60);

	assert_int_equal(extractor_new(&config, 16, drop_record, &record, &x), 0);
	assert_int_equal(capture_open(scratch_close(&file), &c, &e), 0);
	assert_int_equal(next_reason(c, x), REASON_UNDECIDED);
	assert_int_equal(record.ip_len_bytes, 37);
	assert_int_equal(record.time_ns, 100000005000);
	assert_int_equal(record.key.vlan_id, strstr(k->name, "VLAN") ? 7 : 0);
	assert_int_equal(next_reason(c, x), REASON_UNDECIDED);
	assert_int_equal(record.ip_len_bytes, 48);
	assert_int_equal(next_reason(c, x), REASON_NOT_IP);
	assert_int_equal(capture_next(c, &(struct capture_packet){0}, &e), 0);
	capture_close(c);
	extractor_free(x);
	scratch_remove(&file);
}

static void every_link_type_gives_its_ip_packets(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(link_cases) / sizeof(link_cases[0]); i++)
		check_link(&link_cases[i]);
}

/* Each packet of each link type, cut at each length: nothing is read past its end. */
static void packets_of_any_length_are_harmless(void **state)
{
	struct nm_config config = {.record_packets = 100};
	struct packet_record record = {0};
	struct extractor *x;

	(void)state;
	assert_int_equal(extractor_new(&config, 16, drop_record, &record, &x), 0);
	for (size_t i = 0; i < sizeof(link_cases) / sizeof(link_cases[0]); i++) {
		const struct link_case *k = &link_cases[i];
		struct capture_packet packet;
		struct scratch file;
		struct capture *c;
		struct error e = {0};
		uint8_t bytes[128];
		size_t len;

		memcpy(bytes, k->v4, k->len);
		len = k->len + make_udp4(bytes + k->len, 1, 2, 1234, 53, 9);
		scratch_open(&file);
		put_pcap_header(file.file, PCAP_MICRO, k->link_type);
		for (size_t cut = 1; cut <= len; cut++)
			put_pcap_packet(file.file, 1, 0, bytes, cut);
		assert_int_equal(capture_open(scratch_close(&file), &c, &e), 0);
		for (size_t cut = 1; cut <= len; cut++) {
			assert_int_equal(capture_next(c, &packet, &e), 1);
			assert_in_range(packet.captured, 0, cut);
			extractor_packet(x, packet.link, packet.bytes, packet.captured, 0);
		}
		capture_close(c);
		scratch_remove(&file);
	}
	extractor_free(x);
}

static void another_link_type_is_refused_by_name(void **state)
{
	struct capture *c = NULL;
	struct error e = {0};
	struct scratch file;

	(void)state;
	scratch_open(&file);
	put_pcap_header(file.file, PCAP_MICRO, LINK_IEEE80211);
	assert_int_equal(capture_open(scratch_close(&file), &c, &e), -EOPNOTSUPP);
	assert_null(c);
	assert_non_null(strstr(e.text, "IEEE802_11 (105)"));
	assert_non_null(strstr(e.text, file.path));
	scratch_remove(&file);
}

static void nanoseconds_stay_nanoseconds(void **state)
{
	struct capture_packet packet;
	struct capture *c;
	struct error e = {0};
	struct scratch file;
	uint8_t bytes[64];
	size_t len = make_udp4(bytes, 1, 2, 3, 4, 0);

	(void)state;
	scratch_open(&file);
	put_pcap_header(file.file, PCAP_NANO, LINK_RAW);
	put_pcap_packet(file.file, 7, 123456789, bytes, len);
	assert_int_equal(capture_open(scratch_close(&file), &c, &e), 0);
	assert_int_equal(capture_next(c, &packet, &e), 1);
	assert_int_equal(packet.time_ns, 7123456789);
	capture_close(c);
	scratch_remove(&file);
}

/* A section, an interface with a resolution of 10^-9 s, and packets at the given times. */
static void put_pcapng(FILE *f, const uint64_t *times, size_t n)
{
	uint32_t section[] = {0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0xffffffff, 0xffffffff, 28};
	uint32_t interface[] = {1, 32, LINK_RAW, 65535, 9 | 1 << 16, 9, 0, 32};
	uint8_t bytes[64];
	size_t len = make_udp4(bytes, 1, 2, 3, 4, 0);

	fwrite(section, sizeof(section), 1, f);
	fwrite(interface, sizeof(interface), 1, f);
	for (size_t i = 0; i < n; i++) {
		uint32_t total = 32 + len;
		uint32_t head[] = {6, total, 0, times[i] >> 32, (uint32_t)times[i], len, len};

		fwrite(head, sizeof(head), 1, f);
		fwrite(bytes, len, 1, f);
		fwrite(&total, sizeof(total), 1, f);
	}
}

static void pcapng_is_read_and_its_times_stay_in_range(void **state)
{
	const uint64_t times[] = {1700000000123456789, 0, UINT64_MAX};
	struct capture_packet packet;
	struct capture *c;
	struct error e = {0};
	struct scratch file;

	(void)state;
	scratch_open(&file);
	put_pcapng(file.file, times, 3);
	assert_int_equal(capture_open(scratch_close(&file), &c, &e), 0);
	assert_int_equal(capture_next(c, &packet, &e), 1);
	assert_int_equal(packet.time_ns, times[0]);
	assert_int_equal(capture_next(c, &packet, &e), 1);
	assert_int_equal(packet.time_ns, 0);
	assert_int_equal(capture_next(c, &packet, &e), 1);
	assert_true(packet.time_ns <= INT64_MAX);
	assert_int_equal(capture_next(c, &packet, &e), 0);
	capture_close(c);
	scratch_remove(&file);
}

static void a_file_that_is_no_capture_is_refused(void **state)
{
	struct capture *c = NULL;
	struct error e = {0};
	struct scratch file;

	(void)state;
	assert_int_equal(capture_open("/nonexistent/x.pcap", &c, &e), -ENOENT);
	assert_string_equal(e.text, "/nonexistent/x.pcap: No such file or directory");
	assert_int_equal(capture_open("/tmp", &c, &e), -EINVAL);
	scratch_open(&file);
	fputs("this is text, and more of it than a header's length", file.file);
	assert_int_equal(capture_open(scratch_close(&file), &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "not a readable pcap or pcapng file"));
	assert_null(c);
	capture_close(NULL);
	scratch_remove(&file);
}

/* Cut anywhere, a file gives its whole packets and then either its end or an error that names the
 * next packet. */
static void a_cut_file_gives_its_whole_packets_and_then_says_where(void **state)
{
	uint8_t bytes[64];
	size_t len = make_udp4(bytes, 1, 2, 3, 4, 4), each = 16 + len;

	(void)state;
	for (size_t size = 0; size <= 24 + 3 * each; size++) {
		struct capture_packet packet;
		struct capture *c = NULL;
		struct error e = {0};
		struct scratch file;
		size_t whole = 0;
		int status;

		scratch_open(&file);
		put_pcap_header(file.file, PCAP_MICRO, LINK_RAW);
		for (int i = 0; i < 3; i++)
			put_pcap_packet(file.file, 1, i, bytes, len);
		fflush(file.file);
		assert_int_equal(ftruncate(fileno(file.file), size), 0);
		status = capture_open(scratch_close(&file), &c, &e);
		assert_int_equal(status != 0, size < 24);
		while (!status && (status = capture_next(c, &packet, &e)) == 1) {
			whole++;
			status = 0;
		}
		if (size >= 24) {
			char where[32];

			assert_int_equal(whole, (size - 24) / each);
			assert_int_equal(status < 0, (size - 24) % each != 0);
			snprintf(where, sizeof(where), "packet %zu:", whole + 1);
			assert_true(status == 0 || strstr(e.text, where));
		}
		capture_close(c);
		scratch_remove(&file);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_link_type_gives_its_ip_packets),
		cmocka_unit_test(packets_of_any_length_are_harmless),
		cmocka_unit_test(another_link_type_is_refused_by_name),
		cmocka_unit_test(nanoseconds_stay_nanoseconds),
		cmocka_unit_test(pcapng_is_read_and_its_times_stay_in_range),
		cmocka_unit_test(a_file_that_is_no_capture_is_refused),
		cmocka_unit_test(a_cut_file_gives_its_whole_packets_and_then_says_where),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
