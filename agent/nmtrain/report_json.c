/* SPDX-License-Identifier: BSD-2-Clause */
/* An evaluation for programs. Names are stable: add, never rename. */
#include <math.h>
#include "agent/nmtrain/report.h"
#include "model/model_json.h"

#define FORMAT 1

static void set(json_t *object, const char *key, json_t *value)
{
	json_object_set_new(object, key, value);
}

static void set_number(json_t *object, const char *key, double value)
{
	set(object, key, isfinite(value) ? json_real(value) : json_null());
}

static void set_count(json_t *object, const char *key, uint64_t value)
{
	set(object, key, json_integer((json_int_t)value));
}

/* Names from outside may hold bytes that are no UTF-8, which JSON cannot say. */
static void set_text(json_t *object, const char *key, const char *text)
{
	json_t *value = json_string(text);

	set(object, key, value ? value : json_string("(not UTF-8)"));
}

static void set_interval(json_t *object, const char *key, struct interval i)
{
	json_t *pair = json_array();

	json_array_append_new(pair, isfinite(i.low) ? json_real(i.low) : json_null());
	json_array_append_new(pair, isfinite(i.high) ? json_real(i.high) : json_null());
	set(object, key, pair);
}

static json_t *overall_json(const struct overall_figures *o)
{
	json_t *json = json_object();

	set_count(json, "flows", o->n);
	set_count(json, "right", o->right);
	set_count(json, "classes", o->n_classes);
	set_number(json, "accuracy", o->accuracy);
	set_interval(json, "accuracy_95", o->accuracy_95);
	set_number(json, "macro_f1", o->macro_f1);
	set_number(json, "weighted_f1", o->weighted_f1);
	return json;
}

static json_t *decided_json(const struct decided_figures *d)
{
	json_t *json = json_object();

	set_count(json, "known", d->known);
	set_count(json, "right", d->right);
	set_count(json, "unknown", d->unknown);
	set_number(json, "coverage", d->coverage);
	set_number(json, "precision", d->precision);
	set_interval(json, "precision_95", d->precision_95);
	return json;
}

static const char *found_name(enum threshold_found found)
{
	static const char *const names[] = {
		[THRESHOLD_FITTED] = "fitted",
		[THRESHOLD_NO_FLOWS] = "not_in_validation",
		[THRESHOLD_FEW_FLOWS] = "few_decided",
		[THRESHOLD_NOT_HELD] = "precision_not_reached",
	};

	return names[found];
}

static json_t *classes_json(const struct report_model *rm)
{
	const struct evaluation *ev = rm->evaluation;
	json_t *list = json_array();

	for (uint32_t c = 0; c < ev->n_classes; c++) {
		const struct class_figures *f = &ev->class_figures[c];
		json_t *row = json_object();

		set_text(row, "class", rm->model->class_name[c]);
		set_count(row, "support", f->support);
		set_count(row, "judged", f->judged);
		set_count(row, "right", f->right);
		set_number(row, "precision", f->precision);
		set_interval(row, "precision_95", f->precision_95);
		set_number(row, "recall", f->recall);
		set_interval(row, "recall_95", f->recall_95);
		set_number(row, "f1", f->f1);
		set_number(row, "threshold", (double)ev->calibration.threshold[c]);
		set(row, "watch_only", json_boolean(ev->calibration.watch_only[c]));
		if (ev->fitted)
			set_text(row, "threshold_found", found_name(ev->found[c]));
		set(row, "decided", decided_json(&ev->class_decided[c]));
		json_array_append_new(list, row);
	}
	return list;
}

static json_t *confusion_json(const struct evaluation *ev)
{
	json_t *rows = json_array();

	for (uint32_t t = 0; t < ev->n_classes; t++) {
		json_t *row = json_array();

		for (uint32_t j = 0; j < ev->n_classes; j++)
			json_array_append_new(
				row,
				json_integer((json_int_t)ev->confusion[t * ev->n_classes + j]));
		json_array_append_new(rows, row);
	}
	return rows;
}

static json_t *reliability_json(const struct reliability *r)
{
	json_t *json = json_object(), *bins = json_array();

	set_number(json, "ece", r->ece);
	for (int b = 0; b < CALIBRATE_BINS; b++) {
		json_t *bin = json_object();

		set_count(bin, "flows", r->bin[b].n);
		set_number(bin, "confidence", r->bin[b].confidence);
		set_number(bin, "accuracy", r->bin[b].accuracy);
		json_array_append_new(bins, bin);
	}
	set(json, "bins", bins);
	return json;
}

static json_t *calibration_json(const struct evaluation *ev)
{
	json_t *json = json_object();

	set(json, "fitted", json_boolean(ev->fitted));
	set_number(json, "temperature", (double)ev->calibration.temperature);
	set_number(json, "asked_precision", ev->asked_precision);
	set_number(json, "nll_before", ev->nll_before);
	set_number(json, "nll_after", ev->nll_after);
	set(json, "before", reliability_json(&ev->before));
	set(json, "after", reliability_json(&ev->after));
	return json;
}

