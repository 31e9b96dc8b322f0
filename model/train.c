/* SPDX-License-Identifier: BSD-2-Clause */
/* See train.h. */
#include "model/train.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "model/rng.h"
#include "model/train_workers.h"

struct run {
	const struct train_task *task;
	const struct train_config *config;
	struct train_state *state;
	const struct train_hooks *hooks;
	struct train_workers *workers;
	uint32_t *order; /* of the epoch's samples */
	uint32_t order_epoch;
	uint32_t steps_per_epoch;
	uint64_t n_samples;
};

int train_state_new(const struct layout *layout, bool averaged, struct train_state **ret_state)
{
	struct train_state *s = calloc(1, sizeof(*s));
	size_t n = layout->n_values;

	if (!s)
		return -ENOMEM;
	s->weights = calloc(n, sizeof(float));
	s->m = calloc(n, sizeof(float));
	s->v = calloc(n, sizeof(float));
	s->best = calloc(n, sizeof(float));
	s->average = averaged ? calloc(n, sizeof(float)) : NULL;
	if (!s->weights || !s->m || !s->v || !s->best || (averaged && !s->average)) {
		train_state_free(s);
		return -ENOMEM;
	}
	*ret_state = s;
	return 0;
}

void train_state_free(struct train_state *s)
{
	if (!s)
		return;
	free(s->weights);
	free(s->m);
	free(s->v);
	free(s->best);
	free(s->average);
	free(s);
}

static const float *kept_weights(const struct train_state *s)
{
	return s->average ? s->average : s->weights;
}

const float *train_result(const struct train_state *s)
{
	return s->has_best ? s->best : kept_weights(s);
}

uint32_t train_steps_per_epoch(const struct train_config *config, uint32_t n_samples)
{
	return (n_samples + config->batch - 1) / config->batch;
}

/* The order of an epoch: Fisher and Yates' shuffle, of (seed, epoch) only. */
static void shuffle(struct run *run, uint32_t epoch)
{
	struct rng rng = rng_stream(run->config->seed, epoch, UINT64_MAX);
	uint32_t n = run->task->n_samples;

	for (uint32_t i = 0; i < n; i++)
		run->order[i] = i;
	for (uint32_t i = n - 1; i > 0; i--) {
		uint32_t j = (uint32_t)rng_below(&rng, i + 1), swapped = run->order[i];

		run->order[i] = run->order[j];
		run->order[j] = swapped;
	}
	run->order_epoch = epoch;
}

/* Early averages are of few values: the decay grows into its place, as in TensorFlow's
 * ExponentialMovingAverage. */
static void average(struct train_state *s, double decay, size_t n)
{
	double grown = (1.0 + (double)s->step) / (10.0 + (double)s->step);
	float keep = (float)(grown < decay ? grown : decay);

	for (size_t i = 0; i < n; i++)
		s->average[i] = keep * s->average[i] + (1.0F - keep) * s->weights[i];
}

static int step(struct run *run, struct train_report *report, struct error *e)
{
	const struct train_config *c = run->config;
	struct train_state *s = run->state;
	uint32_t place = (uint32_t)(s->step % run->steps_per_epoch) * c->batch;
	uint32_t left = run->task->n_samples - place;
	struct train_batch batch = {
		.seed = c->seed,
		.step = s->step,
		.epoch = (uint32_t)(s->step / run->steps_per_epoch),
		.index = run->order + place,
		.n = left < c->batch ? left : c->batch,
	};
	size_t n_values = run->task->layout->n_values;
	float *gradient;

	if (run->order_epoch != batch.epoch)
		shuffle(run, batch.epoch);
	batch.denominator = run->task->begin(run->task->ctx, &batch);
	gradient = train_workers_gradient(run->workers, &batch, s->weights, &report->loss);
	report->gradient_norm = gradient_clip(gradient, n_values, c->clip_norm);
	if (!isfinite(report->loss) || !isfinite(report->gradient_norm))
		return error_set(e, -ERANGE,
				 "step %llu: the loss (%g) or its gradient (%g) is not finite; a "
				 "lower learning rate or a clip_norm would help",
				 (unsigned long long)s->step, report->loss, report->gradient_norm);
	report->learning_rate =
		schedule_rate(&c->schedule, (double)(s->step + 1) / (double)run->steps_per_epoch);
	adamw_step(&c->adamw, run->task->layout, report->learning_rate, s->step + 1, s->weights,
		   s->m, s->v, gradient);
	s->step++;
	if (s->average)
		average(s, c->average_decay, n_values);
	s->epoch_loss += report->loss;
	run->n_samples += batch.n;
	return 0;
}

