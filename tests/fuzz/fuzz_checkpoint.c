/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes as a checkpoint of one small network. The first byte chooses what the rest is: a whole
 * file, or the values of an otherwise good one. What is read must be something that a run can go on
 * from.
 */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "model/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static struct layout *layout;
static uint8_t head[4096];
static size_t n_head;

static struct layout *small_layout(void)
{
	const struct architecture a = {.backbone = "mamba",
				       .embed_dim = 1,
				       .depth = 1,
				       .d_state = 1,
				       .d_conv = 1,
				       .expand = 1,
				       .stride = 1};
	const struct token_config t = {.shape = {.packets = 1, .header_bytes = 1, .seq_len = 1}};
	struct layout *l = NULL;

	if (layout_classifier(&a, &t, 1, &l))
		abort();
	return l;
}

static void try_file(const char *path)
{
	float *m = malloc(layout->n_values * sizeof(float));
	float *v = malloc(layout->n_values * sizeof(float));
	struct checkpoint_block blocks[] = {{.name = "m", .values = m, .may_be_missing = true},
					    {.name = "v", .values = v, .squares = true}};
	struct checkpoint *c = NULL;
	struct error e = {0};
	int r = checkpoint_open(path, &c, &e);

	if (!m || !v)
		abort();
	if (!r)
		r = checkpoint_read(c, layout, blocks, 2, &e);
	if (r && (r != e.code || !e.text[0]))
		abort();
	for (size_t i = 0; !r && i < layout->n_values; i++)
		if (!isfinite(v[i]) || v[i] < 0 || (blocks[0].present && !isfinite(m[i])))
			abort();
	checkpoint_close(c);
	free(m);
	free(v);
}

/* A good file's head, once: writing one is slow. */
static void make_head(void)
{
	char good[] = "/tmp/nm-fuzz-XXXXXX";
	float *zero = calloc(layout->n_values, sizeof(float));
	const struct checkpoint_block block = {.name = "v", .values = zero};
	int fd = mkstemp(good);

	if (fd < 0 || !zero || checkpoint_write(good, layout, &block, 1, "{}", NULL))
		abort();
	close(fd);
	fd = open(good, O_RDONLY | O_CLOEXEC);
	n_head = (size_t)lseek(fd, 0, SEEK_END) - layout->n_values * sizeof(float);
	if (n_head > sizeof(head) || pread(fd, head, n_head, 0) != (ssize_t)n_head)
		abort();
	close(fd);
	unlink(good);
	free(zero);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	char path[32];
	int fd = memfd_create("checkpoint", MFD_CLOEXEC);

	if (!layout) {
		layout = small_layout();
		make_head();
	}
	if (n > 0 && bytes[0] == 'v' && write(fd, head, n_head) != (ssize_t)n_head)
		abort();
	if (n > 0 && write(fd, bytes + 1, n - 1) != (ssize_t)n - 1)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	try_file(path);
	close(fd);
	return 0;
}
