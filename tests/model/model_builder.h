/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Model files of any shape for tests: a JSON metadata text and all tensors that its architecture
 * asks for, with seeded random weights, written to a temporary file. Either text can be changed
 * before it is written, so that a test breaks exactly one thing.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

struct built_shape {
	uint32_t embed_dim, depth, d_state, d_conv, expand, stride;
	uint32_t packets, header_bytes, payload_bytes, seq_len, n_classes;
	int bi, head_bias;
};

/* A text that grows. */
struct text {
	char *bytes;
	size_t n;
};

__attribute__((format(printf, 2, 3))) static inline void text_add(struct text *t,
								  const char *format, ...)
{
	va_list args, again;
	int n;

	va_start(args, format);
	va_copy(again, args);
	n = vsnprintf(NULL, 0, format, args);
	t->bytes = realloc(t->bytes, t->n + n + 1);
	assert_non_null(t->bytes);
	vsnprintf(t->bytes + t->n, n + 1, format, again);
	t->n += n;
	va_end(again);
	va_end(args);
}

static inline void text_free(struct text *t)
{
	free(t->bytes);
	*t = (struct text){0};
}

/* Replaces the first `find`, which must be there. */
static inline void text_replace(struct text *t, const char *find, const char *with)
{
	char *place = t->bytes ? strstr(t->bytes, find) : NULL;
	struct text changed = {0};

	if (!place) {
		fail_msg("the text to break has no %s", find);
		return;
	}
	text_add(&changed, "%.*s%s%s", (int)(place - t->bytes), t->bytes, with,
		 place + strlen(find));
	text_free(t);
	*t = changed;
}

static inline struct text built_metadata(const struct built_shape *s)
{
	struct text t = {0};

	text_add(&t, "{\"format\":1,\"architecture\":{\"backbone\":\"mamba\",\"embed_dim\":%u,",
		 s->embed_dim);
	text_add(&t, "\"depth\":%u,\"d_state\":%u,\"d_conv\":%u,\"expand\":%u,\"stride\":%u,",
		 s->depth, s->d_state, s->d_conv, s->expand, s->stride);
	text_add(&t, "\"head_bias\":%s},\"tokens\":{\"direction\":\"%s\",\"packets\":%u,",
		 s->head_bias ? "true" : "false", s->bi ? "bi" : "uni", s->packets);
	text_add(&t, "\"header_bytes\":%u,\"payload_bytes\":%u,\"seq_len\":%u,\"packed\":false,",
		 s->header_bytes, s->payload_bytes, s->seq_len);
	text_add(&t, "\"byte_scale\":0.0078,\"byte_offset\":-1.0,\"debias\":[\"ttl\"]},");
	text_add(&t, "\"classes\":[");
	for (uint32_t i = 0; i < s->n_classes; i++)
		text_add(&t, "%s\"c%u\"", i ? "," : "", i);
	text_add(&t, "],\"calibration\":{\"temperature\":1.0,\"thresholds\":[");
	for (uint32_t i = 0; i < s->n_classes; i++)
		text_add(&t, "%s0.5", i ? "," : "");
	text_add(&t, "],\"watch_only\":[\"c0\"],\"unknown\":{\"score\":\"energy\","
		     "\"threshold\":-1.5}},\"training\":{\"data\":\"none\"},\"figures\":{}}");
	return t;
}

/* Header entries and data side by side. */
struct built_tensors {
	struct text entries;
	float *data;
	size_t n_values;
	uint32_t seed;
};

static inline float built_random(struct built_tensors *b)
{
	b->seed = b->seed * 1664525U + 1013904223U;
	return (float)(b->seed >> 8) / (float)(1 << 24) - 0.5F;
}

