/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fine-tuning at a pace that somebody else sets, for train_torch.py, which takes turns with it:
 *
 *   train nano|base BATCH THREADS FILE
 *
 * writes its first weights and its one batch to FILE (safetensors, official names; inputs "bytes",
 * "sizes", "iats", "labels"), then does as many steps as each line of stdin says and answers with a
 * line of each step's loss and at last the seconds. The loop, threads and loss are model/train.h's
 * and model/finetune.h's own; samples are random and fill the whole sequence.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "model/batch.h"
#include "model/finetune.h"
#include "model/initialise.h"
#include "model/safetensors_write.h"

#define MAX_TENSORS 128
#define RATE        1e-3 /* as train_torch.py has it, constant */

static const struct shape {
	const char *name;
	uint32_t n_classes;
	struct architecture architecture;
	struct token_config tokens;
} shapes[] = {
	{"nano", 5, {.embed_dim = 64, .depth = 2, .dt_rank = 4}, {.shape = {10, 80, 80, 50, true}}},
	{"base",
	 12,
	 {.embed_dim = 256, .depth = 4, .dt_rank = 16},
	 {.shape = {5, 80, 240, 20, false}}},
};

struct bench {
	struct finetune_config config;
	struct flow_sample **sample;
	uint32_t *label;
	uint32_t steps_left;
	double start_s;
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "train: %s\n", what);
	exit(1);
}

static struct flow_sample *random_sample(const struct sample_shape *shape, struct rng *rng)
{
	struct flow_sample *s = flow_sample_new(shape);
	uint64_t time_ns = 0;

	if (!s)
		die("no memory");
	s->n_packets = shape->seq_len;
	for (size_t i = 0; i < shape->packets * sample_row_bytes(shape); i++)
		s->bytes[i] = (uint8_t)rng_below(rng, 256);
	for (uint16_t i = 0; i < s->n_packets; i++) {
		bool has_row = i < shape->packets;

		s->packets[i] = (struct sample_packet){
			.time_ns = time_ns,
			.ip_len_bytes = 40 + rng_below(rng, 1460),
			.packet_index = i,
			.header_bytes = has_row ? shape->header_bytes : 0,
			.payload_bytes = has_row ? shape->payload_bytes : 0,
			.byte_slot = i,
			.against = shape->bidirectional && i > 0 && rng_below(rng, 2),
		};
		time_ns += rng_below(rng, 1000000000);
	}
	return s;
}

static void configure(struct bench *b, const struct shape *shape, uint32_t batch)
{
	struct rng rng = rng_stream(1, 0, 0);
	struct finetune_config *c = &b->config;

	*c = (struct finetune_config){.architecture = shape->architecture,
				      .tokens = shape->tokens,
				      .n_classes = shape->n_classes,
				      .loss = loss_default_config(),
				      .augment = augment_none()};
	strcpy(c->architecture.backbone, "mamba");
	c->architecture.d_state = 16;
	c->architecture.d_conv = c->architecture.stride = 4;
	c->architecture.expand = 2;
	c->tokens.byte_scale = 2 / 255.0F;
	c->tokens.byte_offset = -1;
	b->sample = calloc(batch, sizeof(*b->sample));
	b->label = calloc(batch, sizeof(*b->label));
	if (!b->sample || !b->label)
		die("no memory");
	for (uint32_t i = 0; i < batch; i++) {
		b->sample[i] = random_sample(&shape->tokens.shape, &rng);
		/* classes of different sizes: the loss is about them */
		b->label[i] = rng_below(&rng, 1 + rng_below(&rng, shape->n_classes));
	}
	c->train = (struct labelled_samples){(const struct flow_sample *const *)b->sample, b->label,
					     batch};
}

static struct raw_tensor matrix(const char *name, enum dtype dtype, const void *data, size_t rows,
				size_t columns)
{
	return (struct raw_tensor){.name = name,
				   .dtype = dtype,
				   .n_dims = 2,
				   .shape = {rows, columns},
				   .n_values = rows * columns,
				   .data = data};
}

