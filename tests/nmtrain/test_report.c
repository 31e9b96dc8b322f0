/* SPDX-License-Identifier: BSD-2-Clause */
/* Reports of flows that were made up: one set of numbers in three forms, whatever names say. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "agent/nmtrain/report.h"
#include "tests/nmtrain/small_evaluation.h"

#define HOSTILE "<script>alert('\"&\"')</script>\x1b[31m\xff"

static const char *const sources[] = {"lab", HOSTILE};
static const char *const kinds[] = {"a", "b", "c", HOSTILE};

struct fixture {
	struct model *model;
	struct evaluation *evaluation;
	struct report report;
};

static struct evaluation *evaluate(bool fitted, bool with_unknown)
{
	struct evaluation_config config = small_config();
	struct small_flows validation, test;
	struct evaluation *ev = NULL;

	small_validation(&validation);
	small_test(&test);
	if (!with_unknown)
		test.judged.n -= 5;
	assert_int_equal(evaluation_new(fitted ? &validation.judged : NULL, &test.judged, &config,
					&ev, NULL),
			 0);
	evaluation_add_prefix(ev, 1, &test.judged);
	evaluation_add_prefix(ev, 10, &test.judged);
	return ev;
}

static struct model *small_model(void)
{
	struct model *m = calloc(1, sizeof(*m));

	strcpy(m->architecture.backbone, "mamba");
	strcpy(m->class_name[0], "http");
	strcpy(m->class_name[1], "tls");
	strcpy(m->class_name[2], "remote-desktop");
	m->n_classes = SMALL_CLASSES;
	m->n_parameters = 1234567;
	m->path = (char *)"m";
	model_default_calibration(&m->calibration);
	strcpy(m->sha256, "c0ffee");
	return m;
}

static void setup(struct fixture *f, bool fitted, bool with_unknown)
{
	f->model = small_model();
	f->evaluation = evaluate(fitted, with_unknown);
	f->report = (struct report){.set_name = "set.nmd",
				    .set_sha256 = "5e7",
				    .n_folds = 5,
				    .fold = 3,
				    .validation_fold = 4,
				    .split = fitted ? "test" : "all",
				    .source_name = sources,
				    .kind_name = kinds,
				    .seed = 1,
				    .n_draws = 100,
				    .time = "now",
				    .n_models = 1};
	f->report.model[0] = (struct report_model){"runs/" HOSTILE, f->model, f->evaluation, false};
}

static void teardown(struct fixture *f)
{
	evaluation_free(f->evaluation);
	free(f->model);
}

static char *print(void (*report)(FILE *out, const struct report *r), const struct report *r)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	report(out, r);
	fclose(out);
	return text;
}

/* Each tag that is opened is closed, in order. */
static void assert_balanced(const char *html)
{
	char open[64][16];
	size_t depth = 0;

	for (const char *at = strchr(html, '<'); at; at = strchr(at + 1, '<')) {
		const char *end = strchr(at, '>');
		size_t n = strcspn(at + 1, " >/");
		char name[16];

		assert_non_null(end);
		if (at[1] == '!' || !strncmp(at + 1, "meta", 4) || end[-1] == '/')
			continue;
		if (at[1] == '/') {
			snprintf(name, sizeof(name), "%.*s", (int)(end - at - 2), at + 2);
			assert_true(depth > 0);
			assert_string_equal(open[--depth], name);
			continue;
		}
		assert_true(depth < 64 && n < 16);
		snprintf(open[depth++], 16, "%.*s", (int)n, at + 1);
	}
	assert_int_equal(depth, 0);
}

static void assert_harmless(const char *html)
{
	assert_null(strstr(html, "<script"));
	assert_null(strchr(html, '\x1b'));
	assert_null(strchr(html, '\xff'));
	assert_null(strstr(html, "nan"));
	assert_null(strstr(html, "inf\""));
}

static void names_from_outside_stay_text_on_the_page(void **state)
{
	struct fixture f;
	char *html;

	(void)state;
	setup(&f, true, true);
	html = print(report_html, &f.report);
	assert_harmless(html);
	assert_balanced(html);
	assert_non_null(strstr(html, "&lt;script&gt;alert(&#39;&quot;&amp;&quot;&#39;)"));
	free(html);
	teardown(&f);
}

static void the_page_needs_nothing_else(void **state)
{
	static const char *const links[] = {"<link", "src=", "url(", "@import", "http:", "https:"};
	struct fixture f;
	char *html;

	(void)state;
	setup(&f, true, true);
	html = print(report_html, &f.report);
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		assert_null(strstr(html, links[i]));
	free(html);
	teardown(&f);
}

static void names_from_outside_cannot_reach_the_terminal(void **state)
{
	struct fixture f;
	char *text;

	(void)state;
	setup(&f, true, true);
	text = print(report_text, &f.report);
	assert_null(strchr(text, '\x1b'));
	assert_null(strchr(text, '\xff'));
	assert_null(strstr(text, "nan"));
	assert_non_null(strstr(text, "</script>?[31m?"));
	free(text);
	teardown(&f);
}

