/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the captures of a data set lie, and what is known of them, as given on the command line:
 * --labels, --class and --source belong to the --captures that follows them.
 */
#pragma once
#include "agent/nmtrain/dataset_build.h"
#include "agent/nmtrain/nmtrain.h"

struct dataset_source_rule {
	char *pattern; /* of the file's name (fnmatch), or NULL: any */
	const char *name;
};

struct dataset_input {
	const char *path; /* a folder, or one capture */
	const char *labels_path;
	struct labels_file *labels;
	const char *class_name;
	struct dataset_port_class ports[OPTIONS_MAX];
	size_t n_ports;
	struct dataset_source_rule sources[OPTIONS_MAX];
	size_t n_sources;
};

struct dataset_input_options {
	struct option_list captures, labels, classes, sources;
};

/* Inputs in the order of the command line, their tables of labels read. argv as it was given: an
 * option's place is found by where its text lies. -EINVAL: a mistake of usage. */
int dataset_inputs_new(const struct dataset_input_options *options, int argc, char *const *argv,
		       struct dataset_input **ret_inputs, size_t *ret_n, struct error *e);
void dataset_inputs_free(struct dataset_input *inputs, size_t n); /* accepts NULL */

/*
 * Every capture of the input in the order of names: of a folder, what lies in it and below with the
 * ending .pcap, .pcapng or .cap. The source is what --source says, else the folder below the input
 * in which it lies, else the input's own name. A nonzero return of on_capture ends the walk.
 * ret_others counts files of other endings.
 */
typedef int (*dataset_capture_fn)(void *ctx, const char *path, const struct dataset_origin *origin);
int dataset_input_walk(const struct dataset_input *input, dataset_capture_fn on_capture, void *ctx,
		       uint64_t *ret_others, struct error *e);
