/* SPDX-License-Identifier: BSD-2-Clause */
/* Checkpoints: read as written; anything else is refused before the caller's blocks are touched. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include "model/checkpoint.h"
#include "model/safetensors_write.h"

#define STATE "{\"step\":12,\"settings\":{\"seed\":\"7\"}}"

static const struct architecture architecture = {.backbone = "mamba",
						 .embed_dim = 2,
						 .depth = 1,
						 .d_state = 2,
						 .d_conv = 2,
						 .expand = 1,
						 .stride = 2};
static const struct token_config tokens = {
	.shape = {.packets = 1, .header_bytes = 4, .payload_bytes = 4, .seq_len = 100}};

static char path[] = "/tmp/nm-checkpoint-XXXXXX";
static struct layout *layout;
static float *weights, *squares, *best;

static int make_blocks(void **state)
{
	(void)state;
	strcpy(path + strlen(path) - 6, "XXXXXX");
	close(mkstemp(path));
	assert_int_equal(layout_classifier(&architecture, &tokens, 3, &layout), 0);
	weights = malloc(layout->n_values * sizeof(float));
	squares = malloc(layout->n_values * sizeof(float));
	best = malloc(layout->n_values * sizeof(float));
	assert_true(weights && squares && best);
	for (size_t i = 0; i < layout->n_values; i++) {
		weights[i] = sinf((float)i);
		squares[i] = (float)i / 7;
		best[i] = 1;
	}
	return 0;
}

static int free_blocks(void **state)
{
	(void)state;
	unlink(path);
	free(weights);
	free(squares);
	free(best);
	layout_free(layout);
	return 0;
}

static int write_run(bool with_best, struct error *e)
{
	const struct checkpoint_block blocks[] = {
		{.name = "weights", .values = weights},
		{.name = "v", .values = squares, .squares = true},
		{.name = "best", .values = with_best ? best : NULL},
	};

	return checkpoint_write(path, layout, blocks, 3, STATE, e);
}

/* What was read, in blocks that begin as -1. */
struct run {
	float *values[3];
	struct checkpoint_block blocks[3];
};

static struct run run_new(void)
{
	struct run run = {.blocks = {{.name = "weights"},
				     {.name = "v", .squares = true},
				     {.name = "best", .may_be_missing = true}}};

	for (int i = 0; i < 3; i++) {
		run.blocks[i].values = run.values[i] = malloc(layout->n_values * sizeof(float));
		assert_non_null(run.values[i]);
		for (size_t k = 0; k < layout->n_values; k++)
			run.values[i][k] = -1;
	}
	return run;
}

static void run_free(struct run *run)
{
	for (int i = 0; i < 3; i++)
		free(run->values[i]);
}

static int read_run(const char *from, const struct layout *l, struct run *run, struct error *e)
{
	struct checkpoint *c = NULL;
	int r = checkpoint_open(from, &c, e);

	if (r)
		return r;
	assert_non_null(checkpoint_state(c));
	r = checkpoint_read(c, l, run->blocks, 3, e);
	checkpoint_close(c);
	return r;
}

static void expect_refused(const struct layout *l, const char *want)
{
	struct run run = run_new();
	struct error e = {0};
	int r = read_run(path, l, &run, &e);

	assert_true(r < 0 && r == e.code);
	if (want)
		assert_string_equal(e.text + strlen(path), want);
	for (int i = 0; i < 3; i++)
		for (size_t k = 0; k < layout->n_values; k++)
			assert_true(run.values[i][k] == -1);
	run_free(&run);
}

static void a_state_is_read_as_it_was_written(void **state)
{
	struct run run = run_new();
	struct checkpoint *c = NULL;
	size_t bytes = layout->n_values * sizeof(float);

	(void)state;
	assert_int_equal(write_run(true, NULL), 0);
	assert_int_equal(checkpoint_open(path, &c, NULL), 0);
	assert_string_equal(checkpoint_state(c), STATE);
	assert_int_equal(checkpoint_read(c, layout, run.blocks, 3, NULL), 0);
	checkpoint_close(c);
	assert_memory_equal(run.values[0], weights, bytes);
	assert_memory_equal(run.values[1], squares, bytes);
	assert_memory_equal(run.values[2], best, bytes);
	assert_true(run.blocks[0].present && run.blocks[2].present);
	run_free(&run);
}