static json_t *score_json(const struct evaluation *ev, int s)
{
	json_t *json = json_object(), *roc = json_array();
	const struct ranking *rank = &ev->rank[s];

	set_number(json, "auroc", rank->auroc);
	set_number(json, "fpr95", rank->fpr95);
	if (ev->fitted) {
		set_number(json, "validation_auroc", ev->validation_rank[s].auroc);
		set_number(json, "validation_fpr95", ev->validation_rank[s].fpr95);
	}
	for (uint32_t i = 0; i < rank->n_points; i++)
		json_array_append_new(roc, json_pack("[f, f]", (double)rank->point[i].fpr,
						     (double)rank->point[i].tpr));
	set(json, "roc", roc);
	return json;
}

static json_t *unknown_json(const struct report *r, const struct evaluation *ev)
{
	json_t *json = json_object(), *scores = json_object(), *kinds = json_array();

	set_text(json, "score", report_score_names[ev->calibration.score]);
	set_number(json, "threshold", (double)ev->calibration.ood_threshold);
	set_number(json, "asked_kept", ev->asked_kept);
	set_count(json, "unknown_refused", ev->unknown_refused);
	set_count(json, "known_refused", ev->known_refused);
	for (int s = 0; s < CALIBRATE_SCORES; s++)
		set(scores, report_score_names[s], score_json(ev, s));
	set(json, "scores", scores);
	for (uint32_t k = 0; k < ev->n_kinds; k++) {
		json_t *kind;

		if (!ev->kind[k].n)
			continue;
		kind = json_object();
		set_text(kind, "class", r->kind_name[k]);
		set_count(kind, "flows", ev->kind[k].n);
		set_count(kind, "decided", ev->kind[k].decided);
		json_array_append_new(kinds, kind);
	}
	set(json, "classes", kinds);
	return json;
}

static json_t *prefixes_json(const struct evaluation *ev)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < ev->n_prefixes; i++) {
		json_t *row = overall_json(&ev->prefix[i].figures);

		set_count(row, "packets", ev->prefix[i].packets);
		json_array_append_new(list, row);
	}
	return list;
}

static json_t *sources_json(const struct report *r, const struct evaluation *ev)
{
	json_t *list = json_array();

	for (uint32_t s = 0; s < ev->n_sources; s++) {
		json_t *row;

		if (!ev->source[s].n)
			continue;
		row = overall_json(&ev->source[s]);
		set_text(row, "source", r->source_name[s]);
		json_array_append_new(list, row);
	}
	return list;
}

static json_t *model_json(const struct report *r, const struct report_model *rm)
{
	const struct evaluation *ev = rm->evaluation;
	json_t *json = json_object(), *flows = json_object();

	set_text(json, "name", rm->name);
	set(json, "model", model_to_json(rm->model));
	set(json, "saw_test", json_boolean(rm->saw_test));
	set_count(flows, "known", ev->n_known);
	set_count(flows, "unknown", ev->n_unknown);
	set_count(flows, "captures", ev->n_groups);
	set_count(flows, "validation_known", ev->n_validation_known);
	set_count(flows, "validation_unknown", ev->n_validation_unknown);
	set(json, "flows", flows);
	set(json, "overall", overall_json(&ev->overall));
	set_interval(json, "macro_f1_95", ev->macro_f1_95);
	set(json, "classes", classes_json(rm));
	set(json, "confusion", confusion_json(ev));
	set(json, "calibration", calibration_json(ev));
	set(json, "unknown", unknown_json(r, ev));
	set(json, "decided", decided_json(&ev->decided));
	set(json, "acted", decided_json(&ev->acted));
	set(json, "after_packets", prefixes_json(ev));
	set(json, "sources", sources_json(r, ev));
	return json;
}

static json_t *set_json(const struct report *r)
{
	json_t *json = json_object();

	set_text(json, "name", r->set_name);
	set_text(json, "sha256", r->set_sha256);
	set_count(json, "folds", r->n_folds);
	set_text(json, "split", r->split);
	set_count(json, "fold", r->fold);
	set_count(json, "validation_fold", r->validation_fold);
	set_count(json, "cap", r->cap);
	set_count(json, "unlabelled", r->n_unlabelled);
	set_count(json, "over_cap", r->n_over_cap);
	return json;
}

json_t *report_to_json(const struct report *r)
{
	json_t *json = json_object(), *models = json_array();

	set_count(json, "format", FORMAT);
	set_text(json, "time", r->time);
	set(json, "set", set_json(r));
	set_count(json, "seed", r->seed);
	set_count(json, "draws", r->n_draws);
	for (uint32_t i = 0; i < r->n_models; i++)
		json_array_append_new(models, model_json(r, &r->model[i]));
	set(json, "models", models);
	return json;
}
