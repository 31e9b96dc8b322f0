/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Plots as inline SVG of a page whose style sheet (report_style.h) gives colours and type: marks
 * carry classes, never colours, so that one page serves light, dark and paper.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* label is what a reader who cannot see the picture is told. It is escaped. */
void svg_begin(FILE *out, double width, double height, const char *label);
void svg_end(FILE *out);

/* Text at a point; anchor "start", "middle" or "end"; class_name of the style sheet. Escaped. */
void svg_text(FILE *out, double x, double y, const char *anchor, const char *class_name,
	      const char *text);

/* A rectangle of values: x over its range, perhaps by its logarithm; y are shares, 0 to 1. */
struct plot {
	FILE *out;
	double left, top, width, height;
	double x_low, x_high;
	bool log_x;
};

double plot_x(const struct plot *p, double x);
double plot_y(const struct plot *p, double share);

/* Grid, shares at the left, the values of ticks below, and what both are. */
void plot_frame(const struct plot *p, const double *ticks, uint32_t n_ticks, bool tick_shares,
		const char *x_title, const char *y_title);

/* A line through points (x, share), in the colour of series 1 .. 8; dotted marks each point. Points
 * whose share is NAN are left out. */
struct plot_point {
	double x, share;
};
void plot_line(const struct plot *p, const struct plot_point *points, uint32_t n, uint32_t series,
	       bool thin, bool dotted);
/* A row of the legend: the series' mark and its name, the row-th from the top left of (x, y). */
void plot_legend(FILE *out, double x, double y, uint32_t row, uint32_t series, const char *name);
