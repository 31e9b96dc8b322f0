/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One walk for people and programs: rows are JSON objects; `-o json` prints each whole on a line of
 * its own, a table shows the columns that the command names, in human units. Text of others (a
 * daemon's reply, a file) never reaches the terminal with control characters in it.
 */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

enum output_format { OUTPUT_TABLE, OUTPUT_JSON };

enum unit {
	UNIT_TEXT, /* strings as they are, numbers plain */
	UNIT_COUNT,
	UNIT_BYTES,
	UNIT_SECONDS,
	UNIT_PERCENT,  /* of a fraction */
	UNIT_SCORE,    /* two decimals */
	UNIT_YES,      /* true: the column's title in lower case; false: "" */
	UNIT_TIME,     /* "2026-11-24T22:05:11Z" or seconds since the epoch, as local time */
	UNIT_CLOCK,    /* the same, time of day only */
	UNIT_ENDPOINT, /* path "src,sport": address and port, brackets around IPv6 */
	UNIT_CLASS,    /* the nearest class; "tor?" where that did not decide: unknown */
};

struct column {
	const char *title;
	const char *path; /* member of the row, "would.packets" for nested ones */
	enum unit unit;
	unsigned width; /* of a streamed row; a longer cell pushes the rest to the right */
	bool cut;    /* may be cut on a narrow terminal: only prose, half a port is a wrong port */
	bool wrap;   /* goes on below on a narrow terminal */
	bool wide;   /* left out on a terminal narrower than WIDE_COLUMNS */
	bool colour; /* by its word: drop red, limit yellow, ok green, ... */
};

#define WIDE_COLUMNS 118

/* COLUMN("BYTES", "bytes", UNIT_BYTES, .wide = true) */
#define COLUMN(TITLE, PATH, UNIT, ...)                                                             \
	{                                                                                          \
		.title = TITLE, .path = PATH, .unit = UNIT, ##__VA_ARGS__                          \
	}

/* stream: rows are printed as they come, at the columns' widths, for --follow. */
struct output;
int output_new(FILE *out, enum output_format format, bool stream, const struct column *columns,
	       size_t n_columns, struct output **ret_output);
int output_row(struct output *o, const json_t *row); /* borrowed */
size_t output_rows(const struct output *o);
/* Prints what a table collected. -EIO when writing failed. */
int output_end(struct output *o);
void output_free(struct output *o); /* accepts NULL */

/* One object on a line; for replies that are no table. */
int output_json(FILE *out, const json_t *object);

/* The columns of a verdict event, for `flows` and `classify`. live: with what the agent did. */
const struct column *output_flow_columns(bool live, size_t *ret_n);

/* cell.c. The text of one cell; "-" when the row has no such member. Caller frees; NULL: no memory.
 */
char *output_cell(const json_t *row, const struct column *column);

/* Writes text with control characters and invalid bytes as \xNN. */
void output_text(FILE *out, const char *text);

/* A line "label      value" of a plain-words reply; the value goes through output_text. */
__attribute__((format(printf, 3, 4))) void output_field(FILE *out, const char *label,
							const char *format, ...);

/* "" unless out is a terminal and NO_COLOR is not set. */
enum colour { COLOUR_NONE, COLOUR_GREEN, COLOUR_RED, COLOUR_DIM };
const char *output_colour(FILE *out, enum colour colour);

/* Members by path; what is absent or of another type reads as the default. */
const json_t *output_member(const json_t *row, const char *path);
const char *output_string(const json_t *row, const char *path, const char *otherwise);
double output_number(const json_t *row, const char *path, double otherwise);
bool output_true(const json_t *row, const char *path);

/* For cleanup(). */
static inline void drop_json(json_t **json)
{
	json_decref(*json);
}
static inline void drop_text(char **text)
{
	free(*text);
}
static inline void drop_output(struct output **o)
{
	output_free(*o);
}
