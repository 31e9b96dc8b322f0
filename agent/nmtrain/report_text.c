/* SPDX-License-Identifier: BSD-2-Clause */
/* An evaluation on a terminal: what counts first, one table a question, figures last. */
#include <math.h>
#include <stdlib.h>
#include "agent/nmtrain/escape.h"
#include "agent/nmtrain/report.h"

#define CONFUSED_PAIRS 12
#define NAME_COLUMNS   18

const char *const report_score_names[CALIBRATE_SCORES] = {
	[OOD_ENERGY] = "energy",
	[OOD_MAX_LOGIT] = "max_logit",
	[OOD_MAX_PROBABILITY] = "max_probability",
	[OOD_ENTROPY] = "entropy",
};

const char *report_threshold_note(enum threshold_found found)
{
	switch (found) {
	case THRESHOLD_FITTED:
		return "";
	case THRESHOLD_NO_FLOWS:
		return "watch only: not in validation";
	case THRESHOLD_FEW_FLOWS:
		return "watch only: fewer than 10 decided";
	case THRESHOLD_NOT_HELD:
		return "watch only: precision not reached";
	}
	return "";
}

const char *report_short_name(const struct report *r, uint32_t i)
{
	const char *first = r->model[0].name;
	size_t folders = 0;

	for (size_t at = 0; first[at]; at++) {
		for (uint32_t m = 1; m < r->n_models; m++)
			if (r->model[m].name[at] != first[at])
				return r->model[i].name + folders;
		if (first[at] == '/')
			folders = at + 1;
	}
	return r->model[i].name + folders;
}

static void name_cell(FILE *out, const char *name, int width)
{
	int columns = escape_terminal(out, name);

	fprintf(out, "%*s", columns < width ? width - columns : 0, "");
}

/* A share as "97.3%", right-aligned; "-" when there is none. */
static void share_cell(FILE *out, double share, int width)
{
	if (isnan(share))
		fprintf(out, " %*s", width, "-");
	else
		fprintf(out, " %*.1f%%", width - 1, 100 * share);
}

static void number_cell(FILE *out, double value, int width)
{
	if (isnan(value))
		fprintf(out, " %*s", width, "-");
	else
		fprintf(out, " %*.3f", width, value);
}

static void range_cell(FILE *out, struct interval i)
{
	fprintf(out, " %5.1f ..%6.1f", 100 * i.low, 100 * i.high);
}

static void print_models(FILE *out, const struct report *r)
{
	for (uint32_t i = 0; i < r->n_models; i++) {
		const struct model *m = r->model[i].model;

		fprintf(out, "%-9s ", i ? "against" : "model");
		escape_terminal(out, r->model[i].name);
		fprintf(out, "\n          %s, %u classes, %llu parameters, sha256 %.16s\n",
			m->architecture.backbone, m->n_classes, (unsigned long long)m->n_parameters,
			m->sha256);
		if (r->model[i].saw_test)
			fputs("          WARNING: it trained on flows of this split; its figures "
			      "are too good\n",
			      out);
	}
}

static void print_head(FILE *out, const struct report *r)
{
	const struct evaluation *ev = r->model[0].evaluation;

	print_models(out, r);
	fputs("set       ", out);
	escape_terminal(out, r->set_name);
	fprintf(out, ", sha256 %.16s\n          ", r->set_sha256);
	if (ev->fitted)
		fprintf(out, "measured on fold %u of %u, fitted on fold %u\n", r->fold, r->n_folds,
			r->validation_fold);
	else
		fprintf(out,
			"measured on split \"%s\", nothing fitted: the model's own "
			"calibration\n",
			r->split);
	fprintf(out, "flows     %llu known from %u captures, %llu of other classes",
		(unsigned long long)ev->n_known, ev->n_groups, (unsigned long long)ev->n_unknown);
	if (ev->fitted)
		fprintf(out, "; validation %llu and %llu",
			(unsigned long long)ev->n_validation_known,
			(unsigned long long)ev->n_validation_unknown);
	fputc('\n', out);
	if (r->n_unlabelled)
		fprintf(out, "          left out: %llu without a label\n",
			(unsigned long long)r->n_unlabelled);
	if (r->n_over_cap)
		fprintf(out, "          left out: %llu, at most %u of a class are looked at\n",
			(unsigned long long)r->n_over_cap, r->cap);
	fputc('\n', out);
}

static void print_decided(FILE *out, const char *what, const struct decided_figures *d)
{
	fprintf(out, "%-12s %.1f%% of known flows", what, 100 * d->coverage);
	if (isnan(d->precision))
		fputc('\n', out);
	else
		fprintf(out, "; of all %s %.1f%% right   95%%: %.1f .. %.1f\n", what,
			100 * d->precision, 100 * d->precision_95.low, 100 * d->precision_95.high);
}

