/* SPDX-License-Identifier: BSD-2-Clause */
/* Captures to flows with classes: which class a flow gets, what is left out, what is told. */
#include "tests/nmd/tree.h"
#include "tests/flow/captures.h"
#include <errno.h>
#include <netinet/in.h>
#include "agent/flow/offline.h"
#include "agent/nmtrain/dataset_build.h"
#include "agent/nmtrain/dataset_dump.h"
#include "model/safetensors.h"
#include "model/tokens.h"

#define A      0x0a000001
#define B      0x0a000002
#define HEADER "pcap\tproto\taddr_a\tport_a\taddr_b\tport_b\tlabel\tclass\tpackets\tbytes\n"

static char dir[64], path[160];
static struct error e;
static struct dataset_builder *b;
static struct dataset *set;
static struct labels_file *labels;
static struct dataset_config config;
static struct dataset_origin origin;

static int begin(void **state)
{
	(void)state;
	tree_make(dir);
	memset(&e, 0, sizeof(e));
	b = NULL;
	set = NULL;
	labels = NULL;
	origin = (struct dataset_origin){.source = "here"};
	config = (struct dataset_config){
		.shape = {20, 80, 240, 64, true}, .n_folds = 2, .seed = 1, .min_packets = 1};
	return 0;
}

static int end(void **state)
{
	(void)state;
	dataset_builder_free(b);
	dataset_free(set);
	labels_file_free(labels);
	tree_remove(dir);
	return 0;
}

