/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The whole state of a training run in one file: named blocks of floats in a layout's order, and a
 * JSON text of all that is small (step, epoch, settings, scores, the data set's sha256), whose
 * content is the caller's. It is a safetensors file, one tensor a block, and it is replaced in one
 * step: a run that dies at any moment leaves the last whole checkpoint.
 *
 * Refused, with the reason and before anything of the caller's is written: what is cut or damaged,
 * what belongs to another layout, and values that no run can go on from (not finite, or a negative
 * second moment).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "model/error.h"
#include "model/layout.h"

#define CHECKPOINT_MAX_BLOCKS 16
#define CHECKPOINT_MAX_STATE  (64 << 10) /* bytes of JSON */

struct checkpoint_block {
	const char *name;    /* "weights", "m", "v", "best" */
	float *values;       /* layout->n_values of the caller's; only read by checkpoint_write */
	bool squares;        /* second moments: none is negative */
	bool may_be_missing; /* for checkpoint_read */
	bool present;        /* set by checkpoint_read */
};

/* Blocks without values (NULL) are left out. state: a JSON object as text. */
int checkpoint_write(const char *path, const struct layout *layout,
		     const struct checkpoint_block *blocks, size_t n_blocks, const char *state,
		     struct error *e);

/* In two steps, because the layout follows from the settings that lie in the state. */
struct checkpoint;
int checkpoint_open(const char *path, struct checkpoint **ret_checkpoint, struct error *e);
void checkpoint_close(struct checkpoint *c); /* accepts NULL */
/* A JSON object; lives as long as c. */
const char *checkpoint_state(const struct checkpoint *c);
/* Fills values of the blocks asked for; the file may have more. */
int checkpoint_read(const struct checkpoint *c, const struct layout *layout,
		    struct checkpoint_block *blocks, size_t n_blocks, struct error *e);
