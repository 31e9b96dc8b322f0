/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `nmtrain eval`: how good a model is on flows that it never saw, and the calibration that follows.
 *
 * Test and validation are the folds that training kept back: N and the one after it. Fitting looks
 * at validation alone, so what is printed is what a host may expect of flows like the test's.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agent/nmtrain/eval_judge.h"
#include "agent/nmtrain/eval_split.h"
#include "agent/nmtrain/nmtrain.h"
#include "agent/nmtrain/predict.h"
#include "agent/nmtrain/report.h"
#include "model/model_write.h"

#define KEPT    0.95 /* of known flows, by the out-of-distribution threshold */
#define N_DRAWS 1000
#define SEED    1

struct eval_options {
	const char *model, *set, *split, *precision, *json, *html, *calibrate;
	struct option_list compare;
	struct option_number fold, validation, threads, cap;
};

struct eval {
	struct nmtrain *t;
	struct eval_options options;
	struct evaluation_config config;
	struct dataset *set;
	struct model *model[REPORT_MAX_MODELS];
	struct evaluation *evaluation[REPORT_MAX_MODELS];
	uint32_t n_models;
	bool with_validation;
	struct eval_split test, validation;
	struct names sources;
	const char **source_name, **kind_name;
	struct report report;
	char time[32];
};

#define AT(member) offsetof(struct eval_options, member)
static const struct option_row rows[] = {
	{"model", 'm', OPTION_TEXT, "FILE", AT(model), "the model to judge"},
	{"data", 'd', OPTION_TEXT, "FILE.nmd", AT(set), "the data set"},
	{"set", 0, OPTION_TEXT, "FILE.nmd", AT(set), "the same as --data"},
	{"fold", 'f', OPTION_NUMBER, "N", AT(fold), "the fold that tests; default the model's"},
	{"validation", 0, OPTION_NUMBER, "N", AT(validation),
	 "the fold to fit on; default the one after"},
	{"validation-fold", 0, OPTION_NUMBER, "N", AT(validation), "the same as --validation"},
	{"split", 0, OPTION_TEXT, "NAME", AT(split),
	 "test; validation or all: measure, fit nothing"},
	{"precision", 'p', OPTION_TEXT, "P", AT(precision),
	 "asked of each class's decisions; default 0.95"},
	{"cap", 0, OPTION_NUMBER, "N", AT(cap), "at most so many flows of a class"},
	{"compare", 'c', OPTION_LIST, "FILE", AT(compare),
	 "another model on the same flows; may be repeated"},
	{"json", 0, OPTION_TEXT, "FILE", AT(json), "the report for programs"},
	{"html", 0, OPTION_TEXT, "FILE", AT(html), "the report as one page with plots"},
	{"calibrate", 0, OPTION_TEXT, "FILE", AT(calibrate),
	 "write the model with the fitted calibration"},
	{"threads", 'j', OPTION_NUMBER, "N", AT(threads), "default 1"},
};
#undef AT
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void drop_memory(void *p)
{
	free(*(void **)p);
}

static void drop_json(json_t **json)
{
	json_decref(*json);
}

static void drop_safetensors(struct safetensors **st)
{
	safetensors_close(*st);
}

static void eval_fini(struct eval *ev)
{
	for (uint32_t i = 0; i < ev->n_models; i++) {
		evaluation_free(ev->evaluation[i]);
		model_unref(ev->model[i]);
	}
	eval_split_fini(&ev->test);
	eval_split_fini(&ev->validation);
	dataset_free(ev->set);
	names_fini(&ev->sources);
	free(ev->source_name);
	free(ev->kind_name);
}

/* A member of training.data when the model was trained on this very set; else -2. */
static int trained_fold(const struct eval *ev, const struct model *m, const char *key)
{
	cleanup(drop_json) json_t *training =
		m->training_json ? json_loads(m->training_json, 0, NULL) : NULL;
	const json_t *data = json_object_get(training, "data");
	const char *sha256 = json_string_value(json_object_get(data, "sha256"));
	const json_t *fold = json_object_get(data, key);

	if (!sha256 || strcmp(sha256, ev->set->sha256) || !json_is_integer(fold))
		return -2;
	return (int)json_integer_value(fold);
}

