/* SPDX-License-Identifier: BSD-2-Clause */
/* The verb flows: the last matching events of the store, oldest first, then those that come. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmd/clock.h"
#include "agent/nmd/control_verbs.h"
#include "agent/policy/units.h"

#define DEFAULT_LIMIT 100
#define MAX_SINCE_S   (366ull * 86400)
#define ROWS_A_PAGE   200

struct flows_query {
	struct store_filter filter;
	char class_name[CLASS_NAME_LEN], proto[8], action[8]; /* what filter points to */
	uint64_t limit;
	bool limited; /* limit= was given */
	bool follow;
	int64_t next_id;
	struct control_client *client;
};

static int copy_word(struct control_call *call, const char *word, char *to, size_t size,
		     const char **ret_filter, struct error *e)
{
	const char *value = strchr(word, '=') + 1;

	if (strlen(value) >= size || !*value)
		return control_usage(call, e, "flows: %.60s: not a name there can be", word);
	strcpy(to, value);
	*ret_filter = to;
	return 0;
}

static int take_since(struct control_call *call, const char *value, struct flows_query *q,
		      struct error *e)
{
	struct error why = {0};
	uint64_t seconds;

	if (units_parse_duration(value, MAX_SINCE_S, &seconds, &why))
		return control_usage(call, e, "flows: since=%.40s: %.180s", value, why.text);
	q->filter.since_ns = (int64_t)(clock_now_ns(CLOCK_REALTIME) - seconds * NS_PER_S);
	return 0;
}

static int take_net(struct control_call *call, const char *value, struct flows_query *q,
		    struct error *e)
{
	struct error why = {0};

	if (policy_prefix_parse(value, q->filter.net, &q->filter.prefix_len, &why))
		return control_usage(call, e, "flows: net=%.60s: %.160s", value, why.text);
	q->filter.has_net = true;
	return 0;
}

static int take_limit(struct control_call *call, const char *value, struct flows_query *q,
		      struct error *e)
{
	char *end;

	errno = 0;
	q->limit = strtoull(value, &end, 10);
	if (*value < '0' || *value > '9' || *end || errno)
		return control_usage(call, e, "flows: limit=%.40s: not a number", value);
	q->limited = true;
	return 0;
}

static int take_word(struct control_call *call, const char *word, struct flows_query *q,
		     struct error *e)
{
	if (!strcmp(word, "follow")) {
		q->follow = true;
		return 0;
	}
	if (!strncmp(word, "class=", 6))
		return copy_word(call, word, q->class_name, sizeof(q->class_name),
				 &q->filter.class_name, e);
	if (!strncmp(word, "proto=", 6))
		return copy_word(call, word, q->proto, sizeof(q->proto), &q->filter.proto, e);
	if (!strncmp(word, "action=", 7))
		return copy_word(call, word, q->action, sizeof(q->action), &q->filter.action, e);
	if (!strncmp(word, "net=", 4))
		return take_net(call, word + 4, q, e);
	if (!strncmp(word, "since=", 6))
		return take_since(call, word + 6, q, e);
	if (!strncmp(word, "limit=", 6))
		return take_limit(call, word + 6, q, e);
	return control_usage(call, e,
			     "flows: unknown word \"%.40s\"; use class=, net=, proto=, action=, "
			     "since=, limit=, follow",
			     word);
}

static int send_row(void *ctx, int64_t id, const char *json)
{
	struct flows_query *q = ctx;

	q->next_id = id + 1;
	control_client_row(q->client, json_loads(json, 0, NULL));
	return 0;
}

static bool fill_page(struct control_client *client, void *ctx)
{
	struct flows_query *q = ctx;
	struct agent *a = control_client_agent(client);
	int n;

	q->client = client;
	if (q->next_id == INT64_MAX)
		return false;
	n = store_query(a->store, &q->filter, q->next_id, ROWS_A_PAGE, send_row, q, NULL);
	return n == ROWS_A_PAGE;
}

int control_flows(struct control_call *call, struct error *e)
{
	struct flows_query *q = calloc(1, sizeof(*q));
	int rc = q ? 0 : error_set(e, -ENOMEM, "flows: out of memory");

	if (rc)
		return rc;
	for (size_t i = 0; i < call->n_words && !rc; i++)
		rc = take_word(call, call->words[i], q, e);
	/* Who asks for a time wants all of it; who follows wants what comes. */
	if (!q->limited)
		q->limit = q->filter.since_ns ? UINT64_MAX : q->follow ? 0 : DEFAULT_LIMIT;
	if (!rc)
		rc = store_start_of(call->agent->store, &q->filter, q->limit, &q->next_id, e);
	if (rc) {
		free(q);
		return rc;
	}
	control_stream(call, &(struct control_stream){.fill = fill_page,
						      .free = free,
						      .ctx = q,
						      .follow = q->follow,
						      .filter = &q->filter});
	return 0;
}
