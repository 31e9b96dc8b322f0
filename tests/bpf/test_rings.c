/* SPDX-License-Identifier: BSD-2-Clause */
/* agent/flow/rings.c on real ring buffers: filled by the real programs, and by a program of five
 * instructions that writes whatever a test wants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "agent/flow/assembler.h"
#include "agent/flow/rings.h"
#include "bpf/parse.h"
#include "tests/bpf/harness.h"
#include "netmamba.skel.h"

#define RING_BYTES (1 << 20)
#define A_TURN     4096 /* as rings.c has it */

struct taken {
	uint64_t records, hits;
	struct packet_record last;
	uint8_t last_byte;
};

static void on_record(void *ctx, const struct packet_record *record, const uint8_t *data)
{
	struct taken *t = ctx;

	t->records++;
	t->last = *record;
	t->last_byte = record->header_bytes ? data[0] : 0;
}

static void on_hit(void *ctx, const struct packet_record *record, const uint8_t *data)
{
	(void)record, (void)data;
	((struct taken *)ctx)->hits++;
}

static int make_ring(void)
{
	return bpf_map_create(BPF_MAP_TYPE_RINGBUF, "nm_test", 0, 0, RING_BYTES, NULL);
}

/* A socket filter that puts the first `size` bytes of its stack into the ring: `record`, then
 * zeros. */
static int make_writer(int ring_fd, const void *record, size_t size)
{
	struct bpf_insn code[160] = {0};
	char log[4096] = "";
	int n = 0, fd;

	for (size_t at = 0; at < 512; at += 4) {
		int32_t word = 0;

		if (at + 4 <= sizeof(struct packet_record))
			memcpy(&word, (const uint8_t *)record + at, 4);
		code[n++] = (struct bpf_insn){.code = BPF_ST | BPF_MEM | BPF_W,
					      .dst_reg = BPF_REG_10,
					      .off = (int16_t)(at - 512),
					      .imm = word};
	}
	code[n++] = (struct bpf_insn){.code = BPF_LD | BPF_IMM | BPF_DW,
				      .dst_reg = BPF_REG_1,
				      .src_reg = BPF_PSEUDO_MAP_FD,
				      .imm = ring_fd};
	n++; /* the upper half of the descriptor */
	code[n++] = (struct bpf_insn){
		.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_10};
	code[n++] = (struct bpf_insn){
		.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_2, .imm = -512};
	code[n++] = (struct bpf_insn){
		.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3, .imm = (int32_t)size};
	code[n++] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_4};
	code[n++] = (struct bpf_insn){.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_ringbuf_output};
	code[n++] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0};
	code[n++] = (struct bpf_insn){.code = BPF_JMP | BPF_EXIT};

	LIBBPF_OPTS(bpf_prog_load_opts, options, .log_buf = log, .log_size = sizeof(log));
	fd = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "nm_writer", "BSD", code, n, &options);
	if (fd < 0)
		print_message("# %s\n", log);
	return fd;
}

static void write_records(int ring_fd, const struct packet_record *record, size_t size, int n)
{
	uint8_t packet[64] = {0};
	int fd = make_writer(ring_fd, record, size);

	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = n);
	assert_in_range(fd, 0, INT32_MAX);
	assert_int_equal(bpf_prog_test_run_opts(fd, &run), 0);
	close(fd);
}

struct fixture {
	int fds[2];
	struct rings *rings;
	struct taken taken;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error e = {0};

	f->fds[0] = make_ring();
	f->fds[1] = make_ring();
	*state = f;
	if (f->fds[0] < 0 || f->fds[1] < 0) {
		print_message("# no ring buffers here: %s\n", strerror(errno));
		return 0;
	}
	return rings_new(f->fds, 2, on_record, on_hit, &f->taken, &f->rings, &e);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rings_free(f->rings);
	close(f->fds[0]);
	close(f->fds[1]);
	free(f);
	return 0;
}

