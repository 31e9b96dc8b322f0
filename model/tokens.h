/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A flow sample to the network's inputs.
 *
 * Bytes: row i is the sample's i-th packet in time, header bytes then payload bytes, debiased; a
 * packet that is missing, or whose bytes were not recorded, is all zero.
 * Sizes: IP length. uni: clipped to [0, 1500], padding 1500. bi: the length in the first packet's
 * direction, minus the length against it, plus 1500, clipped to [0, 3000], padding 3000.
 * Times: seconds since the packet before, 0 for the first and where time runs backward;
 * t -> 1 / (1 + 1 / (1 + t)), padding 1; or with iat_log 100 log10(1 + t / 1 us), padding 1000.
 * Tokens: all, or with `packed` those of packets that are there and of bytes that were recorded.
 */
#pragma once
#include <stdint.h>
#include "model/flow_sample.h"
#include "model/model_file.h"

/* bytes (P, H + Y), sizes (S), iats (S). */
void tokens_bytes(uint8_t *bytes, const struct token_config *tokens,
		  const struct flow_sample *sample);
void tokens_sizes(float *sizes, const struct flow_sample *sample);
void tokens_iats(float *iats, const struct token_config *tokens, const struct flow_sample *sample);
