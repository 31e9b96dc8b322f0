/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pin directory: a bpffs at <pin_dir> with maps/ and links/ in it, mounted when nothing of the
 * kind is there. A mount of ours carries its name as source, so that only it is unmounted again.
 */
#pragma once
#include "model/error.h"

/* The directory on a bpffs, with maps/ in it; parents are made with mode 0700. */
int pins_prepare(const char *pin_dir, struct error *e);
/* Removes all pins of maps; links must be gone. */
int pins_remove_maps(const char *pin_dir, struct error *e);
/* maps/, links/, the mount if ours, the directory. Nothing there is no error. */
int pins_remove(const char *pin_dir, struct error *e);
/* 0 also when it is there. */
int pins_make_dir(const char *path);
