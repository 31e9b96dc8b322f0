/* SPDX-License-Identifier: BSD-2-Clause */
/* The file of a data set: there and back, damaged, hostile, leaking, on a full disk. */
#include <dirent.h>
#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include "tests/nmd/tree.h"
#include "tests/nmtrain/nmd_file.h"
#include "tests/nmtrain/tiny_set.h"

static char dir[64], path[128];
static struct error e;
static struct dataset *set;

static const struct tiny_config tiny = {
	.n_flows = 24, .n_classes = 3, .n_captures = 4, .n_folds = 2, .seed = 1};

static int begin(void **state)
{
	(void)state;
	tree_make(dir);
	snprintf(path, sizeof(path), "%s/set.nmd", dir);
	memset(&e, 0, sizeof(e));
	set = tiny_set(&tiny);
	return 0;
}

static int end(void **state)
{
	(void)state;
	dataset_free(set);
	tree_remove(dir);
	return 0;
}

static void assert_refused(const char *wanted)
{
	struct dataset *other = NULL;

	memset(&e, 0, sizeof(e));
	assert_true(dataset_read(path, &other, &e) < 0);
	assert_null(other);
	assert_true(e.code < 0);
	if (!strstr(e.text, wanted) || !strstr(e.text, "set.nmd"))
		fail_msg("\"%s\" does not say \"%s\" of set.nmd", e.text, wanted);
}

static void assert_read(void)
{
	struct dataset *other;

	assert_int_equal(dataset_read(path, &other, &e), 0);
	dataset_free(other);
}

static void assert_same_sample(const struct flow_sample *a, const struct flow_sample *b)
{
	assert_true(!memcmp(&a->shape, &b->shape, sizeof(a->shape)));
	assert_int_equal(a->n_packets, b->n_packets);
	for (unsigned i = 0; i < a->n_packets; i++) {
		const struct sample_packet *x = &a->packets[i], *y = &b->packets[i];

		assert_true(x->time_ns == y->time_ns);
		assert_int_equal(x->ip_len_bytes, y->ip_len_bytes);
		assert_int_equal(x->packet_index, y->packet_index);
		assert_int_equal(x->against, y->against);
		assert_int_equal(x->header_bytes, y->header_bytes);
		assert_int_equal(x->payload_bytes, y->payload_bytes);
		if (i < a->shape.packets)
			assert_memory_equal(sample_row(a, x), sample_row(b, y),
					    sample_row_bytes(&a->shape));
	}
}

static void assert_same_set(const struct dataset *a, const struct dataset *b)
{
	assert_true(!memcmp(&a->shape, &b->shape, sizeof(a->shape)));
	assert_int_equal(a->n_flows, b->n_flows);
	assert_int_equal(a->n_captures, b->n_captures);
	assert_int_equal(a->n_classes, b->n_classes);
	assert_int_equal(a->n_labels, b->n_labels);
	assert_int_equal(a->n_folds, b->n_folds);
	assert_string_equal(a->provenance, b->provenance);
	for (uint32_t i = 0; i < a->n_classes; i++)
		assert_string_equal(a->class_name[i], b->class_name[i]);
	for (uint32_t i = 0; i < a->n_labels; i++)
		assert_string_equal(a->label_name[i], b->label_name[i]);
	for (uint32_t i = 0; i < a->n_captures; i++) {
		assert_string_equal(a->capture[i].name, b->capture[i].name);
		assert_string_equal(a->capture[i].source, b->capture[i].source);
		assert_string_equal(a->capture[i].sha256, b->capture[i].sha256);
		assert_int_equal(a->capture[i].n_flows, b->capture[i].n_flows);
	}
	for (uint32_t i = 0; i < a->n_flows; i++) {
		const struct dataset_flow *x = &a->flow[i], *y = &b->flow[i];

		assert_int_equal(x->class_index, y->class_index);
		assert_int_equal(x->label, y->label);
		assert_int_equal(x->capture, y->capture);
		assert_int_equal(x->piece, y->piece);
		assert_int_equal(x->fold, y->fold);
		assert_true(x->first_ns == y->first_ns && x->packets == y->packets &&
			    x->bytes == y->bytes);
		assert_same_sample(x->sample, y->sample);
	}
}

