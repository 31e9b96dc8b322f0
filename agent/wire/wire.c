/* SPDX-License-Identifier: BSD-2-Clause */
/* Control socket frames: what is said in one line. Both ends use this file. */
#include "agent/wire/wire.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void drop_json(json_t **json)
{
	json_decref(*json);
}

/* ---- requests, as the daemon reads them ---- */

static int read_words(const json_t *array, struct wire_request *r, struct error *e)
{
	size_t n = json_array_size(array);

	if (!json_is_array(array) || n == 0)
		return error_set(e, -EPROTO, "request: \"words\" is not a list of words");
	if (n > WIRE_MAX_WORDS)
		return error_set(e, -E2BIG, "request: more than %d words", WIRE_MAX_WORDS);
	for (size_t i = 0; i < n; i++) {
		r->words[i] = json_string_value(json_array_get(array, i));
		if (!r->words[i])
			return error_set(e, -EPROTO, "request: word %zu is not a string", i + 1);
	}
	r->n_words = n;
	return 0;
}

static int read_text(const json_t *text, struct wire_request *r, struct error *e)
{
	if (!text)
		return 0;
	if (!json_is_string(text))
		return error_set(e, -EPROTO, "request: \"text\" is not a string");
	r->text = json_string_value(text);
	r->text_len = json_string_length(text);
	return 0;
}

int wire_request_parse(const char *line, size_t len, struct wire_request *ret_request,
		       struct error *e)
{
	struct wire_request r = {0};
	cleanup(drop_json) json_t *json = NULL;
	json_error_t why;
	json_t *version;
	int err;

	if (len >= WIRE_MAX_LINE)
		return error_set(e, -E2BIG, "request: longer than %d bytes", WIRE_MAX_LINE);
	json = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
	if (!json)
		return error_set(e, -EPROTO, "request: byte %d: %.120s", why.position, why.text);
	if (!json_is_object(json))
		return error_set(e, -EPROTO, "request: not a JSON object");
	version = json_object_get(json, "v");
	if (!json_is_integer(version))
		return error_set(e, -EPROTO, "request: no version \"v\"");
	if (json_integer_value(version) != WIRE_VERSION)
		return error_set(e, -EPROTONOSUPPORT,
				 "request: version %lld; nmd speaks %d: use the nmctl that came "
				 "with it",
				 (long long)json_integer_value(version), WIRE_VERSION);
	err = read_words(json_object_get(json, "words"), &r, e);
	if (!err)
		err = read_text(json_object_get(json, "text"), &r, e);
	if (err)
		return err;
	r.json = take_ptr(json);
	*ret_request = r;
	return 0;
}

void wire_request_fini(struct wire_request *r)
{
	json_decref(r->json);
	*r = (struct wire_request){0};
}

/* ---- lines, as either end writes them ---- */

/* Takes json; NULL in, NULL out. */
static char *line_of(json_t *json)
{
	char *text = json ? json_dumps(json, WIRE_JSON_FLAGS) : NULL;
	size_t len = text ? strlen(text) : 0;
	char *line = NULL;

	json_decref(json);
	if (text && len < WIRE_MAX_LINE)
		line = realloc(text, len + 2);
	if (!line) {
		free(text);
		return NULL;
	}
	strcpy(line + len, "\n");
	return line;
}

char *wire_request_line(const char *const *words, size_t n_words, const char *text)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n_words; i++) {
		if (json_array_append_new(list, json_string(words[i])) != 0) {
			json_decref(list);
			return NULL;
		}
	}
	if (text)
		return line_of(json_pack("{s:i, s:o, s:s}", "v", WIRE_VERSION, "words", list,
					 "text", text));
	return line_of(json_pack("{s:i, s:o}", "v", WIRE_VERSION, "words", list));
}

char *wire_row_line(json_t *row)
{
	return line_of(json_pack("{s:o}", "row", row));
}

char *wire_done_line(json_t *done)
{
	return line_of(json_pack("{s:o}", "done", done));
}

char *wire_error_line(const char *text, bool usage)
{
	/* An error may quote what was wrong with its encoding. */
	json_t *said = json_string(text);

	if (!said)
		said = json_string("an error that cannot be written as UTF-8");
	return line_of(json_pack("{s:o, s:b}", "error", said, "usage", usage));
}
