/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as a policy file. What is accepted must survive being written and read again, in the
 * same words, and must compile to entries whose numbers are in range, or be refused with a text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "agent/policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds)
{
	if (!holds)
		abort();
}

static void check_written(const struct policy *p)
{
	char *text = policy_format(p), *again, *diff;
	struct policy *back = NULL;
	struct error e;

	demand(text && policy_parse("again", text, strlen(text), &back, &e) == 0);
	again = policy_format(back);
	demand(again && strcmp(text, again) == 0);
	diff = policy_diff(p, back);
	demand(diff && *diff == '\0');
	free(diff);
	free(text);
	free(again);
	policy_free(back);
}

static void check_program(const struct policy_program *program)
{
	demand(program->n_meters < MAX_METERS && program->n_zones <= MAX_ZONES);
	for (uint32_t i = 0; i < program->n_zones; i++)
		demand(program->zones[i].zone_id < MAX_ZONES &&
		       program->zones[i].prefix.prefix_len <= 128);
	for (uint32_t i = 0; i < MAX_ZONES * MAX_CLASSES; i++)
		for (int hook = 0; hook < 2; hook++) {
			const struct policy_action *a = &program->entries[i].by_hook[hook];

			demand(a->action <= ACTION_LIMIT && a->rule_id < MAX_RULES);
			demand((a->action == ACTION_LIMIT) == (a->meter_id != 0));
			demand(a->meter_id <= program->n_meters);
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char names[][CLASS_NAME_LEN] = {"unknown", "tor", "p2p", "ssh", "dns-tunnel"};
	static const bool watch_only[] = {false, false, true, false, false};
	const struct policy_classes classes = {5, names, watch_only};
	struct policy_program *program = NULL;
	struct policy *p = NULL;
	struct error e = {0};

	if (policy_parse("fuzz", (const char *)data, size, &p, &e) != 0) {
		demand(e.code < 0 && strncmp(e.text, "fuzz:", 5) == 0);
		return 0;
	}
	check_written(p);
	if (policy_compile(p, &classes, NULL, 0, &program, &e) == 0)
		check_program(program);
	else
		demand(e.text[0] != '\0');
	policy_program_free(program);
	policy_free(p);
	return 0;
}