static void records_of_each_size_are_taken(void **state)
{
	struct packet_record r = {.key.proto = 17, .header_bytes = 100, .payload_bytes = 60};
	struct packet_record bare = {.key.proto = 6};
	struct fixture *f = *state;

	if (!f->rings)
		skip();
	write_records(f->fds[0], &bare, sizeof(bare), 1);
	write_records(f->fds[1], &r, sizeof(r) + RECORD_DATA_SMALL, 1);
	assert_int_equal(rings_consume(f->rings), 2);
	assert_int_equal(f->taken.records, 2);
	assert_int_equal(f->taken.last.key.proto, 17);
	write_records(f->fds[1], &r, sizeof(r) + RECORD_DATA_LARGE, 1);
	assert_int_equal(rings_consume(f->rings), 1);
	assert_int_equal(f->taken.records, 3);
	assert_int_equal(rings_bad_records(f->rings), 0);
}

static void records_of_a_wrong_size_are_counted_and_skipped(void **state)
{
	struct packet_record r = {.key.proto = 17};
	struct fixture *f = *state;

	if (!f->rings)
		skip();
	write_records(f->fds[0], &r, 8, 1);
	write_records(f->fds[0], &r, sizeof(r) - 1, 1);
	write_records(f->fds[0], &r, sizeof(r) + 1, 1);
	write_records(f->fds[0], &r, sizeof(r) + RECORD_DATA_LARGE - 8, 1);
	write_records(f->fds[0], &r, sizeof(r), 1);
	rings_consume(f->rings);
	assert_int_equal(rings_bad_records(f->rings), 4);
	assert_int_equal(f->taken.records, 1);
}

static void lengths_beyond_the_record_are_counted_and_skipped(void **state)
{
	struct packet_record r = {.header_bytes = RECORD_DATA_SMALL, .payload_bytes = 1};
	struct packet_record odd = {.kind = 7};
	struct fixture *f = *state;

	if (!f->rings)
		skip();
	write_records(f->fds[0], &r, sizeof(r) + RECORD_DATA_SMALL, 1);
	write_records(f->fds[0], &odd, sizeof(odd), 1);
	r.header_bytes = UINT16_MAX;
	r.payload_bytes = UINT16_MAX;
	write_records(f->fds[0], &r, sizeof(r) + RECORD_DATA_LARGE, 1);
	rings_consume(f->rings);
	assert_int_equal(rings_bad_records(f->rings), 3);
	assert_int_equal(f->taken.records + f->taken.hits, 0);
}

static void hits_come_by_their_own_callback(void **state)
{
	struct packet_record hit = {.kind = RECORD_HIT};
	struct fixture *f = *state;

	if (!f->rings)
		skip();
	write_records(f->fds[0], &hit, sizeof(hit), 2);
	assert_int_equal(rings_consume(f->rings), 2);
	assert_int_equal(f->taken.hits, 2);
	assert_int_equal(f->taken.records, 0);
}

static bool is_readable(const struct rings *r)
{
	struct epoll_event event;

	return epoll_wait(rings_epoll_fd(r), &event, 1, 0) == 1;
}

static void a_flood_in_one_ring_does_not_hold_the_other(void **state)
{
	struct packet_record r = {.key.proto = 6};
	struct fixture *f = *state;

	if (!f->rings)
		skip();
	assert_false(is_readable(f->rings));
	write_records(f->fds[0], &r, sizeof(r), A_TURN + 100);
	r.key.proto = 17;
	write_records(f->fds[1], &r, sizeof(r), 1);
	assert_true(is_readable(f->rings));
	assert_int_equal(rings_consume(f->rings), A_TURN + 1);
	assert_int_equal(f->taken.last.key.proto, 17);
	assert_true(is_readable(f->rings));
	assert_int_equal(rings_consume(f->rings), 100);
	assert_int_equal(f->taken.records, A_TURN + 101);
	assert_int_equal(rings_consume(f->rings), 0);
}

static void a_map_that_is_no_ring_is_refused(void **state)
{
	int fds[2] = {make_ring(), bpf_map_create(BPF_MAP_TYPE_ARRAY, "nm_array", 4, 4, 1, NULL)};
	struct rings *rings = NULL;
	struct error e = {0};

	(void)state;
	if (fds[0] < 0 || fds[1] < 0)
		skip();
	assert_int_not_equal(rings_new(fds, 2, on_record, on_hit, NULL, &rings, &e), 0);
	assert_null(rings);
	assert_non_null(strstr(e.text, "ring 1"));
	close(fds[0]);
	close(fds[1]);
	rings_free(NULL);
}

