/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What pre-training and fine-tuning have in common as commands: options, settings, data, the loop
 * with its progress, and the checkpoint.
 *
 * The checkpoint lies beside the output and is written after an epoch, unless that would cost more
 * than a twentieth of the time; and when the run is interrupted. It holds settings, data and state,
 * so that --resume with the same data ends in the same weights as a run that never stopped. It is
 * removed once the output is written.
 */
#pragma once
#include <jansson.h>
#include "agent/nmtrain/dataset.h"
#include "agent/nmtrain/nmtrain.h"
#include "agent/nmtrain/progress.h"
#include "agent/nmtrain/settings.h"
#include "agent/nmtrain/train_data.h"
#include "model/checkpoint.h"
#include "model/train.h"

struct session_options {
	const char *data, *settings, *output, *checkpoint, *fold, *validation, *from;
	struct option_list set;
	struct option_number seed, threads;
	bool resume, help_settings, print_settings;
};

struct session {
	struct nmtrain *t;
	struct session_options options;
	struct train_settings settings; /* threads resolved */
	struct dataset *set;
	struct train_split split;
	struct train_data *data;
	char *checkpoint_path;
	struct checkpoint *checkpoint; /* with --resume */
	json_t *resumed;               /* its state */
	char from_sha256[65];          /* of --from, "" without */
	bool labelled;                 /* fine-tuning: told by epochs, with its score */
	struct train_state *state;     /* after session_run */
	const struct layout *layout;   /* the task's, from session_run on */
	double loss;                   /* mean of about the last 50 batches */
	/* private */
	bool has_score, has_loss;
	double score;
	struct progress progress;
	uint64_t saved_ns, save_cost_ns;
};

/*
 * Options, settings (defaults, architecture and tokens of --from, --settings, --set), data. True:
 * go on. False: return *ret_status from the command. Either way session_fini.
 */
bool session_begin(struct session *s, struct nmtrain *t, int argc, char **argv, bool labelled,
		   int *ret_status);
void session_fini(struct session *s);

/* The weights that a run begins with, in s->layout. */
typedef int (*session_initialise_fn)(const struct session *s, float *weights, struct error *e);

/*
 * Runs task from the checkpoint's state, or from what initialise writes into weights. 0, with
 * s->state: the run is done. -EINTR: interrupted, and saved.
 */
int session_run(struct session *s, const struct train_task *task, const struct train_config *config,
		session_initialise_fn initialise, struct error *e);

/* What a model file keeps under `training`; without times, so that equal runs give equal files.
 * New reference, NULL when memory is short. */
json_t *session_training_json(const struct session *s);
/* The output is written: the checkpoint has done its work. */
void session_remove_checkpoint(const struct session *s);

static inline void drop_json(json_t **json)
{
	json_decref(*json);
}
