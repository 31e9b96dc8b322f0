/* SPDX-License-Identifier: BSD-2-Clause */
/* The confusion matrix as a heat map: rows are true classes, each row's shares sum to 100%. Below
 * them stands what flows of no class are taken for. */
#include <string.h>
#include "agent/nmtrain/escape.h"
#include "agent/nmtrain/report_plots.h"
#include "agent/nmtrain/svg.h"

#define LETTER       7 /* a column of a name, at its widest on average */
#define NO_CLASS_ROW "no class"
#define ROW_GAP      8    /* before the row of flows of no class */
#define FAINT        0.07 /* so that a cell of few flows is seen */
#define TEXT_CELL    22   /* smallest cell with a number in it */

struct map {
	FILE *out;
	const struct report_model *rm;
	double cell, left, top;
	double name_width;
};

static double cell_size(uint32_t n)
{
	double size = 860.0 / n;

	return size > 44 ? 44 : size < 12 ? 12 : size;
}

static void cell(const struct map *m, double y, uint32_t column, uint64_t n, uint64_t of,
		 const char *row_name, const char *heat)
{
	double x = m->left + column * m->cell, share = (double)n / of;
	char text[16];

	if (!n)
		return;
	fprintf(m->out, "<g><title>%llu of %llu flows of ", (unsigned long long)n,
		(unsigned long long)of);
	escape_html(m->out, row_name);
	fputs(" taken for ", m->out);
	escape_html(m->out, m->rm->model->class_name[column]);
	fprintf(m->out,
		"</title><rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
		"rx=\"2\" fill-opacity=\"%.3f\"/>",
		heat, x + 1, y + 1, m->cell - 2, m->cell - 2, FAINT + (1 - FAINT) * share);
	if (m->cell >= TEXT_CELL) {
		snprintf(text, sizeof(text), share < 0.01 ? "<1" : "%.0f", 100 * share);
		svg_text(m->out, x + m->cell / 2, y + m->cell / 2 + 4, "middle",
			 share > 0.55 ? "cell on" : "cell", text);
	}
	fputs("</g>\n", m->out);
}

static void row(const struct map *m, double y, const char *name, const uint64_t *counts,
		uint64_t of, int own)
{
	const struct evaluation *ev = m->rm->evaluation;
	double middle = y + m->cell / 2 + 4;
	char text[24];

	svg_text(m->out, m->left - 48, middle, "end", of ? "name" : "count", name);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)of);
	svg_text(m->out, m->left - 8, middle, "end", "count", text);
	for (uint32_t j = 0; j < ev->n_classes; j++)
		cell(m, y, j, counts[j], of, name, (int)j == own ? "heat" : "wrong");
}

static void columns(const struct map *m, double bottom)
{
	const struct evaluation *ev = m->rm->evaluation;

	for (uint32_t j = 0; j <= ev->n_classes; j++) {
		double x = m->left + j * m->cell;

		fprintf(m->out,
			"<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
			x, m->top, x, bottom);
		if (j == ev->n_classes)
			break;
		x += m->cell / 2 + 4;
		fprintf(m->out, "<g transform=\"rotate(-52 %.1f %.1f)\">", x, m->top - 8);
		svg_text(m->out, x, m->top - 8, "start", "name", m->rm->model->class_name[j]);
		fputs("</g>\n", m->out);
	}
}

static struct map layout(FILE *out, const struct report_model *rm)
{
	struct map m = {.out = out, .rm = rm, .cell = cell_size(rm->evaluation->n_classes)};
	size_t longest = strlen(NO_CLASS_ROW);

	for (uint32_t i = 0; i < rm->evaluation->n_classes; i++)
		if (strlen(rm->model->class_name[i]) > longest)
			longest = strlen(rm->model->class_name[i]);
	m.name_width = LETTER * (double)longest;
	m.left = m.name_width + 56;
	m.top = 0.79 * m.name_width + 22; /* the sine of the columns' names */
	return m;
}

void plot_confusion(FILE *out, const struct report_model *rm)
{
	const struct evaluation *ev = rm->evaluation;
	const struct map m = layout(out, rm);
	uint32_t n = ev->n_classes;
	double bottom = m.top + n * m.cell;

	svg_begin(out, m.left + n * m.cell + 0.5 * m.name_width, bottom + ROW_GAP + m.cell + 6,
		  "Confusion matrix: rows are true classes, columns what they were taken for");
	columns(&m, bottom);
	for (uint32_t i = 0; i <= n; i++)
		fprintf(out,
			"<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
			m.left, m.top + i * m.cell, m.left + n * m.cell, m.top + i * m.cell);
	for (uint32_t i = 0; i < n; i++)
		row(&m, m.top + i * m.cell, rm->model->class_name[i], ev->confusion + (size_t)i * n,
		    ev->class_figures[i].support, (int)i);
	if (ev->n_unknown)
		row(&m, bottom + ROW_GAP, NO_CLASS_ROW, ev->unknown_nearest, ev->n_unknown, -1);
	svg_end(out);
}
