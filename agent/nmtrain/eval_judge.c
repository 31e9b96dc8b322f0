/* SPDX-License-Identifier: BSD-2-Clause */
/* See eval_judge.h. */
#include "agent/nmtrain/eval_judge.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmtrain/predict.h"

static void drop_memory(void *p)
{
	free(*(void **)p);
}

static void drop_predictor(struct predictor **p)
{
	predictor_free(*p);
}

static void drop_evaluation(struct evaluation **ev)
{
	evaluation_free(*ev);
}

static struct judged judged_of(const struct eval_split *split, const struct model *m,
			       const float *logits, const int16_t *label)
{
	return (struct judged){.n = split->set.n_flows,
			       .n_classes = m->n_classes,
			       .logits = logits,
			       .label = label,
			       .group = split->group,
			       .source = split->source,
			       .kind = split->kind};
}

/* Logits of all flows of a split. Caller frees. */
static int run_whole(struct predictor *p, const struct model *m, const struct eval_split *split,
		     float **ret_logits, struct error *e)
{
	cleanup(drop_memory) float *logits =
		calloc((size_t)split->set.n_flows * m->n_classes + 1, sizeof(*logits));
	int r;

	if (!logits)
		return error_set(e, -ENOMEM, "no memory for %u flows", split->set.n_flows);
	r = predictor_run(p, split->every, split->set.n_flows, 0, logits, e);
	if (!r)
		*ret_logits = take_ptr(logits);
	return r;
}

/* Known flows that are longer than so many packets: the others are as they were. */
static size_t list_longer(const struct judged *j, const struct eval_split *split, uint32_t packets,
			  uint32_t *list)
{
	size_t n = 0;

	for (uint32_t i = 0; i < j->n; i++)
		if (j->label[i] != NO_CLASS && split->set.flow[i].sample->n_packets > packets)
			list[n++] = i;
	return n;
}

static int run_prefix(struct predictor *p, const struct judged *whole,
		      const struct eval_split *split, uint32_t packets, struct evaluation *result,
		      struct error *e)
{
	size_t n_values = whole->n * whole->n_classes;
	cleanup(drop_memory) uint32_t *list = calloc(whole->n + 1, sizeof(*list));
	cleanup(drop_memory) float *some = calloc(n_values + 1, sizeof(*some));
	cleanup(drop_memory) float *logits = calloc(n_values + 1, sizeof(*logits));
	struct judged cut = *whole;
	size_t n;
	int r;

	if (!list || !some || !logits)
		return error_set(e, -ENOMEM, "no memory for %zu flows", whole->n);
	n = list_longer(whole, split, packets, list);
	r = predictor_run(p, list, n, (uint16_t)packets, some, e);
	if (r)
		return r;
	memcpy(logits, whole->logits, n_values * sizeof(*logits));
	for (size_t i = 0; i < n; i++)
		memcpy(logits + (size_t)list[i] * whole->n_classes, some + i * whole->n_classes,
		       whole->n_classes * sizeof(*logits));
	cut.logits = logits;
	r = evaluation_add_prefix(result, packets, &cut);
	return r ? error_set(e, r, "no memory for %zu flows", whole->n) : 0;
}

static int run_prefixes(struct predictor *p, const struct model *m, const struct judged *whole,
			const struct eval_split *split, struct evaluation *result, struct error *e)
{
	static const uint16_t steps[] = {1, 2, 3, 5, 10, 20, 30, 50, 100, 200};
	uint32_t last = m->tokens.shape.seq_len;
	int r = 0;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && steps[i] < last && !r; i++)
		r = run_prefix(p, whole, split, steps[i], result, e);
	return r ? r : run_prefix(p, whole, split, last, result, e);
}

static int judge_test(struct predictor *p, const struct model *m, const struct eval_split *split,
		      const struct judged *validation, const struct evaluation_config *config,
		      struct evaluation **ret_evaluation, struct error *e)
{
	cleanup(drop_evaluation) struct evaluation *result = NULL;
	cleanup(drop_memory) float *logits = NULL;
	cleanup(drop_memory) int16_t *label = eval_split_labels(split, m);
	struct judged test;
	int r;

	if (!label)
		return error_set(e, -ENOMEM, "no memory for the labels");
	r = run_whole(p, m, split, &logits, e);
	if (r)
		return r;
	test = judged_of(split, m, logits, label);
	r = evaluation_new(validation, &test, config, &result, e);
	if (!r && !result->n_known)
		r = error_set(e, -ENODATA, "no flow of the split is of a class of %.150s", m->path);
	if (!r)
		r = run_prefixes(p, m, &test, split, result, e);
	if (!r)
		*ret_evaluation = take_ptr(result);
	return r;
}

int eval_judge(struct model *m, const struct eval_split *test, const struct eval_split *validation,
	       uint32_t n_threads, const struct evaluation_config *config,
	       struct evaluation **ret_evaluation, struct error *e)
{
	cleanup(drop_predictor) struct predictor *p = NULL;
	cleanup(drop_memory) float *logits = NULL;
	cleanup(drop_memory) int16_t *label = NULL;
	struct judged fit;
	int r;

	if (validation) {
		r = predictor_new(m, &validation->set, n_threads, &p, e);
		if (!r)
			r = run_whole(p, m, validation, &logits, e);
		if (r)
			return r;
		label = eval_split_labels(validation, m);
		if (!label)
			return error_set(e, -ENOMEM, "no memory for the labels");
		fit = judged_of(validation, m, logits, label);
		predictor_free(take_ptr(p));
	}
	r = predictor_new(m, &test->set, n_threads, &p, e);
	return r ? r : judge_test(p, m, test, validation ? &fit : NULL, config, ret_evaluation, e);
}
