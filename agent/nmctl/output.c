/* SPDX-License-Identifier: BSD-2-Clause */
/* JSON lines, tables through libsmartcols, and streamed rows, from one list of columns. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>
#include "agent/nmctl/output.h"
#include "agent/nmctl/human.h"
#include "model/error.h"

#define MAX_COLUMNS 16

struct output {
	FILE *out;
	enum output_format format;
	bool stream;
	const struct column *columns[MAX_COLUMNS]; /* those that the terminal has room for */
	size_t n_columns, n_rows;
	struct libscols_table *table; /* NULL for JSON and streams */
};

/* ---- members and cells ---- */

const json_t *output_member(const json_t *row, const char *path)
{
	char name[64];

	while (row) {
		size_t len = strcspn(path, ".");

		snprintf(name, sizeof(name), "%.*s", (int)len, path);
		row = json_object_get(row, name);
		if (!path[len])
			return row;
		path += len + 1;
	}
	return NULL;
}

const char *output_string(const json_t *row, const char *path, const char *otherwise)
{
	const json_t *member = output_member(row, path);

	return json_is_string(member) ? json_string_value(member) : otherwise;
}

double output_number(const json_t *row, const char *path, double otherwise)
{
	const json_t *member = output_member(row, path);

	return json_is_number(member) ? json_number_value(member) : otherwise;
}

bool output_true(const json_t *row, const char *path)
{
	return json_is_true(output_member(row, path));
}

/* Longest first, so that no text of a reply makes the buffer grow without bound: a line of the
 * socket is. */
static char *printable(const char *text)
{
	char *safe = malloc(strlen(text) * 4 + 1), *to = safe;
	mbstate_t state = {0};

	while (safe && *text) {
		wchar_t wide;
		size_t len = mbrtowc(&wide, text, MB_CUR_MAX, &state);

		if (len == (size_t)-1 || len == (size_t)-2 || len == 0 || !iswprint(wide)) {
			memset(&state, 0, sizeof(state));
			to += sprintf(to, "\\x%02x", (unsigned char)*text++);
			continue;
		}
		memcpy(to, text, len);
		to += len;
		text += len;
	}
	if (safe)
		*to = 0;
	return safe;
}

void output_text(FILE *out, const char *text)
{
	cleanup(drop_text) char *safe = printable(text);

	fputs(safe ? safe : "?", out);
}

void output_field(FILE *out, const char *label, const char *format, ...)
{
	cleanup(drop_text) char *text = NULL;
	va_list args;
	int len;

	va_start(args, format);
	len = vasprintf(&text, format, args);
	va_end(args);
	if (len < 0)
		text = NULL;
	fprintf(out, "%-12s ", label);
	output_text(out, text ? text : "?");
	fputc('\n', out);
}

static const char *number_text(double value, enum unit unit, char buffer[HUMAN_TEXT])
{
	switch (unit) {
	case UNIT_COUNT:
		return human_count(value, buffer);
	case UNIT_BYTES:
		return human_bytes(value, buffer);
	case UNIT_SECONDS:
		return human_duration(value, buffer);
	case UNIT_PERCENT:
		return human_percent(value, buffer);
	case UNIT_SCORE:
		snprintf(buffer, HUMAN_TEXT, "%.2f", value);
		return buffer;
	case UNIT_TIME:
	case UNIT_CLOCK:
		/* Beyond the year 9999 it is no time. */
		if (!(fabs(value) < 253402300800.0))
			return "?";
		return unit == UNIT_TIME ? human_time((int64_t)value, buffer)
					 : human_time_of_day((int64_t)value, buffer);
	default:
		snprintf(buffer, HUMAN_TEXT, "%.6g", value);
		return buffer;
	}
}

