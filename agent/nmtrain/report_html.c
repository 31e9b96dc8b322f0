/* SPDX-License-Identifier: BSD-2-Clause */
/* An evaluation as one page: no scripts, no other files. What it says of the first model comes from
 * the same struct as the text and the JSON. */
#include <math.h>
#include <string.h>
#include "agent/nmtrain/escape.h"
#include "agent/nmtrain/report.h"
#include "agent/nmtrain/report_plots.h"
#include "agent/nmtrain/report_style.h"

static void share_text(char text[16], double share)
{
	if (isnan(share))
		strcpy(text, "–");
	else
		snprintf(text, 16, "%.1f%%", 100 * share);
}

static void ratio_text(char text[16], double ratio)
{
	if (isnan(ratio))
		strcpy(text, "–");
	else
		snprintf(text, 16, "%.3f", ratio);
}

static void count_text(char text[16], uint64_t n)
{
	if (n < 1000)
		snprintf(text, 16, "%u", (unsigned)n);
	else if (n < 1000000)
		snprintf(text, 16, "%.3g k", n / 1e3);
	else
		snprintf(text, 16, "%.3g M", n / 1e6);
}

static void share_cell(FILE *out, double share)
{
	char text[16];

	share_text(text, share);
	fprintf(out, "<td>%s</td>", text);
}

static void ratio_cell(FILE *out, double ratio)
{
	char text[16];

	ratio_text(text, ratio);
	fprintf(out, "<td>%s</td>", text);
}

static void name_cell(FILE *out, const char *name)
{
	fputs("<td class=\"l\">", out);
	escape_html(out, name);
	fputs("</td>", out);
}

static void begin_section(FILE *out, const char *title, const char *note)
{
	fprintf(out, "<section><h2>%s</h2>\n", title);
	if (note)
		fprintf(out, "<p class=\"note\">%s</p>\n", note);
}

static void head(FILE *out, const struct report *r)
{
	const struct evaluation *ev = r->model[0].evaluation;
	const char *slash = strrchr(r->model[0].name, '/');
	const char *name = slash ? slash + 1 : r->model[0].name;
	char parameters[16];

	count_text(parameters, r->model[0].model->n_parameters);
	fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>",
	      out);
	escape_html(out, name);
	fprintf(out, " – evaluation</title>\n<style>\n%s</style></head>\n<body><main>\n<h1>",
		report_style);
	escape_html(out, name);
	fprintf(out,
		"</h1>\n<p class=\"soft\">%s, %u classes, %s parameters; judged on %llu flows of "
		"%u "
		"captures",
		r->model[0].model->architecture.backbone, ev->n_classes, parameters,
		(unsigned long long)ev->n_known, ev->n_groups);
	if (ev->n_unknown)
		fprintf(out, " and %llu flows of other classes", (unsigned long long)ev->n_unknown);
	fprintf(out, "; %s</p>\n", r->time);
	for (uint32_t i = 0; i < r->n_models; i++) {
		if (!r->model[i].saw_test)
			continue;
		fputs("<p class=\"warning\">", out);
		escape_html(out, r->model[i].name);
		fputs(" trained on flows of this split: its figures are too good.</p>\n", out);
	}
}

static void tile(FILE *out, const char *value, const char *name, const char *more)
{
	fprintf(out, "<div class=\"tile\"><span>%s</span><b>%s</b><span>%s</span></div>\n", name,
		value, more);
}

