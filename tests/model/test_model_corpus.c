/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Damaged model files by the thousand: cut at every length, bits turned over in every byte. Each is
 * refused with a reason, or gives a model that is within the bounds and can be run (a bit of a
 * weight or of a class's name is such a one). What this shows is that nothing is read past the
 * file's end, so it says most in the asan variant.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include "model/decide.h"
#include "model/engine.h"
#include "model/model_write.h"
#include "tests/model/model_builder.h"

static const struct built_shape small = {2, 1, 2, 4, 2, 4, 2, 4, 4, 3, 3, 1, 1};

/* A file in memory, by a name that model_load can open. */
struct scratch {
	int fd;
	char path[32];
};

static struct scratch scratch_open(void)
{
	struct scratch s = {.fd = memfd_create("model", MFD_CLOEXEC)};

	assert_true(s.fd >= 0);
	snprintf(s.path, sizeof(s.path), "/proc/self/fd/%d", s.fd);
	return s;
}

static void scratch_write(const struct scratch *s, const uint8_t *bytes, size_t n)
{
	assert_int_equal(ftruncate(s->fd, 0), 0);
	assert_int_equal(pwrite(s->fd, bytes, n, 0), n);
}

static uint8_t *read_whole(const char *path, size_t *ret_n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t n = lseek(fd, 0, SEEK_END);
	uint8_t *bytes = malloc(n);

	assert_true(fd >= 0 && n > 0 && bytes);
	assert_int_equal(pread(fd, bytes, n, 0), n);
	close(fd);
	*ret_n = n;
	return bytes;
}

static uint8_t *built_bytes(size_t *ret_n)
{
	char path[] = "/tmp/nm-model-XXXXXX";
	uint8_t *bytes;

	write_built_model(path, &small, 3);
	bytes = read_whole(path, ret_n);
	unlink(path);
	return bytes;
}

/* Every option on, matrices as whole numbers with their scales. */
static uint8_t *reduced_bytes(const char *backbone, size_t *ret_n)
{
	struct model m = {.architecture = {.embed_dim = 2,
					   .depth = 1,
					   .expand = 1,
					   .stride = 2,
					   .head_bias = true,
					   .project_values = true},
			  .tokens = {.shape = {1, 2, 2, 2, true},
				     .packed = true,
				     .iat_log = true,
				     .byte_scale = 1},
			  .n_classes = 2,
			  .class_name = {"a", "b"}};
	char path[] = "/tmp/nm-model-XXXXXX";
	struct layout *l = NULL;
	float values[256];
	uint8_t *bytes;

	strcpy(m.architecture.backbone, backbone);
	if (strcmp(backbone, "attention") == 0)
		m.architecture.heads = 2;
	else
		m.architecture.d_state = m.architecture.d_conv = 2;
	model_default_calibration(&m.calibration);
	assert_int_equal(layout_classifier(&m.architecture, &m.tokens, 2, &l), 0);
	assert_in_range(l->n_values, 1, 256);
	for (size_t i = 0; i < l->n_values; i++)
		values[i] = (float)(i % 13) / 13 - 0.5F;
	close(mkstemp(path));
	assert_int_equal(model_write_as(path, &m, l, values, WEIGHTS_INT8, NULL), 0);
	bytes = read_whole(path, ret_n);
	unlink(path);
	layout_free(l);
	return bytes;
}

static void check_sane(struct model *m)
{
	struct engine *engine = NULL;
	struct batch *b = NULL;
	struct decision d;
	struct error e = {0};
	float logits[MODEL_MAX_CLASSES];

	assert_in_range(m->n_classes, 1, MODEL_MAX_CLASSES);
	assert_in_range(model_sequence_length(m), 1, MODEL_MAX_TOKENS);
	assert_int_equal(engine_open("cpu", m, &engine, &e), 0);
	assert_int_equal(batch_new(&m->tokens, m->architecture.stride, 1, &b), 0);
	memset(b->bytes, 0, m->tokens.shape.packets * sample_row_bytes(&m->tokens.shape));
	memset(b->sizes, 0, m->tokens.shape.seq_len * 4);
	memset(b->iats, 0, m->tokens.shape.seq_len * 4);
	b->n = 1;
	assert_int_equal(engine_run(engine, b, logits, &e), 0);
	decide(m, logits, &d);
	assert_in_range(d.class_index, 0, m->n_classes - 1);
	assert_true(d.confidence >= 0 && d.confidence <= 1.0001F);
	batch_free(b);
	engine_close(engine);
}

/* true when it loads. */
static bool try_load(const struct scratch *s, size_t place)
{
	struct error e = {0};
	struct model *m = NULL;
	int r = model_load(s->path, &m, &e);

	if (r == 0) {
		check_sane(m);
		model_unref(m);
		return true;
	}
	if (r != e.code || !e.text[0] || m)
		fail_msg("byte %zu: refused without a reason", place);
	return false;
}

static void a_file_cut_anywhere_is_refused(void **state)
{
	struct scratch s = scratch_open();
	size_t n;
	uint8_t *bytes = built_bytes(&n);

	(void)state;
	for (size_t length = 0; length < n; length++) {
		scratch_write(&s, bytes, length);
		if (try_load(&s, length))
			fail_msg("cut to %zu of %zu bytes: must be refused", length, n);
	}
	scratch_write(&s, bytes, n);
	assert_true(try_load(&s, n));
	close(s.fd);
	free(bytes);
}

static void the_shipped_model_cut_anywhere_is_refused(void **state)
{
	struct scratch s = scratch_open();
	size_t n;
	uint8_t *bytes = read_whole("model/weights/bootstrap.safetensors", &n);

	(void)state;
	for (size_t length = 0; length < n; length += n / 97) {
		scratch_write(&s, bytes, length);
		assert_false(try_load(&s, length));
	}
	scratch_write(&s, bytes, n - 1);
	assert_false(try_load(&s, n - 1));
	scratch_write(&s, bytes, n);
	assert_true(try_load(&s, n));
	close(s.fd);
	free(bytes);
}

/* bytes is freed. */
static void turn_bits(uint8_t *bytes, size_t n)
{
	static const uint8_t bits[] = {0x01, 0x04, 0x20, 0x80};
	struct scratch s = scratch_open();
	size_t loaded = 0, tried = 0;

	scratch_write(&s, bytes, n);
	assert_true(try_load(&s, n));
	for (size_t place = 0; place < n; place++) {
		for (size_t i = 0; i < sizeof(bits); i++) {
			bytes[place] ^= bits[i];
			scratch_write(&s, bytes, n);
			loaded += try_load(&s, place);
			bytes[place] ^= bits[i];
			tried++;
		}
	}
	print_message("%zu of %zu files with a turned bit are refused\n", tried - loaded, tried);
	/* Most bits are of the header, and most of those matter. */
	assert_true(loaded < tried / 2);
	close(s.fd);
	free(bytes);
}

static void a_turned_bit_is_refused_or_harmless(void **state)
{
	size_t n;
	uint8_t *bytes = built_bytes(&n);

	(void)state;
	turn_bits(bytes, n);
}

static void a_turned_bit_of_a_reduced_file_is_refused_or_harmless(void **state)
{
	static const char *const backbones[] = {"mamba", "attention"};

	(void)state;
	for (int i = 0; i < 2; i++) {
		size_t n;
		uint8_t *bytes = reduced_bytes(backbones[i], &n);

		turn_bits(bytes, n);
	}
}

/* Text put where it hurts: numbers that overflow, braces that do not close. */
static void a_byte_replaced_in_the_header_is_refused_or_harmless(void **state)
{
	static const char with[] = "9-{[\"\\,:e.\n";
	struct scratch s = scratch_open();
	size_t n, n_header;
	uint8_t *bytes = built_bytes(&n);

	(void)state;
	n_header = 8 + bytes[0] + 256 * (size_t)bytes[1];
	for (size_t place = 0; place < n_header; place++) {
		uint8_t was = bytes[place];

		bytes[place] = with[place % (sizeof(with) - 1)];
		scratch_write(&s, bytes, n);
		try_load(&s, place);
		bytes[place] = was;
	}
	close(s.fd);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_cut_anywhere_is_refused),
		cmocka_unit_test(the_shipped_model_cut_anywhere_is_refused),
		cmocka_unit_test(a_turned_bit_is_refused_or_harmless),
		cmocka_unit_test(a_turned_bit_of_a_reduced_file_is_refused_or_harmless),
		cmocka_unit_test(a_byte_replaced_in_the_header_is_refused_or_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
