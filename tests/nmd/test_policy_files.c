/* SPDX-License-Identifier: BSD-2-Clause */
/* Versions and the pointer on disk: whole or not at all, and what damaged files may do. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include "agent/nmd/policy_files.h"
#include "tests/nmd/tree.h"

static char dir[64];
static struct error e;

static int begin(void **state)
{
	(void)state;
	tree_make(dir);
	memset(&e, 0, sizeof(e));
	return 0;
}

static int end(void **state)
{
	(void)state;
	tree_remove(dir);
	return 0;
}

/* As a full disk: no file grows beyond so many bytes. */
static void files_end_at(rlim_t bytes)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_pointer_that_does_not_fit_leaves_the_old_one(void **state)
{
	struct policy_pointer old = {.version = 7, .confirm_at_s = 1800000000, .revert_to = 6};
	struct policy_pointer fresh = {.version = 8}, found;
	char left[96];
	int rc;

	(void)state;
	assert_int_equal(policy_files_write_pointer(dir, &old, &e), 0);
	files_end_at(5);
	rc = policy_files_write_pointer(dir, &fresh, &e);
	files_end_at(RLIM_INFINITY);
	assert_true(rc < 0);
	assert_int_equal(policy_files_read_pointer(dir, &found, &e), 0);
	assert_int_equal(found.version, 7);
	assert_int_equal(found.confirm_at_s, 1800000000);
	assert_int_equal(found.revert_to, 6);
	snprintf(left, sizeof(left), "%s/state.new", dir);
	assert_int_not_equal(access(left, F_OK), 0);
}

static void nobody_else_may_read_a_policy(void **state)
{
	struct policy_pointer pointer = {.version = 1};
	mode_t mask = umask(0);
	char path[96];
	struct stat st;

	(void)state;
	assert_int_equal(policy_files_write_pointer(dir, &pointer, &e), 0);
	umask(mask);
	snprintf(path, sizeof(path), "%s/state", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_file_of_any_size_is_not_read(void **state)
{
	struct policy_pointer found;
	char path[96];

	(void)state;
	tree_write(dir, "state", "current 1\nconfirm_at 0\nrevert_to 0\n");
	snprintf(path, sizeof(path), "%s/state", dir);
	assert_int_equal(truncate(path, 5 << 20), 0);
	assert_int_equal(policy_files_read_pointer(dir, &found, &e), -EFBIG);
}

static void a_head_is_cut_to_its_room_and_read_by_whole_words(void **state)
{
	struct policy_version *versions;
	char text[4096];
	uint32_t n;

	(void)state;
	snprintf(text, sizeof(text), "# bystander somebody\n# by root\n# summary %0*d\n", 3000, 1);
	tree_write(dir, "000001.policy", text);
	assert_int_equal(policy_files_list(dir, &versions, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_string_equal(versions[0].by, "root");
	assert_int_equal(strlen(versions[0].summary), POLICY_SUMMARY - 1);
	free(versions);
}

static void ids_that_cannot_be_are_refused(void **state)
{
	static const char *const heads[] = {
		"# ids 1024\n# next 1\n", "# ids 18446744073709551615\n# next 1\n",
		"# ids 1\n# next 0\n",    "# ids 1\n# next 1025\n",
		"# ids\n# next 1\n",      "# ids 1\n",
	};
	struct policy *policy = NULL;
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		snprintf(text, sizeof(text), "%sblock class=tor\n", heads[i]);
		tree_write(dir, "000001.policy", text);
		assert_int_equal(policy_files_read(dir, 1, &policy, &e), -EINVAL);
		assert_null(policy);
	}
	tree_write(dir, "000001.policy", "# ids 1023\n# next 1024\nblock class=tor\n");
	assert_int_equal(policy_files_read(dir, 1, &policy, &e), 0);
	assert_int_equal(policy->rules[0].id, 1023);
	policy_free(policy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_pointer_that_does_not_fit_leaves_the_old_one),
		TEST(nobody_else_may_read_a_policy),
		TEST(a_file_of_any_size_is_not_read),
		TEST(a_head_is_cut_to_its_room_and_read_by_whole_words),
		TEST(ids_that_cannot_be_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