static void tiles(FILE *out, const struct report *r)
{
	const struct evaluation *ev = r->model[0].evaluation;
	const struct overall_figures *o = &ev->overall;
	const struct ranking *rank = &ev->rank[ev->calibration.score];
	char value[16], more[96];

	fputs("<div class=\"tiles\">\n", out);
	ratio_text(value, o->macro_f1);
	snprintf(more, sizeof(more), "%.3f to %.3f; %u classes", ev->macro_f1_95.low,
		 ev->macro_f1_95.high, o->n_classes);
	tile(out, value, "macro F1", more);
	share_text(value, o->accuracy);
	snprintf(more, sizeof(more), "%.1f to %.1f%%", 100 * o->accuracy_95.low,
		 100 * o->accuracy_95.high);
	tile(out, value, "accuracy", more);
	ratio_text(value, o->weighted_f1);
	tile(out, value, "weighted F1", "by flows of each class");
	ratio_text(value, rank->auroc);
	snprintf(more, sizeof(more), "by %s", report_score_names[ev->calibration.score]);
	tile(out, value, "AUROC, unknown", more);
	ratio_text(value, rank->fpr95);
	tile(out, value, "FPR95, unknown", "known flows lost at 95% caught");
	ratio_text(value, ev->after.ece);
	snprintf(more, sizeof(more), "%.3f before temperature", ev->before.ece);
	tile(out, value, "ECE", more);
	share_text(value, ev->decided.coverage);
	tile(out, value, "decided", "of known flows, at the thresholds");
	share_text(value, ev->decided.precision);
	if (ev->fitted)
		snprintf(more, sizeof(more), "of what is decided; asked: %.1f%%",
			 100 * ev->asked_precision);
	tile(out, value, "right", ev->fitted ? more : "of what is decided");
	fputs("</div>\n", out);
}

/* The best of a column is set off; less is better where sign is -1. */
static double best_of(const struct report *r, double (*value)(const struct evaluation *), int sign)
{
	double best = NAN;

	for (uint32_t i = 0; i < r->n_models; i++) {
		double v = sign * value(r->model[i].evaluation);

		if (!isnan(v) && !(v <= best))
			best = v;
	}
	return sign * best;
}

static double get_accuracy(const struct evaluation *ev)
{
	return ev->overall.accuracy;
}

static double get_macro_f1(const struct evaluation *ev)
{
	return ev->overall.macro_f1;
}

static double get_weighted_f1(const struct evaluation *ev)
{
	return ev->overall.weighted_f1;
}

static double get_auroc(const struct evaluation *ev)
{
	return ev->rank[ev->calibration.score].auroc;
}

static double get_fpr95(const struct evaluation *ev)
{
	return ev->rank[ev->calibration.score].fpr95;
}

static double get_ece(const struct evaluation *ev)
{
	return ev->after.ece;
}

static double get_coverage(const struct evaluation *ev)
{
	return ev->decided.coverage;
}

static double get_precision(const struct evaluation *ev)
{
	return ev->decided.precision;
}

static const struct {
	const char *title;
	double (*value)(const struct evaluation *);
	int sign;
	bool share;
} compared[] = {
	{"macro F1", get_macro_f1, 1, false},
	{"accuracy", get_accuracy, 1, true},
	{"weighted F1", get_weighted_f1, 1, false},
	{"AUROC", get_auroc, 1, false},
	{"FPR95", get_fpr95, -1, false},
	{"ECE", get_ece, -1, false},
	{"decided", get_coverage, 1, true},
	{"right", get_precision, 1, true},
};
#define N_COMPARED (sizeof(compared) / sizeof(compared[0]))

static void comparison_row(FILE *out, const struct report *r, uint32_t i)
{
	const struct report_model *rm = &r->model[i];
	char text[16];

	count_text(text, rm->model->n_parameters);
	fputs("<tr><td class=\"l wrap\">", out);
	escape_html(out, report_short_name(r, i));
	fprintf(out, "</td><td class=\"l\">%s</td><td>%s</td><td>%u</td>",
		rm->model->architecture.backbone, text, rm->model->n_classes);
	for (size_t c = 0; c < N_COMPARED; c++) {
		double v = compared[c].value(rm->evaluation);
		bool best = v == best_of(r, compared[c].value, compared[c].sign);

		if (compared[c].share)
			share_text(text, v);
		else
			ratio_text(text, v);
		fprintf(out, "<td%s>%s</td>", best ? " class=\"best\"" : "", text);
		if (c)
			continue;
		fputs("<td>", out);
		plot_range(out, v, rm->evaluation->macro_f1_95);
		fputs("</td>", out);
	}
	fputs("</tr>\n", out);
}