static void a_block_may_be_missing_where_that_is_said(void **state)
{
	struct run run = run_new();

	(void)state;
	assert_int_equal(write_run(false, NULL), 0);
	assert_int_equal(read_run(path, layout, &run, NULL), 0);
	assert_true(run.blocks[0].present && !run.blocks[2].present);
	assert_true(run.values[2][0] == -1);
	run_free(&run);
}

static void another_network_is_refused(void **state)
{
	struct architecture wider = architecture;
	struct layout *l = NULL, *more = NULL;

	(void)state;
	assert_int_equal(write_run(true, NULL), 0);
	wider.d_state = 3;
	assert_int_equal(layout_classifier(&wider, &tokens, 3, &l), 0);
	expect_refused(l, ": is of another network: it has \"encoder_blocks.0.mixer.x_proj.weight "
			  "5 2\" where this one has \"encoder_blocks.0.mixer.x_proj.weight 7 2\"");
	wider = architecture;
	wider.head_bias = true;
	assert_int_equal(layout_classifier(&wider, &tokens, 3, &more), 0);
	expect_refused(more, ": is of another network: it has \"\" where this one has "
			     "\"head.bias 3\"");
	layout_free(l);
	layout_free(more);
}

static void a_run_does_not_go_on_from_hostile_values(void **state)
{
	struct raw_tensor list[2];
	const struct safetensors_string strings[] = {{"nmtrain_state", STATE},
						     {"nmtrain_layout", NULL}};
	struct safetensors *good = NULL;
	struct safetensors_string copy[2];

	(void)state;
	assert_int_equal(write_run(false, NULL), 0);
	assert_int_equal(safetensors_open(path, &good, NULL), 0);
	copy[0] = strings[0];
	copy[1] = (struct safetensors_string){"nmtrain_layout",
					      safetensors_metadata(good, "nmtrain_layout")};
	list[0] = *safetensors_find(good, "weights");
	list[1] = *safetensors_find(good, "v");
	list[0].data = (const void *)weights;
	list[1].data = (const void *)squares;

	weights[layout->n_values - 1] = INFINITY;
	assert_int_equal(safetensors_write(path, list, 2, copy, 2, NULL), 0);
	expect_refused(layout, ": weights: value 479 is not finite");
	weights[layout->n_values - 1] = -3;
	squares[5] = -0x1p-140F;
	assert_int_equal(safetensors_write(path, list, 2, copy, 2, NULL), 0);
	expect_refused(layout, ": v: value 5 is below 0");
	assert_int_equal(safetensors_write(path, list, 1, copy, 2, NULL), 0);
	expect_refused(layout, ": has no block v");
	list[1].n_values = list[1].shape[0] = 3;
	assert_int_equal(safetensors_write(path, list, 2, copy, 2, NULL), 0);
	expect_refused(layout, ": v has 3 values of F32; must be 480 of F32");
	safetensors_close(good);
}

static void what_is_no_checkpoint_is_refused(void **state)
{
	struct error e = {0};
	struct checkpoint *c = NULL;
	const struct safetensors_string list[] = {{"nmtrain_state", "[]"},
						  {"nmtrain_layout", "x 1\n"}};
	const char *model = "tests/golden/tiny.weights.safetensors";

	(void)state;
	assert_int_equal(checkpoint_open(model, &c, &e), -EINVAL);
	assert_string_equal(e.text + strlen(model),
			    ": is no checkpoint of a training run: __metadata__ has no "
			    "nmtrain_state and nmtrain_layout");
	assert_int_equal(safetensors_write(path, NULL, 0, list, 2, NULL), 0);
	expect_refused(layout, ": the state is no JSON object (byte 0)");
	assert_int_equal(safetensors_write(path, NULL, 0, list + 1, 1, NULL), 0);
	expect_refused(layout, NULL);
	assert_null(c);
}

/* The way into a terminal is barred to what a file says. */
static void a_layout_that_is_shown_is_printable(void **state)
{
	const struct safetensors_string list[] = {{"nmtrain_state", "{}"},
						  {"nmtrain_layout", "byte\x1b[2J"}};

	(void)state;
	assert_int_equal(safetensors_write(path, NULL, 0, list, 2, NULL), 0);
	expect_refused(layout, ": is of another network: it has \"byte\" where this one has "
			       "\"byte_cls_token 1 1 2\"");
}