/* ---- from the real programs to a sample ---- */

struct line {
	struct assembler *assembler;
	int n_ready;
	uint16_t n_packets;
	uint64_t times_ns[8];
	uint32_t lens[8];
	bool against[8];
	struct flow_info info;
};

static void to_assembler(void *ctx, const struct packet_record *record, const uint8_t *data)
{
	assembler_add_record(((struct line *)ctx)->assembler, record, data);
}

static void on_ready(void *ctx, const struct flow_info *info, const struct flow_sample *s,
		     enum ready_reason why)
{
	struct line *l = ctx;

	(void)why;
	l->n_ready++;
	l->info = *info;
	l->n_packets = s->n_packets;
	for (int i = 0; i < s->n_packets && i < 8; i++) {
		l->times_ns[i] = s->packets[i].time_ns;
		l->lens[i] = s->packets[i].ip_len_bytes;
		l->against[i] = s->packets[i].against;
	}
}

/* Packets 0, 2, 4 of a conversation land in ring 1, packets 1, 3, 5 in ring 0, which is read
 * first. */
static void the_programs_records_from_two_rings_become_one_ordered_flow(void **state)
{
	struct assembler_config config = {.shape = {.packets = 3,
						    .header_bytes = 80,
						    .payload_bytes = 80,
						    .seq_len = 6,
						    .bidirectional = true},
					  .max_flows = 16};
	struct harness *h = harness_new(&(struct harness_options){.config = harness_config()});
	struct fixture *f = *state;
	struct rings *rings = NULL;
	struct line l = {0};
	uint32_t zero = 0;
	struct packet p;

	if (!h || !f->rings)
		skip();
	assert_int_equal(assembler_new(&config, on_ready, &l, &l.assembler), 0);
	assert_int_equal(rings_new(f->fds, 2, to_assembler, on_hit, &l, &rings, NULL), 0);
	harness_control(h, &(struct control){.schema_version = SCHEMA_VERSION, .generation = 1});
	for (int i = 0; i < 6; i++) {
		bool reply = i % 2;

		assert_int_equal(bpf_map__update_elem(h->skel->maps.events, &zero, sizeof(zero),
						      &f->fds[reply ? 0 : 1], sizeof(int), 0),
				 0);
		packet_make_tcp(&p, reply ? "10.0.0.2" : "10.0.0.1",
				reply ? "10.0.0.1" : "10.0.0.2", reply ? 443 : 50000,
				reply ? 50000 : 443, i == 0 ? TCP_SYN : TCP_ACK, 10 + i);
		h->now_ns += 1000000;
		assert_int_equal(harness_run_packet(h, reply ? HOOK_EGRESS : HOOK_INGRESS, &p), 0);
	}
	assert_int_equal(rings_consume(rings), 6);
	assert_int_equal(l.n_ready, 1);
	assert_int_equal(l.n_packets, 6);
	for (int i = 0; i < 6; i++) {
		assert_true(i == 0 || l.times_ns[i] == l.times_ns[i - 1] + 1000000);
		assert_int_equal(l.lens[i], 40 + 10 + i);
		assert_int_equal(l.against[i], i % 2);
	}
	assert_int_equal(l.info.hooks_seen, 3);
	assert_int_equal(l.info.directions_seen, 3);
	assert_int_equal(assembler_counters(l.assembler)->records_missing, 0);
	rings_free(rings);
	assembler_free(l.assembler);
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(records_of_each_size_are_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(records_of_a_wrong_size_are_counted_and_skipped,
						setup, teardown),
		cmocka_unit_test_setup_teardown(lengths_beyond_the_record_are_counted_and_skipped,
						setup, teardown),
		cmocka_unit_test_setup_teardown(hits_come_by_their_own_callback, setup, teardown),
		cmocka_unit_test_setup_teardown(a_flood_in_one_ring_does_not_hold_the_other, setup,
						teardown),
		cmocka_unit_test(a_map_that_is_no_ring_is_refused),
		cmocka_unit_test_setup_teardown(
			the_programs_records_from_two_rings_become_one_ordered_flow, setup,
			teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