static void a_set_is_read_as_it_was_written(void **state)
{
	struct dataset *other;
	struct sample_packet *p = set->flow[3].sample->packets, kept;
	uint8_t row[32];

	(void)state;
	set->flow[0].class_index = DATASET_NO_CLASS;
	set->flow[1].packets = UINT64_MAX;
	/* Rows out of order, and one that is not full. */
	kept = p[0];
	memcpy(row, sample_row(set->flow[3].sample, &p[0]), 32);
	memcpy(sample_row(set->flow[3].sample, &p[0]), sample_row(set->flow[3].sample, &p[1]), 32);
	memcpy(sample_row(set->flow[3].sample, &p[1]), row, 32);
	p[0].byte_slot = p[1].byte_slot;
	p[1].byte_slot = kept.byte_slot;
	p[1].payload_bytes = 5;
	memset(sample_row(set->flow[3].sample, &p[1]) + 25, 0, 7);
	assert_int_equal(dataset_set_provenance(set, "{\"command\":\"x\"}", &e), 0);
	assert_int_equal(dataset_write(set, path, &e), 0);
	assert_int_equal(dataset_read(path, &other, &e), 0);
	assert_same_set(set, other);
	assert_int_equal(strlen(other->sha256), 64);
	dataset_free(other);
}

static void an_empty_set_is_read_as_it_was_written(void **state)
{
	const struct tiny_config none = {.n_classes = 1, .n_captures = 1, .n_folds = 1};
	struct dataset *empty = tiny_set(&none), *other;

	(void)state;
	assert_int_equal(dataset_write(empty, path, &e), 0);
	assert_int_equal(dataset_read(path, &other, &e), 0);
	assert_same_set(empty, other);
	dataset_free(empty);
	dataset_free(other);
}

static void a_file_that_is_none_of_ours_is_refused(void **state)
{
	(void)state;
	assert_refused("No such file");
	tree_write(dir, "set.nmd", "");
	assert_refused("does not begin as one");
	tree_write(dir, "set.nmd",
		   "pcap\tproto\taddr_a\tport_a\taddr_b\tport_b\tlabel\tclass\t"
		   "packets\tbytes\n");
	assert_refused("does not begin as one");
	unlink(path);
	assert_int_equal(symlink("/dev/zero", path), 0);
	assert_refused("not a regular file");
}

static void a_damaged_file_is_refused(void **state)
{
	size_t n;
	uint8_t *file;

	(void)state;
	assert_int_equal(dataset_write(set, path, &e), 0);
	file = nmd_get(path, &n);
	file[8] = 2;
	nmd_put(path, file, n);
	assert_refused("version 2");
	file[8] = NMD_VERSION;
	for (size_t i = NMD_HEADER_BYTES; i < n; i += 7) {
		file[i] ^= 0x10;
		nmd_put(path, file, n);
		assert_refused("checksum differs");
		file[i] ^= 0x10;
	}
	for (size_t cut = 0; cut < n; cut += 13) {
		nmd_put(path, file, cut);
		assert_refused(cut < NMD_HEADER_BYTES ? "does not begin" : "bytes of payload");
	}
	nmd_put(path, file, n);
	assert_read();
	free(file);
}

static void put_payload(const uint8_t *payload, size_t n)
{
	size_t n_file;
	uint8_t *file = nmd_wrap(payload, n, &n_file);

	nmd_put(path, file, n_file);
	free(file);
}

static void numbers_that_cannot_be_are_refused_by_name(void **state)
{
	static const struct {
		size_t at;
		uint32_t value;
		int bytes;
		const char *wanted;
	} numbers[] = {
		{0, 0, 2, "a shape"},
		{0, 9, 2, "a shape"}, /* more packets than sizes */
		{2, 129, 2, "a shape"},
		{4, 257, 2, "a shape"},
		{6, 257, 2, "a shape"},
		{8, 2, 1, "a shape"},
		{9, (1U << 24) + 1, 4, "flows"},
		{9, 1U << 24, 4, "ends early"},
		{13, UINT32_MAX, 4, "captures"},
		{17, 129, 4, "classes"},
		{21, 65536, 4, "labels"},
		{25, 0, 4, "folds"},
		{25, 33, 4, "folds"},
		{29, (1U << 20) + 1, 4, "provenance"},
		{33, '[', 1, "JSON"},
	};
	uint8_t *payload, *hostile;
	size_t n;

	(void)state;
	assert_int_equal(dataset_write(set, path, &e), 0);
	payload = nmd_payload(path, &n);
	hostile = malloc(n);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		uint32_t value_le = htole32(numbers[i].value);

		memcpy(hostile, payload, n);
		memcpy(hostile + numbers[i].at, &value_le, (size_t)numbers[i].bytes);
		put_payload(hostile, n);
		assert_refused(numbers[i].wanted);
	}
	free(payload);
	free(hostile);
}

