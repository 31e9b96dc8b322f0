/* SPDX-License-Identifier: BSD-2-Clause */
/* What an engine takes is fixed when it is made, by the bounds of model_file.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <malloc.h>
#include <string.h>
#include "model/cpu_engine.h"

#define MOST_BYTES 390e6 /* as model_file.h promises */

/* 4096 tokens: 2 (64 + 1) + 61 * 260 / 4 + 1. */
static struct model largest(const char *backbone)
{
	struct model m = {
		.architecture = {.embed_dim = MODEL_MAX_EMBED_DIM,
				 .depth = MODEL_MAX_DEPTH,
				 .d_state = MODEL_MAX_STATE,
				 .d_conv = MODEL_MAX_CONV,
				 .expand = MODEL_MAX_EXPAND,
				 .dt_rank = MODEL_MAX_EMBED_DIM / 16,
				 .stride = 4,
				 .heads = MODEL_MAX_EMBED_DIM,
				 .byte_table = true,
				 .project_values = true},
		.tokens = {.shape = {61, 4, 256, 64, true}, .packed = true},
		.n_classes = MODEL_MAX_CLASSES,
	};

	strcpy(m.architecture.backbone, backbone);
	return m;
}

static double in_use(void)
{
	struct mallinfo2 info = mallinfo2();

	return (double)info.hblkhd + (double)info.uordblks;
}

static void check(const char *backbone)
{
	struct model m = largest(backbone);
	struct cpu_engine *cpu;
	struct error e = {0};
	double before = in_use();

	assert_int_equal(model_sequence_length(&m), MODEL_MAX_TOKENS);
	assert_int_equal(cpu_engine_new(&m, &cpu, &e), 0);
	print_message("%s: %.1f MB\n", backbone, (in_use() - before) / 1e6);
	assert_true(in_use() - before < MOST_BYTES);
	cpu_engine_free(cpu);
}

static void no_engine_takes_more_than_is_promised(void **state)
{
	(void)state;
	check("mamba");
	check("attention");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_engine_takes_more_than_is_promised),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