static double figure(const char *text, const char *name)
{
	char line[64];
	const char *at;

	snprintf(line, sizeof(line), "\nfigure %s ", name);
	at = strstr(text, line);
	assert_non_null(at);
	assert_non_null(strstr(at, " ratio\n"));
	return atof(at + strlen(line));
}

static double number_at(const json_t *json, const char *object, const char *key)
{
	const json_t *value = json_object_get(object ? json_object_get(json, object) : json, key);

	assert_true(json_is_number(value));
	return json_number_value(value);
}

#define ASSERT_NEAR(have, want) assert_true(fabs((have) - (want)) < 1e-4)

static void text_and_json_say_the_same(void **state)
{
	struct fixture f;
	char *text, *again;
	json_t *json;
	const json_t *m;

	(void)state;
	setup(&f, true, true);
	text = print(report_text, &f.report);
	json = report_to_json(&f.report);
	again = json_dumps(json, 0); /* every name and number can be written */
	assert_non_null(again);
	m = json_array_get(json_object_get(json, "models"), 0);
	ASSERT_NEAR(figure(text, "macro_f1"), number_at(m, "overall", "macro_f1"));
	ASSERT_NEAR(figure(text, "accuracy"), 12.0 / 16);
	ASSERT_NEAR(number_at(m, "overall", "accuracy"), 12.0 / 16);
	ASSERT_NEAR(figure(text, "ece"),
		    number_at(json_object_get(m, "calibration"), "after", "ece"));
	ASSERT_NEAR(figure(text, "auroc"),
		    f.evaluation->rank[f.evaluation->calibration.score].auroc);
	assert_true(figure(text, "fpr95") >= 0);
	assert_int_equal(json_array_size(json_object_get(m, "confusion")), SMALL_CLASSES);
	assert_int_equal(json_array_size(json_object_get(m, "after_packets")), 2);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(json_object_get(m, "classes"), 1),
						  "threshold_found")),
		"few_decided");
	free(again);
	free(text);
	json_decref(json);
	teardown(&f);
}

static void what_cannot_be_measured_is_null_and_has_no_figure(void **state)
{
	struct fixture f;
	char *text, *html;
	json_t *json;
	const json_t *unknown;

	(void)state;
	setup(&f, false, false);
	text = print(report_text, &f.report);
	html = print(report_html, &f.report);
	json = report_to_json(&f.report);
	unknown = json_object_get(json_array_get(json_object_get(json, "models"), 0), "unknown");
	assert_true(json_is_null(json_object_get(
		json_object_get(json_object_get(unknown, "scores"), "energy"), "auroc")));
	assert_null(strstr(text, "figure auroc"));
	assert_null(strstr(text, "nan"));
	assert_non_null(strstr(text, "nothing fitted"));
	assert_harmless(html);
	assert_balanced(html);
	free(text);
	free(html);
	json_decref(json);
	teardown(&f);
}

static void several_models_stand_side_by_side_under_short_names(void **state)
{
	struct fixture f;
	char *text, *html;

	(void)state;
	setup(&f, true, true);
	f.report.n_models = 2;
	f.report.model[0].name = "runs/a/mamba.safetensors";
	f.report.model[1] = f.report.model[0];
	f.report.model[1].name = "runs/b/attention.safetensors";
	f.report.model[1].saw_test = true;
	text = print(report_text, &f.report);
	html = print(report_html, &f.report);
	assert_string_equal(report_short_name(&f.report, 1), "b/attention.safetensors");
	assert_non_null(strstr(text, "  a/mamba.safetensors\n"));
	assert_non_null(strstr(text, "WARNING"));
	assert_non_null(strstr(html, ">b/attention.safetensors</td>"));
	assert_non_null(strstr(html, "class=\"warning\""));
	assert_balanced(html);
	f.report.n_models = 1;
	assert_string_equal(report_short_name(&f.report, 0), "mamba.safetensors");
	free(text);
	free(html);
	teardown(&f);
}

static void each_share_of_the_heat_map_has_its_count_as_title(void **state)
{
	struct fixture f;
	char *html;

	(void)state;
	setup(&f, true, true);
	html = print(report_html, &f.report);
	assert_non_null(strstr(html, "<title>8 of 10 flows of http taken for http</title>"));
	assert_non_null(strstr(html, "<title>2 of 10 flows of http taken for tls</title>"));
	assert_non_null(strstr(html, "<title>4 of 5 flows of no class taken for tls</title>"));
	free(html);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_from_outside_stay_text_on_the_page),
		cmocka_unit_test(the_page_needs_nothing_else),
		cmocka_unit_test(names_from_outside_cannot_reach_the_terminal),
		cmocka_unit_test(text_and_json_say_the_same),
		cmocka_unit_test(what_cannot_be_measured_is_null_and_has_no_figure),
		cmocka_unit_test(several_models_stand_side_by_side_under_short_names),
		cmocka_unit_test(each_share_of_the_heat_map_has_its_count_as_title),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
