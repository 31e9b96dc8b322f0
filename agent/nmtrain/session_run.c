/* SPDX-License-Identifier: BSD-2-Clause */
/* The loop of a session: hooks, and the state that goes to the checkpoint and back. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "agent/nmtrain/session.h"

#define SAVE_SHARE 20 /* saving takes at most one part in so many of the time */
#define MAX_BLOCKS 5
#define LOSS_SHARE 0.02

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* A batch's loss says little: smoothed, or an epoch's mean. */
static void follow_loss(struct session *s, const struct train_report *r)
{
	if (r->epoch_end || !s->has_loss)
		s->loss = r->loss;
	else
		s->loss += LOSS_SHARE * (r->loss - s->loss);
	s->has_loss = true;
}

static int on_step(void *ctx, const struct train_report *r)
{
	struct session *s = ctx;
	struct progress_state state = {
		.unit = s->labelled ? "epoch" : "step",
		.at = s->labelled ? r->epoch + 1 : r->step,
		.of = s->labelled ? r->n_epochs : r->total_steps,
		.done = (double)r->step / (double)r->total_steps,
		.milestone = s->labelled && r->epoch_end,
		.n_flows = r->n_samples,
	};

	follow_loss(s, r);
	state.loss = s->loss;
	if (r->validated) {
		s->has_score = true;
		s->score = r->score.score;
	}
	state.score_name = s->has_score ? "f1" : NULL;
	state.score = s->score;
	progress_show(&s->progress, &state, now_ns());
	return nmtrain_interrupted();
}

static json_t *score_json(const struct train_state *state)
{
	const struct train_score *best = &state->best_score;

	return json_pack("{s:f, s:f, s:f, s:I}", "score", best->score, "loss", best->loss,
			 "accuracy", best->accuracy, "epoch", (json_int_t)state->best_epoch);
}

static json_t *data_json(const struct session *s)
{
	return json_pack("{s:s, s:i, s:i, s:I, s:I}", "sha256", s->set->sha256, "test_fold",
			 s->split.test, "validation_fold", s->split.validation, "train_flows",
			 (json_int_t)s->data->train.n, "validation_flows",
			 (json_int_t)s->data->validation.n);
}

json_t *session_training_json(const struct session *s)
{
	json_t *training = json_pack("{s:s, s:s, s:o, s:o}", "command", s->t->command->name,
				     "version", NM_VERSION, "data", data_json(s), "settings",
				     settings_to_json(&s->settings));

	if (training && *s->from_sha256)
		json_object_set_new(training, "from", json_string(s->from_sha256));
	return training;
}

static char *state_text(const struct session *s, const struct train_state *state)
{
	cleanup(drop_json) json_t *root = session_training_json(s);
	json_t *run;

	run = json_pack("{s:I, s:I, s:f}", "step", (json_int_t)state->step, "stale",
			(json_int_t)state->stale, "epoch_loss", state->epoch_loss);
	if (json_object_set_new(root, "run", run))
		return NULL;
	if (state->has_best && json_object_set_new(root, "best", score_json(state)))
		return NULL;
	return json_dumps(root, JSON_COMPACT);
}

/* Those that there are: returns how many. */
static size_t list_blocks(const struct train_state *state,
			  struct checkpoint_block blocks[static MAX_BLOCKS])
{
	size_t n = 0;

	blocks[n++] = (struct checkpoint_block){.name = "weights", .values = state->weights};
	blocks[n++] = (struct checkpoint_block){.name = "m", .values = state->m};
	blocks[n++] = (struct checkpoint_block){.name = "v", .values = state->v, .squares = true};
	if (state->average)
		blocks[n++] =
			(struct checkpoint_block){.name = "average", .values = state->average};
	if (state->has_best)
		blocks[n++] = (struct checkpoint_block){.name = "best", .values = state->best};
	return n;
}

static int on_save(void *ctx, const struct train_state *state, struct error *e)
{
	struct session *s = ctx;
	struct checkpoint_block blocks[MAX_BLOCKS];
	uint64_t begun_ns = now_ns();
	char *text;
	int rc;

	if (!nmtrain_interrupted() && s->saved_ns &&
	    begun_ns - s->saved_ns < SAVE_SHARE * s->save_cost_ns)
		return 0;
	text = state_text(s, state);
	if (!text)
		return error_set(e, -ENOMEM,
				 "no memory for a checkpoint, or a score that is no number");
	rc = checkpoint_write(s->checkpoint_path, s->layout, blocks, list_blocks(state, blocks),
			      text, e);
	free(text);
	s->saved_ns = now_ns();
	s->save_cost_ns = s->saved_ns - begun_ns;
	return rc;
}

static double real_of(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

/* The state that on_save wrote. */
static int restore(struct session *s, uint64_t total_steps, struct error *e)
{
	const json_t *run = json_object_get(s->resumed, "run");
	const json_t *best = json_object_get(s->resumed, "best");
	const json_t *at = json_object_get(run, "step");
	json_int_t step = json_integer_value(at);
	json_int_t stale = json_integer_value(json_object_get(run, "stale"));
	struct checkpoint_block blocks[MAX_BLOCKS];
	struct train_state *state = s->state;

	if (!json_is_integer(at))
		return error_set(e, -EINVAL, "%.120s: lacks its step", s->checkpoint_path);
	if (step < 0 || (uint64_t)step > total_steps || stale < 0 || stale > UINT32_MAX)
		return error_set(e, -EINVAL, "%.120s: step %lld of %llu cannot be",
				 s->checkpoint_path, (long long)step,
				 (unsigned long long)total_steps);
	state->step = (uint64_t)step;
	state->stale = (uint32_t)stale;
	state->epoch_loss = real_of(run, "epoch_loss");
	state->has_best = json_is_object(best);
	if (state->has_best) {
		state->best_score = (struct train_score){
			real_of(best, "score"), real_of(best, "loss"), real_of(best, "accuracy")};
		state->best_epoch = (uint32_t)real_of(best, "epoch");
		s->has_score = true;
		s->score = state->best_score.score;
	}
	return checkpoint_read(s->checkpoint, s->layout, blocks, list_blocks(state, blocks), e);
}

static int prepare_state(struct session *s, const struct train_config *config,
			 session_initialise_fn initialise, struct error *e)
{
	if (train_state_new(s->layout, config->average_decay > 0, &s->state))
		return error_set(e, -ENOMEM, "no memory for %zu values", s->layout->n_values);
	if (s->resumed)
		return restore(s, config->total_steps, e);
	return initialise(s, s->state->weights, e);
}

int session_run(struct session *s, const struct train_task *task, const struct train_config *config,
		session_initialise_fn initialise, struct error *e)
{
	const struct train_hooks hooks = {.ctx = s, .on_step = on_step, .on_save = on_save};
	int rc;

	s->layout = task->layout;
	rc = prepare_state(s, config, initialise, e);
	if (rc)
		return rc;
	nmtrain_catch_signals();
	progress_init(&s->progress, s->t->log, (double)s->state->step / (double)config->total_steps,
		      now_ns());
	rc = train_run(task, config, s->state, &hooks, e);
	progress_end(&s->progress);
	if (rc || !nmtrain_interrupted() || s->state->step == config->total_steps)
		return rc;
	return error_set(e, -EINTR, "interrupted; --resume goes on from %.140s",
			 s->checkpoint_path);
}

void session_remove_checkpoint(const struct session *s)
{
	unlink(s->checkpoint_path);
}
