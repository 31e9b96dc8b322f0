/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands on files, with no agent: policies against the shipped model, models against vectors. */
#include "tests/nmctl/run_nmctl.h"

#define MODEL   "model/weights/bootstrap.safetensors"
#define VECTORS "tests/golden/bootstrap.io.safetensors"

static struct result check(const char *policy, size_t len)
{
	char path[] = "/tmp/nmctl-test-XXXXXX", line[128];
	FILE *file = fdopen(mkstemp(path), "w");
	struct result r;

	assert_non_null(file);
	fwrite(policy, 1, len, file);
	fclose(file);
	snprintf(line, sizeof(line), "policy check %s --model " MODEL, path);
	r = run(line);
	unlink(path);
	return r;
}

static void a_good_policy_is_counted_and_its_notes_told(void **state)
{
	static const char policy[] = "default allow\nblock class=tor\nblock class=dns-tunnel\n";
	struct result r = check(policy, strlen(policy));

	(void)state;
	assert_string_equal(r.error, "");
	assert_int_equal(r.status, STATUS_DONE);
	assert_contains(r.out, ": 2 rules, no error with the classes of " MODEL);
	assert_contains(r.out, "note: ");
	assert_contains(r.out, "dns-tunnel");
	result_free(&r);
}

static void a_class_that_the_model_lacks_is_an_error(void **state)
{
	static const char policy[] = "block class=tro\n";
	struct result r = check(policy, strlen(policy));

	(void)state;
	assert_int_equal(r.status, STATUS_FAILED);
	assert_contains(r.error, ":1: class=tro: no such class");
	result_free(&r);
}

static void ssh_is_not_blocked_without_force(void **state)
{
	static const char policy[] = "block class=ssh\n", forced[] = "block class=ssh force\n";
	struct result r = check(policy, strlen(policy)), f = check(forced, strlen(forced));

	(void)state;
	assert_int_equal(r.status, STATUS_FAILED);
	assert_contains(r.error, "force");
	assert_int_equal(f.status, STATUS_DONE);
	result_free(&r);
	result_free(&f);
}

static void a_binary_or_absent_policy_is_refused(void **state)
{
	struct result binary = check("block\0class=tor\n", 16);
	struct result absent = run("policy check /nonexistent.policy");
	struct result folder = run("policy check /tmp");

	(void)state;
	assert_contains(binary.error, "not a text file");
	assert_string_equal(absent.error, "/nonexistent.policy: No such file or directory");
	assert_contains(folder.error, "/tmp: ");
	assert_int_equal(binary.status, STATUS_FAILED);
	assert_int_equal(absent.status, STATUS_FAILED);
	assert_int_equal(folder.status, STATUS_FAILED);
	result_free(&binary);
	result_free(&absent);
	result_free(&folder);
}

static void the_shipped_model_computes_what_was_recorded(void **state)
{
	struct result r = run("model verify " MODEL " --vectors " VECTORS);
	double deviation = 1;
	char *figure;

	(void)state;
	assert_string_equal(r.error, "");
	assert_int_equal(r.status, STATUS_DONE);
	figure = strstr(r.out, "figure logits_deviation ");
	assert_non_null(figure);
	assert_int_equal(sscanf(figure, "figure logits_deviation %lf relative", &deviation), 1);
	assert_true(deviation >= 0 && deviation <= 1e-4);
	result_free(&r);
}

static void vectors_of_another_model_fail(void **state)
{
	struct result r = run("model verify " MODEL " --vectors tests/golden/tiny.io.safetensors");

	(void)state;
	assert_int_equal(r.status, STATUS_FAILED);
	assert_contains(r.error, "tiny.io.safetensors");
	result_free(&r);
}

/* One flipped bit in the logits must be seen, else verify could not fail. */
static void a_changed_logit_fails_the_verification(void **state)
{
	char path[] = "/tmp/nmctl-test-XXXXXX", line[128];
	unsigned char bytes[65536];
	FILE *in = fopen(VECTORS, "r"), *out = fdopen(mkstemp(path), "w");
	uint64_t header_len, begin;
	char *logits;
	struct result r;
	size_t len;

	(void)state;
	assert_non_null(in);
	len = fread(bytes, 1, sizeof(bytes) - 1, in);
	fclose(in);
	bytes[len] = 0;
	memcpy(&header_len, bytes, 8);
	logits = strstr((char *)bytes + 8, "\"logits\"");
	assert_non_null(logits);
	logits = strstr(logits, "\"data_offsets\"");
	assert_non_null(logits);
	assert_int_equal(sscanf(logits, "\"data_offsets\":%*[ ][%lu", &begin) == 1 ||
				 sscanf(logits, "\"data_offsets\":[%lu", &begin) == 1,
			 1);
	bytes[8 + header_len + begin + 3] ^= 0x80; /* the sign of the first logit */
	fwrite(bytes, 1, len, out);
	fclose(out);
	snprintf(line, sizeof(line), "model verify " MODEL " --vectors %s", path);
	r = run(line);
	unlink(path);
	assert_int_equal(r.status, STATUS_FAILED);
	assert_contains(r.error, "logits deviate by");
	assert_contains(r.out, "figure logits_deviation ");
	result_free(&r);
}

static void a_model_file_is_described(void **state)
{
	struct result r = run("model show " MODEL " -o json");
	json_t *json = json_loads(r.out, 0, NULL);

	(void)state;
	assert_int_equal(r.status, STATUS_DONE);
	assert_non_null(json);
	assert_int_equal((int)output_number(json, "architecture.embed_dim", 0), 64);
	assert_int_equal(json_array_size(output_member(json, "classes")), 26);
	assert_int_equal(json_array_size(output_member(json, "calibration.thresholds")), 26);
	assert_string_equal(output_string(json, "calibration.unknown.score", ""), "energy");
	assert_int_equal(strlen(output_string(json, "sha256", "")), 64);
	json_decref(json);
	result_free(&r);
}

static void no_model_file_is_an_error_with_its_reason(void **state)
{
	struct result r = run("model verify README.md");

	(void)state;
	assert_int_equal(r.status, STATUS_FAILED);
	assert_contains(r.error, "README.md: ");
	result_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_policy_is_counted_and_its_notes_told),
		cmocka_unit_test(a_class_that_the_model_lacks_is_an_error),
		cmocka_unit_test(ssh_is_not_blocked_without_force),
		cmocka_unit_test(a_binary_or_absent_policy_is_refused),
		cmocka_unit_test(the_shipped_model_computes_what_was_recorded),
		cmocka_unit_test(vectors_of_another_model_fail),
		cmocka_unit_test(a_changed_logit_fails_the_verification),
		cmocka_unit_test(a_model_file_is_described),
		cmocka_unit_test(no_model_file_is_an_error_with_its_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