static const char *in_dir(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static FILE *capture_begin(const char *name)
{
	FILE *file = fopen(in_dir(name), "w");

	assert_non_null(file);
	put_pcap_header(file, PCAP_MICRO, LINK_RAW);
	return file;
}

static void put_udp(FILE *file, uint32_t at_s, uint16_t sport, uint16_t dport)
{
	uint8_t bytes[64];

	put_pcap_packet(file, at_s, 0, bytes, make_udp4(bytes, A, B, sport, dport, 20));
}

/* n flows of one packet each, from 4000 on, a second apart. */
static void put_capture(const char *name, uint32_t at_s, unsigned n)
{
	FILE *file = capture_begin(name);

	for (unsigned i = 0; i < n; i++)
		put_udp(file, at_s + i, (uint16_t)(4000 + i), 53);
	assert_int_equal(fclose(file), 0);
}

static void put_labels(const char *text)
{
	tree_write(dir, "labels.tsv", text);
	assert_int_equal(labels_file_read(in_dir("labels.tsv"), &labels, &e), 0);
	origin.labels = labels;
}

static int add(const char *name)
{
	if (!b)
		assert_int_equal(dataset_builder_new(&config, &b, &e), 0);
	memset(&e, 0, sizeof(e));
	return dataset_builder_add(b, in_dir(name), &origin, &e);
}

static void add_well(const char *name)
{
	if (add(name))
		fail_msg("%s", e.text);
}

static struct dataset_counts finish(void)
{
	struct dataset_counts counts;

	if (dataset_builder_finish(b, &set, &counts, &e))
		fail_msg("%s", e.text);
	assert_int_equal(dataset_check_folds(set, "test", &e), 0);
	return counts;
}

static const char *class_of(uint32_t i)
{
	const struct dataset_flow *f = &set->flow[i];

	return f->class_index < 0 ? "-" : set->class_name[f->class_index];
}

struct live {
	struct flow_sample *sample[64];
	uint64_t packets[64], bytes[64];
	size_t n;
};

static void on_start(void *ctx, struct flow_info *info)
{
	struct live *live = ctx;

	assert_in_range(live->n, 0, 63);
	info->user = (void *)(uintptr_t)++live->n;
}

static void on_ready(void *ctx, const struct flow_info *info, const struct flow_sample *s,
		     enum ready_reason why)
{
	struct flow_sample *copy = malloc(flow_sample_size(&s->shape));

	(void)why;
	memcpy(copy, s, flow_sample_size(&s->shape));
	copy->bytes = (uint8_t *)&copy->packets[s->shape.seq_len];
	((struct live *)ctx)->sample[(uintptr_t)info->user - 1] = copy;
}

static void on_done(void *ctx, const struct flow_info *info)
{
	((struct live *)ctx)->packets[(uintptr_t)info->user - 1] = info->packets;
	((struct live *)ctx)->bytes[(uintptr_t)info->user - 1] = info->bytes;
}

static void samples_are_those_that_the_agent_judges(void **state)
{
	static const char *const captures[] = {"http2.pcapng", "rdp3.pcap", "quic-v2.pcapng",
					       "ah.pcapng"};
	struct token_config tokens = {.shape = config.shape, .debias = UINT32_MAX};
	struct live live = {0};
	struct offline_config offline = {.shape = config.shape,
					 .max_flows = 64,
					 .flow_idle_ns = 300000000000,
					 .on_start = on_start,
					 .on_ready = on_ready,
					 .on_done = on_done,
					 .ctx = &live};
	uint8_t bytes[2][20 * 320];

	(void)state;
	assert_int_equal(dataset_builder_new(&config, &b, &e), 0);
	for (size_t i = 0; i < 4; i++) {
		char name[96];

		snprintf(name, sizeof(name), "tests/captures/open/%s", captures[i]);
		assert_int_equal(offline_read(name, &offline, NULL, &e), 0);
		assert_int_equal(dataset_builder_add(b, name, &origin, &e), 0);
	}
	finish();
	assert_int_equal(set->n_flows, live.n);
	assert_true(live.n > 4);
	for (size_t i = 0; i < live.n; i++) {
		const struct flow_sample *s = set->flow[i].sample;

		assert_int_equal(s->n_packets, live.sample[i]->n_packets);
		assert_memory_equal(s->packets, live.sample[i]->packets,
				    s->n_packets * sizeof(*s->packets));
		tokens_bytes(bytes[0], &tokens, s);
		tokens_bytes(bytes[1], &tokens, live.sample[i]);
		assert_memory_equal(bytes[0], bytes[1], sizeof(bytes[0]));
		assert_true(set->flow[i].packets == live.packets[i]);
		assert_true(set->flow[i].bytes == live.bytes[i]);
		assert_true(set->flow[i].first_ns == s->packets[0].time_ns);
		free(live.sample[i]);
	}
}

static void a_row_names_every_flow_of_its_ends_in_that_capture(void **state)
{
	FILE *file = capture_begin("a.pcap");

	(void)state;
	put_udp(file, 1000, 4000, 53);
	put_udp(file, 1001, 4001, 53);
	put_udp(file, 1002, 4000, 53);
	put_udp(file, 9000, 4000, 53); /* after so long a silence another flow */
	fclose(file);
	put_capture("b.pcap", 20000, 1);
	put_labels(HEADER "a.pcap\tudp\t10.0.0.2\t53\t10.0.0.1\t4000\tDNS.x\tdns\t2\t96\n"
			  "a.pcap\tudp\t10.0.0.1\t4001\t10.0.0.2\t53\tOdd\tunlisted\t1\t48\n");
	add_well("a.pcap");
	add_well("b.pcap");
	assert_int_equal(finish().labelled, 3);
	assert_int_equal(set->n_flows, 4);
	assert_string_equal(class_of(0), "dns");
	assert_string_equal(class_of(1), "unlisted");
	assert_string_equal(class_of(2), "dns");
	assert_string_equal(class_of(3), "-");
	assert_string_equal(set->label_name[set->flow[2].label], "DNS.x");
	assert_string_equal(set->label_name[set->flow[3].label], "");
	assert_int_equal(set->n_classes, 2);
	assert_int_equal(set->capture[0].n_flows, 3);
	assert_string_equal(set->capture[1].name, "b.pcap");
	assert_string_equal(set->capture[1].source, "here");
}

static void a_row_goes_before_a_port_and_a_port_before_the_folder(void **state)
{
	static const struct dataset_port_class ports[] = {{IPPROTO_TCP, 53, "tls"},
							  {IPPROTO_UDP, 53, "dns"}};
	FILE *file = capture_begin("a.pcap");

	(void)state;
	put_udp(file, 1000, 4000, 53);
	put_udp(file, 1001, 53, 4001);
	put_udp(file, 1002, 4002, 54);
	fclose(file);
	put_labels(HEADER "a.pcap\tudp\t10.0.0.1\t4000\t10.0.0.2\t53\tQ\tquic\t1\t1\n");
	origin.ports = ports;
	origin.n_ports = 2;
	origin.class_name = "tor";
	add_well("a.pcap");
	finish();
	assert_string_equal(class_of(0), "quic");
	assert_string_equal(class_of(1), "dns");
	assert_string_equal(class_of(2), "tor");
	assert_string_equal(set->class_name[0], "dns");
	assert_string_equal(set->class_name[2], "tor");
	assert_string_equal(set->label_name[set->flow[2].label], "tor");
}

static void flows_that_are_not_wanted_are_counted(void **state)
{
	FILE *file = capture_begin("a.pcap");
	struct dataset_counts counts;

	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		put_udp(file, 1000 + i, 4000, 53);
	put_udp(file, 1001, 4001, 53);
	put_udp(file, 1001, 4002, 53);
	fclose(file);
	put_capture("empty.pcap", 1, 0);
	put_labels(HEADER "a.pcap\tudp\t10.0.0.1\t4000\t10.0.0.2\t53\tD\tdns\t1\t1\n"
			  "a.pcap\tudp\t10.0.0.1\t4001\t10.0.0.2\t53\tD\tdns\t1\t1\n");
	config.labelled_only = true;
	config.min_packets = 5;
	add_well("empty.pcap");
	add_well("a.pcap");
	counts = finish();
	assert_int_equal(set->n_flows, 1);
	assert_int_equal(set->flow[0].packets, 5);
	assert_int_equal(counts.flows, 3);
	assert_int_equal(counts.short_flows, 1);
	assert_int_equal(counts.unlabelled, 1);
	assert_int_equal(counts.packets, 7);
	assert_int_equal(counts.captures, 2);
	/* One without flows is not part of the set. */
	assert_int_equal(set->n_captures, 1);
	assert_string_equal(set->capture[set->flow[0].capture].name, "a.pcap");
}

static void a_copy_of_a_capture_is_taken_once_and_told(void **state)
{
	struct dataset_counts counts;

	(void)state;
	put_capture("a.pcap", 1000, 3);
	put_capture("b.pcap", 1000, 3);
	add_well("a.pcap");
	assert_int_equal(add("b.pcap"), -EEXIST);
	assert_non_null(strstr(e.text, "b.pcap: the same as a.pcap"));
	counts = finish();
	assert_int_equal(counts.copies, 1);
	assert_int_equal(counts.captures, 1);
	assert_int_equal(set->n_flows, 3);
}

static void a_broken_capture_gives_what_was_readable(void **state)
{
	struct dataset_counts counts;

	(void)state;
	put_capture("a.pcap", 1000, 3);
	assert_int_equal(truncate(in_dir("a.pcap"), 24 + 2 * 64 + 20), 0);
	tree_write(dir, "b.pcap", "no capture");
	put_capture("c.pcap", 2000, 1);
	assert_int_equal(add("a.pcap"), -EBADMSG);
	assert_non_null(strstr(e.text, "a.pcap"));
	assert_int_equal(add("b.pcap"), -EBADMSG);
	assert_non_null(strstr(e.text, "b.pcap"));
	assert_int_equal(add("none.pcap"), -EBADMSG);
	assert_non_null(strstr(e.text, "none.pcap: No such file"));
	add_well("c.pcap");
	counts = finish();
	assert_int_equal(counts.broken, 3);
	assert_int_equal(set->n_flows, 3);
	assert_int_equal(set->n_captures, 2);
}

static void a_limit_takes_from_every_capture_first(void **state)
{
	uint32_t n[4] = {0};
	struct dataset_counts counts;

	(void)state;
	put_capture("a.pcap", 1000, 50);
	put_capture("b.pcap", 2000, 3);
	put_capture("c.pcap", 3000, 1);
	put_capture("d.pcap", 4000, 4);
	config.max_per_class = 8;
	origin.class_name = "dns";
	add_well("a.pcap");
	add_well("b.pcap");
	add_well("c.pcap");
	origin.class_name = "tor";
	add_well("d.pcap");
	counts = finish();
	assert_int_equal(counts.over_limit, 46);
	assert_int_equal(set->n_flows, 12);
	for (uint32_t i = 0; i < set->n_flows; i++)
		n[set->flow[i].capture]++;
	assert_int_equal(n[0], 4);
	assert_int_equal(n[1], 3);
	assert_int_equal(n[2], 1);
	assert_int_equal(n[3], 4);
}

static void a_class_name_that_no_model_can_have_is_refused(void **state)
{
	(void)state;
	put_capture("a.pcap", 1000, 1);
	origin.class_name = "Tor!";
	assert_int_equal(add("a.pcap"), -EINVAL);
	assert_non_null(strstr(e.text, "\"Tor!\" is no name of a class"));
}

static void a_set_without_a_flow_is_refused_with_the_counts(void **state)
{
	(void)state;
	put_capture("a.pcap", 1000, 4);
	config.min_packets = 2;
	add_well("a.pcap");
	assert_int_equal(dataset_builder_finish(b, &set, NULL, &e), -ENODATA);
	assert_non_null(
		strstr(e.text, "1 captures read, 4 packets, 4 flows, of which 4 too short"));
}

static void shapes_and_folds_that_cannot_be_are_refused(void **state)
{
	const struct dataset_config good = config;

	(void)state;
	config.n_folds = 33;
	assert_int_equal(dataset_builder_new(&config, &b, &e), -EINVAL);
	assert_non_null(strstr(e.text, "33 folds"));
	config = good;
	config.shape.packets = 65;
	assert_int_equal(dataset_builder_new(&config, &b, &e), -EINVAL);
	assert_non_null(strstr(e.text, "65 packets"));
	config = good;
	config.shape.seq_len = 19;
	assert_int_equal(dataset_builder_new(&config, &b, &e), -EINVAL);
	assert_null(b);
}

static const struct raw_tensor *tensor(const struct safetensors *file, const char *name)
{
	const struct raw_tensor *t = safetensors_find(file, name);

	if (!t)
		fail_msg("no tensor %s", name);
	return t;
}

static void a_dump_has_each_flow_as_plain_numbers(void **state)
{
	const struct sample_shape shape = {2, 40, 16, 3, true}, wide = {21, 40, 16, 64, true};
	FILE *file = capture_begin("a.pcap");
	struct safetensors *st;
	uint8_t reply[64];
	int64_t number;
	float f[3];

	(void)state;
	put_udp(file, 1000, 4000, 53);
	put_pcap_packet(file, 1000, 500000, reply, make_udp4(reply, B, A, 53, 4000, 30));
	fclose(file);
	origin.class_name = "dns";
	add_well("a.pcap");
	put_capture("b.pcap", 5000, 1);
	origin.class_name = NULL;
	origin.source = "there";
	add_well("b.pcap");
	finish();
	assert_int_equal(dataset_dump(set, &wide, in_dir("out"), &e), -EINVAL);
	assert_non_null(strstr(e.text, "20 packets of 80 + 240"));
	assert_int_equal(dataset_dump(set, &shape, in_dir("out"), &e), 0);
	assert_int_equal(safetensors_open(path, &st, &e), 0);
	assert_string_equal(safetensors_metadata(st, "classes"), "[\"dns\"]");
	assert_string_equal(safetensors_metadata(st, "sources"), "[\"here\",\"there\"]");
	assert_int_equal(tensor(st, "bytes")->shape[0], 2);
	assert_int_equal(tensor(st, "bytes")->shape[1], 2);
	assert_int_equal(tensor(st, "bytes")->shape[2], 56);
	/* Addresses are debiased, the protocol and payload stay. */
	assert_int_equal(tensor(st, "bytes")->data[9], IPPROTO_UDP);
	assert_int_equal(tensor(st, "bytes")->data[12], 0);
	assert_int_equal(tensor(st, "bytes")->data[40], 0x55);
	memcpy(f, tensor(st, "sizes")->data, sizeof(f));
	assert_true(f[0] == 48 && f[1] == -58 && f[2] == 0);
	memcpy(f, tensor(st, "times")->data, sizeof(f));
	assert_true(f[0] == 0 && f[1] == 0.5f && f[2] == 0);
	memcpy(&number, tensor(st, "n_packets")->data, 8);
	assert_int_equal(number, 2);
	memcpy(&number, tensor(st, "class")->data, 8);
	assert_int_equal(number, 0);
	memcpy(&number, tensor(st, "class")->data + 8, 8);
	assert_int_equal(number, -1);
	memcpy(&number, tensor(st, "source")->data + 8, 8);
	assert_int_equal(number, 1);
	memcpy(&number, tensor(st, "fold")->data + 8, 8);
	assert_int_equal(number, set->flow[1].fold);
	safetensors_close(st);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(samples_are_those_that_the_agent_judges),
		TEST(a_row_names_every_flow_of_its_ends_in_that_capture),
		TEST(a_row_goes_before_a_port_and_a_port_before_the_folder),
		TEST(flows_that_are_not_wanted_are_counted),
		TEST(a_copy_of_a_capture_is_taken_once_and_told),
		TEST(a_broken_capture_gives_what_was_readable),
		TEST(a_limit_takes_from_every_capture_first),
		TEST(a_class_name_that_no_model_can_have_is_refused),
		TEST(a_set_without_a_flow_is_refused_with_the_counts),
		TEST(shapes_and_folds_that_cannot_be_are_refused),
		TEST(a_dump_has_each_flow_as_plain_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
