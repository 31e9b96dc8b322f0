/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Model files, good and bad. Each line of the tables breaks one thing of a good file and gives the
 * exact error (behind the path, which is the first word of each).
 */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <sys/stat.h>
#include "model/model_file.h"
#include "model/safetensors.h"
#include "tests/model/model_builder.h"

static const struct built_shape small = {2, 1, 2, 4, 2, 4, 2, 4, 4, 3, 3, 1, 0};

struct breakage {
	const char *find, *with, *error;
};

#define MAMBA            "\"mamba\",\"embed_dim\":2,\"depth\":1,\"d_state\":2,\"d_conv\":4"
#define ATTENTION(heads) "\"attention\",\"embed_dim\":2,\"depth\":1,\"heads\":" heads

/* Changes of the metadata object. */
static const struct breakage bad_metadata[] = {
	{"{\"format\":1", "[\"format\":1",
	 "__metadata__.netmamba: must be a JSON object, no key twice (byte 10)"},
	{"\"format\":1", "\"format\":2", "netmamba.format: this program reads format 1"},
	{"\"format\":1", "\"format\":1.0", "netmamba.format: this program reads format 1"},
	{"\"format\":1", "\"format\":0", "netmamba.format: this program reads format 1"},
	{"\"format\":1,", "", "netmamba.format: this program reads format 1"},
	{"\"format\":1,", "\"format\":1,\"format\":1,",
	 "__metadata__.netmamba: must be a JSON object, no key twice (byte 20)"},
	{"\"backbone\":\"mamba\"", "\"backbone\":\"mamba2\"",
	 "netmamba.architecture.backbone: must be \"mamba\" or \"attention\""},
	{"\"embed_dim\":2", "\"embed_dim\":0",
	 "netmamba.architecture.embed_dim: must be a whole number from 1 to 1024"},
	{"\"embed_dim\":2", "\"embed_dim\":4294967298",
	 "netmamba.architecture.embed_dim: must be a whole number from 1 to 1024"},
	{"\"embed_dim\":2", "\"embed_dim\":\"2\"",
	 "netmamba.architecture.embed_dim: must be a whole number from 1 to 1024"},
	{"\"depth\":1", "\"depth\":-1",
	 "netmamba.architecture.depth: must be a whole number from 1 to 64"},
	{"\"depth\":1,", "", "netmamba.architecture.depth: must be a whole number from 1 to 64"},
	{"\"depth\":1,", "\"depth\":1,\"dropout\":1,",
	 "netmamba.architecture: has a key that is not known; known are: backbone embed_dim depth "
	 "d_state d_conv expand stride head_bias byte_embedding value_embedding "},
	{"\"depth\":1,", "\"depth\":1,\"conv\":1,",
	 "netmamba.architecture: has a key that is not known; known are: backbone embed_dim depth "
	 "d_state d_conv expand stride head_bias byte_embedding value_embedding "},
	{"\"depth\":1,", "\"depth\":1,\"embed\":1,",
	 "netmamba.architecture: has a key that is not known; known are: backbone embed_dim depth "
	 "d_state d_conv expand stride head_bias byte_embedding value_embedding "},
	{"\"d_state\":2", "\"d_state\":257",
	 "netmamba.architecture.d_state: must be a whole number from 1 to 256"},
	{"\"d_conv\":4", "\"d_conv\":17",
	 "netmamba.architecture.d_conv: must be a whole number from 1 to 16"},
	{"\"expand\":2", "\"expand\":5",
	 "netmamba.architecture.expand: must be a whole number from 1 to 4"},
	{"\"stride\":4", "\"stride\":0",
	 "netmamba.architecture.stride: must be a whole number from 1 to 64"},
	{"\"stride\":4", "\"stride\":3",
	 "netmamba.tokens: packets * (header_bytes + payload_bytes) is 16; must be a multiple of "
	 "stride 3, and not 0"},
	{"\"head_bias\":false", "\"head_bias\":0",
	 "netmamba.architecture.head_bias: must be true or false"},
	{"\"head_bias\":false", "\"head_bias\":true",
	 "tensor head.bias is missing; the architecture asks for it with shape [3]"},
	{"\"head_bias\":false", "\"byte_embedding\":\"hash\"",
	 "netmamba.architecture.byte_embedding: must be \"stride\" or \"table\""},
	{"\"head_bias\":false", "\"byte_embedding\":\"table\"",
	 "tensor byte_embed.table is missing; the architecture asks for it with shape [4, 256, 2]"},
	{"\"head_bias\":false", "\"value_embedding\":true",
	 "netmamba.architecture.value_embedding: must be \"sinusoid\" or \"projected\""},
	{"\"head_bias\":false", "\"value_embedding\":\"projected\"",
	 "tensor size_embed.proj.weight is missing; the architecture asks for it with shape [2, "
	 "2]"},
	{"\"depth\":1,", "\"depth\":1,\"heads\":1,",
	 "netmamba.architecture: has a key that is not known; known are: backbone embed_dim depth "
	 "d_state d_conv expand stride head_bias byte_embedding value_embedding "},
	{"\"mamba\"", "\"attention\"",
	 "netmamba.architecture: has a key that is not known; known are: backbone embed_dim depth "
	 "heads expand stride head_bias byte_embedding value_embedding "},
	{MAMBA, ATTENTION("0"), "netmamba.architecture.heads: must be a whole number from 1 to 2"},
	{MAMBA, ATTENTION("3"), "netmamba.architecture.heads: must be a whole number from 1 to 2"},
	{MAMBA, "\"attention\",\"embed_dim\":6,\"depth\":1,\"heads\":4",
	 "netmamba.architecture.heads: must divide embed_dim 6 into heads of at most 256"},
	{MAMBA, "\"attention\",\"embed_dim\":1024,\"depth\":1,\"heads\":2",
	 "netmamba.architecture.heads: must divide embed_dim 1024 into heads of at most 256"},
	{MAMBA, ATTENTION("2"),
	 "tensor encoder_blocks.0.mixer.in_proj.weight has shape [8, 2]; the architecture asks for "
	 "[6, 2]"},
	{"\"architecture\":{", "\"architecture\":3,\"was\":{",
	 "netmamba.architecture: must be an object"},
	{"\"direction\":\"bi\"", "\"direction\":\"both\"",
	 "netmamba.tokens.direction: must be \"uni\" or \"bi\""},
	{"\"packets\":2", "\"packets\":65",
	 "netmamba.tokens.packets: must be a whole number from 1 to 64"},
	{"\"header_bytes\":4", "\"header_bytes\":129",
	 "netmamba.tokens.header_bytes: must be a whole number from 0 to 128"},
	{"\"payload_bytes\":4", "\"payload_bytes\":257",
	 "netmamba.tokens.payload_bytes: must be a whole number from 0 to 256"},
	{"\"seq_len\":3", "\"seq_len\":1",
	 "netmamba.tokens.seq_len: must be a whole number from 2 to 256"},
	{"\"packed\":false", "\"packed\":1", "netmamba.tokens.packed: must be true or false"},
	{"\"packed\":false", "\"packed\":false,\"iat_scale\":\"lin\"",
	 "netmamba.tokens.iat_scale: must be \"ratio\" or \"log\""},
	{"\"packed\":false", "\"padded\":false",
	 "netmamba.tokens: has a key that is not known; known are: direction packets header_bytes "
	 "payload_bytes seq_len packed iat_scale byte_scale byte_offset debias "},
	{"\"byte_scale\":0.0078", "\"byte_scale\":1e39",
	 "netmamba.tokens.byte_scale: must be a number from -1000 to 1000"},
	{"\"byte_offset\":-1.0", "\"byte_offset\":null",
	 "netmamba.tokens.byte_offset: must be a number from -1000 to 1000"},
	{"[\"ttl\"]", "\"ttl\"", "netmamba.tokens.debias: must be an array of at most 8 names"},
	{"[\"ttl\"]", "[\"ttl\",\"ttl\",\"ttl\",\"ttl\",\"ttl\",\"ttl\",\"ttl\",\"ttl\",\"ttl\"]",
	 "netmamba.tokens.debias: must be an array of at most 8 names"},
	{"\"header_bytes\":4,\"payload_bytes\":4", "\"header_bytes\":0,\"payload_bytes\":0",
	 "netmamba.tokens: packets * (header_bytes + payload_bytes) is 0; must be a multiple of "
	 "stride 4, and not 0"},
	{"\"packets\":2,\"header_bytes\":4,\"payload_bytes\":4,\"seq_len\":3",
	 "\"packets\":64,\"header_bytes\":128,\"payload_bytes\":256,\"seq_len\":256",
	 "netmamba.tokens: make a sequence of 6659 tokens; at most 4096 can be run"},
	{"[\"ttl\"]", "[\"ttl\",\"mac\"]",
	 "netmamba.tokens.debias[1]: must be one of ip_addr, ports, ip_id, ttl, checksums, "
	 "tcp_seq_ack, tcp_timestamps, tls_sni"},
	{"[\"c0\",\"c1\",\"c2\"]", "[]", "netmamba.classes: must be an array of 1 to 127 names"},
	{"\"c1\"", "\"C1\"",
	 "netmamba.classes[1]: must be 1 to 31 characters of a to z, 0 to 9 and -"},
	{"\"c1\"", "1", "netmamba.classes[1]: must be 1 to 31 characters of a to z, 0 to 9 and -"},
	{"\"c1\"", "\"\"",
	 "netmamba.classes[1]: must be 1 to 31 characters of a to z, 0 to 9 and -"},
	{"\"c1\"", "\"abcdefghijabcdefghijabcdefghij12\"",
	 "netmamba.classes[1]: must be 1 to 31 characters of a to z, 0 to 9 and -"},
	{"\"c1\"", "\"c0\"", "netmamba.classes[1]: \"c0\" is there twice"},
	{"\"c1\"", "\"unknown\"", "netmamba.classes[1]: \"unknown\" is what no class fits"},
	{"\"c0\",\"c1\",\"c2\"]", "\"c0\",\"c1\"]",
	 "netmamba.calibration.thresholds: must be an array of 2 numbers, one a class"},
	{"\"temperature\":1.0", "\"temperature\":0",
	 "netmamba.calibration.temperature: must be a number from 0.001 to 1000"},
	{"0.5,0.5,0.5", "0.5,0.5",
	 "netmamba.calibration.thresholds: must be an array of 3 numbers, one a class"},
	{"0.5,0.5,0.5", "0.5,0.5,1.5",
	 "netmamba.calibration.thresholds[2]: must be a number from 0 to 1"},
	{"\"watch_only\":[\"c0\"]", "\"watch_only\":[\"tor\"]",
	 "netmamba.calibration.watch_only[0]: is no class of this model"},
	{"\"watch_only\":[\"c0\"]", "\"watch_only\":true",
	 "netmamba.calibration.watch_only: must be an array of class names"},
	{"\"score\":\"energy\"", "\"score\":\"odin\"",
	 "netmamba.calibration.unknown.score: must be one of energy, max_logit, max_probability, "
	 "entropy"},
	{"\"threshold\":-1.5", "\"threshold\":\"high\"",
	 "netmamba.calibration.unknown.threshold: must be a number from -3.40282e+38 to "
	 "3.40282e+38"},
	{"\"calibration\":{", "\"calibration\":3,\"was\":{",
	 "netmamba.calibration: must be an object"},
	{"\"training\":{\"data\":\"none\"}", "\"training\":[]",
	 "netmamba.training: must be an object"},
	{"\"figures\":{}", "\"figures\":1", "netmamba.figures: must be an object"},
};

