/* SPDX-License-Identifier: BSD-2-Clause */
/* See train_data.h. */
#include "agent/nmtrain/train_data.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agent/flow/labels_file.h"
#include "agent/policy/nearest.h"
#include "model/rng.h"

#define CLASS_UNKNOWN (-1) /* no class of the model: unlabelled, unlisted, without flows */
#define CLASS_LEFT    (-2) /* left out by the settings */

struct chooser {
	const struct dataset *set;
	const struct train_settings *settings;
	const struct train_split *split;
	int *class_of;           /* of the set's class: the model's, or CLASS_... */
	struct train_data *data; /* being filled */
};

static int parse_fold(const char *option, const char *text, uint32_t n_folds, int *ret_fold,
		      struct error *e)
{
	char *end;
	unsigned long fold = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || fold >= n_folds)
		return error_set(e, -EINVAL,
				 "--%s %.20s: the set has folds 0 to %u; name one, or none", option,
				 text, n_folds - 1);
	*ret_fold = (int)fold;
	return 0;
}

int train_split_parse(const char *fold, const char *validation, uint32_t n_folds,
		      struct train_split *ret_split, struct error *e)
{
	struct train_split split = {TRAIN_NO_FOLD, TRAIN_NO_FOLD};
	int rc = 0;

	fold = fold ? fold : "0";
	if (strcmp(fold, "none"))
		rc = parse_fold("fold", fold, n_folds, &split.test, e);
	if (!rc && split.test >= 0)
		split.validation = (int)((uint32_t)(split.test + 1) % n_folds);
	if (!rc && validation && !strcmp(validation, "none"))
		split.validation = TRAIN_NO_FOLD;
	else if (!rc && validation)
		rc = parse_fold("validation", validation, n_folds, &split.validation, e);
	if (rc)
		return rc;
	if (split.test >= 0 && split.test == split.validation)
		return error_set(e, -EINVAL,
				 "fold %d cannot test and validate; name another one with "
				 "--validation, or --fold none",
				 split.test);
	if (n_folds <= (uint32_t)(split.test >= 0) + (split.validation >= 0))
		return error_set(e, -EINVAL,
				 "nothing is left to train of a set of %u folds; build it with "
				 "--folds 3 or more, or give --fold none",
				 n_folds);
	*ret_split = split;
	return 0;
}

static int check_size(const char *key, uint32_t wanted, uint32_t held, struct error *e)
{
	if (wanted <= held)
		return 0;
	return error_set(e, -EINVAL,
			 "tokens.%s = %u, but the data set holds %u; make it at most that, or "
			 "build the set anew with more",
			 key, wanted, held);
}

static int check_shape(const struct sample_shape *wanted, const struct sample_shape *held,
		       struct error *e)
{
	int rc = check_size("packets", wanted->packets, held->packets, e);

	if (!rc)
		rc = check_size("header_bytes", wanted->header_bytes, held->header_bytes, e);
	if (!rc)
		rc = check_size("payload_bytes", wanted->payload_bytes, held->payload_bytes, e);
	if (!rc)
		rc = check_size("seq_len", wanted->seq_len, held->seq_len, e);
	if (!rc && wanted->bidirectional && !held->bidirectional)
		rc = error_set(e, -EINVAL,
			       "tokens.direction = bi, but the data set holds one direction only; "
			       "use uni, or build the set anew");
	return rc;
}

