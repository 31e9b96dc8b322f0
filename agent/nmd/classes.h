/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Class names and the ids that the kernel knows them by. Ids are given out in order of first use
 * and live in the pinned map class_names, so that neither a restart nor a new model reads an old
 * verdict as another class. A model's classes and the classes that the stored policy names are
 * registered; a class that the present model lacks keeps its id, and its rules get a note.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "agent/nmd/kernel.h"
#include "model/model_file.h"

struct classes {
	uint32_t n; /* ids in use: 0 .. n-1; 0 is "unknown" */
	char name[MAX_CLASSES][CLASS_NAME_LEN];
	bool in_model[MAX_CLASSES];
	bool watch_only[MAX_CLASSES];
	float threshold[MAX_CLASSES];
};

/* Reads the pinned names. */
int classes_load(struct classes *c, struct kernel *k, struct error *e);
/* The id of a name, registered now if it is new. -ENOSPC when all ids are given out. */
int classes_register(struct classes *c, struct kernel *k, const char *name, struct error *e);
/* Registers the model's classes and takes over what it says about them; changes nothing on error.
 */
int classes_adopt_model(struct classes *c, struct kernel *k, const struct model *m,
			struct error *e);
/* -1 when no class has that name. */
int classes_find(const struct classes *c, const char *name);