static void comparison(FILE *out, const struct report *r)
{
	if (r->n_models < 2)
		return;
	begin_section(
		out, "Side by side",
		"The same flows for all. The bar is the 95% interval of macro F1 when captures "
		"are drawn anew: where two overlap widely, the order of their models may be "
		"luck. Macro F1 is over a model's own classes; the rest is material for its "
		"unknown detection.");
	fputs("<div class=\"scroll\"><table><thead><tr><th class=\"l\">model</th><th "
	      "class=\"l\">backbone</th><th>parameters</th><th>classes</th>",
	      out);
	for (size_t c = 0; c < N_COMPARED; c++)
		fprintf(out, "<th>%s</th>%s", compared[c].title,
			c ? "" : "<th class=\"c\">95%</th>");
	fputs("</tr></thead><tbody>\n", out);
	for (uint32_t i = 0; i < r->n_models; i++)
		comparison_row(out, r, i);
	fputs("</tbody></table></div></section>\n", out);
}

static void class_row(FILE *out, const struct report_model *rm, uint32_t c)
{
	const struct evaluation *ev = rm->evaluation;
	const struct class_figures *f = &ev->class_figures[c];
	const struct decided_figures *d = &ev->class_decided[c];
	const char *why = ev->fitted                      ? report_threshold_note(ev->found[c])
			  : ev->calibration.watch_only[c] ? "watch only"
							  : "";

	fprintf(out, "<tr%s>", f->support ? "" : " class=\"none\"");
	name_cell(out, rm->model->class_name[c]);
	fprintf(out, "<td>%llu</td>", (unsigned long long)f->support);
	share_cell(out, f->precision);
	fputs("<td>", out);
	plot_range(out, f->precision, f->precision_95);
	fputs("</td>", out);
	share_cell(out, f->recall);
	fputs("<td>", out);
	plot_range(out, f->recall, f->recall_95);
	fputs("</td>", out);
	ratio_cell(out, f->f1);
	ratio_cell(out, (double)ev->calibration.threshold[c]);
	share_cell(out, d->coverage);
	share_cell(out, d->precision);
	fprintf(out, "<td class=\"why\">%s</td></tr>\n", why);
}

static void classes(FILE *out, const struct report_model *rm)
{
	fputs("<section class=\"long\"><h2>Classes</h2>\n<p class=\"note\">Precision and recall of "
	      "the nearest class, with Wilson's 95% intervals. Then, at the class's threshold: "
	      "<i>decided</i> is the share of its flows that are decided as it, <i>right</i> the "
	      "share of all flows decided as it that are of it, flows of no class counted as "
	      "mistakes.</p>\n<div class=\"scroll\"><table><thead><tr><th class=\"l\">class</th>"
	      "<th>flows</th><th>precision</th><th class=\"c\">95%</th><th>recall</th><th "
	      "class=\"c\">95%</th><th>F1</th>"
	      "<th>threshold</th><th>decided</th><th>right</th><th></th></tr></thead><tbody>\n",
	      out);
	for (uint32_t c = 0; c < rm->evaluation->n_classes; c++)
		class_row(out, rm, c);
	fputs("</tbody></table></div></section>\n", out);
}

static void score_table(FILE *out, const struct evaluation *ev)
{
	fputs("<table><thead><tr><th class=\"l\">score</th><th>AUROC</th><th>FPR95</th>"
	      "<th>on validation</th><th></th></tr></thead><tbody>\n",
	      out);
	for (int s = 0; s < CALIBRATE_SCORES; s++) {
		fputs("<tr>", out);
		name_cell(out, report_score_names[s]);
		ratio_cell(out, ev->rank[s].auroc);
		ratio_cell(out, ev->rank[s].fpr95);
		ratio_cell(out, ev->fitted ? ev->validation_rank[s].auroc : NAN);
		fprintf(out, "<td class=\"why\">%s</td></tr>\n",
			s == (int)ev->calibration.score ? "in use" : "");
	}
	fputs("</tbody></table>\n", out);
}

