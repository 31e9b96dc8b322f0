/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See checkpoint.h. The layout is written down as a text, a line a parameter, and compared as one:
 * the first line that differs is the reason.
 */
#include "model/checkpoint.h"
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model/safetensors_write.h"

#define KEY_STATE  "nmtrain_state"
#define KEY_LAYOUT "nmtrain_layout"

struct checkpoint {
	struct safetensors *file;
	char *path;
};

static void free_text(char **text)
{
	free(*text);
}

static void free_checkpoint(struct checkpoint **c)
{
	checkpoint_close(*c);
}

/* "head.weight 5 64" */
static size_t format_parameter(char *out, size_t size, const struct parameter *p)
{
	size_t used = snprintf(out, size, "%s", p->name);

	for (uint32_t i = 0; i < p->n_dims; i++)
		used += snprintf(out + used, size - used, " %" PRIu64, p->shape[i]);
	return used;
}

#define MAX_LINE 192 /* a name of 63 and four numbers */

/* NULL: no memory. */
static char *layout_text(const struct layout *layout)
{
	char *text = malloc(layout->n * MAX_LINE + 1), *at = text;

	if (!text)
		return NULL;
	*at = '\0';
	for (size_t i = 0; i < layout->n; i++) {
		at += format_parameter(at, MAX_LINE - 1, &layout->list[i]);
		*at++ = '\n';
		*at = '\0';
	}
	return text;
}

static int check_state(const char *path, const char *state, struct error *e)
{
	json_error_t json_error;
	json_t *json;

	if (strlen(state) > CHECKPOINT_MAX_STATE)
		return error_set(e, -E2BIG, "%s: a state of %zu bytes; at most %d are kept", path,
				 strlen(state), CHECKPOINT_MAX_STATE);
	json = json_loads(state, JSON_REJECT_DUPLICATES, &json_error);
	if (!json_is_object(json)) {
		json_decref(json);
		return error_set(e, -EINVAL, "%s: the state is no JSON object (byte %d)", path,
				 json ? 0 : json_error.position);
	}
	json_decref(json);
	return 0;
}

/* values: n of the block's, the first of which is number `first`. */
static int check_values(const char *path, const struct checkpoint_block *block, const float *values,
			size_t first, size_t n, struct error *e)
{
	for (size_t i = 0; i < n; i++) {
		if (!isfinite(values[i]))
			return error_set(e, -ERANGE, "%s: %s: value %zu is not finite", path,
					 block->name, first + i);
		if (block->squares && values[i] < 0)
			return error_set(e, -ERANGE, "%s: %s: value %zu is below 0", path,
					 block->name, first + i);
	}
	return 0;
}

int checkpoint_write(const char *path, const struct layout *layout,
		     const struct checkpoint_block *blocks, size_t n_blocks, const char *state,
		     struct error *e)
{
	cleanup(free_text) char *text = layout_text(layout);
	const struct safetensors_string strings[] = {{KEY_STATE, state}, {KEY_LAYOUT, text}};
	struct raw_tensor tensors[CHECKPOINT_MAX_BLOCKS];
	size_t n = 0;
	int r = check_state(path, state, e);

	if (!text)
		return error_set(e, -ENOMEM, "%s: no memory", path);
	if (n_blocks > CHECKPOINT_MAX_BLOCKS)
		return error_set(e, -E2BIG, "%s: %zu blocks; at most %d are kept", path, n_blocks,
				 CHECKPOINT_MAX_BLOCKS);
	for (size_t i = 0; !r && i < n_blocks; i++) {
		if (!blocks[i].values)
			continue;
		r = check_values(path, &blocks[i], blocks[i].values, 0, layout->n_values, e);
		tensors[n++] = (struct raw_tensor){.name = blocks[i].name,
						   .dtype = DTYPE_F32,
						   .n_dims = 1,
						   .shape = {layout->n_values},
						   .n_values = layout->n_values,
						   .data = (const void *)blocks[i].values};
	}
	return r ? r : safetensors_write(path, tensors, n, strings, 2, e);
}

