/* SPDX-License-Identifier: BSD-2-Clause */
/* JSON lines, tables through libsmartcols, and streamed rows, from one list of columns. */
#include <assert.h>
#include <errno.h>
#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "agent/nmctl/output.h"
#include "model/error.h"

#define MAX_COLUMNS 16
#define MIN_WRAP    20 /* a narrower column of prose cannot be read */

struct output {
	FILE *out;
	enum output_format format;
	bool stream;
	unsigned width;                            /* of the terminal, 0 = without a limit */
	const struct column *columns[MAX_COLUMNS]; /* those that the terminal has room for */
	size_t n_columns, n_rows;
	struct libscols_table *table; /* NULL for JSON and streams */
};

/* ---- colours ---- */

const char *output_colour(FILE *out, enum colour colour)
{
	static const char *const codes[] = {
		[COLOUR_NONE] = "\033[0m",
		[COLOUR_GREEN] = "\033[32m",
		[COLOUR_RED] = "\033[31m",
		[COLOUR_DIM] = "\033[2m",
	};

	return isatty(fileno(out)) && !getenv("NO_COLOR") ? codes[colour] : "";
}

static const char *word_colour(const char *word)
{
	static const struct {
		const char *word, *colour;
	} colours[] = {{"drop", "red"},     {"block", "red"},   {"missing", "red"},
		       {"limit", "yellow"}, {"warn", "yellow"}, {"ok", "green"},
		       {"pass", "green"},   {"allow", "green"}};

	for (size_t i = 0; i < sizeof(colours) / sizeof(colours[0]); i++)
		if (!strcmp(word, colours[i].word))
			return colours[i].colour;
	return NULL;
}

/* ---- rows ---- */

static bool right_aligned(enum unit unit)
{
	return unit >= UNIT_COUNT && unit <= UNIT_SCORE;
}

static int table_new(struct output *o)
{
	o->table = scols_new_table();
	if (!o->table)
		return -ENOMEM;
	scols_table_set_stream(o->table, o->out);
	scols_table_enable_noencoding(o->table, 1);
	scols_table_enable_colors(o->table, *output_colour(o->out, COLOUR_NONE) != 0);
	for (size_t i = 0; i < o->n_columns; i++) {
		const struct column *c = o->columns[i];
		int flags = (right_aligned(c->unit) ? SCOLS_FL_RIGHT : 0) |
			    (c->cut ? SCOLS_FL_TRUNC : 0) | (c->wrap ? SCOLS_FL_WRAP : 0);

		struct libscols_column *column =
			scols_table_new_column(o->table, c->title, 0, flags);

		if (!column)
			return -ENOMEM;
		if (c->wrap)
			scols_column_set_wrapfunc(column, scols_wrapnl_chunksize,
						  scols_wrapnl_nextchunk, NULL);
	}
	return 0;
}

/* 0: no terminal, or one that does not say. */
static unsigned terminal_width(FILE *out)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;

	if (!isatty(fileno(out)))
		return 0;
	if (columns && atoi(columns) > 0)
		return atoi(columns);
	return ioctl(fileno(out), TIOCGWINSZ, &size) ? 0 : size.ws_col;
}

int output_new(FILE *out, enum output_format format, bool stream, const struct column *columns,
	       size_t n_columns, struct output **ret_output)
{
	struct output *o = calloc(1, sizeof(*o));
	unsigned width = terminal_width(out);
	int ret = 0;

	assert(n_columns <= MAX_COLUMNS);
	if (!o)
		return -ENOMEM;
	*o = (struct output){.out = out, .format = format, .stream = stream, .width = width};
	for (size_t i = 0; i < n_columns; i++)
		if (!columns[i].wide || width == 0 || width >= WIDE_COLUMNS)
			o->columns[o->n_columns++] = &columns[i];
	if (format == OUTPUT_TABLE && !stream)
		ret = table_new(o);
	if (ret) {
		output_free(o);
		return ret;
	}
	*ret_output = o;
	return 0;
}

void output_free(struct output *o)
{
	if (o)
		scols_unref_table(o->table);
	free(o);
}

size_t output_rows(const struct output *o)
{
	return o->n_rows;
}