static int check_options(struct eval *ev)
{
	struct eval_options *o = &ev->options;
	char *end = NULL;

	ev->config.precision = o->precision ? strtod(o->precision, &end) : 0.95;
	if (end && (end == o->precision || *end))
		ev->config.precision = NAN;
	if (!(ev->config.precision > 0 && ev->config.precision <= 1))
		return nmtrain_usage(ev->t, "--precision %.20s: must be above 0 and at most 1",
				     o->precision);
	if (!o->model)
		return nmtrain_usage(ev->t, "which model? --model FILE");
	if (!o->set)
		return nmtrain_usage(ev->t, "which data set? --data FILE.nmd");
	o->split = o->split ? o->split : "test";
	if (strcmp(o->split, "test") && strcmp(o->split, "validation") && strcmp(o->split, "all"))
		return nmtrain_usage(ev->t, "--split %.20s: must be test, validation or all",
				     o->split);
	if (strcmp(o->split, "test") && o->calibrate)
		return nmtrain_usage(ev->t,
				     "--calibrate needs --split test: with --split %s nothing "
				     "is fitted",
				     o->split);
	if (o->compare.n >= REPORT_MAX_MODELS)
		return nmtrain_usage(ev->t, "--compare: at most %d models", REPORT_MAX_MODELS - 1);
	if (o->cap.value > UINT32_MAX)
		return nmtrain_usage(ev->t, "--cap %llu: at most %u", o->cap.value, UINT32_MAX);
	o->threads.value = o->threads.given ? o->threads.value : 1;
	if (o->threads.value < 1 || o->threads.value > PREDICT_MAX_THREADS)
		return nmtrain_usage(ev->t, "--threads %llu: must be 1 to %d", o->threads.value,
				     PREDICT_MAX_THREADS);
	return STATUS_DONE;
}

static int load(struct eval *ev, struct error *e)
{
	const struct eval_options *o = &ev->options;
	int r = dataset_read(o->set, &ev->set, e);

	for (size_t i = 0; i <= o->compare.n && !r; i++) {
		r = model_load(i ? o->compare.items[i - 1] : o->model, &ev->model[i], e);
		ev->n_models += !r;
	}
	return r;
}

static int choose_folds(struct eval *ev, uint32_t *ret_test, uint32_t *ret_validation)
{
	const struct eval_options *o = &ev->options;
	uint32_t n = ev->set->n_folds;
	int trained = trained_fold(ev, ev->model[0], "test_fold");
	int validated = trained_fold(ev, ev->model[0], "validation_fold");
	unsigned long long test = o->fold.given                      ? o->fold.value
				  : trained >= 0 && trained < (int)n ? (unsigned)trained
								     : 0;
	unsigned long long validation = o->validation.given ? o->validation.value : (test + 1) % n;

	if (!o->validation.given && validated >= 0 && validated < (int)n &&
	    test == (unsigned long long)trained)
		validation = (unsigned)validated;
	if (test >= n || validation >= n)
		return nmtrain_usage(ev->t, "%s has folds 0 to %u; there is no fold %llu", o->set,
				     n - 1, test >= n ? test : validation);
	if (test == validation && !strcmp(o->split, "test"))
		return nmtrain_usage(ev->t, "fold %llu cannot test and validate; %s", test,
				     n > 1 ? "name another with --validation"
					   : "the set has one: --split all");
	*ret_test = (uint32_t)test;
	*ret_validation = (uint32_t)validation;
	return STATUS_DONE;
}

