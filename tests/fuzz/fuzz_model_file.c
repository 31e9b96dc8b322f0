/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes as a model file. What loads must be runnable: an engine is opened and one flow goes through
 * it, where that is small work. The first byte chooses what the rest is: a whole file, or the
 * metadata of an otherwise good one, so that the fuzzer need not find offsets by chance.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "model/decide.h"
#include "model/engine.h"
#include "model/model_metadata.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#define SMALL_TOKENS 64
#define SMALL_WIDTH  16

static void run_one(struct model *m)
{
	struct engine *engine = NULL;
	struct batch *b = NULL;
	struct decision d;
	float logits[MODEL_MAX_CLASSES];

	if (engine_open("cpu", m, &engine, NULL) ||
	    batch_new(&m->tokens, m->architecture.stride, 1, &b))
		abort();
	b->n = 1;
	memset(b->bytes, 0, m->tokens.shape.packets * sample_row_bytes(&m->tokens.shape));
	memset(b->sizes, 0, m->tokens.shape.seq_len * 4);
	memset(b->iats, 0, m->tokens.shape.seq_len * 4);
	if (engine_run(engine, b, logits, NULL))
		abort();
	decide(m, logits, &d);
	batch_free(b);
	engine_close(engine);
}

static void try_file(const uint8_t *bytes, size_t n)
{
	struct error e = {0};
	struct model *m = NULL;
	char path[32];
	int fd = memfd_create("model", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (model_load(path, &m, &e) == 0) {
		if (model_sequence_length(m) <= SMALL_TOKENS &&
		    m->architecture.embed_dim <= SMALL_WIDTH)
			run_one(m);
		model_unref(m);
	} else if (e.code >= 0 || !e.text[0]) {
		abort();
	}
	close(fd);
}

static void try_metadata(const uint8_t *bytes, size_t n)
{
	struct model *m = calloc(1, sizeof(*m));
	char *text = strndup((const char *)bytes, n);
	struct error e = {0};

	if (!m || !text || !(m->path = strdup("fuzz")))
		abort();
	if (model_read_metadata(m, text, &e) && (e.code >= 0 || !e.text[0]))
		abort();
	model_unref(m);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	if (n == 0)
		return 0;
	if (bytes[0] == 'm')
		try_metadata(bytes + 1, n - 1);
	else
		try_file(bytes + 1, n - 1);
	return 0;
}
