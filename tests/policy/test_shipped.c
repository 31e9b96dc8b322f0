/* SPDX-License-Identifier: BSD-2-Clause */
/* The shipped policies and every example of policies/README.md do what is said of them. */
#include <errno.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "agent/policy/policy.h"
#include "tests/policy/classes.h"

#define README "policies/README.md"
#define MODEL  "model/weights/bootstrap.safetensors"

/* The first max bytes of a file as a string; caller frees. NULL when there is none. */
static char *read_file(const char *path, size_t max)
{
	FILE *f = fopen(path, "r");
	char *text = f ? calloc(1, max + 1) : NULL;

	if (!text)
		return NULL;
	if (fread(text, 1, max, f) == 0)
		fail_msg("%s is empty", path);
	fclose(f);
	return text;
}

/* notes: NULL, or where the compiler's notes go. */
static int check(const char *name, const char *text, size_t len, char notes[1024], struct error *e)
{
	struct policy_program *program;
	struct policy *p;
	int err = policy_parse(name, text, len, &p, e);

	if (err)
		return err;
	err = policy_compile(p, &shipped_classes, NULL, 0, &program, e);
	policy_free(p);
	if (err)
		return err;
	if (notes)
		strcpy(notes, program->notes);
	policy_program_free(program);
	return 0;
}

static void each_shipped_policy_compiles_without_a_note(void **state)
{
	glob_t found;

	(void)state;
	assert_int_equal(glob("policies/*.policy", 0, NULL, &found), 0);
	assert_true(found.gl_pathc >= 5);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		char *text = read_file(found.gl_pathv[i], 65536), notes[1024];
		struct error e = {0};

		assert_non_null(text);
		if (check(found.gl_pathv[i], text, strlen(text), notes, &e) != 0)
			fail_msg("%s", e.text);
		/* Each line of theirs does what it says, for every flow. */
		assert_string_equal(notes, "");
		free(text);
	}
	globfree(&found);
}

/* The next fenced block of this language; NULL at the end. */
static const char *next_block(const char *text, const char *language, size_t *ret_len)
{
	char fence[32];
	const char *begin;

	snprintf(fence, sizeof(fence), "\n```%s\n", language);
	begin = strstr(text, fence);
	if (!begin)
		return NULL;
	begin += strlen(fence);
	*ret_len = (size_t)(strstr(begin, "```") - begin);
	return begin;
}

static void each_policy_in_the_readme_compiles(void **state)
{
	char *text = read_file(README, 65536);
	size_t len, n = 0;

	(void)state;
	assert_non_null(text);
	for (const char *b = text; (b = next_block(b, "policy", &len)); n++) {
		struct error e = {0};

		if (check("example", b, len, NULL, &e) != 0)
			fail_msg("%s\n%.*s", e.text, (int)len, b);
	}
	assert_true(n >= 4);
	free(text);
}

static void each_command_in_the_readme_is_a_rule_or_another_verb(void **state)
{
	static const char before[] = "nmctl policy ";
	char *text = read_file(README, 65536), *line, *rest = NULL;
	size_t n = 0;

	(void)state;
	assert_non_null(text);
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		const char *words = line + strlen(before);
		struct error e = {0};

		if (strncmp(line, before, strlen(before)) != 0 ||
		    strspn(words, "abcdefghijklmnopqrstuvwxyz") < strlen("block") ||
		    !strchr(words, '=') || strncmp(words, "apply", 5) == 0)
			continue;
		n++;
		if (check("command", words, strlen(words), NULL, &e) != 0)
			fail_msg("%s: %s", line, e.text);
	}
	assert_true(n >= 3);
	free(text);
}

static void each_error_in_the_readme_is_the_one_that_is_given(void **state)
{
	char *text = read_file(README, 65536), *rest = NULL;
	char *rule, *said;
	size_t len, n = 0;
	char *block;

	(void)state;
	assert_non_null(text);
	block = (char *)next_block(text, "errors", &len);
	assert_non_null(block);
	block[len] = '\0';
	for (rule = strtok_r(block, "\n", &rest); rule; rule = strtok_r(NULL, "\n", &rest), n++) {
		struct error e = {0};

		said = strtok_r(NULL, "\n", &rest);
		assert_non_null(said);
		assert_true(check("README", rule, strlen(rule), NULL, &e) < 0);
		/* Longer ones are shortened in the text. */
		assert_memory_equal(e.text, "README:1: ", 10);
		said += strspn(said, " ");
		if (strncmp(e.text + 10, said, strlen(said)) != 0)
			assert_string_equal(e.text + 10, said);
	}
	assert_true(n >= 8);
	free(text);
}

/* The safetensors header is JSON inside JSON: names stand there as \"name\". */
static void the_classes_of_these_tests_are_the_shipped_model_s(void **state)
{
	char *text = read_file(MODEL, 1 << 20);
	const char *list = text ? memmem(text, 1 << 20, "\\\"classes\\\":", 12) : NULL;
	const char *end;
	size_t n = 0;

	(void)state;
	if (!text) {
		print_message("no " MODEL "\n");
		skip();
	}
	assert_non_null(list);
	end = strchr(list, ']');
	assert_non_null(end);
	for (const char *c = list + 12; c < end; c++)
		n += strncmp(c, "\\\"", 2) == 0;
	assert_int_equal(n / 2, N_CLASSES - 1);
	for (uint32_t id = 1; id < N_CLASSES; id++) {
		char quoted[CLASS_NAME_LEN + 4];

		snprintf(quoted, sizeof(quoted), "\\\"%s\\\"", class_table[id]);
		if (!memmem(list, (size_t)(end - list), quoted, strlen(quoted)))
			fail_msg("the model has no class %s", class_table[id]);
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_shipped_policy_compiles_without_a_note),
		cmocka_unit_test(each_policy_in_the_readme_compiles),
		cmocka_unit_test(each_command_in_the_readme_is_a_rule_or_another_verb),
		cmocka_unit_test(each_error_in_the_readme_is_the_one_that_is_given),
		cmocka_unit_test(the_classes_of_these_tests_are_the_shipped_model_s),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
