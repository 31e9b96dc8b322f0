/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kernel and user space make the same records of the same captures. Without arguments over
 * tests/captures; `make parity CAPTURES=FOLDER` gives another folder.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "tests/bpf/parity.h"

static const char *folder = "tests/captures";

static void compare_by(int hook)
{
	struct parity *p = parity_new(hook);
	uint64_t differences, records;

	if (!p)
		skip();
	parity_folder(p, folder);
	parity_counters(p);
	parity_print(p);
	differences = p->differences;
	records = p->records;
	parity_free(p);
	assert_int_equal(differences, 0);
	assert_true(records > 0);
}

static void the_ingress_program_and_the_extractor_make_the_same_records(void **state)
{
	(void)state;
	compare_by(HOOK_INGRESS);
}

static void the_egress_program_and_the_extractor_make_the_same_records(void **state)
{
	(void)state;
	compare_by(HOOK_EGRESS);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_ingress_program_and_the_extractor_make_the_same_records),
		cmocka_unit_test(the_egress_program_and_the_extractor_make_the_same_records),
	};

	if (argc > 1)
		folder = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