static void write_start(const struct bench *b, const struct layout *layout, const float *weights,
			const char *path)
{
	const struct token_config *tokens = &b->config.tokens;
	struct raw_tensor tensors[MAX_TENSORS];
	uint32_t n = b->config.train.n;
	size_t n_bytes = tokens->shape.packets * sample_row_bytes(&tokens->shape), k = 0;
	uint8_t labels[n];
	struct batch *batch;
	struct error e;

	if (layout->n > MAX_TENSORS - 4 ||
	    batch_new(tokens, b->config.architecture.stride, n, &batch))
		die("no memory");
	for (uint32_t i = 0; i < n; i++) {
		batch_add(batch, tokens, b->sample[i]);
		labels[i] = (uint8_t)b->label[i];
	}
	for (; k < layout->n; k++) {
		const struct parameter *p = &layout->list[k];

		tensors[k] = (struct raw_tensor){.name = p->name,
						 .dtype = DTYPE_F32,
						 .n_dims = p->n_dims,
						 .n_values = p->n_values,
						 .data = (const uint8_t *)(weights + p->offset)};
		memcpy(tensors[k].shape, p->shape, sizeof(p->shape));
	}
	tensors[k++] = matrix("bytes", DTYPE_U8, batch->bytes, n, n_bytes);
	tensors[k++] = matrix("sizes", DTYPE_F32, batch->sizes, n, tokens->shape.seq_len);
	tensors[k++] = matrix("iats", DTYPE_F32, batch->iats, n, tokens->shape.seq_len);
	tensors[k++] = matrix("labels", DTYPE_U8, labels, n, 1);
	if (safetensors_write(path, tensors, k, NULL, 0, &e))
		die(e.text);
	batch_free(batch);
}

/* Waits for a number of steps; 0 at the end of stdin. */
static uint32_t next_turn(struct bench *b)
{
	char line[32];

	b->steps_left = fgets(line, sizeof(line), stdin) ? (uint32_t)strtoul(line, NULL, 10) : 0;
	b->start_s = now_s();
	return b->steps_left;
}

static int on_step(void *ctx, const struct train_report *report)
{
	struct bench *b = ctx;

	printf("%.9g ", report->loss);
	if (--b->steps_left > 0)
		return 0;
	printf("%.6f\n", now_s() - b->start_s);
	fflush(stdout);
	return next_turn(b) == 0;
}

static int on_save(void *ctx, const struct train_state *state, struct error *e)
{
	(void)ctx, (void)state, (void)e;
	return 0;
}

static void train(struct bench *b, uint32_t threads, const char *path)
{
	struct train_config config = {.threads = threads,
				      .batch = b->config.train.n,
				      .total_steps = UINT64_MAX,
				      .schedule = {.peak = RATE, .minimum = RATE, .total = 1},
				      .adamw = adamw_finetune_config()};
	struct train_hooks hooks = {.ctx = b, .on_step = on_step, .on_save = on_save};
	struct rng rng = rng_stream(1, 0, 1);
	struct train_state *state;
	struct train_task task;
	struct finetune *f;
	struct error e = {0};

	if (finetune_new(&b->config, &f, &e))
		die(e.text);
	task = finetune_task(f);
	if (train_state_new(task.layout, false, &state))
		die("no memory");
	initialise(task.layout, state->weights, &rng);
	write_start(b, task.layout, state->weights, path);
	puts("ready");
	fflush(stdout);
	if (next_turn(b) && train_run(&task, &config, state, &hooks, &e))
		die(e.text);
	train_state_free(state);
	finetune_free(f);
}

int main(int argc, char **argv)
{
	uint32_t n = argc == 5 ? (uint32_t)atoi(argv[2]) : 0;
	uint32_t threads = argc == 5 ? (uint32_t)atoi(argv[3]) : 0;
	struct bench b = {0};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (n && threads && !strcmp(argv[1], shapes[i].name)) {
			configure(&b, &shapes[i], n);
			train(&b, threads, argv[4]);
			for (uint32_t k = 0; k < n; k++)
				flow_sample_free(b.sample[k]);
			free(b.sample);
			free(b.label);
			return 0;
		}
	fprintf(stderr, "usage: train nano|base BATCH THREADS FILE\n");
	return 2;
}
