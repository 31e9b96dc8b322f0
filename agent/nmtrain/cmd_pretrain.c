/* SPDX-License-Identifier: BSD-2-Clause */
/* `nmtrain pretrain`: flows without labels to an encoder that fine-tuning begins with. */
#include "agent/nmtrain/nmtrain.h"
#include "agent/nmtrain/pretrained.h"
#include "agent/nmtrain/session.h"
#include "model/initialise.h"
#include "model/pretrain.h"

static void free_pretrain(struct pretrain **p)
{
	pretrain_free(*p);
}

static int new_task(const struct session *s, struct pretrain **ret_pretrain, struct error *e)
{
	const struct train_settings *settings = &s->settings;
	const struct pretrain_settings *pretrain = &settings->pretrain;
	const struct pretrain_config config = {
		.architecture = settings->architecture,
		.tokens = settings->tokens,
		.decoder = {pretrain->decoder_dim, pretrain->decoder_depth},
		.byte_mask = pretrain->byte_mask,
		.size_mask = pretrain->size_mask,
		.iat_mask = pretrain->iat_mask,
		.augment = settings->augment,
		.sample = s->data->train.sample,
		.n_samples = s->data->train.n,
	};

	return pretrain_new(&config, ret_pretrain, e);
}

/* The optimiser is fine-tuning's, but for what [pretrain] says, and all layers learn alike. */
static struct train_config loop_config(const struct session *s)
{
	const struct pretrain_settings *pretrain = &s->settings.pretrain;
	const struct optimiser_settings *optimiser = &s->settings.optimiser;
	struct train_config config = {
		.seed = s->settings.run.seed,
		.threads = s->settings.run.threads,
		.batch = pretrain->batch,
		.total_steps = pretrain->steps,
		.adamw = optimiser->adamw,
		.clip_norm = optimiser->clip_norm,
	};
	double steps_per_epoch = train_steps_per_epoch(&config, s->data->train.n);

	config.adamw.beta2 = pretrain->beta2;
	config.adamw.layer_decay = 1;
	config.schedule = (struct schedule){
		.peak = pretrain->learning_rate * pretrain->batch / 256,
		.minimum = optimiser->min_learning_rate,
		.warm_up = pretrain->warmup_steps / steps_per_epoch,
		.total = pretrain->steps / steps_per_epoch,
	};
	return config;
}

static int first_weights(const struct session *s, float *weights, struct error *e)
{
	struct rng rng = rng_stream(s->settings.run.seed, UINT64_MAX, 0);

	(void)e;
	initialise(s->layout, weights, &rng);
	return 0;
}

static int write_encoder(const struct session *s, const struct layout *layout, struct error *e)
{
	cleanup(drop_json) json_t *training = session_training_json(s);

	return pretrained_write(s->options.output, &s->settings, training, layout,
				train_result(s->state), e);
}

static int pretrain(struct session *s)
{
	struct error *e = &s->t->error;
	cleanup(free_pretrain) struct pretrain *p = NULL;
	struct train_config config = loop_config(s);
	const struct layout *layout;
	struct train_task task;
	int rc = new_task(s, &p, e);

	if (rc)
		return nmtrain_result(s->t, rc);
	layout = pretrain_layout(p);
	task = pretrain_task(p);
	fprintf(s->t->log, "%u flows of the training folds\n%s, %zu parameters, %u threads\n",
		s->data->train.n, s->settings.architecture.backbone, layout->n_values,
		config.threads);
	rc = session_run(s, &task, &config, first_weights, e);
	if (!rc)
		rc = write_encoder(s, layout, e);
	if (rc)
		return nmtrain_result(s->t, rc);
	session_remove_checkpoint(s);
	fprintf(s->t->out, "%s: %llu steps over %u flows, loss %.4f\n", s->options.output,
		(unsigned long long)config.total_steps, s->data->train.n, s->loss);
	return STATUS_DONE;
}

int cmd_pretrain(struct nmtrain *t, int argc, char **argv)
{
	cleanup(session_fini) struct session s;
	int status = STATUS_DONE;

	if (session_begin(&s, t, argc, argv, false, &status))
		status = pretrain(&s);
	return status;
}
