/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How far a long run is, and how well it goes. On a terminal one line, redrawn at most 10 times a
 * second:
 *
 *   epoch 12/120 [#####.................]  23%  loss 1.2034  f1 0.4210  1830 flows/s  3:25 left
 *
 * Elsewhere a plain line at each epoch's end, and every 10 s of a long one. The caller gives the
 * clock, so that tests can. A line fits the terminal: the bar gives way first, then what stands at
 * the end.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct progress_state {
	const char *unit; /* "epoch", "step" */
	uint64_t at, of;  /* of these, counted from 1; of >= at */
	double done;      /* share of the whole run, 0 to 1 */
	bool milestone;   /* an epoch ended: worth a plain line */
	double loss;
	const char *score_name; /* NULL: nothing was validated yet */
	double score;
	uint64_t n_flows; /* since progress_init */
};

struct progress {
	FILE *out;
	bool terminal;
	int width; /* columns; only of a terminal */
	uint64_t begun_ns, drawn_ns;
	double begun_done; /* of a run that goes on: what was done before */
	int drawn;         /* columns of the line that stands there */
};

/* begun_done: share that an earlier run did. */
void progress_init(struct progress *p, FILE *out, double begun_done, uint64_t now_ns);
void progress_show(struct progress *p, const struct progress_state *s, uint64_t now_ns);
/* Leaves the last line standing; what is printed after it begins a line of its own. */
void progress_end(struct progress *p);