static void memory_beyond_the_limit_is_refused_before_it_is_taken(void **state)
{
	const uint8_t wide[9] = {64, 0, 128, 0, 0, 1, 0, 1, 1};
	uint32_t most = htole32(1U << 20);
	uint8_t *payload;
	size_t n;

	(void)state;
	assert_int_equal(dataset_write(set, path, &e), 0);
	payload = nmd_payload(path, &n);
	memcpy(payload, wide, sizeof(wide));
	memcpy(payload + 9, &most, 4);
	put_payload(payload, n);
	assert_refused("more than 16 GiB");
	free(payload);
}

static void a_payload_of_another_length_is_refused(void **state)
{
	uint8_t *payload, *file;
	size_t n, n_file;

	(void)state;
	assert_int_equal(dataset_write(set, path, &e), 0);
	payload = nmd_payload(path, &n);
	for (size_t cut = 0; cut < n; cut += 11) {
		put_payload(payload, cut);
		assert_refused("ends early");
	}
	payload[n] = 0;
	put_payload(payload, n + 1);
	assert_refused("more follows");
	/* A second frame behind the first. */
	file = nmd_wrap(payload, n, &n_file);
	file = realloc(file, n_file + 1);
	file[n_file] = 0x28;
	((struct nmd_header *)file)->payload_bytes_le = htole64(n_file + 1 - NMD_HEADER_BYTES);
	crypto_hash_sha256(((struct nmd_header *)file)->sha256, file + NMD_HEADER_BYTES,
			   n_file + 1 - NMD_HEADER_BYTES);
	nmd_put(path, file, n_file + 1);
	assert_refused("more follows");
	free(file);
	free(payload);
}

static void assert_sound(const struct dataset *s)
{
	for (uint32_t i = 0; i < s->n_flows; i++) {
		const struct dataset_flow *f = &s->flow[i];

		assert_in_range(f->class_index + 1, 0, s->n_classes);
		assert_in_range(f->label, 0, s->n_labels - 1);
		assert_in_range(f->capture, 0, s->n_captures - 1);
		assert_in_range(f->fold, 0, s->n_folds - 1);
		assert_in_range(f->sample->n_packets, 1, s->shape.seq_len);
		for (unsigned k = 0; k < f->sample->n_packets; k++)
			if (k < s->shape.packets)
				assert_in_range(f->sample->packets[k].byte_slot, 0,
						s->shape.packets - 1);
	}
	assert_int_equal(dataset_check_folds(s, path, NULL), 0);
}

/* Says most in the asan variant. */
static void any_payload_is_refused_or_gives_a_sound_set(void **state)
{
	static const uint8_t flips[] = {0x01, 0x80, 0xff};
	unsigned n_refused = 0;
	uint8_t *payload;
	size_t n;

	(void)state;
	set->n_flows = 6;
	for (uint32_t i = 6; i < tiny.n_flows; i++)
		flow_sample_free(take_ptr(set->flow[i].sample));
	assert_int_equal(dataset_write(set, path, &e), 0);
	payload = nmd_payload(path, &n);
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < sizeof(flips); k++) {
			struct dataset *other = NULL;

			payload[i] ^= flips[k];
			put_payload(payload, n);
			memset(&e, 0, sizeof(e));
			if (dataset_read(path, &other, &e)) {
				assert_true(e.code < 0 && e.text[0]);
				n_refused++;
			} else {
				assert_sound(other);
			}
			dataset_free(other);
			payload[i] ^= flips[k];
		}
	}
	assert_true(n_refused > 100);
	free(payload);
}

static void write_leak(const char *wanted)
{
	assert_int_equal(dataset_write(set, path, &e), 0);
	assert_refused(wanted);
}

static void a_capture_that_is_there_twice_is_refused(void **state)
{
	(void)state;
	strcpy(set->capture[3].sha256, set->capture[0].sha256);
	write_leak("capture-0.pcap and capture-3.pcap are the same file");
}

static void a_capture_in_two_folds_is_refused(void **state)
{
	(void)state;
	set->flow[4].fold ^= 1;
	write_leak("piece 0 of capture capture-1.pcap stands in folds");
}

