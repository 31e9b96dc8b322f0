/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that are written are read again as they were, or the old file is left. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "model/safetensors_write.h"

static char folder[] = "/tmp/nm-write-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	snprintf(path, sizeof(path), "%s/file", mkdtemp(folder));
	return 0;
}

/* Which also shows that no temporary file is left. */
static int remove_folder(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

static struct raw_tensor floats(const char *name, const float *values, uint64_t n)
{
	return (struct raw_tensor){.name = name,
				   .dtype = DTYPE_F32,
				   .n_dims = 1,
				   .shape = {n},
				   .n_values = n,
				   .data = (const void *)values};
}

static const float three[] = {1, -2, 0.5F};

static void write_three(void)
{
	struct raw_tensor t = floats("three", three, 3);

	assert_int_equal(safetensors_write(path, &t, 1, NULL, 0, NULL), 0);
}

static void expect_three(void)
{
	struct safetensors *file = NULL;

	assert_int_equal(safetensors_open(path, &file, NULL), 0);
	assert_memory_equal(safetensors_find(file, "three")->data, three, sizeof(three));
	safetensors_close(file);
}

static void what_is_written_is_read_again(void **state)
{
	static const int8_t bytes[] = {-127, 0, 5};
	const struct raw_tensor list[] = {
		floats("z", three, 3),
		{.name = "a",
		 .dtype = DTYPE_I8,
		 .n_dims = 2,
		 .shape = {3, 1},
		 .n_values = 3,
		 .data = (const void *)bytes},
		floats("scalar", three, 1),
	};
	const struct safetensors_string strings[] = {{"k", "a \"quoted\"\n text"}, {"m", ""}};
	struct safetensors *file = NULL;
	const struct raw_tensor *t;
	size_t n, size;
	float values[3];

	(void)state;
	assert_int_equal(safetensors_write(path, list, 3, strings, 2, NULL), 0);
	assert_int_equal(safetensors_open(path, &file, NULL), 0);
	safetensors_tensors(file, &n);
	assert_int_equal(n, 3);
	assert_string_equal(safetensors_metadata(file, "k"), strings[0].value);
	assert_string_equal(safetensors_metadata(file, "m"), "");
	t = safetensors_find(file, "a");
	assert_int_equal(t->dtype, DTYPE_I8);
	assert_int_equal(t->n_dims, 2);
	raw_tensor_to_float(t, values);
	assert_true(values[0] == -127 && values[1] == 0 && values[2] == 5);
	t = safetensors_find(file, "z");
	assert_memory_equal(t->data, three, sizeof(three));
	/* The format's readers map floats in place. */
	assert_int_equal((t->data - safetensors_bytes(file, &size)) % 8, 0);
	safetensors_close(file);
}

static void a_file_is_replaced_and_has_the_usual_mode(void **state)
{
	struct raw_tensor t = floats("other", three, 2);
	struct stat status;
	mode_t old = umask(022);

	(void)state;
	assert_int_equal(safetensors_write(path, &t, 1, NULL, 0, NULL), 0);
	write_three();
	umask(old);
	expect_three();
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0644);
}