int output_json(FILE *out, const json_t *object)
{
	/* ASCII only: no byte of a foreign text means anything to a terminal. */
	cleanup(drop_text) char *text =
		json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));

	if (!text)
		return -ENOMEM;
	return fprintf(out, "%s\n", text) < 0 ? -EIO : 0;
}

static int table_row(struct output *o, const json_t *row)
{
	struct libscols_line *line = scols_table_new_line(o->table, NULL);

	if (!line)
		return -ENOMEM;
	for (size_t i = 0; i < o->n_columns; i++) {
		char *cell = output_cell(row, o->columns[i]);
		const char *colour = cell && o->columns[i]->colour ? word_colour(cell) : NULL;

		if (!cell)
			return -ENOMEM;
		if (colour)
			scols_cell_set_color(scols_line_get_cell(line, i), colour);
		if (scols_line_refer_data(line, i, cell)) {
			free(cell);
			return -ENOMEM;
		}
	}
	return 0;
}

static void stream_cell(const struct output *o, size_t i, const char *text)
{
	const struct column *c = o->columns[i];
	bool last = i + 1 == o->n_columns;

	if (right_aligned(c->unit))
		fprintf(o->out, "%*s%s", (int)c->width, text, last ? "" : " ");
	else
		fprintf(o->out, "%-*s%s", last ? 0 : (int)c->width, text, last ? "" : " ");
}

static int stream_row(struct output *o, const json_t *row)
{
	for (size_t i = 0; i < o->n_columns && o->n_rows == 0; i++)
		stream_cell(o, i, o->columns[i]->title);
	if (o->n_rows == 0)
		fputc('\n', o->out);
	for (size_t i = 0; i < o->n_columns; i++) {
		cleanup(drop_text) char *cell = output_cell(row, o->columns[i]);

		if (!cell)
			return -ENOMEM;
		stream_cell(o, i, cell);
	}
	fputc('\n', o->out);
	return 0;
}

int output_row(struct output *o, const json_t *row)
{
	int ret;

	if (o->format == OUTPUT_JSON)
		ret = output_json(o->out, row);
	else
		ret = o->stream ? stream_row(o, row) : table_row(o, row);
	o->n_rows++;
	if (o->stream && fflush(o->out))
		return -EIO;
	return ret;
}

/* Columns that the table is too wide by are not cut in the middle of a word: the wrapped column
 * gets what the others leave, broken at spaces. */
static size_t widest_cell(const struct output *o, size_t column)
{
	size_t widest = strlen(o->columns[column]->title);

	for (size_t i = 0; i < o->n_rows; i++) {
		const char *cell = scols_cell_get_data(
			scols_line_get_cell(scols_table_get_line(o->table, i), column));

		if (cell && strlen(cell) > widest)
			widest = strlen(cell);
	}
	return widest;
}

static void break_at_spaces(char *text, size_t width)
{
	char *line = text, *space = NULL;

	for (char *c = text; *c; c++) {
		if (*c == ' ')
			space = c;
		if ((size_t)(c - line) < width || !space || space < line)
			continue;
		*space = '\n';
		line = space + 1;
	}
}

static void wrap_column(struct output *o, size_t column)
{
	size_t room = o->width;

	for (size_t i = 0; i < o->n_columns && room; i++) {
		size_t others = i == column ? 0 : widest_cell(o, i) + 1;

		room = room > others ? room - others : 0;
	}
	if (room < MIN_WRAP)
		return;
	for (size_t i = 0; i < o->n_rows; i++) {
		struct libscols_line *line = scols_table_get_line(o->table, i);
		const char *cell = scols_cell_get_data(scols_line_get_cell(line, column));
		char *text = cell ? strdup(cell) : NULL;

		if (!text)
			continue;
		break_at_spaces(text, room);
		if (scols_line_refer_data(line, column, text))
			free(text);
	}
}

int output_end(struct output *o)
{
	for (size_t i = 0; i < o->n_columns && o->table && o->width; i++)
		if (o->columns[i]->wrap)
			wrap_column(o, i);
	if (o->table && o->n_rows && scols_print_table(o->table))
		return -EIO;
	return ferror(o->out) ? -EIO : 0;
}
