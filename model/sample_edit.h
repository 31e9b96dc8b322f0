/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Edits of flow samples: what augmentation does to a flow, and the way from the wide samples of a
 * data set to a model's shape. In place, on a copy of the caller's (sample_copy). Samples come from
 * files and their bytes from the network: no count, slot or header length is trusted.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "model/error.h"
#include "model/flow_sample.h"
#include "model/rng.h"

/* -EINVAL when the shapes differ. */
int sample_copy(struct flow_sample *to, const struct flow_sample *from);

/*
 * The sample that the assembler would have made in to's shape; of one direction, as far as its
 * packets are among the wide sample's. -EINVAL when to's shape is wider anywhere, and then to is
 * untouched.
 */
int sample_narrow(struct flow_sample *to, const struct flow_sample *wide);

/* That all are of one shape and can be narrowed to this one: -EINVAL tells which cannot. */
int samples_check(const struct flow_sample *const *sample, uint32_t n,
		  const struct sample_shape *narrow, struct error *e);

/* Keeps the first n packets. */
void sample_cut(struct flow_sample *s, uint16_t n);
/* Drops the first n, of which one always stays; directions are told anew from what is first now. */
void sample_drop_first(struct flow_sample *s, uint16_t n);
/* Drops the packets of one direction, unless there are no others. */
void sample_drop_direction(struct flow_sample *s, bool against);

/* Times since the first packet, factor-fold; factor > 0. */
void sample_scale_times(struct flow_sample *s, double factor);
/* Each gap e^(deviation * normal)-fold. Time that ran backward stands still. */
void sample_jitter_times(struct flow_sample *s, double deviation, struct rng *rng);

/*
 * As if other TCP/IP stacks had sent the same: for each of the two hosts another TTL, DSCP, TCP
 * window, window scale and MSS, and in SYN packets another order of options of the same length.
 * Payload and lengths stay. Checksums are not mended: no network can tell right from wrong ones.
 */
void sample_randomise_stack(struct flow_sample *s, struct rng *rng);