static char *lower_case(const char *title)
{
	char *text = strdup(title);

	for (char *c = text; c && *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? *c + 32 : *c;
	return text;
}

static char *endpoint_text(const json_t *row, const char *path)
{
	char names[32], *comma, *text = NULL;
	cleanup(drop_text) char *address = NULL;
	int port;

	snprintf(names, sizeof(names), "%s", path);
	comma = strchr(names, ',');
	assert(comma);
	*comma = 0;
	address = printable(output_string(row, names, "-"));
	port = (int)output_number(row, comma + 1, 0);
	if (!address || !port)
		return take_ptr(address);
	if (asprintf(&text, strchr(address, ':') ? "[%s]:%d" : "%s:%d", address, port) < 0)
		return NULL;
	return text;
}

static char *class_text(const json_t *row, const char *path)
{
	cleanup(drop_text) char *name = printable(output_string(row, path, "-"));
	char *text = NULL;

	if (!name || !strcmp(output_string(row, "decided_by", "class"), "class"))
		return take_ptr(name);
	return asprintf(&text, "unknown (%s?)", name) < 0 ? NULL : text;
}

char *output_cell(const json_t *row, const struct column *column)
{
	const json_t *member = output_member(row, column->path);
	char buffer[HUMAN_TEXT];
	struct tm tm = {0};

	if (column->unit == UNIT_ENDPOINT)
		return endpoint_text(row, column->path);
	if (column->unit == UNIT_CLASS)
		return class_text(row, column->path);
	if (column->unit == UNIT_YES)
		return json_is_true(member) ? lower_case(column->title) : strdup("");
	if (json_is_string(member) &&
	    strptime(json_string_value(member), "%Y-%m-%dT%H:%M:%S", &tm) &&
	    (column->unit == UNIT_TIME || column->unit == UNIT_CLOCK))
		return strdup(number_text((double)timegm(&tm), column->unit, buffer));
	if (json_is_string(member))
		return printable(json_string_value(member));
	if (json_is_integer(member) && column->unit == UNIT_TEXT) {
		snprintf(buffer, sizeof(buffer), "%" JSON_INTEGER_FORMAT,
			 json_integer_value(member));
		return strdup(buffer);
	}
	if (json_is_number(member))
		return strdup(number_text(json_number_value(member), column->unit, buffer));
	if (json_is_boolean(member))
		return strdup(json_is_true(member) ? "yes" : "no");
	return strdup("-");
}

/* ---- colours ---- */

const char *output_colour(FILE *out, enum colour colour)
{
	static const char *const codes[] = {"\033[0m",  "\033[32m", "\033[33m",
					    "\033[31m", "\033[2m",  "\033[1m"};

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

		if (!scols_table_new_column(o->table, c->title, 0, flags))
			return -ENOMEM;
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
	*o = (struct output){.out = out, .format = format, .stream = stream};
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
	cleanup(drop_text) char *text = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);

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

int output_end(struct output *o)
{
	if (o->table && o->n_rows && scols_print_table(o->table))
		return -EIO;
	return ferror(o->out) ? -EIO : 0;
}

const struct column *output_flow_columns(bool live, size_t *ret_n)
{
	static const struct column columns[] = {
		COLUMN("TIME", "time", UNIT_CLOCK, .width = 8, .wide = true),
		COLUMN("PROTO", "proto", UNIT_TEXT, .width = 5),
		COLUMN("SOURCE", "src,sport", UNIT_ENDPOINT, .width = 21, .cut = true),
		COLUMN("DESTINATION", "dst,dport", UNIT_ENDPOINT, .width = 21, .cut = true),
		COLUMN("PACKETS", "packets", UNIT_COUNT, .width = 7, .wide = true),
		COLUMN("BYTES", "bytes", UNIT_BYTES, .width = 7, .wide = true),
		COLUMN("CLASS", "class", UNIT_CLASS, .width = 16),
		COLUMN("CONF", "confidence", UNIT_PERCENT, .width = 6),
		COLUMN("STRANGE", "ood_score", UNIT_SCORE, .width = 7, .wide = true),
		COLUMN("ACTION", "action", UNIT_TEXT, .width = 6, .colour = true),
		COLUMN("FLOW", "flow_id", UNIT_TEXT, .width = 16),
	};
	size_t n = sizeof(columns) / sizeof(columns[0]);

	*ret_n = live ? n : n - 2;
	return columns;
}