static int take_splits(struct eval *ev, struct error *e)
{
	const struct eval_options *o = &ev->options;
	struct report *r = &ev->report;
	bool all = !strcmp(o->split, "all");
	uint32_t cap = (uint32_t)o->cap.value;
	int fold = all                         ? EVAL_ALL_FOLDS
		   : !strcmp(o->split, "test") ? (int)r->fold
					       : (int)r->validation_fold;
	int rc = eval_split_take(&ev->test, ev->set, fold, cap, SEED, &ev->sources);

	ev->with_validation = !strcmp(o->split, "test");
	if (!rc && ev->with_validation)
		rc = eval_split_take(&ev->validation, ev->set, (int)r->validation_fold, cap, SEED,
				     &ev->sources);
	if (rc)
		return error_set(e, rc, "%s: %s", o->set, strerror(-rc));
	if (!ev->test.set.n_flows)
		return error_set(e, -ENODATA, "%s: no labelled flow in the split to measure on",
				 o->set);
	return 0;
}

/* Names by number, and what the splits left out. */
static int describe(struct eval *ev, struct error *e)
{
	struct report *r = &ev->report;
	time_t now = time(NULL);
	struct tm utc;

	ev->source_name = calloc(ev->sources.n + 1, sizeof(*ev->source_name));
	ev->kind_name = calloc(ev->set->n_classes + 1, sizeof(*ev->kind_name));
	if (!ev->source_name || !ev->kind_name)
		return error_set(e, -ENOMEM, "no memory for names");
	for (uint32_t i = 0; i < ev->sources.n; i++)
		ev->source_name[i] = ev->sources.list[i]->text;
	for (uint32_t i = 0; i < ev->set->n_classes; i++)
		ev->kind_name[i] = ev->set->class_name[i];
	strftime(ev->time, sizeof(ev->time), "%Y-%m-%d %H:%M UTC", gmtime_r(&now, &utc));
	r->set_name = ev->options.set;
	r->set_sha256 = ev->set->sha256;
	r->n_folds = ev->set->n_folds;
	r->split = ev->options.split;
	r->cap = (uint32_t)ev->options.cap.value;
	r->n_unlabelled = ev->test.n_unlabelled;
	r->n_over_cap = ev->test.n_over_cap;
	r->source_name = ev->source_name;
	r->kind_name = ev->kind_name;
	r->seed = SEED;
	r->n_draws = N_DRAWS;
	r->time = ev->time;
	ev->config.kept = KEPT;
	ev->config.bootstrap = (struct bootstrap){N_DRAWS, SEED};
	ev->config.n_sources = ev->sources.n;
	ev->config.n_kinds = ev->set->n_classes;
	return 0;
}

static int judge(struct eval *ev, uint32_t at, struct error *e)
{
	const struct eval_options *o = &ev->options;
	struct report *r = &ev->report;
	struct model *m = ev->model[at];
	int trained = trained_fold(ev, m, "test_fold"), rc;

	fprintf(ev->t->log, "%s: %u flows\n", m->path,
		ev->test.set.n_flows + ev->validation.set.n_flows);
	ev->config.before = m->calibration;
	rc = eval_judge(m, &ev->test, ev->with_validation ? &ev->validation : NULL,
			(uint32_t)o->threads.value, &ev->config, &ev->evaluation[at], e);
	r->n_models = ev->n_models;
	r->model[at] = (struct report_model){
		.name = at ? o->compare.items[at - 1] : o->model,
		.model = m,
		.evaluation = ev->evaluation[at],
		.saw_test = trained != -2 && (strcmp(o->split, "test") || trained != (int)r->fold),
	};
	return rc;
}

static int write_file(const char *path, const struct report *r,
		      int (*print)(FILE *out, const struct report *r), struct error *e)
{
	FILE *out = fopen(path, "we");
	int failed;

	if (!out)
		return error_set(e, -errno, "%.180s: %s", path, strerror(errno));
	failed = print(out, r);
	failed |= ferror(out);
	/* The last bytes may meet a full disk only now. */
	if (fclose(out) || failed)
		return error_set(e, -EIO, "%.180s: writing the report failed: %s", path,
				 strerror(errno));
	return 0;
}