/* Any choice of flows could be called a piece. */
static void pieces_that_overlap_in_time_are_refused(void **state)
{
	uint32_t last = 0;

	(void)state;
	for (uint32_t i = 0; i < set->n_flows; i++)
		if (!set->flow[i].capture && set->flow[i].first_ns > set->flow[last].first_ns)
			last = i;
	for (uint32_t i = 0; i < set->n_flows; i++)
		if (!set->flow[i].capture && i != last)
			set->flow[i].piece = 1;
	write_leak("of capture capture-0.pcap overlap in time");
	for (uint32_t i = 0; i < set->n_flows; i++)
		if (!set->flow[i].capture)
			set->flow[i].piece = i == last;
	assert_int_equal(dataset_write(set, path, &e), 0);
	assert_read();
	set->flow[last].piece = DATASET_MAX_FOLDS;
	write_leak("a flow names a class, label, capture, piece or fold");
}

static void a_flow_that_stands_in_two_folds_is_refused(void **state)
{
	struct flow_sample *from = set->flow[0].sample, *to = set->flow[3].sample;

	(void)state;
	assert_true(set->flow[0].fold != set->flow[3].fold);
	to->packets[0] = from->packets[0];
	memcpy(sample_row(to, to->packets), sample_row(from, from->packets), 32);
	to->packets[1].time_ns = to->packets[0].time_ns;
	for (unsigned i = 1; i < to->n_packets; i++)
		to->packets[i].time_ns = from->packets[0].time_ns + i;
	write_leak("one flow stands in captures capture-");
}

static unsigned n_entries(const char *where)
{
	DIR *d = opendir(where);
	unsigned n = 0;

	for (struct dirent *entry; (entry = readdir(d));)
		n += entry->d_name[0] != '.';
	closedir(d);
	return n;
}

static void a_failed_write_leaves_the_old_file_and_nothing_else(void **state)
{
	const struct tiny_config large = {
		.n_flows = 4000, .n_classes = 3, .n_captures = 4, .n_folds = 2, .seed = 2};
	struct dataset *big = tiny_set(&large), *other;
	int status;

	(void)state;
	if (mount("tmpfs", dir, "tmpfs", 0, "size=64k")) {
		dataset_free(big);
		print_message("skipped: no tmpfs may be mounted here: %s\n", strerror(errno));
		skip();
	}
	assert_int_equal(dataset_write(set, path, &e), 0);
	status = dataset_write(big, path, &e);
	if (status == -ENOSPC && n_entries(dir) == 1 && !dataset_read(path, &other, NULL)) {
		assert_same_set(set, other);
		dataset_free(other);
	} else {
		umount(dir);
		fail_msg("%d: %s", status, e.text);
	}
	umount(dir);
	assert_non_null(strstr(e.text, "No space left"));
	assert_non_null(strstr(e.text, "set.nmd"));
	dataset_free(big);
}

static void what_cannot_be_in_a_file_is_not_written(void **state)
{
	(void)state;
	free(set->capture[1].source);
	set->capture[1].source = calloc(1, 257);
	memset(set->capture[1].source, 'x', 256);
	assert_int_equal(dataset_write(set, path, &e), -ENAMETOOLONG);
	assert_int_equal(n_entries(dir), 0);
	/* As a device is, but of the test's own. */
	assert_int_equal(mkfifo(path, 0600), 0);
	strcpy(set->capture[1].source, "x");
	assert_int_equal(dataset_write(set, path, &e), -EINVAL);
	assert_non_null(strstr(e.text, "no regular file"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_set_is_read_as_it_was_written),
		TEST(an_empty_set_is_read_as_it_was_written),
		TEST(a_file_that_is_none_of_ours_is_refused),
		TEST(a_damaged_file_is_refused),
		TEST(numbers_that_cannot_be_are_refused_by_name),
		TEST(memory_beyond_the_limit_is_refused_before_it_is_taken),
		TEST(a_payload_of_another_length_is_refused),
		TEST(any_payload_is_refused_or_gives_a_sound_set),
		TEST(a_capture_that_is_there_twice_is_refused),
		TEST(a_capture_in_two_folds_is_refused),
		TEST(pieces_that_overlap_in_time_are_refused),
		TEST(a_flow_that_stands_in_two_folds_is_refused),
		TEST(a_failed_write_leaves_the_old_file_and_nothing_else),
		TEST(what_cannot_be_in_a_file_is_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
