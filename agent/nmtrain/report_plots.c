/* SPDX-License-Identifier: BSD-2-Clause */
/* See report_plots.h. */
#include "agent/nmtrain/report_plots.h"
#include <math.h>
#include <string.h>
#include "agent/nmtrain/svg.h"

#define WIDTH        500
#define N_SERIES     8
#define SOURCE_ROW   26
#define SOURCE_WIDTH 860

static const double shares[] = {0, 0.2, 0.4, 0.6, 0.8, 1};

static struct plot square(FILE *out, double height)
{
	return (struct plot){.out = out,
			     .left = 62,
			     .top = 12,
			     .width = WIDTH - 80,
			     .height = height,
			     .x_low = 0,
			     .x_high = 1};
}

static void diagonal(const struct plot *p)
{
	fprintf(p->out,
		"<line class=\"diagonal\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
		plot_x(p, 0), plot_y(p, 0), plot_x(p, 1), plot_y(p, 1));
}

void plot_roc(FILE *out, const struct evaluation *ev)
{
	struct plot p = square(out, 360);
	struct plot_point point[RANKING_POINTS];
	char name[80];

	svg_begin(out, WIDTH, 424, "ROC curves of unknown detection by four scores");
	plot_frame(&p, shares, 6, true, "known flows called unknown", "unknown flows caught");
	diagonal(&p);
	for (uint32_t s = 0; s < CALIBRATE_SCORES; s++) {
		const struct ranking *rank = &ev->rank[s];
		bool used = s == (uint32_t)ev->calibration.score;

		for (uint32_t i = 0; i < rank->n_points; i++)
			point[i] = (struct plot_point){rank->point[i].fpr, rank->point[i].tpr};
		plot_line(&p, point, rank->n_points, s + 1, !used, false);
		snprintf(name, sizeof(name), "%s %.3f%s", report_score_names[s], rank->auroc,
			 used ? " (in use)" : "");
		plot_legend(out, plot_x(&p, 0.47), plot_y(&p, 0.24), s, s + 1, name);
	}
	svg_end(out);
}

static void reliability_bar(const struct plot *p, double x, double width, double accuracy,
			    double confidence)
{
	double both = plot_y(p, fmin(accuracy, confidence));
	double one = plot_y(p, fmax(accuracy, confidence));

	fprintf(p->out,
		"<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>"
		"<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
		x, both, width, plot_y(p, 0) - both, confidence > accuracy ? "over" : "under", x,
		one, width, both - one);
}

/* Bars of what accuracy and confidence have in common, and what one has beyond the other; below,
 * how many flows. */
void plot_reliability(FILE *out, const struct reliability *r, const char *label)
{
	struct plot p = square(out, 250);
	double step = p.width / CALIBRATE_BINS, strip = p.top + p.height + 76;
	uint64_t most = 1;

	svg_begin(out, WIDTH, strip + 8, label);
	plot_frame(&p, shares, 6, true, "confidence", "accuracy");
	for (int b = 0; b < CALIBRATE_BINS; b++)
		most = r->bin[b].n > most ? r->bin[b].n : most;
	for (int b = 0; b < CALIBRATE_BINS; b++) {
		double x = p.left + b * step + 1;
		double tall = 26 * sqrt((double)r->bin[b].n / most);

		if (!r->bin[b].n)
			continue;
		fprintf(out, "<g><title>%llu flows: confidence %.1f%%, accuracy %.1f%%</title>",
			(unsigned long long)r->bin[b].n, 100 * r->bin[b].confidence,
			100 * r->bin[b].accuracy);
		reliability_bar(&p, x, step - 2, r->bin[b].accuracy, r->bin[b].confidence);
		fprintf(out,
			"<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
			"opacity=\".45\"/></g>\n",
			x, strip - tall, step - 2, tall);
	}
	diagonal(&p);
	svg_text(out, p.left - 8, strip - 2, "end", "tick", "flows");
	svg_end(out);
}

static uint32_t packet_points(const struct evaluation *ev, bool macro, struct plot_point *point)
{
	for (uint32_t i = 0; i < ev->n_prefixes; i++)
		point[i] = (struct plot_point){ev->prefix[i].packets,
					       macro ? ev->prefix[i].figures.macro_f1
						     : ev->prefix[i].figures.accuracy};
	return ev->n_prefixes;
}

