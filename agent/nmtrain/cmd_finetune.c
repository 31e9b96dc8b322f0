/* SPDX-License-Identifier: BSD-2-Clause */
/* `nmtrain finetune`: labelled flows to a classifier. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmtrain/nmtrain.h"
#include "agent/nmtrain/pretrained.h"
#include "agent/nmtrain/session.h"
#include "model/finetune.h"
#include "model/initialise.h"
#include "model/model_write.h"

static void free_finetune(struct finetune **f)
{
	finetune_free(*f);
}

static struct labelled_samples samples_of(const struct train_list *list)
{
	return (struct labelled_samples){list->sample, list->label, list->n};
}

static int new_task(const struct session *s, struct finetune **ret_finetune, struct error *e)
{
	const struct train_settings *settings = &s->settings;
	const struct finetune_config config = {
		.architecture = settings->architecture,
		.tokens = settings->tokens,
		.n_classes = s->data->n_classes,
		.loss = settings->loss,
		.augment = settings->augment,
		.drop_path = (float)settings->optimiser.drop_path,
		.train = samples_of(&s->data->train),
		.validation = samples_of(&s->data->validation),
	};

	return finetune_new(&config, ret_finetune, e);
}

static struct train_config loop_config(const struct session *s)
{
	const struct train_settings *settings = &s->settings;
	const struct schedule_settings *schedule = &settings->schedule;
	const struct optimiser_settings *optimiser = &settings->optimiser;
	struct train_config config = {
		.seed = settings->run.seed,
		.threads = settings->run.threads,
		.batch = schedule->batch,
		.schedule = {.peak = optimiser->learning_rate * schedule->batch / 256,
			     .minimum = optimiser->min_learning_rate,
			     .warm_up = schedule->warmup_epochs,
			     .total = schedule->epochs},
		.adamw = optimiser->adamw,
		.clip_norm = optimiser->clip_norm,
		.average_decay = settings->run.average_weights,
		.validate_every = settings->run.validate_every,
		.patience = settings->run.patience,
	};

	config.total_steps =
		(uint64_t)schedule->epochs * train_steps_per_epoch(&config, s->data->train.n);
	return config;
}

static int first_weights(const struct session *s, float *weights, struct error *e)
{
	struct rng rng = rng_stream(s->settings.run.seed, UINT64_MAX, 0);
	int rc;

	initialise(s->layout, weights, &rng);
	if (!s->options.from)
		return 0;
	rc = pretrained_load(s->options.from, &s->settings, s->layout, weights, e);
	if (!rc)
		initialise_head(s->layout, weights, &rng);
	return rc;
}

static json_t *figures_json(const struct train_state *state)
{
	const struct train_score *best = &state->best_score;

	if (!state->has_best)
		return json_object();
	return json_pack("{s:{s:f, s:f, s:f, s:i}}", "validation", "macro_f1", best->score,
			 "accuracy", best->accuracy, "loss", best->loss, "epoch",
			 (int)state->best_epoch + 1);
}

static int write_model(const struct session *s, const struct layout *layout, struct error *e)
{
	cleanup(drop_json) json_t *training = session_training_json(s);
	cleanup(drop_json) json_t *figures = figures_json(s->state);
	struct model *m = calloc(1, sizeof(*m));
	int rc = -ENOMEM;

	if (m && training && figures) {
		m->architecture = s->settings.architecture;
		m->tokens = s->settings.tokens;
		m->n_classes = s->data->n_classes;
		memcpy(m->class_name, s->data->class_name, sizeof(m->class_name));
		model_default_calibration(&m->calibration);
		m->training_json = json_dumps(training, JSON_COMPACT);
		m->figures_json = json_dumps(figures, JSON_COMPACT);
	}
	if (m && m->training_json && m->figures_json)
		rc = model_write(s->options.output, m, layout, train_result(s->state), e);
	else
		error_set(e, rc, "no memory to write the model");
	if (m) {
		free(m->training_json);
		free(m->figures_json);
	}
	free(m);
	return rc;
}

static void tell_unused(FILE *log, const struct train_data *d)
{
	const struct {
		uint32_t n;
		const char *why;
	} list[] = {
		{d->n_unlabelled, "without a class"},
		{d->n_left_out, "of classes left out"},
		{d->n_short, "shorter than min_packets"},
		{d->n_over_limit, "over max_flows_per_class"},
		{d->n_strange, "of the validation fold without a trained class"},
	};
	const char *separator = "not used: ";

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		if (!list[i].n)
			continue;
		fprintf(log, "%s%u %s", separator, list[i].n, list[i].why);
		separator = ", ";
	}
	fputs(*separator == ',' ? "\n" : "", log);
}

static void announce(const struct session *s, const struct layout *layout)
{
	const struct train_data *d = s->data;
	FILE *log = s->t->log;

	fprintf(log, "%u flows of %u classes train, %u validate", d->train.n, d->n_classes,
		d->validation.n);
	if (s->split.test >= 0)
		fprintf(log, "; fold %d stays unseen", s->split.test);
	fprintf(log, "\n%s, %zu parameters, %u threads\n", s->settings.architecture.backbone,
		layout->n_values, s->settings.run.threads);
	tell_unused(log, d);
}

static void report(const struct session *s)
{
	const struct train_state *state = s->state;

	fprintf(s->t->out, "%s:", s->options.output);
	if (state->has_best)
		fprintf(s->t->out, " macro-F1 %.4f, accuracy %.4f on %u validation flows, epoch %u",
			state->best_score.score, state->best_score.accuracy, s->data->validation.n,
			state->best_epoch + 1);
	else
		fprintf(s->t->out, " not validated");
	fputc('\n', s->t->out);
}

static int finetune(struct session *s)
{
	struct error *e = &s->t->error;
	cleanup(free_finetune) struct finetune *f = NULL;
	struct train_config config = loop_config(s);
	const struct layout *layout;
	struct train_task task;
	int rc = new_task(s, &f, e);

	if (rc)
		return nmtrain_result(s->t, rc);
	layout = finetune_layout(f);
	task = finetune_task(f);
	announce(s, layout);
	rc = session_run(s, &task, &config, first_weights, e);
	if (!rc)
		rc = write_model(s, layout, e);
	if (rc)
		return nmtrain_result(s->t, rc);
	session_remove_checkpoint(s);
	report(s);
	return STATUS_DONE;
}

int cmd_finetune(struct nmtrain *t, int argc, char **argv)
{
	cleanup(session_fini) struct session s;
	int status = STATUS_DONE;

	if (session_begin(&s, t, argc, argv, true, &status))
		status = finetune(&s);
	return status;
}