/* Asks for the score of the weights as they are, and keeps the best. */
static void validate(struct run *run, struct train_report *report)
{
	struct train_state *s = run->state;

	train_workers_validate(run->workers, kept_weights(s));
	report->score = run->task->score(run->task->ctx);
	report->validated = true;
	report->best = !s->has_best || report->score.score > s->best_score.score;
	s->stale = report->best ? 0 : s->stale + 1;
	if (!report->best)
		return;
	memcpy(s->best, kept_weights(s), run->task->layout->n_values * sizeof(float));
	s->has_best = true;
	s->best_score = report->score;
	s->best_epoch = report->epoch;
}

static void end_epoch(struct run *run, struct train_report *report)
{
	const struct train_config *c = run->config;
	struct train_state *s = run->state;
	bool last = s->step >= c->total_steps;

	report->epoch_end = true;
	/* the last epoch may be a part of one */
	report->loss = s->epoch_loss / (double)((s->step - 1) % run->steps_per_epoch + 1);
	s->epoch_loss = 0;
	if (run->task->n_validation > 0 &&
	    (last || (report->epoch + 1) % (c->validate_every ? c->validate_every : 1) == 0))
		validate(run, report);
}

static bool out_of_patience(const struct run *run)
{
	return run->config->patience > 0 && run->state->stale >= run->config->patience;
}

static int run_steps(struct run *run, struct error *e)
{
	const struct train_config *c = run->config;
	struct train_state *s = run->state;
	int r = 0, stop = 0;

	while (!stop && s->step < c->total_steps && !out_of_patience(run)) {
		struct train_report report = {
			.step = s->step + 1,
			.total_steps = c->total_steps,
			.epoch = (uint32_t)(s->step / run->steps_per_epoch),
			.n_epochs = (uint32_t)((c->total_steps + run->steps_per_epoch - 1) /
					       run->steps_per_epoch),
		};

		r = step(run, &report, e);
		if (r)
			return r;
		report.n_samples = run->n_samples;
		if (s->step % run->steps_per_epoch == 0 || s->step == c->total_steps)
			end_epoch(run, &report);
		stop = run->hooks->on_step(run->hooks->ctx, &report);
		if (stop || report.epoch_end)
			r = run->hooks->on_save(run->hooks->ctx, s, e);
		if (r)
			return r;
	}
	return 0;
}

int train_run(const struct train_task *task, const struct train_config *config,
	      struct train_state *state, const struct train_hooks *hooks, struct error *e)
{
	struct run run = {.task = task,
			  .config = config,
			  .state = state,
			  .hooks = hooks,
			  .order_epoch = UINT32_MAX,
			  .steps_per_epoch = train_steps_per_epoch(config, task->n_samples)};
	int r = -ENOMEM;

	if (task->n_samples == 0)
		return error_set(e, -EINVAL, "no samples to train on");
	run.order = malloc(task->n_samples * sizeof(*run.order));
	if (run.order)
		r = train_workers_new(task, config->threads, &run.workers);
	if (r)
		error_set(e, r, "no memory or threads to train with: %u threads, %zu values each",
			  config->threads, task->layout->n_values);
	else
		r = run_steps(&run, e);
	train_workers_free(run.workers);
	free(run.order);
	return r;
}
