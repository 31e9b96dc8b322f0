/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes as a data set. The first byte chooses what the rest is: a whole file, or the payload of an
 * otherwise good one, so that the fuzzer need not find a checksum. What is read can be written, and
 * is then read as the same.
 */
#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>
#include "agent/nmtrain/dataset_build.h"
#include "tests/nmtrain/nmd_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void write_again(const struct dataset *set)
{
	static char path[64];
	struct dataset *same = NULL;

	if (!path[0])
		snprintf(path, sizeof(path), "/dev/shm/nm-fuzz-dataset.%d", (int)getpid());
	assert(!dataset_write(set, path, NULL));
	assert(!dataset_read(path, &same, NULL));
	assert(same->n_flows == set->n_flows && same->n_captures == set->n_captures);
	dataset_free(same);
	unlink(path);
}

static void try_file(const uint8_t *bytes, size_t n)
{
	struct dataset *set = NULL;
	struct error e = {0};
	static int fd = -1;
	char path[32];

	if (fd < 0)
		fd = memfd_create("dataset", MFD_CLOEXEC);
	if (ftruncate(fd, 0) || pwrite(fd, bytes, n, 0) != (ssize_t)n)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (dataset_read(path, &set, &e)) {
		assert(e.code < 0 && e.text[0]);
		return;
	}
	write_again(set);
	dataset_free(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	uint8_t *file;
	size_t n_file;

	if (!n)
		return 0;
	if (bytes[0] != 'p') {
		try_file(bytes + 1, n - 1);
		return 0;
	}
	file = nmd_wrap(bytes + 1, n - 1, &n_file);
	try_file(file, n_file);
	free(file);
	return 0;
}
