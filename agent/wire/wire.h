/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Control socket frames: one JSON object a line over a unix stream socket.
 *
 *   request  {"v":1,"words":["policy","block","class=tor"],"text":"..."}
 *            text: a file's content, where one is sent
 *   reply    any number of {"row":{...}}, then one {"done":{...}}
 *            or {"error":"what, where, what would be right","usage":bool}
 *
 * A line is at most WIRE_MAX_LINE bytes with its newline; a longer one, or one that is not such an
 * object, is an error and the connection is closed. The words are the command line's own.
 */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include "model/error.h"

#define WIRE_VERSION   1
#define WIRE_MAX_LINE  (1 << 20)
#define WIRE_MAX_WORDS 64
/* How every line is written: floats were floats, more digits than these are noise. */
#define WIRE_JSON_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(9))

struct wire_request {
	json_t *json; /* owns what follows */
	const char *words[WIRE_MAX_WORDS];
	size_t n_words;
	const char *text; /* or NULL */
	size_t text_len;
};

/* line: without the newline. */
int wire_request_parse(const char *line, size_t len, struct wire_request *ret_request,
		       struct error *e);
void wire_request_fini(struct wire_request *r);
/* Encoded lines with their newline; caller frees; NULL when memory is short, a string is not UTF-8
 * or the line would be longer than WIRE_MAX_LINE. json_t arguments are taken. */
char *wire_request_line(const char *const *words, size_t n_words, const char *text);
char *wire_row_line(json_t *row);
char *wire_done_line(json_t *done);
char *wire_error_line(const char *text, bool usage);

/* Client side, blocking: connect, send, and call on_row for each row (borrowed). Returns 0 and
 * *ret_done (new reference), or a negative errno with the daemon's own message in e. -EINVAL =
 * usage. on_row returning nonzero ends the conversation quietly: 0, and *ret_done NULL. A daemon
 * that is silent for a minute is given up, unless the words hold `follow`. on_row and ret_done may
 * be NULL. */
typedef int (*wire_row_fn)(void *ctx, const json_t *row);
int wire_call(const char *socket_path, const char *const *words, size_t n_words, const char *text,
	      wire_row_fn on_row, void *ctx, json_t **ret_done, struct error *e);