/* Values are offset + scale * random in [-1/2, 1/2). */
static inline void built_add(struct built_tensors *b, const char *name, uint32_t n_dims,
			     const uint64_t *shape, float offset, float scale)
{
	size_t n = 1, begin = b->n_values * sizeof(float);

	text_add(&b->entries, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[", name);
	for (uint32_t i = 0; i < n_dims; i++) {
		text_add(&b->entries, "%s%zu", i ? "," : "", (size_t)shape[i]);
		n *= shape[i];
	}
	text_add(&b->entries, "],\"data_offsets\":[%zu,%zu]}", begin, begin + n * sizeof(float));
	b->data = realloc(b->data, (b->n_values + n) * sizeof(float));
	assert_non_null(b->data);
	for (size_t i = 0; i < n; i++)
		b->data[b->n_values + i] = offset + scale * built_random(b);
	b->n_values += n;
}

#define BUILT_ADD(b, name, offset, scale, ...)                                                     \
	built_add(b, name, sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t),                   \
		  (uint64_t[]){__VA_ARGS__}, offset, scale)

static inline void built_block(struct built_tensors *b, const struct built_shape *s, uint32_t block)
{
	uint64_t D = s->embed_dim, E = s->expand * D, N = s->d_state, R = (D + 15) / 16;
	const struct {
		const char *name;
		uint32_t n_dims;
		uint64_t shape[3];
		float offset, scale;
	} list[] = {
		{"norm.weight", 1, {D}, 1, 0.5F},
		{"mixer.in_proj.weight", 2, {2 * E, D}, 0, 2},
		{"mixer.conv1d.weight", 3, {E, 1, s->d_conv}, 0, 1},
		{"mixer.conv1d.bias", 1, {E}, 0, 0.5F},
		{"mixer.x_proj.weight", 2, {R + 2 * N, E}, 0, 1},
		{"mixer.dt_proj.weight", 2, {E, R}, 0, 2},
		{"mixer.dt_proj.bias", 1, {E}, -1, 4},
		{"mixer.A_log", 2, {E, N}, 0, 4},
		{"mixer.D", 1, {E}, 1, 0.5F},
		{"mixer.out_proj.weight", 2, {D, E}, 0, 1},
	};
	char name[80];

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		snprintf(name, sizeof(name), "encoder_blocks.%u.%s", block, list[i].name);
		built_add(b, name, list[i].n_dims, list[i].shape, list[i].offset, list[i].scale);
	}
}

static inline struct built_tensors built_tensors(const struct built_shape *s, uint32_t seed)
{
	struct built_tensors b = {.seed = seed};
	uint64_t D = s->embed_dim;
	uint64_t n_bytes = s->packets * (s->header_bytes + s->payload_bytes) / s->stride;

	BUILT_ADD(&b, "byte_cls_token", 0, 1, 1, 1, D);
	BUILT_ADD(&b, "byte_indicator", 0, 1, 1, 1, D);
	BUILT_ADD(&b, "size_cls_token", 0, 1, 1, 1, D);
	BUILT_ADD(&b, "size_indicator", 0, 1, 1, 1, D);
	BUILT_ADD(&b, "iat_cls_token", 0, 1, 1, 1, D);
	BUILT_ADD(&b, "iat_indicator", 0, 1, 1, 1, D);
	BUILT_ADD(&b, "pos_embed", 0, 1, 1, 2 * (s->seq_len + 1) + n_bytes + 1, D);
	BUILT_ADD(&b, "byte_embed.proj.weight", 0, 2, D, 1, s->stride);
	BUILT_ADD(&b, "byte_embed.proj.bias", 0, 1, D);
	for (uint32_t i = 0; i < s->depth; i++)
		built_block(&b, s, i);
	BUILT_ADD(&b, "norm_f.weight", 1, 0.5F, D);
	BUILT_ADD(&b, "head.weight", 0, 2, s->n_classes, D);
	if (s->head_bias)
		BUILT_ADD(&b, "head.bias", 0, 1, s->n_classes);
	return b;
}

static inline void built_free(struct built_tensors *b)
{
	text_free(&b->entries);
	free(b->data);
}

/* The whole JSON header; metadata is escaped. */
static inline struct text built_header(const struct text *metadata, const struct built_tensors *b)
{
	struct text t = {0};

	text_add(&t, "{\"__metadata__\":{\"netmamba\":\"");
	for (size_t i = 0; i < metadata->n; i++)
		text_add(&t,
			 metadata->bytes[i] == '"' || metadata->bytes[i] == '\\' ? "\\%c" : "%c",
			 metadata->bytes[i]);
	text_add(&t, "\"}%s}", b->entries.bytes);
	return t;
}

/* path: "...XXXXXX", made into the name of a new file; the caller unlinks it. */
static inline void write_file(char *path, const void *a, size_t n_a, const void *b, size_t n_b)
{
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, a, n_a), n_a);
	assert_int_equal(write(fd, b, n_b), n_b);
	assert_int_equal(close(fd), 0);
}

/* Length, header padded with blanks to a multiple of 8, data. */
static inline void write_safetensors(char *path, const struct text *header, const void *data,
				     size_t n_data)
{
	size_t padded = (header->n + 7) / 8 * 8;
	uint8_t *start = malloc(8 + padded);

	assert_non_null(start);
	for (int i = 0; i < 8; i++)
		start[i] = (uint8_t)(padded >> (8 * i));
	memset(start + 8, ' ', padded);
	memcpy(start + 8, header->bytes, header->n);
	write_file(path, start, 8 + padded, data, n_data);
	free(start);
}

static inline void write_built_model(char *path, const struct built_shape *s, uint32_t seed)
{
	struct text metadata = built_metadata(s), header;
	struct built_tensors tensors = built_tensors(s, seed);

	header = built_header(&metadata, &tensors);
	write_safetensors(path, &header, tensors.data, tensors.n_values * sizeof(float));
	text_free(&header);
	text_free(&metadata);
	built_free(&tensors);
}
