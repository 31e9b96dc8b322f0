/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Captures to a data set, through the same reader, parser and assembler as the agent's, so that
 * samples are what it sees. Single threaded.
 *
 * Folds: captures that have a flow in common form a group. A group that holds more than half of a
 * class is cut by time into as many pieces as there are folds; all others are one piece. Pieces are
 * dealt to folds so that each class is spread as evenly as can be, classes with the fewest pieces
 * first. The same captures, options and seed give the same folds.
 */
#pragma once
#include <stdbool.h>
#include "agent/flow/labels_file.h"
#include "agent/nmtrain/dataset.h"

struct dataset_config {
	struct sample_shape shape;
	uint32_t n_folds; /* 1 .. DATASET_MAX_FOLDS */
	uint64_t seed;
	uint32_t min_packets;   /* flows of fewer are left out */
	uint32_t max_per_class; /* 0: all; beyond it, as few from one capture as can be */
	bool labelled_only;     /* leave out flows without a class */
};

/* Flows to or from a port of UDP or TCP. */
struct dataset_port_class {
	uint8_t proto;
	uint16_t port;
	const char *class_name;
};

/* What is known of a capture. A flow's class is its row's in labels, else its port's, else
 * class_name; without any it has none. */
struct dataset_origin {
	const char *source;
	const struct labels_file *labels; /* or NULL */
	const char *class_name;           /* or NULL */
	const struct dataset_port_class *ports;
	size_t n_ports;
};

struct dataset_counts {
	uint64_t captures, copies,
		broken;          /* broken ones are among the captures when they gave flows */
	uint64_t packets, flows; /* seen */
	uint64_t labelled;       /* flows that got a class */
	uint64_t short_flows, unlabelled, over_limit; /* left out */
	uint32_t groups, cut_captures;
};

struct dataset_builder;

/* -EINVAL for a configuration that cannot be, -ENOMEM. */
int dataset_builder_new(const struct dataset_config *config, struct dataset_builder **ret_builder,
			struct error *e);
void dataset_builder_free(struct dataset_builder *b); /* accepts NULL */

/*
 * Adds a capture's flows. -EEXIST: the same content was added before under the name that e tells,
 * nothing is added. -EBADMSG: the capture is broken where e says; what was readable is added. Any
 * other status ends the building.
 */
int dataset_builder_add(struct dataset_builder *b, const char *path,
			const struct dataset_origin *origin, struct error *e);

const struct dataset_counts *dataset_builder_counts(const struct dataset_builder *b);

/* Cuts, deals folds and hands the set out; the builder can then only be freed. ret_counts may be
 * NULL. -ENODATA when no flow is left. */
int dataset_builder_finish(struct dataset_builder *b, struct dataset **ret_set,
			   struct dataset_counts *ret_counts, struct error *e);
/* JSON; before the set is written. */
int dataset_set_provenance(struct dataset *set, const char *json, struct error *e);

/* dataset_folds.c: fills piece and fold of every flow; order is the builder's. -ENOMEM. */
int dataset_deal_folds(struct dataset *set, uint64_t seed, struct dataset_counts *counts);

/* dataset_limit.c: -ENOMEM. Adds to dropped. */
int dataset_limit_classes(struct dataset *set, uint32_t max, uint64_t seed, uint64_t *dropped);

/* dataset_check.c: what dataset_read promises of folds. */
int dataset_check_folds(const struct dataset *set, const char *path, struct error *e);

/* A flow's own mark: its first packet's time and debiased bytes. Equal for the same flow in two
 * captures, also when addresses were rewritten in one of them. */
struct dataset_mark {
	uint8_t bytes[16];
};
void dataset_flow_mark(const struct dataset_flow *f, struct dataset_mark *ret_mark);
