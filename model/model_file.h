/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The model file: a safetensors file with the official state-dict names and one JSON object in
 * __metadata__ under the key "netmamba". Read, checked, refused with the reason.
 *
 * Ownership: struct model owns the file's bytes (a private copy, see safetensors.h) and all
 * strings; it is immutable after model_load and may be shared between threads by reference
 * (model_ref, model_unref). Every tensor that the architecture needs is checked for name, shape and
 * finite values before model_load returns 0; weights may be F32, F16, BF16, or I8 with a tensor
 * NAME.scale of one number a row (the first dimension), by which its values are multiplied on
 * loading. Tensors of other names are ignored, unless they are not finite.
 *
 * `format`, `architecture`, `tokens` and `classes` must be there. What may be absent, and what
 * holds then: packed, head_bias: false; byte_embedding "stride"; value_embedding "sinusoid";
 * iat_scale "ratio"; debias: nothing; calibration.temperature 1, .thresholds 0.5 each, .watch_only
 * none, .unknown: energy with a threshold that nothing exceeds; training and figures: NULL. d_state
 * and d_conv belong to the backbone "mamba", heads to "attention". A key of architecture or tokens
 * that is not known is refused, because what it asks for would not be done; unknown keys elsewhere
 * are ignored.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "model/error.h"
#include "model/flow_sample.h"

#define MODEL_MAX_CLASSES 127 /* class id 0 of the kernel is `unknown` */
#define MODEL_CLASS_NAME  32  /* with the NUL; [a-z0-9-] */

/* Bounds of what is loaded; together they bound an engine's memory (390 MB at the most). */
#define MODEL_MAX_EMBED_DIM     1024
#define MODEL_MAX_DEPTH         64
#define MODEL_MAX_STATE         256
#define MODEL_MAX_CONV          16
#define MODEL_MAX_EXPAND        4
#define MODEL_MAX_HEAD_DIM      256 /* embed_dim / heads */
#define MODEL_MAX_STRIDE        64
#define MODEL_MAX_PACKETS       64
#define MODEL_MAX_HEADER_BYTES  128 /* as RECORD_MAX_HEADER of maps/packet_record.h */
#define MODEL_MAX_PAYLOAD_BYTES 256 /* as RECORD_MAX_PAYLOAD */
#define MODEL_MAX_SEQ_LEN       256
#define MODEL_MAX_TOKENS        4096 /* length of the whole sequence */

enum debias_bit {
	DEBIAS_IP_ADDR = 1 << 0,
	DEBIAS_PORTS = 1 << 1,
	DEBIAS_IP_ID = 1 << 2,
	DEBIAS_TTL = 1 << 3,
	DEBIAS_CHECKSUMS = 1 << 4,
	DEBIAS_TCP_SEQ_ACK = 1 << 5,
	DEBIAS_TCP_TIMESTAMPS = 1 << 6,
	DEBIAS_TLS_SNI = 1 << 7,
};

enum ood_score { OOD_ENERGY, OOD_MAX_LOGIT, OOD_MAX_PROBABILITY, OOD_ENTROPY };

struct architecture {
	char backbone[16];  /* "mamba" or "attention" */
	uint32_t embed_dim; /* D */
	uint32_t depth;
	uint32_t d_state; /* N */
	uint32_t d_conv;
	uint32_t expand;  /* E = expand * D */
	uint32_t dt_rank; /* R = ceil(D / 16) */
	uint32_t stride;
	uint32_t heads; /* attention only; divides embed_dim */
	bool head_bias;
	/* How bytes become tokens: "stride", a linear map of their values as in the paper, or
	 * "table", a learned vector for each value of each of the stride's bytes. */
	bool byte_table;
	/* Sizes and times: "sinusoid" of the value as in the paper, or "projected", a learned
	 * linear map of that sinusoid. */
	bool project_values;
};

struct token_config {
	struct sample_shape shape;
	bool packed; /* only tokens that exist, in their places, instead of padding */
	/* Times: "ratio", 1 / (1 + 1 / (1 + t)) as in the paper, or "log", 100 log10(1 + t / 1 us)
	 */
	bool iat_log;
	float byte_scale, byte_offset;
	uint32_t debias; /* enum debias_bit */
};

struct calibration {
	float temperature;
	float threshold[MODEL_MAX_CLASSES];
	bool watch_only[MODEL_MAX_CLASSES]; /* classes whose precision is not good enough to act on
					     */
	enum ood_score score;
	float ood_threshold; /* unknown above it */
};

struct tensor {
	const char *name;
	uint32_t n_dims;
	uint64_t shape[8];
	const float *data; /* float32, in the file's bytes or a converted copy */
	uint64_t n_values;
};

struct model {
	struct architecture architecture;
	struct token_config tokens;
	struct calibration calibration;
	uint32_t n_classes;
	char class_name[MODEL_MAX_CLASSES][MODEL_CLASS_NAME];
	char *path;
	char *training_json; /* as in the file, or NULL */
	char *figures_json;
	char sha256[65]; /* of the whole file, hex */
	uint64_t n_parameters;
	struct tensor *tensors; /* sorted by name */
	size_t n_tensors;
	struct model_storage *storage; /* private */
};

int model_load(const char *path, struct model **ret_model, struct error *e);
struct model *model_ref(struct model *m);
void model_unref(struct model *m); /* accepts NULL */

/* Byte tokens P (H + Y) / stride, and the whole sequence: (S + 1) + (S + 1) + (N + 1). */
uint32_t model_byte_tokens(const struct model *m);
uint32_t model_sequence_length(const struct model *m);

/* NULL when the model has no such tensor. */
const struct tensor *model_tensor(const struct model *m, const char *name);

/* -1 when no class has that name. */
int model_class_index(const struct model *m, const char *name);