static void print_headline(FILE *out, const struct evaluation *ev)
{
	const struct overall_figures *o = &ev->overall;
	const struct ranking *rank = &ev->rank[ev->calibration.score];

	fprintf(out, "accuracy     %.1f%%   95%%: %.1f .. %.1f\n", 100 * o->accuracy,
		100 * o->accuracy_95.low, 100 * o->accuracy_95.high);
	fprintf(out,
		"macro F1     %.3f   95%% by capture: %.3f .. %.3f; mean of the %u classes that "
		"have flows\n",
		o->macro_f1, ev->macro_f1_95.low, ev->macro_f1_95.high, o->n_classes);
	fprintf(out, "weighted F1  %.3f\n", o->weighted_f1);
	if (rank->n_points)
		fprintf(out, "unknown      AUROC %.3f, FPR95 %.3f by %s%s\n", rank->auroc,
			rank->fpr95, report_score_names[ev->calibration.score],
			ev->n_validation_unknown ? ", the best on validation" : "");
	else
		fputs("unknown      not measured: no flows of other classes\n", out);
	fprintf(out, "calibration  temperature %.3f: ECE %.3f -> %.3f, NLL %.3f -> %.3f\n",
		(double)ev->calibration.temperature, ev->before.ece, ev->after.ece, ev->nll_before,
		ev->nll_after);
	print_decided(out, "decided", &ev->decided);
	print_decided(out, "acted on", &ev->acted);
	if (ev->fitted)
		fprintf(out, "             each class was asked for %.1f%% on validation\n",
			100 * ev->asked_precision);
	fputc('\n', out);
}

static void print_classes(FILE *out, const struct report_model *rm)
{
	const struct evaluation *ev = rm->evaluation;

	fprintf(out, "%-*s %6s %10s %15s %8s %15s %7s %9s %8s %6s\n", NAME_COLUMNS, "CLASS",
		"FLOWS", "PRECISION", "95%", "RECALL", "95%", "F1", "THRESHOLD", "DECIDED",
		"RIGHT");
	for (uint32_t c = 0; c < ev->n_classes; c++) {
		const struct class_figures *f = &ev->class_figures[c];
		const struct decided_figures *d = &ev->class_decided[c];

		name_cell(out, rm->model->class_name[c], NAME_COLUMNS);
		fprintf(out, " %6llu", (unsigned long long)f->support);
		share_cell(out, f->precision, 10);
		range_cell(out, f->precision_95);
		share_cell(out, f->recall, 8);
		range_cell(out, f->recall_95);
		number_cell(out, f->f1, 7);
		number_cell(out, (double)ev->calibration.threshold[c], 9);
		share_cell(out, d->coverage, 8);
		share_cell(out, d->precision, 6);
		if (ev->fitted && ev->found[c] != THRESHOLD_FITTED)
			fprintf(out, "  %s", report_threshold_note(ev->found[c]));
		else if (ev->calibration.watch_only[c])
			fputs("  watch only", out);
		fputc('\n', out);
	}
	fputs("DECIDED: share of the class's flows decided as it; RIGHT: of all flows decided as "
	      "it.\n\n",
	      out);
}

struct pair {
	uint64_t n;
	uint32_t truth, judged;
};

static int by_count_down(const void *a, const void *b)
{
	const struct pair *left = a, *right = b;

	return left->n > right->n ? -1 : left->n < right->n;
}

static void print_confused(FILE *out, const struct report_model *rm)
{
	const struct evaluation *ev = rm->evaluation;
	struct pair pair[CONFUSED_PAIRS + 1] = {0};

	for (uint32_t t = 0; t < ev->n_classes; t++) {
		for (uint32_t j = 0; j < ev->n_classes; j++) {
			if (t == j)
				continue;
			pair[CONFUSED_PAIRS] =
				(struct pair){ev->confusion[t * ev->n_classes + j], t, j};
			if (pair[CONFUSED_PAIRS].n > pair[CONFUSED_PAIRS - 1].n)
				qsort(pair, CONFUSED_PAIRS + 1, sizeof(pair[0]), by_count_down);
		}
	}
	if (!pair[0].n)
		return;
	fprintf(out, "%-*s %-*s %6s %9s\n", NAME_COLUMNS, "MOST CONFUSED", NAME_COLUMNS,
		"TAKEN FOR", "FLOWS", "OF CLASS");
	for (uint32_t i = 0; i < CONFUSED_PAIRS && pair[i].n; i++) {
		name_cell(out, rm->model->class_name[pair[i].truth], NAME_COLUMNS + 1);
		name_cell(out, rm->model->class_name[pair[i].judged], NAME_COLUMNS);
		fprintf(out, " %6llu", (unsigned long long)pair[i].n);
		share_cell(out, (double)pair[i].n / ev->class_figures[pair[i].truth].support, 9);
		fputc('\n', out);
	}
	fputc('\n', out);
}

