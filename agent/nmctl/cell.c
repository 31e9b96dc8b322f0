/* SPDX-License-Identifier: BSD-2-Clause */
/* Members of a JSON row to text that is fit for a terminal. */
#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <wchar.h>
#include <wctype.h>
#include "agent/nmctl/human.h"
#include "agent/nmctl/output.h"
#include "model/error.h"

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
	return asprintf(&text, "%s?", name) < 0 ? NULL : text;
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

const struct column *output_flow_columns(bool live, size_t *ret_n)
{
	static const struct column columns[] = {
		COLUMN("TIME", "time", UNIT_CLOCK, .width = 8, .wide = true),
		COLUMN("PROTO", "proto", UNIT_TEXT, .width = 5),
		COLUMN("SOURCE", "src,sport", UNIT_ENDPOINT, .width = 21),
		COLUMN("DESTINATION", "dst,dport", UNIT_ENDPOINT, .width = 21),
		COLUMN("PACKETS", "packets", UNIT_COUNT, .width = 7, .wide = true),
		COLUMN("BYTES", "bytes", UNIT_BYTES, .width = 7, .wide = true),
		COLUMN("CLASS", "class", UNIT_CLASS, .width = 16),
		COLUMN("CONF", "confidence", UNIT_PERCENT, .width = 6, .wide = true),
		COLUMN("EARLY", "provisional", UNIT_YES, .width = 5, .wide = true),
		COLUMN("ACTION", "action", UNIT_TEXT, .width = 6, .colour = true),
		COLUMN("FLOW", "flow_id", UNIT_TEXT, .width = 16),
	};
	size_t n = sizeof(columns) / sizeof(columns[0]);

	*ret_n = live ? n : n - 2;
	return columns;
}