static void kind_table(FILE *out, const struct report *r)
{
	const struct evaluation *ev = r->model[0].evaluation;

	fprintf(out,
		"<p class=\"note\">The threshold refuses %.1f%% of them, and %.1f%% of known "
		"flows. "
		"With the classes' own thresholds, of each kind are not decided:</p>\n",
		100.0 * ev->unknown_refused / ev->n_unknown,
		ev->n_known ? 100.0 * ev->known_refused / ev->n_known : 0);
	fputs("<table><thead><tr><th class=\"l\">other class</th><th>flows</th><th>not "
	      "decided</th><th></th></tr></thead><tbody>\n",
	      out);
	for (uint32_t k = 0; k < ev->n_kinds; k++) {
		const struct kind_figures *kind = &ev->kind[k];
		uint64_t refused = kind->n - kind->decided;

		if (!kind->n)
			continue;
		fputs("<tr>", out);
		name_cell(out, r->kind_name[k]);
		fprintf(out, "<td>%llu</td>", (unsigned long long)kind->n);
		share_cell(out, (double)refused / kind->n);
		fputs("<td>", out);
		plot_range(out, (double)refused / kind->n, metrics_wilson(refused, kind->n));
		fputs("</td></tr>\n", out);
	}
	fputs("</tbody></table>\n", out);
}

static void unknown(FILE *out, const struct report *r)
{
	const struct evaluation *ev = r->model[0].evaluation;

	if (!ev->rank[0].n_points)
		return;
	fputs("<div class=\"pair\">\n", out);
	begin_section(out, "Unknown flows",
		      "Flows of classes that the model does not have should score high. The number "
		      "beside each score is its AUROC.");
	plot_roc(out, ev);
	fputs("</section>\n", out);
	begin_section(out, "Unknown flows in figures", NULL);
	score_table(out, ev);
	kind_table(out, r);
	fputs("</section></div>\n", out);
}

static void reliability(FILE *out, const struct reliability *r, double nll, const char *caption,
			const char *label)
{
	char ece_text[16], nll_text[16];

	ratio_text(ece_text, r->ece);
	ratio_text(nll_text, nll);
	fprintf(out, "<figure><figcaption>%s: ECE %s, NLL %s</figcaption>\n", caption, ece_text,
		nll_text);
	plot_reliability(out, r, label);
	fputs("</figure>\n", out);
}

static void calibration(FILE *out, const struct evaluation *ev)
{
	char caption[80];

	begin_section(out, "Confidence",
		      "How often the nearest class is right, by how sure the model was. Red: surer "
		      "than right; green: more often right than it was sure.");
	fputs("<div class=\"pair\">\n", out);
	reliability(out, &ev->before, ev->nll_before, "Temperature 1",
		    "Reliability before temperature scaling");
	snprintf(caption, sizeof(caption), "Temperature %.3f, %s",
		 (double)ev->calibration.temperature,
		 ev->fitted ? "fitted on validation" : "the model's own");
	reliability(out, &ev->after, ev->nll_after, caption,
		    "Reliability after temperature scaling");
	fputs("</div></section>\n", out);
}

static void packet_table(FILE *out, const struct evaluation *ev)
{
	fputs("<table><thead><tr><th>packets</th><th>accuracy</th><th class=\"c\">95%</th>"
	      "<th>macro F1</th><th>weighted F1</th></tr></thead><tbody>\n",
	      out);
	for (uint32_t i = 0; i < ev->n_prefixes; i++) {
		const struct overall_figures *o = &ev->prefix[i].figures;

		fprintf(out, "<tr><td>%u</td>", ev->prefix[i].packets);
		share_cell(out, o->accuracy);
		fputs("<td>", out);
		plot_range(out, o->accuracy, o->accuracy_95);
		fputs("</td>", out);
		ratio_cell(out, o->macro_f1);
		ratio_cell(out, o->weighted_f1);
		fputs("</tr>\n", out);
	}
	fputs("</tbody></table>\n", out);
}

