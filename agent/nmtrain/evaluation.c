/* SPDX-License-Identifier: BSD-2-Clause */
/* See evaluation.h. */
#include "agent/nmtrain/evaluation.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>

static void drop_memory(void *p)
{
	free(*(void **)p);
}

static void drop_evaluation(struct evaluation **ev)
{
	evaluation_free(*ev);
}

void evaluation_free(struct evaluation *ev)
{
	if (!ev)
		return;
	free(ev->confusion);
	free(ev->source);
	free(ev->kind);
	free(ev);
}

static void count_flows(const struct judged *j, uint64_t *ret_known, uint64_t *ret_unknown)
{
	*ret_known = *ret_unknown = 0;
	for (size_t i = 0; j && i < j->n; i++)
		*(j->label[i] == NO_CLASS ? ret_unknown : ret_known) += 1;
}

/* Nearest classes of all flows; NO_CLASS where the logits are not finite. Caller frees. */
static int16_t *nearest_classes(const struct judged *j, const struct calibration *c)
{
	int16_t *nearest = calloc(j->n + 1, sizeof(*nearest));
	struct decision d;

	for (size_t i = 0; nearest && i < j->n; i++) {
		calibrate_decide(c, j->n_classes, j->logits + i * j->n_classes, &d);
		nearest[i] = d.confidence > 0 ? (int16_t)d.class_index : NO_CLASS;
	}
	return nearest;
}

static int fit(struct evaluation *ev, const struct judged *validation)
{
	struct calibration *c = &ev->calibration;
	int r;

	c->temperature = calibrate_temperature(validation);
	r = calibrate_rank(validation, c, ev->validation_rank);
	if (!r)
		r = calibrate_unknown(validation, ev->validation_rank, ev->asked_kept, c);
	if (!r)
		r = calibrate_thresholds(validation, ev->asked_precision, c, ev->found);
	ev->fitted = !r;
	return r;
}

static int measure_sources(struct evaluation *ev, const struct judged *test, const int16_t *nearest)
{
	cleanup(drop_memory) int16_t *label = calloc(test->n + 1, sizeof(*label));

	if (!label)
		return -ENOMEM;
	for (uint32_t s = 0; s < ev->n_sources; s++) {
		for (size_t i = 0; i < test->n; i++)
			label[i] = test->source[i] == s ? test->label[i] : NO_CLASS;
		metrics_figures(label, nearest, test->n, ev->n_classes, NULL, &ev->source[s]);
	}
	return 0;
}

static void count_nearest(struct evaluation *ev, const struct judged *test, const int16_t *nearest)
{
	metrics_confusion(ev->confusion, ev->n_classes, test->label, nearest, test->n);
	for (size_t i = 0; i < test->n; i++)
		if (test->label[i] == NO_CLASS && nearest[i] != NO_CLASS)
			ev->unknown_nearest[nearest[i]]++;
}

static void decided_add(struct decided_figures *f, int16_t label, int class_index)
{
	f->known += label != NO_CLASS;
	f->unknown += label == NO_CLASS;
	f->right += label == class_index;
}

static void decided_finish(struct decided_figures *f, uint64_t covered, uint64_t of)
{
	uint64_t all = f->known + f->unknown;

	f->coverage = of ? (double)covered / of : NAN;
	f->precision = all ? (double)f->right / all : NAN;
	f->precision_95 = metrics_wilson(f->right, all);
}

static void measure_decisions(struct evaluation *ev, const struct judged *test)
{
	struct decision d;

	for (size_t i = 0; i < test->n; i++) {
		int16_t label = test->label[i];

		calibrate_decide(&ev->calibration, ev->n_classes,
				 test->logits + i * test->n_classes, &d);
		if (label == NO_CLASS)
			ev->kind[test->kind[i]].n++;
		if (d.by == DECIDED_UNKNOWN)
			*(label == NO_CLASS ? &ev->unknown_refused : &ev->known_refused) += 1;
		if (d.by != DECIDED_CLASS)
			continue;
		if (label == NO_CLASS)
			ev->kind[test->kind[i]].decided++;
		decided_add(&ev->decided, label, d.class_index);
		decided_add(&ev->class_decided[d.class_index], label, d.class_index);
		if (!ev->calibration.watch_only[d.class_index])
			decided_add(&ev->acted, label, d.class_index);
	}
	decided_finish(&ev->decided, ev->decided.known, ev->n_known);
	decided_finish(&ev->acted, ev->acted.known, ev->n_known);
	for (uint32_t c = 0; c < ev->n_classes; c++)
		decided_finish(&ev->class_decided[c], ev->class_decided[c].right,
			       ev->class_figures[c].support);
}

