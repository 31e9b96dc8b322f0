/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A data set as plain arrays, for comparisons with other learners: a safetensors file of
 *
 *	bytes (N, P, H + Y) u8, debiased in full;  sizes (N, S) f32, IP lengths, negative against
 *the first packet's direction, 0 beyond the last;  times (N, S) f32, seconds since the packet
 *	before;  n_packets (N) i64, of sizes and times;  class, fold, capture, source, piece (N) i64
 *
 * and in the metadata "classes" and "sources", JSON lists of names; class -1 is none.
 */
#pragma once
#include "agent/nmtrain/dataset.h"

/* shape: as wide as the set's at the most, else -EINVAL. */
int dataset_dump(const struct dataset *set, const struct sample_shape *shape, const char *path,
		 struct error *e);