/* A limit on a file's size stands for the full disk: the write fails in its midst. */
static void a_write_that_fails_leaves_the_old_file(void **state)
{
	static float many[4096];
	struct raw_tensor t = floats("many", many, 4096);
	struct rlimit old, small;
	struct error e = {0};

	(void)state;
	write_three();
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	small = (struct rlimit){8192, old.rlim_max};
	setrlimit(RLIMIT_FSIZE, &small);
	assert_int_equal(safetensors_write(path, &t, 1, NULL, 0, &e), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_string_equal(e.text + strlen(path), ": cannot write: File too large");
	expect_three();
}

static void expect_refused(const char *where, int code, const char *want)
{
	struct raw_tensor t = floats("three", three, 3);
	struct error e = {0};

	assert_int_equal(safetensors_write(where, &t, 1, NULL, 0, &e), code);
	assert_int_equal(e.code, code);
	if (!strstr(e.text, want))
		fail_msg("want: %s\ngot:  %s", want, e.text);
}

/* Root that writes to /dev/null must not put a file in its place; tried on a pipe, so that a broken
 * writer breaks no host. */
static void what_is_no_file_is_not_replaced(void **state)
{
	char pipe[80];

	(void)state;
	expect_refused(folder, -EINVAL, "is there and no regular file");
	snprintf(pipe, sizeof(pipe), "%s/pipe", folder);
	assert_int_equal(mkfifo(pipe, 0600), 0);
	expect_refused(pipe, -EINVAL, "is there and no regular file");
	unlink(pipe);
	expect_refused("/nonexistent/folder/file", -ENOENT, "cannot create a file beside it");
}

static void what_could_not_be_read_again_is_not_written(void **state)
{
	struct raw_tensor big = floats("big", three, SAFETENSORS_MAX_FILE / 4);
	struct raw_tensor *many = calloc(SAFETENSORS_MAX_TENSORS, sizeof(*many));
	char *text = malloc(SAFETENSORS_MAX_HEADER + 1);
	struct safetensors_string string = {"long", text};
	struct raw_tensor t = floats("three", three, 3);

	(void)state;
	assert_true(text && many);
	memset(text, 'a', SAFETENSORS_MAX_HEADER);
	text[SAFETENSORS_MAX_HEADER] = '\0';
	for (size_t i = 0; i < SAFETENSORS_MAX_TENSORS; i++)
		many[i] = floats("same", three, 1);
	assert_int_equal(safetensors_write(path, &big, 1, NULL, 0, NULL), -EFBIG);
	assert_int_equal(safetensors_write(path, &t, 1, &string, 1, NULL), -EFBIG);
	assert_int_equal(safetensors_write(path, many, SAFETENSORS_MAX_TENSORS, NULL, 0, NULL),
			 -EFBIG);
	assert_int_equal(access(path, F_OK), -1);
	free(text);
	free(many);
}

static float round_trip(enum dtype dtype, float value)
{
	uint8_t bytes[4];
	struct raw_tensor t = {.dtype = dtype, .n_values = 1, .data = bytes};
	float back;

	floats_to_dtype(dtype, &value, 1, bytes);
	raw_tensor_to_float(&t, &back);
	return back;
}

static void halves_survive_both_ways(void **state)
{
	(void)state;
	for (uint32_t bits = 0; bits < 0x10000; bits++) {
		uint16_t half = (uint16_t)bits, again;
		struct raw_tensor t = {
			.dtype = DTYPE_F16, .n_values = 1, .data = (const void *)&half};
		float value;

		raw_tensor_to_float(&t, &value);
		floats_to_dtype(DTYPE_F16, &value, 1, &again);
		if (isnan(value))
			assert_true(isnan(round_trip(DTYPE_F16, value)));
		else
			assert_int_equal(again, half);
	}
}

/* The nearest neighbour, and of two equally near the even one. */
static void reduced_floats_are_rounded_to_nearest_even(void **state)
{
	static const struct {
		enum dtype dtype;
		float value, want;
	} list[] = {
		{DTYPE_F16, 1 + 0x1p-11F, 1},
		{DTYPE_F16, 1 + 0x3p-11F, 1 + 0x1p-9F},
		{DTYPE_F16, 1 + 0x1.002p-11F, 1 + 0x1p-10F},
		{DTYPE_F16, 2 - 0x1p-12F, 2},
		{DTYPE_F16, 65519, 65504},
		{DTYPE_F16, 65520, INFINITY},
		{DTYPE_F16, -1e30F, -INFINITY},
		{DTYPE_F16, 0x1p-25F, 0},
		{DTYPE_F16, 0x1.8p-25F, 0x1p-24F},
		{DTYPE_F16, -0x3p-25F, -0x1p-23F},
		{DTYPE_F16, 0x1.ffcp-15F, 0x1p-14F},
		{DTYPE_F16, 1e-30F, 0},
		{DTYPE_BF16, 1 + 0x1p-8F, 1},
		{DTYPE_BF16, 1 + 0x3p-8F, 1 + 0x1p-6F},
		{DTYPE_BF16, -2 + 0x1p-9F, -2},
		{DTYPE_BF16, INFINITY, INFINITY},
		{DTYPE_F32, 0.1F, 0.1F},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (round_trip(list[i].dtype, list[i].value) != list[i].want)
			fail_msg("%s of %a: %a, not %a", dtype_name(list[i].dtype), list[i].value,
				 round_trip(list[i].dtype, list[i].value), list[i].want);
	assert_true(isnan(round_trip(DTYPE_BF16, NAN)) && isnan(round_trip(DTYPE_F16, NAN)));
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
	const struct CMUnitTest tests[] = {
		IN_FOLDER(what_is_written_is_read_again),
		IN_FOLDER(a_file_is_replaced_and_has_the_usual_mode),
		IN_FOLDER(a_write_that_fails_leaves_the_old_file),
		IN_FOLDER(what_is_no_file_is_not_replaced),
		IN_FOLDER(what_could_not_be_read_again_is_not_written),
		cmocka_unit_test(halves_survive_both_ways),
		cmocka_unit_test(reduced_floats_are_rounded_to_nearest_even),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
