/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Debiasing, bit by bit. A packet is written as hexadecimal; a second text of the same length marks
 * what must become zero: `..` stays, the letter of a bit stands where that bit zeroes:
 *   A ip_addr  P ports  I ip_id  T ttl  C checksums  S tcp_seq_ack  Y tcp_timestamps  N tls_sni
 * Each bit is tried alone, and all together.
 */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "model/debias.h"
#include "model/model_file.h"

#define MAX_BYTES 256

struct packet {
	const char *what;
	const char *header, *header_marks;
	const char *payload, *payload_marks;
};

static const struct {
	char mark;
	uint32_t bit;
} bits[] = {
	{'A', DEBIAS_IP_ADDR},        {'P', DEBIAS_PORTS},
	{'I', DEBIAS_IP_ID},          {'T', DEBIAS_TTL},
	{'C', DEBIAS_CHECKSUMS},      {'S', DEBIAS_TCP_SEQ_ACK},
	{'Y', DEBIAS_TCP_TIMESTAMPS}, {'N', DEBIAS_TLS_SNI},
};
#define N_BITS (sizeof(bits) / sizeof(bits[0]))

static const struct packet packets[] = {
	{"TCP over IPv4 with MSS, SACK, timestamps and fillers",
	 /* IP */
	 "45b80102 0304 4000 4006 1111 0a000001 0a000002 "
	 /* TCP */ "c3510050 11111111 22222222 f018ffff 3333 4444 "
	 "020405b4 0101 080a 55555555 66666666 050a 77777777 88888888 0101 0303 0708 00 ff",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA "
	 "PPPPPPPP SSSSSSSS SSSSSSSS ........ CCCC .... "
	 "........ .... .... YYYYYYYY YYYYYYYY .... SSSSSSSS SSSSSSSS .... .... .... .. ..",
	 "16030100", "........"},
	{"UDP over IPv4", "45000020 0001 0000 8011 abcd c0a80101 08080808 d431 0035 000c 9999",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA PPPP PPPP .... CCCC", "11223344",
	 "........"},
	{"a later fragment: what follows is no transport header",
	 "45000020 0001 00b9 8011 abcd c0a80101 08080808 d431003500209999",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA ................", "", ""},
	{"IPv4 options: record route, then router alert",
	 "48000024 0001 0000 4001 abcd c0a80101 08080808 07070411223344 01 94040000 0800 1234 5678 "
	 "0001",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA ....AAAAAAAAAA .. ........ .... CCCC PPPP "
	 "....",
	 "6162", "...."},
	{"ICMP echo: its identifier is a port, its sequence number stays",
	 "4500001c 0001 0000 4001 abcd c0a80101 08080808 0800 1234 5678 0009",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA .... CCCC PPPP ....", "6162", "...."},
	{"ICMP unreachable: the packet it quotes is debiased too",
	 "4500001c 0001 0000 4001 abcd c0a80101 08080808 0303 1234 0000 0000",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA .... CCCC .... ....",
	 "45000020 0001 0000 8011 abcd c0a80101 08080808 d431 0035 000c 9999",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA PPPP PPPP .... CCCC"},
	{"ICMP redirect: the gateway is an address",
	 "4500001c 0001 0000 4001 abcd c0a80101 08080808 0501 1234 0a0b0c0d",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA .... CCCC AAAAAAAA", "", ""},
	{"TCP over IPv6, traffic class kept",
	 "6fb12345 0014 06 40 20010db8000000000000000000000001 20010db8000000000000000000000002 "
	 "c3510050 11111111 22222222 5018ffff 3333 4444",
	 "...IIIII .... .. TT AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "
	 "PPPPPPPP SSSSSSSS SSSSSSSS ........ CCCC ....",
	 "", ""},
	{"IPv6 with hop-by-hop, routing and a first fragment, then UDP",
	 "60000000 0014 00 40 20010db8000000000000000000000001 20010db8000000000000000000000002 "
	 "2b00 0102 0000 0000 2c02 0401 00000000 20010db8000000000000000000000003 "
	 "1100 0001 deadbeef d431 0035 000c 9999",
	 "...IIIII .... .. TT AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "
	 ".... .... .... .... .... .... ........ AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "
	 ".... .... IIIIIIII PPPP PPPP .... CCCC",
	 "", ""},
	{"IPv6, later fragment",
	 "60000000 0014 2c 40 20010db8000000000000000000000001 20010db8000000000000000000000002 "
	 "1100 0009 deadbeef d4310035000c9999",
	 "...IIIII .... .. TT AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "
	 ".... .... IIIIIIII ................",
	 "", ""},
	{"ICMPv6 echo",
	 "60000000 0014 3a 40 20010db8000000000000000000000001 20010db8000000000000000000000002 "
	 "8000 1234 5678 0001",
	 "...IIIII .... .. TT AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "
	 ".... CCCC PPPP ....",
	 "", ""},
	{"TLS ClientHello: the host name goes, its lengths and the other extensions stay",
	 "45000028 0001 4000 4006 1111 0a000001 0a000002 c35101bb 11111111 22222222 5018ffff 3333 "
	 "4444",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA PPPPPPPP SSSSSSSS SSSSSSSS ........ CCCC "
	 "....",
	 "16 0301 0050 01 00004c 0303 "
	 "4444444444444444444444444444444444444444444444444444444444444444 02 aaaa 0004 13011302 "
	 "01 "
	 "00 001c 0017 0000 0000 000f 000d 00 000a 612e6578616d706c6531 0023 0001 ff",
	 ".. .... .... .. ...... .... "
	 "................................................................ .. .... .... ........ "
	 ".. "
	 ".. .... .... .... .... .... .... .. .... NNNNNNNNNNNNNNNNNNNN .... .... .."},
	{"TLS ClientHello cut in the host name",
	 "45000028 0001 4000 4006 1111 0a000001 0a000002 c35101bb 11111111 22222222 5018ffff 3333 "
	 "4444",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA PPPPPPPP SSSSSSSS SSSSSSSS ........ CCCC "
	 "....",
	 "16 0301 0050 01 00004c 0303 "
	 "4444444444444444444444444444444444444444444444444444444444444444 00 0002 1301 01 00 001c "
	 "0000 000f 000d 00 000a 612e65",
	 ".. .... .... .. ...... .... "
	 "................................................................ .. .... .... .. .. .... "
	 ".... .... .... .. .... NNNNNN"},
	{"the same bytes in UDP are no ClientHello",
	 "45000020 0001 0000 8011 abcd c0a80101 08080808 d431 01bb 000c 9999",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA PPPP PPPP .... CCCC",
	 "16 0301 0050 01 00004c 0303 "
	 "4444444444444444444444444444444444444444444444444444444444444444 00 0002 1301 01 00 001c "
	 "0000 000f 000d 00 000a 612e65",
	 ".. .... .... .. ...... .... "
	 "................................................................ .. .... .... .. .. .... "
	 ".... .... .... .. .... ......"},
	{"IPv4 options: timestamps with addresses, then a loose source route",
	 "49000034 0001 0000 4001 abcd c0a80101 08080808 4408 0501 11223344 8307 0411223344 00 "
	 "0800 1234 5678 0001",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA .... AAAA AAAAAAAA .... AAAAAAAAAA .. "
	 ".... CCCC PPPP ....",
	 "", ""},
	{"IPv4 options: a strict source route",
	 "47000024 0001 0000 4001 abcd c0a80101 08080808 8907 0411223344 00 0800 1234 5678 0001",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA .... AAAAAAAAAA .. .... CCCC PPPP ....",
	 "", ""},
	{"a later fragment far behind",
	 "45000020 0001 1000 8011 abcd c0a80101 08080808 d431003500209999",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA ................", "", ""},
	{"ICMP source quench quotes as well",
	 "4500001c 0001 0000 4001 abcd c0a80101 08080808 0400 1234 0000 0000",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA .... CCCC .... ....",
	 "45000020 0001 0000 8011 abcd c0a80101 08080808 d431 0035 000c 9999",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA PPPP PPPP .... CCCC"},
	{"ICMP error that quotes an error: what that one quotes is not looked at",
	 "4500001c 0001 0000 4001 abcd c0a80101 08080808 0303 1234 0000 0000",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA .... CCCC .... ....",
	 "4500001c 0001 0000 4001 abcd c0a80101 08080808 0303 1234 0000 0000 "
	 "45000020 0001 0000 8011 abcd c0a80101 08080808 d431 0035 000c 9999",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA .... CCCC .... .... "
	 "........ .... .... .... .... ........ ........ .... .... .... ...."},
	{"ICMPv6 echo reply",
	 "60000000 0014 3a 40 20010db8000000000000000000000001 20010db8000000000000000000000002 "
	 "8100 1234 5678 0001",
	 "...IIIII .... .. TT AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "
	 ".... CCCC PPPP ....",
	 "", ""},
	{"ICMPv6 parameter problem: the packet it quotes is debiased too",
	 "60000000 0014 3a 40 20010db8000000000000000000000001 20010db8000000000000000000000002 "
	 "0400 1234 0000 0000",
	 "...IIIII .... .. TT AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "
	 ".... CCCC .... ....",
	 "60000000 0014 11 40 20010db8000000000000000000000001 20010db8000000000000000000000002 "
	 "d431 0035 000c 9999",
	 "...IIIII .... .. TT AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "
	 "PPPP PPPP .... CCCC"},
	{"IPv6 with an authentication header, then UDP",
	 "60000000 0014 33 40 20010db8000000000000000000000001 20010db8000000000000000000000002 "
	 "1102 0000 00000001 00000002 00000003 d431 0035 000c 9999",
	 "...IIIII .... .. TT AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "
	 ".... .... ........ ........ ........ PPPP PPPP .... CCCC",
	 "", ""},
	{"TLS ClientHello with an empty name: what is behind it stays",
	 "45000028 0001 4000 4006 1111 0a000001 0a000002 c35101bb 11111111 22222222 5018ffff 3333 "
	 "4444",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA PPPPPPPP SSSSSSSS SSSSSSSS ........ CCCC "
	 "....",
	 "16 0301 0050 01 00004c 0303 "
	 "4444444444444444444444444444444444444444444444444444444444444444 00 0002 1301 01 00 0010 "
	 "0000 0000 0023 0008 ffffffffffffffff",
	 ".. .... .... .. ...... .... "
	 "................................................................ .. .... .... .. .. .... "
	 ".... .... .... .... ................"},
	{"a TLS ServerHello has no name to hide",
	 "45000028 0001 4000 4006 1111 0a000001 0a000002 c35101bb 11111111 22222222 5018ffff 3333 "
	 "4444",
	 "........ IIII .... TT.. CCCC AAAAAAAA AAAAAAAA PPPPPPPP SSSSSSSS SSSSSSSS ........ CCCC "
	 "....",
	 "16 0301 0050 02 00004c 0303 "
	 "4444444444444444444444444444444444444444444444444444444444444444 00 0002 1301 01 00 001c "
	 "0000 000f 000d 00 000a 612e65",
	 ".. .... .... .. ...... .... "
	 "................................................................ .. .... .... .. .. .... "
	 ".... .... .... .. .... ......"},
	{"neither IPv4 nor IPv6", "75000020 0001 0000 8011 abcd", "........ .... .... .... ....",
	 "", ""},
};
#define N_PACKETS (sizeof(packets) / sizeof(packets[0]))

/* Without the blanks; returns the number of characters. */
static size_t squeeze(char *out, const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		if (*text != ' ')
			out[n++] = *text;
	out[n] = 0;
	assert_true(n < 2 * MAX_BYTES);
	return n;
}

static uint8_t nibble(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

static size_t bytes_of(uint8_t *bytes, const char *hex)
{
	char text[2 * MAX_BYTES];
	size_t n = squeeze(text, hex);

	for (size_t i = 0; i < n / 2; i++)
		bytes[i] = nibble(text[2 * i]) << 4 | nibble(text[2 * i + 1]);
	return n / 2;
}

/* Zeroes the nibbles whose mark belongs to one of the bits. */
static void expect(uint8_t *bytes, size_t n, const char *marks, uint32_t chosen)
{
	char text[2 * MAX_BYTES];
	size_t n_marks = squeeze(text, marks);

	assert_int_equal(n_marks, 2 * n);
	for (size_t i = 0; i < n_marks; i++)
		for (size_t b = 0; b < N_BITS; b++)
			if (bits[b].mark == text[i] && (bits[b].bit & chosen))
				bytes[i / 2] &= i % 2 ? 0xf0 : 0x0f;
}

static void check(const struct packet *p, uint32_t chosen)
{
	uint8_t header[MAX_BYTES], payload[MAX_BYTES], want_header[MAX_BYTES],
		want_payload[MAX_BYTES];
	size_t n_header = bytes_of(header, p->header), n_payload = bytes_of(payload, p->payload);

	memcpy(want_header, header, n_header);
	memcpy(want_payload, payload, n_payload);
	expect(want_header, n_header, p->header_marks, chosen);
	expect(want_payload, n_payload, p->payload_marks, chosen);
	debias_packet(header, n_header, payload, n_payload, chosen);
	for (size_t i = 0; i < n_header; i++)
		if (header[i] != want_header[i])
			fail_msg("%s, bits %#x: header byte %zu: want %02x, got %02x", p->what,
				 chosen, i, want_header[i], header[i]);
	for (size_t i = 0; i < n_payload; i++)
		if (payload[i] != want_payload[i])
			fail_msg("%s, bits %#x: payload byte %zu: want %02x, got %02x", p->what,
				 chosen, i, want_payload[i], payload[i]);
}

static void each_bit_zeroes_its_fields_and_nothing_else(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_PACKETS; i++) {
		for (size_t b = 0; b < N_BITS; b++)
			check(&packets[i], bits[b].bit);
		check(&packets[i], 0);
		check(&packets[i], 0xff);
	}
}

/* Bytes that are there, exactly as many, in memory of their own: asan sees a step too far. */
static void cut(const struct packet *p, size_t header_bytes, size_t payload_bytes)
{
	uint8_t header[MAX_BYTES], payload[MAX_BYTES], *tight_header, *tight_payload;

	bytes_of(header, p->header);
	bytes_of(payload, p->payload);
	tight_header = test_malloc(header_bytes + 1);
	tight_payload = test_malloc(payload_bytes + 1);
	memcpy(tight_header + 1, header, header_bytes);
	memcpy(tight_payload + 1, payload, payload_bytes);
	debias_packet(tight_header + 1, header_bytes, tight_payload + 1, payload_bytes, 0xff);
	test_free(tight_header);
	test_free(tight_payload);
}

static void packets_cut_anywhere_stay_within_their_bytes(void **state)
{
	uint8_t bytes[MAX_BYTES];

	(void)state;
	for (size_t i = 0; i < N_PACKETS; i++) {
		size_t n_header = bytes_of(bytes, packets[i].header);
		size_t n_payload = bytes_of(bytes, packets[i].payload);

		for (size_t n = 0; n <= n_header; n++)
			cut(&packets[i], n, n_payload);
		for (size_t n = 0; n <= n_payload; n++)
			cut(&packets[i], n_header, n);
	}
}

/* Lengths inside the packet that lie, all 256 of them at every place. */
static void any_byte_may_hold_anything(void **state)
{
	uint8_t header[MAX_BYTES], payload[MAX_BYTES];

	(void)state;
	for (size_t i = 0; i < N_PACKETS; i++) {
		size_t n_header = bytes_of(header, packets[i].header);
		size_t n_payload = bytes_of(payload, packets[i].payload);

		for (size_t place = 0; place < n_header + n_payload; place++) {
			for (int value = 0; value < 256; value++) {
				uint8_t guard = 0xa5;

				bytes_of(header, packets[i].header);
				bytes_of(payload, packets[i].payload);
				if (place < n_header)
					header[place] = value;
				else
					payload[place - n_header] = value;
				header[n_header] = payload[n_payload] = guard;
				debias_packet(header, n_header, payload, n_payload, 0xff);
				assert_int_equal(header[n_header], guard);
				assert_int_equal(payload[n_payload], guard);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_bit_zeroes_its_fields_and_nothing_else),
		cmocka_unit_test(packets_cut_anywhere_stay_within_their_bytes),
		cmocka_unit_test(any_byte_may_hold_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
