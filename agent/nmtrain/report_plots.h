/* SPDX-License-Identifier: BSD-2-Clause */
/* The pictures of the evaluation's page, each one inline SVG. */
#pragma once
#include "agent/nmtrain/report.h"

/* report_confusion.c */
void plot_confusion(FILE *out, const struct report_model *rm);
void plot_roc(FILE *out, const struct evaluation *ev);
void plot_reliability(FILE *out, const struct reliability *r, const char *label);
/* The first model's accuracy and macro F1; with several models, the macro F1 of each. */
void plot_packets(FILE *out, const struct report *r);
void plot_sources(FILE *out, const struct report *r);
/* A share and its interval in a table's cell, 0 to 100%. */
void plot_range(FILE *out, double share, struct interval i);