void plot_packets(FILE *out, const struct report *r)
{
	const struct evaluation *first = r->model[0].evaluation;
	struct plot p = square(out, 300);
	struct plot_point point[EVALUATION_MAX_PREFIXES];
	double ticks[EVALUATION_MAX_PREFIXES];
	uint32_t n_models = r->n_models < N_SERIES ? r->n_models : N_SERIES, n;
	double legend = p.top + p.height + 62;

	p.x_low = 1;
	p.x_high = 2;
	p.log_x = true;
	for (uint32_t m = 0; m < n_models; m++) {
		n = packet_points(r->model[m].evaluation, true, point);
		if (n && point[n - 1].x > p.x_high)
			p.x_high = point[n - 1].x;
	}
	for (uint32_t i = 0; i < first->n_prefixes; i++)
		ticks[i] = first->prefix[i].packets;
	svg_begin(out, WIDTH, legend + 18 * (n_models == 1 ? 2 : n_models) - 8,
		  "Figures against packets seen");
	plot_frame(&p, ticks, first->n_prefixes, false, "packets seen",
		   n_models == 1 ? "share" : "macro F1");
	for (uint32_t m = 0; m < n_models; m++) {
		n = packet_points(r->model[m].evaluation, true, point);
		plot_line(&p, point, n, m + 1, false, true);
		plot_legend(out, p.left, legend, m, m + 1,
			    n_models == 1 ? "macro F1" : report_short_name(r, m));
	}
	if (n_models == 1) {
		n = packet_points(first, false, point);
		plot_line(&p, point, n, 2, false, true);
		plot_legend(out, p.left, legend, 1, 2, "accuracy");
	}
	svg_end(out);
}

static void source_row(const struct plot *p, double y, const char *name,
		       const struct overall_figures *o)
{
	double x0 = plot_x(p, 0), x = plot_x(p, o->accuracy);
	char text[48], short_name[24];

	snprintf(short_name, sizeof(short_name), "%.18s%s", name, strlen(name) > 18 ? ".." : "");
	svg_text(p->out, p->left - 56, y + 14, "end", "name", short_name);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)o->n);
	svg_text(p->out, p->left - 8, y + 14, "end", "count", text);
	fprintf(p->out,
		"<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"15\" "
		"rx=\"2\"/><line class=\"spread\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" "
		"y2=\"%.1f\"/>\n",
		x0, y + 2, fmax(x - x0, 0.5), plot_x(p, o->accuracy_95.low), y + 9.5,
		plot_x(p, o->accuracy_95.high), y + 9.5);
	snprintf(text, sizeof(text), "%.1f%%", 100 * o->accuracy);
	svg_text(p->out, plot_x(p, o->accuracy_95.high) + 6, y + 14, "start", "tick", text);
}

void plot_sources(FILE *out, const struct report *r)
{
	const struct evaluation *ev = r->model[0].evaluation;
	struct plot p = {
		.out = out, .left = 190, .top = 4, .width = SOURCE_WIDTH - 240, .x_high = 1};
	uint32_t rows = 0, at = 0;

	for (uint32_t s = 0; s < ev->n_sources; s++)
		rows += ev->source[s].n > 0;
	p.height = rows * SOURCE_ROW;
	svg_begin(out, SOURCE_WIDTH, p.height + 40, "Accuracy by source, with 95% intervals");
	for (int i = 0; i <= 4; i++) {
		double x = plot_x(&p, i / 4.0);
		char text[8];

		fprintf(out,
			"<line class=\"grid\" x1=\"%.1f\" y1=\"4\" x2=\"%.1f\" y2=\"%.1f\"/>\n", x,
			x, p.top + p.height + 4);
		snprintf(text, sizeof(text), "%d%%", 25 * i);
		svg_text(out, x, p.top + p.height + 20, "middle", "tick", text);
	}
	for (uint32_t s = 0; s < ev->n_sources; s++)
		if (ev->source[s].n)
			source_row(&p, p.top + at++ * SOURCE_ROW, r->source_name[s],
				   &ev->source[s]);
	svg_end(out);
}

void plot_range(FILE *out, double share, struct interval i)
{
	struct plot p = {.out = out, .left = 5, .width = 94, .x_high = 1};

	fputs("<svg viewBox=\"0 0 104 16\" aria-hidden=\"true\">"
	      "<line class=\"rail\" x1=\"5\" y1=\"8\" x2=\"99\" y2=\"8\"/>",
	      out);
	if (!isnan(share))
		fprintf(out,
			"<line class=\"range\" x1=\"%.1f\" y1=\"8\" x2=\"%.1f\" y2=\"8\"/>"
			"<circle class=\"at\" cx=\"%.1f\" cy=\"8\" r=\"3.6\"/>",
			plot_x(&p, i.low), plot_x(&p, i.high), plot_x(&p, share));
	fputs("</svg>", out);
}