/* Changes of the safetensors header. */
static const struct breakage bad_headers[] = {
	{"{\"__metadata__\"", "[\"__metadata__\"", NULL},
	{"\"netmamba\"", "\"netmambo\"",
	 "__metadata__ has no key netmamba: a checkpoint needs its architecture, tokens and "
	 "classes written there"},
	{"\"__metadata__\":{", "\"__metadata__\":{\"a\":1,",
	 "__metadata__: every value must be a string"},
	{"\"norm_f.weight\":{", "\"norm_f.weight\":3,\"x\":{",
	 "tensor norm_f.weight: must be an object"},
	{"\"norm_f.weight\"", "\"norm_g.weight\"",
	 "tensor norm_f.weight is missing; the architecture asks for it with shape [2]"},
	{"\"norm_f.weight\"", "\"norm_f.\\u00e9weight\"",
	 "a tensor's name is longer than 200 bytes or not plain ASCII"},
	{"\"norm_f.weight\"",
	 "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaa\"",
	 "a tensor's name is longer than 200 bytes or not plain ASCII"},
	{"\"__metadata__\":{", "\"__metadata__\":[],\"x\":{",
	 "__metadata__: must be an object of strings"},
	{"\"dtype\":\"F32\"", "\"dtype\":\"F64\"",
	 "tensor byte_cls_token: dtype is none of F32, F16, BF16, I8 (weights), U8, I64 (vectors)"},
	{"\"dtype\":\"F32\",\"shape\":[1,1,2]", "\"dtype\":\"BF16\",\"shape\":[1,1,4]",
	 "tensor byte_cls_token has shape [1, 1, 4]; the architecture asks for [1, 1, 2]"},
	{"\"dtype\":\"F32\"", "\"dtype\":\"F16\"",
	 "tensor byte_cls_token: data_offsets hold 8 bytes; shape and dtype ask for 4"},
	{"\"shape\":[1,1,2]", "\"shape\":[1,1,3]",
	 "tensor byte_cls_token: data_offsets hold 8 bytes; shape and dtype ask for 12"},
	{"\"shape\":[1,1,2]", "\"shape\":[1,2]",
	 "tensor byte_cls_token has shape [1, 2]; the architecture asks for [1, 1, 2]"},
	{"\"shape\":[1,1,2]", "\"shape\":[1,1,-2]",
	 "tensor byte_cls_token: shape[2]: must be a whole number, 0 or more"},
	{"\"shape\":[1,1,2]", "\"shape\":[4294967296,4294967296,2]",
	 "tensor byte_cls_token: shape: larger than any file"},
	{"\"shape\":[1,1,2]", "\"shape\":[1073741824,17179869184,2]",
	 "tensor byte_cls_token: shape: larger than any file"},
	{"\"shape\":[1,1,2]", "\"shape\":[1,1,4611686018427387906]", /* times 4: 8 */
	 "tensor byte_cls_token: shape: larger than any file"},
	{"\"shape\":[1,1,2]", "\"shape\":[1,1,1,1,1,1,1,1,2]",
	 "tensor byte_cls_token: shape: must be an array of at most 8 sizes"},
	{"\"data_offsets\":[0,8]", "\"data_offsets\":[8,0]",
	 "tensor byte_cls_token: data_offsets [8, 0]: must be in order and within the data's 568 "
	 "bytes"},
	{"\"data_offsets\":[0,8]", "\"data_offsets\":[0,9223372036854775807]",
	 "tensor byte_cls_token: data_offsets [0, 9223372036854775807]: must be in order and "
	 "within the data's 568 bytes"},
	{"\"data_offsets\":[0,8]", "\"data_offsets\":[-8,0]",
	 "tensor byte_cls_token: data_offsets: must be two whole numbers"},
	{"\"data_offsets\":[0,8]", "\"data_offsets\":[0]",
	 "tensor byte_cls_token: data_offsets: must be two whole numbers"},
	{"\"data_offsets\":[0,8]", "\"data_offsets\":[0,8,8]",
	 "tensor byte_cls_token: data_offsets: must be two whole numbers"},
	{"\"data_offsets\":[0,8]", "\"data_offsets\":[8,16]",
	 "tensor byte_cls_token: begins at data byte 8, but 0 is next: tensors must follow one "
	 "another without overlap or hole"},
	{"\"data_offsets\":[8,16]", "\"data_offsets\":[0,8]",
	 "tensor byte_indicator: begins at data byte 0, but 8 is next: tensors must follow one "
	 "another without overlap or hole"},
};