static void slices(FILE *out, const struct report *r)
{
	const struct evaluation *ev = r->model[0].evaluation;
	uint32_t n_sources = 0;

	begin_section(out, "After so many packets",
		      "Each flow as far as its first packets tell; a flow that has fewer counts as "
		      "it is.");
	fputs("<div class=\"pair top\">\n", out);
	plot_packets(out, r);
	packet_table(out, ev);
	fputs("</div></section>\n", out);
	for (uint32_t s = 0; s < ev->n_sources; s++)
		n_sources += ev->source[s].n > 0;
	if (n_sources < 2)
		return;
	begin_section(out, "By source", "Accuracy with Wilson's 95% interval, and how many flows.");
	fputs("<div class=\"scroll wide\">\n", out);
	plot_sources(out, r);
	fputs("</div></section>\n", out);
}

static void fact(FILE *out, const char *name, const char *value)
{
	fprintf(out, "<dt>%s</dt><dd>", name);
	escape_html(out, value);
	fputs("</dd>\n", out);
}

static void provenance(FILE *out, const struct report *r)
{
	const struct evaluation *ev = r->model[0].evaluation;
	char text[200];

	begin_section(out, "Where this comes from", NULL);
	fputs("<dl>\n", out);
	for (uint32_t i = 0; i < r->n_models; i++) {
		fact(out, "model", r->model[i].name);
		fprintf(out, "<dt></dt><dd><code>sha256 %s</code></dd>\n",
			r->model[i].model->sha256);
	}
	fact(out, "data set", r->set_name);
	fprintf(out, "<dt></dt><dd><code>sha256 %s</code></dd>\n", r->set_sha256);
	if (ev->fitted)
		snprintf(text, sizeof(text),
			 "measured on fold %u of %u; fitted on fold %u: %llu flows, and %llu of "
			 "other classes",
			 r->fold, r->n_folds, r->validation_fold,
			 (unsigned long long)ev->n_validation_known,
			 (unsigned long long)ev->n_validation_unknown);
	else
		snprintf(text, sizeof(text),
			 "split %s; nothing fitted: the model's own calibration", r->split);
	fact(out, "split", text);
	if (r->cap)
		snprintf(text, sizeof(text),
			 "%llu without a label, %llu beyond the cap of %u a class",
			 (unsigned long long)r->n_unlabelled, (unsigned long long)r->n_over_cap,
			 r->cap);
	else
		snprintf(text, sizeof(text), "%llu without a label",
			 (unsigned long long)r->n_unlabelled);
	fact(out, "left out", text);
	snprintf(text, sizeof(text),
		 "precision %.3f asked of each class; unknown threshold keeps %.0f%% of known "
		 "validation flows; %u draws of captures, seed %llu",
		 ev->asked_precision, 100 * ev->asked_kept, r->n_draws,
		 (unsigned long long)r->seed);
	fact(out, "settings", text);
	fact(out, "program", "nmtrain " NM_VERSION);
	fputs("</dl></section>\n", out);
}

void report_html(FILE *out, const struct report *r)
{
	const struct report_model *first = &r->model[0];

	head(out, r);
	tiles(out, r);
	comparison(out, r);
	begin_section(out, "What is taken for what",
		      "Rows are true classes with their flows, columns what the model takes them "
		      "for; numbers are per cent of the row, blue where it is right.");
	fputs("<div class=\"scroll wide\">\n", out);
	plot_confusion(out, first);
	fputs("</div></section>\n", out);
	classes(out, first);
	slices(out, r);
	unknown(out, r);
	calibration(out, first->evaluation);
	provenance(out, r);
	fputs("</main></body></html>\n", out);
}
