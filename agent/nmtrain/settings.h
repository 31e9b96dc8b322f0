/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Everything that describes a training run, so that the same settings, data and seed give the same
 * model. One table (settings.c) holds each key's section, type, range, default and help, and drives
 * reading, printing and JSON.
 *
 * Sources, the later one wins: defaults, a file (INI: `key = value` under [section]), the command
 * line (`section.key=value`). The JSON is what a model file keeps under `training.settings`, and
 * what a resumed run is held against. No memory is owned: the struct may be copied.
 */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "model/adamw.h"
#include "model/augment.h"
#include "model/error.h"
#include "model/loss.h"
#include "model/model_file.h"

struct optimiser_settings {
	double learning_rate; /* for a batch of 256; scaled by batch / 256 */
	double min_learning_rate;
	struct adamw_config adamw;
	double clip_norm; /* 0 = none */
	double drop_path; /* of the last block; rises with depth */
};

struct schedule_settings {
	uint32_t epochs, warmup_epochs, batch;
};

struct pretrain_settings {
	double byte_mask, size_mask, iat_mask; /* shares of the tokens */
	uint32_t decoder_dim, decoder_depth;
	uint32_t steps, warmup_steps, batch;
	double learning_rate; /* for a batch of 256; scaled by batch / 256 */
	double beta2;
};

struct run_settings {
	uint64_t seed;
	uint32_t threads;
	uint32_t max_flows_per_class; /* 0 = all */
	uint32_t min_packets;         /* flows with fewer do not train */
	uint32_t validate_every;      /* epochs */
	uint32_t patience;            /* epochs without a better validation; 0 = to the end */
	double average_weights;       /* decay of the moving average that is kept; 0 = none */
	uint32_t n_leave_out;
	char leave_out[MODEL_MAX_CLASSES][MODEL_CLASS_NAME];
};

struct train_settings {
	struct architecture architecture; /* dt_rank set by settings_check */
	struct token_config tokens;
	struct loss_config loss;
	struct optimiser_settings optimiser;
	struct schedule_settings schedule;
	struct augment_config augment;
	struct pretrain_settings pretrain;
	struct run_settings run; /* [train] */
};

/* Defaults: the paper's, on the network that nano.conf describes. */
void settings_init(struct train_settings *s);
/* Errors: FILE:LINE, what is wrong, what would be right. */
int settings_read_file(struct train_settings *s, const char *path, struct error *e);
/* "section.key=value" */
int settings_set_word(struct train_settings *s, const char *word, struct error *e);
/* Once all sources are read: what no single key can tell, and what follows from others. */
int settings_check(struct train_settings *s, struct error *e);

/* A file that reads back to the same settings. */
void settings_print(FILE *out, const struct train_settings *s);
/* Each key with its help, range and default. */
void settings_print_help(FILE *out);

/* {"section": {"key": value}}: new reference, NULL when memory is short. */
json_t *settings_to_json(const struct train_settings *s);
/* The same back, checked like a file; keys that are absent keep what s holds. */
int settings_from_json(struct train_settings *s, const json_t *json, struct error *e);
/* "section.key" of the first one in which they differ, written to key; NULL when there is none. */
const char *settings_difference(const struct train_settings *a, const struct train_settings *b,
				char *key, size_t size);