static int unknown_class(const struct dataset *set, const char *name, struct error *e)
{
	const char **names = calloc(set->n_classes + 1, sizeof(*names)), *nearest;

	if (!names)
		return error_set(e, -ENOMEM, "no memory for the classes");
	for (uint32_t i = 0; i < set->n_classes; i++)
		names[i] = set->class_name[i];
	nearest = nearest_of(name, names, set->n_classes);
	error_set(e, -EINVAL, "train.leave_out: the data set has no class %s%s%s%s", name,
		  nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
	free(names);
	return -EINVAL;
}

static bool trains_in(const struct chooser *c, const struct dataset_flow *f)
{
	return f->fold != c->split->test && f->fold != c->split->validation;
}

static bool is_long_enough(const struct chooser *c, const struct dataset_flow *f)
{
	return f->sample->n_packets >= c->settings->run.min_packets;
}

/* Marks the classes that are left out, then numbers those that have training flows. */
static int number_classes(struct chooser *c, struct error *e)
{
	const struct run_settings *run = &c->settings->run;
	const struct dataset *set = c->set;
	struct train_data *d = c->data;
	int unlisted = dataset_class_index(set, LABELS_UNLISTED);

	for (uint32_t i = 0; i < set->n_classes; i++)
		c->class_of[i] = CLASS_UNKNOWN;
	for (uint32_t i = 0; i < set->n_flows; i++) {
		const struct dataset_flow *f = &set->flow[i];

		if (f->class_index >= 0 && f->class_index != unlisted && trains_in(c, f) &&
		    is_long_enough(c, f))
			c->class_of[f->class_index] = 0;
	}
	for (uint32_t i = 0; i < run->n_leave_out; i++) {
		int left = dataset_class_index(set, run->leave_out[i]);

		if (left < 0)
			return unknown_class(set, run->leave_out[i], e);
		c->class_of[left] = CLASS_LEFT;
	}
	for (uint32_t i = 0; i < set->n_classes; i++) {
		if (c->class_of[i] < 0)
			continue;
		if (d->n_classes == MODEL_MAX_CLASSES)
			return error_set(e, -E2BIG, "a model has at most %d classes",
					 MODEL_MAX_CLASSES);
		memcpy(d->class_name[d->n_classes], set->class_name[i], MODEL_CLASS_NAME);
		c->class_of[i] = (int)d->n_classes++;
	}
	return 0;
}

static int class_of(const struct chooser *c, const struct dataset_flow *f)
{
	return f->class_index < 0 ? CLASS_UNKNOWN : c->class_of[f->class_index];
}

static int list_init(struct train_list *list, uint32_t capacity)
{
	list->sample = calloc(capacity + 1, sizeof(*list->sample));
	list->label = calloc(capacity + 1, sizeof(*list->label));
	list->flow = calloc(capacity + 1, sizeof(*list->flow));
	return list->sample && list->label && list->flow ? 0 : -ENOMEM;
}

static void list_add(const struct chooser *c, struct train_list *list, uint32_t flow,
		     uint32_t label)
{
	list->sample[list->n] = c->set->flow[flow].sample;
	list->label[list->n] = label;
	list->flow[list->n++] = flow;
}

struct choice {
	uint32_t label, capture, flow, rank;
	uint64_t luck;
};

static int by_capture(const void *a, const void *b)
{
	const struct choice *x = a, *y = b;

	if (x->label != y->label)
		return x->label < y->label ? -1 : 1;
	if (x->capture != y->capture)
		return x->capture < y->capture ? -1 : 1;
	return x->luck < y->luck ? -1 : x->luck > y->luck;
}

static int by_rank(const void *a, const void *b)
{
	const struct choice *x = a, *y = b;

	if (x->label != y->label)
		return x->label < y->label ? -1 : 1;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return x->luck < y->luck ? -1 : x->luck > y->luck;
}

/* Takes each capture's first by luck, then each one's second, and so on: kept (n of the list). */
static int choose(const struct chooser *c, bool *kept)
{
	const struct train_list *list = &c->data->train;
	struct choice *choice = calloc(list->n + 1, sizeof(*choice));
	uint32_t taken = 0;

	if (!choice)
		return -ENOMEM;
	for (uint32_t i = 0; i < list->n; i++) {
		struct rng rng = rng_stream(c->settings->run.seed, list->flow[i], 0);

		choice[i] = (struct choice){list->label[i], c->set->flow[list->flow[i]].capture, i,
					    0, rng_next(&rng)};
	}
	qsort(choice, list->n, sizeof(*choice), by_capture);
	for (uint32_t i = 1; i < list->n; i++)
		if (choice[i].label == choice[i - 1].label &&
		    choice[i].capture == choice[i - 1].capture)
			choice[i].rank = choice[i - 1].rank + 1;
	qsort(choice, list->n, sizeof(*choice), by_rank);
	for (uint32_t i = 0; i < list->n; i++) {
		taken = i && choice[i].label == choice[i - 1].label ? taken + 1 : 0;
		kept[choice[i].flow] = taken < c->settings->run.max_flows_per_class;
	}
	free(choice);
	return 0;
}

static int limit_classes(struct chooser *c)
{
	struct train_list *list = &c->data->train;
	bool *kept = calloc(list->n + 1, sizeof(*kept));
	uint32_t n = 0;
	int rc = kept ? choose(c, kept) : -ENOMEM;

	for (uint32_t i = 0; !rc && i < list->n; i++) {
		if (!kept[i])
			continue;
		list->sample[n] = list->sample[i];
		list->label[n] = list->label[i];
		list->flow[n++] = list->flow[i];
	}
	free(kept);
	if (rc)
		return rc;
	c->data->n_over_limit = list->n - n;
	list->n = n;
	return 0;
}

static void fill_labelled(struct chooser *c)
{
	struct train_data *d = c->data;

	for (uint32_t i = 0; i < c->set->n_flows; i++) {
		const struct dataset_flow *f = &c->set->flow[i];
		int class = class_of(c, f);

		if (f->fold == c->split->test)
			continue;
		if (!trains_in(c, f) && class < 0)
			d->n_strange++;
		else if (!trains_in(c, f))
			list_add(c, &d->validation, i, (uint32_t) class);
		else if (class == CLASS_LEFT)
			d->n_left_out++;
		else if (!is_long_enough(c, f))
			d->n_short++;
		else if (class < 0)
			d->n_unlabelled++;
		else
			list_add(c, &d->train, i, (uint32_t) class);
	}
}

static void fill_unlabelled(struct chooser *c)
{
	struct train_data *d = c->data;

	for (uint32_t i = 0; i < c->set->n_flows; i++) {
		const struct dataset_flow *f = &c->set->flow[i];

		if (f->fold == c->split->test)
			continue;
		if (class_of(c, f) == CLASS_LEFT)
			d->n_left_out += trains_in(c, f);
		else if (!trains_in(c, f))
			list_add(c, &d->validation, i, 0);
		else if (!is_long_enough(c, f))
			d->n_short++;
		else
			list_add(c, &d->train, i, 0);
	}
}

static int prepare(struct chooser *c, struct error *e)
{
	int rc = check_shape(&c->settings->tokens.shape, &c->set->shape, e);

	if (rc)
		return rc;
	c->class_of = calloc(c->set->n_classes + 1, sizeof(*c->class_of));
	c->data = calloc(1, sizeof(*c->data));
	if (!c->class_of || !c->data || list_init(&c->data->train, c->set->n_flows) ||
	    list_init(&c->data->validation, c->set->n_flows))
		return error_set(e, -ENOMEM, "no memory for the list of %u flows", c->set->n_flows);
	return number_classes(c, e);
}

static void chooser_fini(struct chooser *c)
{
	free(c->class_of);
	train_data_free(c->data);
}

int train_data_new(const struct dataset *set, const struct train_settings *s,
		   const struct train_split *split, struct train_data **ret_data, struct error *e)
{
	cleanup(chooser_fini) struct chooser c = {.set = set, .settings = s, .split = split};
	int rc = prepare(&c, e);

	if (rc)
		return rc;
	if (c.data->n_classes < 2)
		return error_set(e, -EINVAL,
				 "a classifier needs two classes with flows to train; there is %u",
				 c.data->n_classes);
	fill_labelled(&c);
	if (s->run.max_flows_per_class && limit_classes(&c))
		return error_set(e, -ENOMEM, "no memory to choose flows");
	*ret_data = take_ptr(c.data);
	return 0;
}

int train_data_new_unlabelled(const struct dataset *set, const struct train_settings *s,
			      const struct train_split *split, struct train_data **ret_data,
			      struct error *e)
{
	cleanup(chooser_fini) struct chooser c = {.set = set, .settings = s, .split = split};
	int rc = prepare(&c, e);

	if (rc)
		return rc;
	fill_unlabelled(&c);
	if (!c.data->train.n)
		return error_set(e, -EINVAL, "no flow is left to train");
	c.data->n_classes = 0;
	*ret_data = take_ptr(c.data);
	return 0;
}

static void list_fini(struct train_list *list)
{
	free(list->sample);
	free(list->label);
	free(list->flow);
}

void train_data_free(struct train_data *d)
{
	if (!d)
		return;
	list_fini(&d->train);
	list_fini(&d->validation);
	free(d);
}
