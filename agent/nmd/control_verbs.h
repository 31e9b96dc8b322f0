/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the server (control.c) and the verbs (control_*.c). A verb answers with rows and one
 * done, or returns a negative errno with the error filled; it may hand over a stream instead of
 * the done. Nothing here waits.
 */
#pragma once
#include <errno.h>
#include <jansson.h>
#include "agent/nmd/agent.h"

struct control_call {
	struct agent *agent;
	struct control_client *client;
	const char *const *words; /* behind the verb's own */
	size_t n_words;
	const char *const *all_words; /* with them */
	size_t n_all_words;
	const char *text; /* or NULL */
	size_t text_len;
	const char *by; /* who asks: "root (uid 0)" */
	bool usage;     /* set beside an error: the words were wrong */
};

struct control_verb {
	const char *words[2]; /* second NULL: one word */
	int (*run)(struct control_call *call, struct error *e);
};

/* The kernel's counters, COUNTER_ROWS of them; the caller frees. */
int control_read_counters(const struct agent *a, struct counter **ret_rows, struct error *e);
/* Seconds until an unconfirmed change is undone, null when none waits. */
json_t *control_confirm_json(const struct policy_pointer *pointer);

/* json is taken. */
void control_row(struct control_call *call, json_t *row);
void control_done(struct control_call *call, json_t *done);
/* Error with the usage flag. */
#define control_usage(call, e, ...) ((call)->usage = true, error_set(e, -EINVAL, __VA_ARGS__))

/*
 * A long answer, as fast as its reader takes it: fill is called while the output is short, adds
 * some rows (control_client_row) and returns false after the last. Then the client gets `done`, or
 * follows.
 */
struct control_stream {
	bool (*fill)(struct control_client *client, void *ctx);
	void (*free)(void *ctx);
	void *ctx;
	bool follow;
	const struct store_filter *filter; /* of what follows; lives as long as ctx */
};
void control_stream(struct control_call *call, const struct control_stream *stream);
void control_client_row(struct control_client *client, json_t *row);
struct agent *control_client_agent(const struct control_client *client);

int control_status(struct control_call *call, struct error *e);
int control_classes(struct control_call *call, struct error *e);
int control_flows(struct control_call *call, struct error *e);
int control_explain(struct control_call *call, struct error *e);
int control_policy_show(struct control_call *call, struct error *e);
int control_policy_rule(struct control_call *call, struct error *e);
int control_policy_apply(struct control_call *call, struct error *e);
int control_policy_check(struct control_call *call, struct error *e);
int control_policy_diff(struct control_call *call, struct error *e);
int control_policy_history(struct control_call *call, struct error *e);
int control_policy_rollback(struct control_call *call, struct error *e);
int control_policy_remove(struct control_call *call, struct error *e);
int control_policy_confirm(struct control_call *call, struct error *e);
int control_policy_arm(struct control_call *call, struct error *e);
int control_model_show(struct control_call *call, struct error *e);
int control_model_load(struct control_call *call, struct error *e);