static int load(const char *path, struct model **ret_model, struct error *e)
{
	int r = model_load(path, ret_model, e);

	/* An error is told in one way: code, text, and no model. */
	assert_true(r <= 0);
	assert_int_equal(r, e->code);
	if (r)
		assert_memory_equal(e->text, path, strlen(path));
	return r;
}

/* want NULL: any reason will do. */
static void expect_refused(const char *path, const char *want, const char *what)
{
	struct error e = {0};
	struct model *m = NULL;
	const char *text;

	if (load(path, &m, &e) == 0)
		fail_msg("%s: must be refused", what);
	assert_null(m);
	text = e.text + strlen(path) + 2;
	/* The text of an error ends with its room. */
	if (want && strncmp(text, want, sizeof(e.text) - 1 - strlen(path) - 2) != 0)
		fail_msg("%s:\nwant: %s\ngot:  %s", what, want, text);
}

static void each_bad_metadata_is_refused_with_its_reason(void **state)
{
	struct built_tensors tensors = built_tensors(&small, 1);

	(void)state;
	for (size_t i = 0; i < sizeof(bad_metadata) / sizeof(bad_metadata[0]); i++) {
		char path[] = "/tmp/nm-model-XXXXXX";
		struct text metadata = built_metadata(&small), header;

		text_replace(&metadata, bad_metadata[i].find, bad_metadata[i].with);
		header = built_header(&metadata, &tensors);
		write_safetensors(path, &header, tensors.data, tensors.n_values * sizeof(float));
		expect_refused(path, bad_metadata[i].error, bad_metadata[i].with);
		unlink(path);
		text_free(&header);
		text_free(&metadata);
	}
	built_free(&tensors);
}