static void values_that_are_not_finite_leave_the_last_checkpoint(void **state)
{
	struct error e = {0};
	struct run run = run_new();

	(void)state;
	assert_int_equal(write_run(true, NULL), 0);
	weights[3] = NAN;
	assert_int_equal(write_run(true, &e), -ERANGE);
	assert_string_equal(e.text + strlen(path), ": weights: value 3 is not finite");
	assert_int_equal(read_run(path, layout, &run, NULL), 0);
	run_free(&run);
}

static void a_state_that_is_no_object_or_too_long_is_not_written(void **state)
{
	struct error e = {0};
	char *longer = malloc(CHECKPOINT_MAX_STATE + 2);

	(void)state;
	assert_non_null(longer);
	memset(longer, ' ', CHECKPOINT_MAX_STATE + 1);
	longer[0] = '{';
	longer[CHECKPOINT_MAX_STATE] = '}';
	longer[CHECKPOINT_MAX_STATE + 1] = '\0';
	assert_int_equal(checkpoint_write(path, layout, NULL, 0, "7", &e), -EINVAL);
	assert_int_equal(checkpoint_write(path, layout, NULL, 0, longer, &e), -E2BIG);
	free(longer);
}

static uint8_t *read_whole(size_t *ret_n)
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

static void put(int fd, const uint8_t *bytes, size_t n)
{
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, bytes, n, 0), n);
}

static void a_checkpoint_cut_anywhere_is_refused(void **state)
{
	int fd = memfd_create("checkpoint", MFD_CLOEXEC);
	struct run run = run_new();
	char name[32];
	uint8_t *bytes;
	size_t n;

	(void)state;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	assert_int_equal(write_run(true, NULL), 0);
	bytes = read_whole(&n);
	for (size_t length = 0; length < n; length++) {
		put(fd, bytes, length);
		assert_true(read_run(name, layout, &run, NULL) < 0);
	}
	put(fd, bytes, n);
	assert_int_equal(read_run(name, layout, &run, NULL), 0);
	free(bytes);
	run_free(&run);
	close(fd);
}

/* A bit of a value gives another value; what a run reads stays finite, and squares positive. */
static void a_turned_bit_is_refused_or_harmless(void **state)
{
	int fd = memfd_create("checkpoint", MFD_CLOEXEC);
	struct run run = run_new();
	char name[32];
	uint8_t *bytes;
	size_t n, refused = 0;

	(void)state;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	assert_int_equal(write_run(true, NULL), 0);
	bytes = read_whole(&n);
	for (size_t place = 0; place < n; place++) {
		struct error e = {0};

		bytes[place] ^= 0x40;
		put(fd, bytes, n);
		bytes[place] ^= 0x40;
		if (read_run(name, layout, &run, &e)) {
			assert_true(e.text[0] != '\0');
			refused++;
			continue;
		}
		for (size_t i = 0; i < layout->n_values; i++)
			assert_true(isfinite(run.values[0][i]) && run.values[1][i] >= 0);
	}
	assert_true(refused > n / 10);
	free(bytes);
	run_free(&run);
	close(fd);
}

int main(void)
{
#define WITH_RUN(test) cmocka_unit_test_setup_teardown(test, make_blocks, free_blocks)
	const struct CMUnitTest tests[] = {
		WITH_RUN(a_state_is_read_as_it_was_written),
		WITH_RUN(a_block_may_be_missing_where_that_is_said),
		WITH_RUN(another_network_is_refused),
		WITH_RUN(a_run_does_not_go_on_from_hostile_values),
		WITH_RUN(what_is_no_checkpoint_is_refused),
		WITH_RUN(a_layout_that_is_shown_is_printable),
		WITH_RUN(values_that_are_not_finite_leave_the_last_checkpoint),
		WITH_RUN(a_state_that_is_no_object_or_too_long_is_not_written),
		WITH_RUN(a_checkpoint_cut_anywhere_is_refused),
		WITH_RUN(a_turned_bit_is_refused_or_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
