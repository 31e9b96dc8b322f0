/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as a line of the control socket: a request that is accepted must encode and parse to
 * the same words. The same bytes as JSON go to the event reader, the other thing that the store or
 * a client may hand to us; what it accepts must write the same line twice.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "agent/event/event.h"
#include "agent/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds)
{
	if (!holds)
		abort();
}

static void check_request(const char *line, size_t len)
{
	struct wire_request r, again;
	struct error e = {0};
	char *encoded;

	if (wire_request_parse(line, len, &r, &e) != 0) {
		demand(e.code < 0 && e.text[0] != '\0');
		return;
	}
	demand(r.n_words >= 1 && r.n_words <= WIRE_MAX_WORDS);
	encoded = wire_request_line(r.words, r.n_words, r.text);
	demand(encoded && wire_request_parse(encoded, strlen(encoded) - 1, &again, &e) == 0);
	demand(again.n_words == r.n_words && again.text_len == r.text_len);
	for (size_t i = 0; i < r.n_words; i++)
		demand(strcmp(r.words[i], again.words[i]) == 0);
	wire_request_fini(&again);
	wire_request_fini(&r);
	free(encoded);
}

static char *event_line(const struct flow_event *event)
{
	json_t *json = event_to_json(event, false);
	char *line = json_dumps(json, EVENT_JSON_FLAGS);

	demand(line != NULL);
	json_decref(json);
	return line;
}

static void check_event(const char *text, size_t len)
{
	json_t *json = json_loadb(text, len, 0, NULL), *written;
	struct flow_event event;
	char *line, *again;

	if (event_from_json(json, &event, NULL) == 0) {
		line = event_line(&event);
		written = json_loads(line, 0, NULL);
		demand(event_from_json(written, &event, NULL) == 0);
		again = event_line(&event);
		demand(strcmp(line, again) == 0);
		json_decref(written);
		free(line);
		free(again);
	}
	json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_request((const char *)data, size);
	check_event((const char *)data, size);
	return 0;
}