static void each_bad_header_is_refused_with_its_reason(void **state)
{
	struct built_tensors tensors = built_tensors(&small, 1);
	struct text metadata = built_metadata(&small);

	(void)state;
	for (size_t i = 0; i < sizeof(bad_headers) / sizeof(bad_headers[0]); i++) {
		char path[] = "/tmp/nm-model-XXXXXX";
		struct text header = built_header(&metadata, &tensors);

		text_replace(&header, bad_headers[i].find, bad_headers[i].with);
		write_safetensors(path, &header, tensors.data, tensors.n_values * sizeof(float));
		expect_refused(path, bad_headers[i].error, bad_headers[i].with);
		unlink(path);
		text_free(&header);
	}
	text_free(&metadata);
	built_free(&tensors);
}

static void lengths_that_lie_are_refused(void **state)
{
	static const struct {
		uint8_t bytes[8];
		const char *number;
	} lengths[] = {
		{{0}, "0"},
		{{1}, "1"},
		{{3}, "3"}, /* of two */
		{{0, 0, 0, 0, 1}, "4294967296"},
		{{0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "18446744073709551608"},
		{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "18446744073709551615"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		char path[] = "/tmp/nm-model-XXXXXX", want[128];

		snprintf(want, sizeof(want),
			 "header length %s; must be 2 to 1048576 and within the file's 10 bytes",
			 lengths[i].number);
		write_file(path, lengths[i].bytes, 8, "{}", 2);
		expect_refused(path, want, "a lying length");
		unlink(path);
	}
}

static void what_is_no_model_file_is_refused(void **state)
{
	char tiny[] = "/tmp/nm-model-XXXXXX", fifo[] = "/tmp/nm-model-XXXXXX";

	(void)state;
	expect_refused("/nonexistent/model", "cannot open: No such file or directory", "no file");
	expect_refused("/tmp", "not a regular file", "a directory");
	write_file(tiny, "{}", 2, "", 0);
	expect_refused(tiny, "2 bytes are too few for a safetensors file", "two bytes");
	unlink(tiny);
	/* Opening a pipe must not wait for a writer. */
	close(mkstemp(fifo));
	unlink(fifo);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	expect_refused(fifo, "not a regular file", "a pipe");
	unlink(fifo);
}

static void more_than_is_ever_read_is_refused_before_it_is_read(void **state)
{
	char big[] = "/tmp/nm-model-XXXXXX", head[] = "/tmp/nm-model-XXXXXX";
	struct text blanks = {.bytes = malloc(SAFETENSORS_MAX_HEADER + 8),
			      .n = SAFETENSORS_MAX_HEADER + 8};
	int fd = mkstemp(big);

	(void)state;
	assert_int_equal(ftruncate(fd, SAFETENSORS_MAX_FILE + 1), 0); /* of holes */
	close(fd);
	expect_refused(big, "1073741825 bytes; at most 1073741824 are read", "a large file");
	unlink(big);
	assert_non_null(blanks.bytes);
	memset(blanks.bytes, ' ', blanks.n);
	write_safetensors(head, &blanks, "", 0);
	expect_refused(head,
		       "header length 1048584; must be 2 to 1048576 and within the file's 1048592 "
		       "bytes",
		       "a large header");
	unlink(head);
	text_free(&blanks);
}

static void an_error_that_quotes_the_file_is_safe_for_a_terminal(void **state)
{
	char list[] = "/tmp/nm-model-XXXXXX", escape[] = "/tmp/nm-model-XXXXXX";
	struct error e = {0};
	struct model *m = NULL;

	(void)state;
	write_file(list, "\2\0\0\0\0\0\0\0", 8, "[]", 2);
	expect_refused(list, "header: must be a JSON object", "a list");
	unlink(list);
	write_file(escape, "\x8\0\0\0\0\0\0\0", 8, "{\"a\":\x1b[2J", 8);
	assert_int_equal(load(escape, &m, &e), -EINVAL);
	assert_null(strchr(e.text, 0x1b));
	unlink(escape);
}

static void more_classes_than_there_is_room_for_are_refused(void **state)
{
	struct built_shape many = small;
	char path[] = "/tmp/nm-model-XXXXXX";

	(void)state;
	many.n_classes = MODEL_MAX_CLASSES + 1;
	write_built_model(path, &many, 1);
	expect_refused(path, "netmamba.classes: must be an array of 1 to 127 names", "128 classes");
	unlink(path);
}

static void data_behind_the_last_tensor_is_refused(void **state)
{
	char path[] = "/tmp/nm-model-XXXXXX";
	struct built_tensors tensors = built_tensors(&small, 1);
	struct text metadata = built_metadata(&small), header = built_header(&metadata, &tensors);

	(void)state;
	tensors.data = realloc(tensors.data, (tensors.n_values + 1) * sizeof(float));
	assert_non_null(tensors.data);
	tensors.data[tensors.n_values] = 0;
	write_safetensors(path, &header, tensors.data, (tensors.n_values + 1) * sizeof(float));
	expect_refused(path, "4 bytes behind the last tensor", "four bytes more");
	unlink(path);
	text_free(&header);
	text_free(&metadata);
	built_free(&tensors);
}

static void weights_that_are_not_finite_are_refused(void **state)
{
	char path[] = "/tmp/nm-model-XXXXXX";
	struct built_tensors tensors = built_tensors(&small, 1);
	struct text metadata = built_metadata(&small), header = built_header(&metadata, &tensors);

	(void)state;
	tensors.data[tensors.n_values - 1] = NAN;
	write_safetensors(path, &header, tensors.data, tensors.n_values * sizeof(float));
	expect_refused(path, "tensor head.weight: value 5 is not finite", "a NaN");
	unlink(path);
	text_free(&header);
	text_free(&metadata);
	built_free(&tensors);
}

static void json_nested_without_end_is_refused(void **state)
{
	char path[] = "/tmp/nm-model-XXXXXX";
	size_t n = 1 << 19;
	struct text header = {.bytes = malloc(n), .n = n};

	(void)state;
	assert_non_null(header.bytes);
	memset(header.bytes, '[', n);
	write_safetensors(path, &header, "", 0);
	expect_refused(path,
		       "header is not JSON: byte 2057: maximum parsing depth reached near '['",
		       "half a million brackets");
	unlink(path);
	text_free(&header);
}

static void a_header_of_many_tensors_is_refused(void **state)
{
	char path[] = "/tmp/nm-model-XXXXXX";
	struct text header = {0};

	(void)state;
	text_add(&header, "{\"t\":1");
	for (int i = 0; i < SAFETENSORS_MAX_TENSORS; i++)
		text_add(&header, ",\"%d\":1", i);
	text_add(&header, "}");
	write_safetensors(path, &header, "", 0);
	expect_refused(path, "4097 tensors; at most 4096 are read", "4097 tensors");
	unlink(path);
	text_free(&header);
}

static void a_good_file_is_read_as_it_says(void **state)
{
	char path[] = "/tmp/nm-model-XXXXXX";
	struct error e = {0};
	struct model *m = NULL;
	const struct tensor *t;

	(void)state;
	write_built_model(path, &small, 1);
	if (load(path, &m, &e))
		fail_msg("%s", e.text);
	unlink(path);
	assert_string_equal(m->path, path);
	assert_int_equal(m->architecture.embed_dim, 2);
	assert_int_equal(m->architecture.dt_rank, 1);
	assert_int_equal(m->tokens.shape.payload_bytes, 4);
	assert_true(m->tokens.shape.bidirectional);
	assert_int_equal(m->tokens.debias, DEBIAS_TTL);
	assert_int_equal(model_byte_tokens(m), 4);
	assert_int_equal(model_sequence_length(m), 13);
	assert_int_equal(model_class_index(m, "c2"), 2);
	assert_int_equal(model_class_index(m, "c3"), -1);
	assert_true(m->calibration.watch_only[0] && !m->calibration.watch_only[1]);
	assert_true(m->calibration.ood_threshold == -1.5F);
	assert_string_equal(m->training_json, "{\"data\":\"none\"}");
	assert_int_equal(strlen(m->sha256), 64);
	t = model_tensor(m, "pos_embed");
	assert_non_null(t);
	assert_int_equal(t->n_values, 26);
	assert_null(model_tensor(m, "pos_embe"));
	model_unref(m);
}

static void what_may_be_absent_has_its_documented_default(void **state)
{
	char path[] = "/tmp/nm-model-XXXXXX";
	struct built_tensors tensors = built_tensors(&small, 1);
	struct text metadata = built_metadata(&small), header;
	struct error e = {0};
	struct model *m = NULL;

	(void)state;
	text_replace(&metadata, "\"packed\":false,", "");
	text_replace(&metadata, ",\"head_bias\":false", "");
	text_replace(&metadata, ",\"debias\":[\"ttl\"]", "");
	*strstr(metadata.bytes, ",\"calibration\"") = '}';
	metadata.n = strstr(metadata.bytes, "}\"calibration\"") + 1 - metadata.bytes;
	header = built_header(&metadata, &tensors);
	write_safetensors(path, &header, tensors.data, tensors.n_values * sizeof(float));
	if (load(path, &m, &e))
		fail_msg("%s", e.text);
	unlink(path);
	assert_false(m->tokens.packed || m->tokens.iat_log || m->architecture.head_bias);
	assert_false(m->architecture.byte_table || m->architecture.project_values);
	assert_int_equal(m->tokens.debias, 0);
	assert_true(m->calibration.temperature == 1);
	assert_true(m->calibration.threshold[2] == 0.5F);
	assert_int_equal(m->calibration.score, OOD_ENERGY);
	assert_true(m->calibration.ood_threshold == FLT_MAX);
	assert_false(m->calibration.watch_only[0]);
	assert_null(m->training_json);
	assert_null(m->figures_json);
	model_unref(m);
	text_free(&header);
	text_free(&metadata);
	built_free(&tensors);
}

static void halves_become_float32(void **state)
{
	static const uint16_t halves[] = {0x3c00, 0xc000, 0x0001, 0x83ff, 0x7bff, 0x8000, 0xfc00};
	static const float want[] = {1, -2, 0x1p-24F, -0x3ffp-24F, 65504, -0.0F, -INFINITY};
	static const uint16_t brain[] = {0x3f80, 0xc000, 0x4049};
	static const float want_brain[] = {1, -2, 3.140625F};
	struct raw_tensor t = {.dtype = DTYPE_F16, .n_values = 7, .data = (const void *)halves};
	float have[7];

	(void)state;
	raw_tensor_to_float(&t, have);
	assert_memory_equal(have, want, sizeof(want));
	t = (struct raw_tensor){.dtype = DTYPE_BF16, .n_values = 3, .data = (const void *)brain};
	raw_tensor_to_float(&t, have);
	assert_memory_equal(have, want_brain, sizeof(want_brain));
}

static void a_tensor_in_bf16_is_loaded_as_float32(void **state)
{
	static const uint16_t token[] = {0x3f80, 0xc000};
	char path[] = "/tmp/nm-model-XXXXXX";
	struct built_tensors tensors = built_tensors(&small, 1);
	struct text metadata = built_metadata(&small), header;
	struct error e = {0};
	struct model *m = NULL;
	size_t n_all = tensors.n_values * sizeof(float), n_head = 6 * sizeof(float);
	char end[32], shorter[32];
	uint8_t data[1024];

	(void)state;
	/* The last tensor, head.weight (3, 2), becomes half as long. */
	snprintf(end, sizeof(end), ",%zu]}", n_all);
	snprintf(shorter, sizeof(shorter), ",%zu]}", n_all - n_head / 2);
	text_replace(&tensors.entries, end, shorter);
	text_replace(&tensors.entries, "\"head.weight\":{\"dtype\":\"F32\"",
		     "\"head.weight\":{\"dtype\":\"BF16\"");
	assert_true(n_all <= sizeof(data));
	memcpy(data, tensors.data, n_all - n_head);
	for (size_t i = 0; i < 6; i += 2)
		memcpy(data + n_all - n_head + i * 2, token, sizeof(token));
	header = built_header(&metadata, &tensors);
	write_safetensors(path, &header, data, n_all - n_head / 2);
	if (load(path, &m, &e))
		fail_msg("%s", e.text);
	unlink(path);
	assert_true(model_tensor(m, "head.weight")->data[4] == 1);
	assert_true(model_tensor(m, "head.weight")->data[5] == -2);
	model_unref(m);
	text_free(&header);
	text_free(&metadata);
	built_free(&tensors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_file_is_read_as_it_says),
		cmocka_unit_test(what_may_be_absent_has_its_documented_default),
		cmocka_unit_test(halves_become_float32),
		cmocka_unit_test(a_tensor_in_bf16_is_loaded_as_float32),
		cmocka_unit_test(each_bad_metadata_is_refused_with_its_reason),
		cmocka_unit_test(each_bad_header_is_refused_with_its_reason),
		cmocka_unit_test(lengths_that_lie_are_refused),
		cmocka_unit_test(what_is_no_model_file_is_refused),
		cmocka_unit_test(more_than_is_ever_read_is_refused_before_it_is_read),
		cmocka_unit_test(an_error_that_quotes_the_file_is_safe_for_a_terminal),
		cmocka_unit_test(more_classes_than_there_is_room_for_are_refused),
		cmocka_unit_test(data_behind_the_last_tensor_is_refused),
		cmocka_unit_test(weights_that_are_not_finite_are_refused),
		cmocka_unit_test(json_nested_without_end_is_refused),
		cmocka_unit_test(a_header_of_many_tensors_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
