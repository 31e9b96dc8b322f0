/* SPDX-License-Identifier: BSD-2-Clause */
/* See svg.h. */
#include "agent/nmtrain/svg.h"
#include <math.h>
#include "agent/nmtrain/escape.h"

#define LEGEND_ROW 18

void svg_begin(FILE *out, double width, double height, const char *label)
{
	fprintf(out,
		"<svg viewBox=\"0 0 %.0f %.0f\" style=\"max-width:%.0fpx\" role=\"img\" "
		"aria-label=\"",
		width, height, width);
	escape_html(out, label);
	fputs("\">\n", out);
}

void svg_end(FILE *out)
{
	fputs("</svg>\n", out);
}

void svg_text(FILE *out, double x, double y, const char *anchor, const char *class_name,
	      const char *text)
{
	fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x, y, anchor,
		class_name);
	escape_html(out, text);
	fputs("</text>\n", out);
}

double plot_x(const struct plot *p, double x)
{
	double low = p->log_x ? log(p->x_low) : p->x_low;
	double high = p->log_x ? log(p->x_high) : p->x_high;

	return p->left + p->width * ((p->log_x ? log(x) : x) - low) / (high - low);
}

double plot_y(const struct plot *p, double share)
{
	return p->top + p->height * (1 - share);
}

static void grid_line(const struct plot *p, double x1, double y1, double x2, double y2)
{
	fprintf(p->out, "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
		x1, y1, x2, y2);
}

void plot_frame(const struct plot *p, const double *ticks, uint32_t n_ticks, bool tick_shares,
		const char *x_title, const char *y_title)
{
	double bottom = p->top + p->height, middle = p->top + p->height / 2;
	char text[32];

	for (int i = 0; i <= 5; i++) {
		double y = plot_y(p, i / 5.0);

		grid_line(p, p->left, y, p->left + p->width, y);
		snprintf(text, sizeof(text), "%d%%", 20 * i);
		svg_text(p->out, p->left - 8, y + 4, "end", "tick", text);
	}
	for (uint32_t i = 0; i < n_ticks; i++) {
		double x = plot_x(p, ticks[i]);

		grid_line(p, x, bottom, x, bottom + 4);
		snprintf(text, sizeof(text), tick_shares ? "%.0f%%" : "%.0f",
			 tick_shares ? 100 * ticks[i] : ticks[i]);
		svg_text(p->out, x, bottom + 18, "middle", "tick", text);
	}
	svg_text(p->out, p->left + p->width / 2, bottom + 38, "middle", "axis", x_title);
	fprintf(p->out, "<g transform=\"rotate(-90 %.1f %.1f)\">", p->left - 46, middle);
	svg_text(p->out, p->left - 46, middle, "middle", "axis", y_title);
	fputs("</g>\n", p->out);
}

void plot_line(const struct plot *p, const struct plot_point *points, uint32_t n, uint32_t series,
	       bool thin, bool dotted)
{
	fprintf(p->out, "<polyline class=\"line s%u%s\" points=\"", series, thin ? " thin" : "");
	for (uint32_t i = 0; i < n; i++)
		if (!isnan(points[i].share))
			fprintf(p->out, "%.1f,%.1f ", plot_x(p, points[i].x),
				plot_y(p, points[i].share));
	fputs("\"/>\n", p->out);
	for (uint32_t i = 0; i < n && dotted; i++)
		if (!isnan(points[i].share))
			fprintf(p->out,
				"<circle class=\"dot s%u\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\">"
				"<title>%g: %.1f%%</title></circle>\n",
				series, plot_x(p, points[i].x), plot_y(p, points[i].share),
				points[i].x, 100 * points[i].share);
}

void plot_legend(FILE *out, double x, double y, uint32_t row, uint32_t series, const char *name)
{
	y += row * LEGEND_ROW;
	fprintf(out, "<line class=\"line s%u\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
		series, x, y, x + 22, y);
	svg_text(out, x + 30, y + 4, "start", "legend", name);
}
