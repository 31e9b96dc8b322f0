/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of `nmtrain dataset`. */
#pragma once
#include "agent/nmtrain/nmtrain.h"

int cmd_dataset_show(struct nmtrain *t, int argc, char **argv);
int cmd_dataset_dump(struct nmtrain *t, int argc, char **argv);

/* Reads the set, and so checks it, and prints what is in it. format: "text" (NULL too) or "json".
 * An exit status. */
int dataset_show(struct nmtrain *t, const char *path, const char *format);