int checkpoint_open(const char *path, struct checkpoint **ret_checkpoint, struct error *e)
{
	cleanup(free_checkpoint) struct checkpoint *c = calloc(1, sizeof(*c));
	int r;

	if (!c || !(c->path = strdup(path)))
		return error_set(e, -ENOMEM, "%s: no memory", path);
	r = safetensors_open(path, &c->file, e);
	if (r)
		return r;
	if (!checkpoint_state(c) || !safetensors_metadata(c->file, KEY_LAYOUT))
		return error_set(
			e, -EINVAL,
			"%s: is no checkpoint of a training run: __metadata__ has no " KEY_STATE
			" and " KEY_LAYOUT,
			path);
	r = check_state(path, checkpoint_state(c), e);
	if (!r)
		*ret_checkpoint = take_ptr(c);
	return r;
}

void checkpoint_close(struct checkpoint *c)
{
	if (!c)
		return;
	safetensors_close(c->file);
	free(c->path);
	free(c);
}

const char *checkpoint_state(const struct checkpoint *c)
{
	return safetensors_metadata(c->file, KEY_STATE);
}

/* Up to the line's end, as far as it can be shown. */
static int line_length(const char *text)
{
	int n = 0;

	while (n < 90 && text[n] >= ' ' && text[n] <= '~')
		n++;
	return n;
}

static int check_layout(const struct checkpoint *c, const struct layout *layout, struct error *e)
{
	cleanup(free_text) char *text = layout_text(layout);
	const char *have = safetensors_metadata(c->file, KEY_LAYOUT), *want = text, *line = text;

	if (!text)
		return error_set(e, -ENOMEM, "%s: no memory", c->path);
	if (strcmp(have, text) == 0)
		return 0;
	for (; *want && *have == *want; have++, want++)
		if (*want == '\n')
			line = want + 1;
	have -= want - line;
	return error_set(e, -EINVAL,
			 "%s: is of another network: it has \"%.*s\" where this one has \"%.*s\"",
			 c->path, line_length(have), have, line_length(line), line);
}

static int find_block(const struct checkpoint *c, const struct layout *layout,
		      const struct checkpoint_block *block, const struct raw_tensor **ret_tensor,
		      struct error *e)
{
	const struct raw_tensor *t = safetensors_find(c->file, block->name);
	float values[256];
	int r = 0;

	*ret_tensor = t;
	if (!t)
		return block->may_be_missing
			       ? 0
			       : error_set(e, -EINVAL, "%s: has no block %s", c->path, block->name);
	if (t->dtype != DTYPE_F32 || t->n_values != layout->n_values)
		return error_set(e, -EINVAL,
				 "%s: %s has %" PRIu64 " values of %s; must be %zu of F32", c->path,
				 block->name, t->n_values, dtype_name(t->dtype), layout->n_values);
	for (size_t i = 0; !r && i < t->n_values; i += 256) {
		struct raw_tensor part = *t;

		part.data += i * sizeof(float);
		part.n_values = t->n_values - i < 256 ? t->n_values - i : 256;
		raw_tensor_to_float(&part, values);
		r = check_values(c->path, block, values, i, part.n_values, e);
	}
	return r;
}

int checkpoint_read(const struct checkpoint *c, const struct layout *layout,
		    struct checkpoint_block *blocks, size_t n_blocks, struct error *e)
{
	const struct raw_tensor *tensors[CHECKPOINT_MAX_BLOCKS];
	int r = check_layout(c, layout, e);

	if (!r && n_blocks > CHECKPOINT_MAX_BLOCKS)
		r = error_set(e, -E2BIG, "%s: %zu blocks asked for; at most %d are kept", c->path,
			      n_blocks, CHECKPOINT_MAX_BLOCKS);
	for (size_t i = 0; !r && i < n_blocks; i++)
		r = find_block(c, layout, &blocks[i], &tensors[i], e);
	for (size_t i = 0; !r && i < n_blocks; i++) {
		blocks[i].present = tensors[i] != NULL;
		if (tensors[i])
			raw_tensor_to_float(tensors[i], blocks[i].values);
	}
	return r;
}