static int print_json(FILE *out, const struct report *r)
{
	cleanup(drop_json) json_t *json = report_to_json(r);

	if (!json || json_dumpf(json, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9)))
		return -1;
	return fputc('\n', out) == EOF ? -1 : 0;
}

static int print_html(FILE *out, const struct report *r)
{
	report_html(out, r);
	return 0;
}

static json_t *figures_json(const struct model *m, const struct evaluation *ev)
{
	cleanup(drop_json) json_t *before =
		m->figures_json ? json_loads(m->figures_json, 0, NULL) : NULL;
	json_t *figures = json_is_object(before) ? json_incref(before) : json_object();
	const struct ranking *rank = &ev->rank[ev->calibration.score];
	const struct {
		const char *name;
		double value;
	} list[] = {
		{"macro_f1", ev->overall.macro_f1},
		{"accuracy", ev->overall.accuracy},
		{"auroc", rank->auroc},
		{"fpr95", rank->fpr95},
		{"ece", ev->after.ece},
	};
	json_t *test = json_object();

	for (size_t i = 0; i < COUNT(list); i++)
		if (isfinite(list[i].value))
			json_object_set_new(test, list[i].name, json_real(list[i].value));
	json_object_set_new(test, "flows", json_integer((json_int_t)ev->overall.n));
	json_object_set_new(figures, "test", test);
	return figures;
}

/* The first model's tensors as they are, with its fitted calibration and these figures. */
static int write_calibrated(struct eval *ev, struct error *e)
{
	const struct model *m = ev->model[0];
	const struct evaluation *fitted = ev->evaluation[0];
	cleanup(drop_safetensors) struct safetensors *st = NULL;
	cleanup(drop_json) json_t *figures = figures_json(m, fitted);
	cleanup(drop_memory) char *text = json_dumps(figures, JSON_COMPACT);
	struct model with = *m;
	const struct raw_tensor *tensors;
	size_t n;
	int r;

	if (!fitted->fitted)
		return error_set(e, -ENODATA,
				 "fold %u has no flow of the model's classes to calibrate on",
				 ev->report.validation_fold);
	if (!text)
		return error_set(e, -ENOMEM, "no memory for the figures");
	r = safetensors_open(m->path, &st, e);
	if (r)
		return r;
	with.calibration = fitted->calibration;
	with.figures_json = text;
	tensors = safetensors_tensors(st, &n);
	return model_write_tensors(ev->options.calibrate, &with, tensors, n, e);
}

static int write_reports(struct eval *ev, struct error *e)
{
	const struct eval_options *o = &ev->options;
	int r = 0;

	if (o->json)
		r = write_file(o->json, &ev->report, print_json, e);
	if (!r && o->html)
		r = write_file(o->html, &ev->report, print_html, e);
	if (!r && o->calibrate)
		r = write_calibrated(ev, e);
	return r;
}

static int run(struct eval *ev)
{
	struct error *e = &ev->t->error;
	int r = load(ev, e), status;

	if (r)
		return nmtrain_result(ev->t, r);
	status = choose_folds(ev, &ev->report.fold, &ev->report.validation_fold);
	if (status != STATUS_DONE)
		return status;
	r = take_splits(ev, e);
	if (!r)
		r = describe(ev, e);
	for (uint32_t i = 0; i < ev->n_models && !r; i++)
		r = judge(ev, i, e);
	if (r)
		return nmtrain_result(ev->t, r);
	report_text(ev->t->out, &ev->report);
	return nmtrain_result(ev->t, write_reports(ev, e));
}

int cmd_eval(struct nmtrain *t, int argc, char **argv)
{
	cleanup(eval_fini) struct eval ev = {.t = t};
	int n_words, status;

	if (nmtrain_options(t, rows, COUNT(rows), &ev.options, argc, argv, &n_words, &status))
		return status;
	if (n_words)
		return nmtrain_usage(t, "eval takes options only, not \"%.40s\"", argv[1]);
	status = check_options(&ev);
	if (status != STATUS_DONE)
		return status;
	nmtrain_catch_signals();
	return run(&ev);
}