static void print_unknown(FILE *out, const struct report *r)
{
	const struct evaluation *ev = r->model[0].evaluation;

	if (!ev->n_unknown)
		return;
	fprintf(out, "%-*s %8s %8s %12s\n", NAME_COLUMNS, "UNKNOWN BY", "AUROC", "FPR95",
		"VALIDATION");
	for (int s = 0; s < CALIBRATE_SCORES; s++) {
		name_cell(out, report_score_names[s], NAME_COLUMNS);
		number_cell(out, ev->rank[s].auroc, 8);
		number_cell(out, ev->rank[s].fpr95, 8);
		number_cell(out, ev->fitted ? ev->validation_rank[s].auroc : NAN, 12);
		fprintf(out, "%s\n", s == (int)ev->calibration.score ? "  in use" : "");
	}
	fprintf(out,
		"At its threshold %.1f%% of unknown and %.1f%% of known flows are refused.\n\n",
		100.0 * ev->unknown_refused / ev->n_unknown,
		ev->n_known ? 100.0 * ev->known_refused / ev->n_known : 0);
	fprintf(out, "%-*s %8s %12s\n", NAME_COLUMNS, "OTHER CLASSES", "FLOWS", "NOT DECIDED");
	for (uint32_t k = 0; k < ev->n_kinds; k++) {
		if (!ev->kind[k].n)
			continue;
		name_cell(out, r->kind_name[k], NAME_COLUMNS);
		fprintf(out, " %8llu", (unsigned long long)ev->kind[k].n);
		share_cell(out, 1 - (double)ev->kind[k].decided / ev->kind[k].n, 12);
		fputc('\n', out);
	}
	fputc('\n', out);
}

static void overall_row(FILE *out, const struct overall_figures *o)
{
	fprintf(out, " %7llu", (unsigned long long)o->n);
	share_cell(out, o->accuracy, 9);
	range_cell(out, o->accuracy_95);
	number_cell(out, o->macro_f1, 9);
	fputc('\n', out);
}

static void print_slices(FILE *out, const struct report *r)
{
	const struct evaluation *ev = r->model[0].evaluation;

	if (ev->n_prefixes)
		fprintf(out, "%-*s %7s %9s %15s %9s\n", NAME_COLUMNS, "AFTER PACKETS", "FLOWS",
			"ACCURACY", "95%", "MACRO F1");
	for (uint32_t i = 0; i < ev->n_prefixes; i++) {
		fprintf(out, "%-*u", NAME_COLUMNS, ev->prefix[i].packets);
		overall_row(out, &ev->prefix[i].figures);
	}
	fprintf(out, "%s%-*s %7s %9s %15s %9s\n", ev->n_prefixes ? "\n" : "", NAME_COLUMNS,
		"SOURCE", "FLOWS", "ACCURACY", "95%", "MACRO F1");
	for (uint32_t s = 0; s < ev->n_sources; s++) {
		if (!ev->source[s].n)
			continue;
		name_cell(out, r->source_name[s], NAME_COLUMNS);
		overall_row(out, &ev->source[s]);
	}
	fputc('\n', out);
}

static void print_comparison(FILE *out, const struct report *r)
{
	fprintf(out, "%-9s %7s %15s %9s %7s %7s %7s %8s %7s  %s\n", "ACCURACY", "MACRO F1", "95%",
		"WEIGHTED", "AUROC", "FPR95", "ECE", "DECIDED", "RIGHT", "MODEL");
	for (uint32_t i = 0; i < r->n_models; i++) {
		const struct evaluation *ev = r->model[i].evaluation;
		const struct ranking *rank = &ev->rank[ev->calibration.score];

		share_cell(out, ev->overall.accuracy, 8);
		number_cell(out, ev->overall.macro_f1, 8);
		fprintf(out, " %6.3f .. %5.3f", ev->macro_f1_95.low, ev->macro_f1_95.high);
		number_cell(out, ev->overall.weighted_f1, 9);
		number_cell(out, rank->auroc, 7);
		number_cell(out, rank->fpr95, 7);
		number_cell(out, ev->after.ece, 7);
		share_cell(out, ev->decided.coverage, 8);
		share_cell(out, ev->decided.precision, 7);
		fputs("  ", out);
		escape_terminal(out, report_short_name(r, i));
		fputc('\n', out);
	}
	fputc('\n', out);
}

static void print_figures(FILE *out, const struct evaluation *ev)
{
	const struct ranking *rank = &ev->rank[ev->calibration.score];
	const struct {
		const char *name;
		double value;
	} figures[] = {
		{"macro_f1", ev->overall.macro_f1},
		{"accuracy", ev->overall.accuracy},
		{"auroc", rank->auroc},
		{"fpr95", rank->fpr95},
		{"ece", ev->after.ece},
	};

	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
		if (!isnan(figures[i].value))
			fprintf(out, "figure %s %.4f ratio\n", figures[i].name, figures[i].value);
}

void report_text(FILE *out, const struct report *r)
{
	print_head(out, r);
	print_headline(out, r->model[0].evaluation);
	print_classes(out, &r->model[0]);
	print_confused(out, &r->model[0]);
	print_unknown(out, r);
	print_slices(out, r);
	if (r->n_models > 1)
		print_comparison(out, r);
	print_figures(out, r->model[0].evaluation);
}