static void measure_calibration(struct evaluation *ev, const struct judged *test)
{
	struct calibration plain = ev->calibration;

	plain.temperature = 1;
	ev->nll_before = calibrate_nll(test, 1);
	ev->nll_after = calibrate_nll(test, ev->calibration.temperature);
	calibrate_reliability(test, &plain, &ev->before);
	calibrate_reliability(test, &ev->calibration, &ev->after);
}

static int by_number(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return left < right ? -1 : left > right;
}

static int count_groups(struct evaluation *ev, const struct judged *test)
{
	cleanup(drop_memory) uint32_t *group = calloc(test->n + 1, sizeof(*group));
	size_t n = 0;

	if (!group)
		return -ENOMEM;
	for (size_t i = 0; i < test->n; i++)
		if (test->label[i] != NO_CLASS)
			group[n++] = test->group[i];
	qsort(group, n, sizeof(*group), by_number);
	for (size_t i = 0; i < n; i++)
		ev->n_groups += i == 0 || group[i] != group[i - 1];
	return 0;
}

static int measure(struct evaluation *ev, const struct judged *test, const struct bootstrap *how)
{
	cleanup(drop_memory) int16_t *nearest = nearest_classes(test, &ev->calibration);
	int r;

	if (!nearest)
		return -ENOMEM;
	metrics_figures(test->label, nearest, test->n, ev->n_classes, ev->class_figures,
			&ev->overall);
	count_nearest(ev, test, nearest);
	measure_calibration(ev, test);
	measure_decisions(ev, test);
	r = calibrate_rank(test, &ev->calibration, ev->rank);
	if (!r)
		r = measure_sources(ev, test, nearest);
	if (!r)
		r = count_groups(ev, test);
	if (!r)
		r = metrics_bootstrap(test->label, nearest, test->group, test->n, ev->n_classes,
				      how, &ev->macro_f1_95);
	return r;
}

int evaluation_new(const struct judged *validation, const struct judged *test,
		   const struct evaluation_config *config, struct evaluation **ret_evaluation,
		   struct error *e)
{
	cleanup(drop_evaluation) struct evaluation *ev = calloc(1, sizeof(*ev));
	int r = 0;

	if (!ev)
		return error_set(e, -ENOMEM, "no memory for an evaluation");
	ev->n_classes = test->n_classes;
	ev->n_sources = config->n_sources;
	ev->n_kinds = config->n_kinds;
	ev->asked_precision = config->precision;
	ev->asked_kept = config->kept;
	ev->calibration = config->before;
	ev->confusion = calloc((size_t)ev->n_classes * ev->n_classes, sizeof(*ev->confusion));
	ev->source = calloc((size_t)ev->n_sources + 1, sizeof(*ev->source));
	ev->kind = calloc((size_t)ev->n_kinds + 1, sizeof(*ev->kind));
	if (!ev->confusion || !ev->source || !ev->kind)
		return error_set(e, -ENOMEM, "no memory for an evaluation");
	count_flows(test, &ev->n_known, &ev->n_unknown);
	count_flows(validation, &ev->n_validation_known, &ev->n_validation_unknown);
	if (ev->n_validation_known)
		r = fit(ev, validation);
	if (!r)
		r = measure(ev, test, &config->bootstrap);
	if (r)
		return error_set(e, r, "no memory to measure %zu flows", test->n);
	*ret_evaluation = take_ptr(ev);
	return 0;
}

int evaluation_add_prefix(struct evaluation *ev, uint32_t packets, const struct judged *test)
{
	cleanup(drop_memory) int16_t *nearest = nearest_classes(test, &ev->calibration);

	if (!nearest)
		return -ENOMEM;
	if (ev->n_prefixes == EVALUATION_MAX_PREFIXES)
		return -ENOSPC;
	metrics_figures(test->label, nearest, test->n, ev->n_classes, NULL,
			&ev->prefix[ev->n_prefixes].figures);
	ev->prefix[ev->n_prefixes++].packets = packets;
	return 0;
}
