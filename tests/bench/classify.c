/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flows a second of `nmctl classify`, end to end (start, model, captures, JSON), where the time
 * goes, and how far that is from the floor: the operations that the network's matrix products need
 * for a flow, at the rate that sgemm reaches on this machine in the largest of their shapes.
 *
 *   classify NMCTL MODEL DIRECTORY
 *
 * The captures are given to one nmctl several times over, until a run takes long enough to time.
 */
#include <cblas.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "model/model_file.h"

#define MAX_ARGUMENTS 4000
#define LONG_ENOUGH_S 4.0
#define BATCH         64 /* as the classifier has it */

static const char *arguments[MAX_ARGUMENTS + 8];
static int n_captures;

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int add_capture(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	const char *dot = strrchr(path, '.');

	(void)st, (void)ftw;
	if (strstr(path, "/malformed/"))
		return 0; /* nmctl would rightly end with an error */
	if (kind == FTW_F && dot && (!strcmp(dot, ".pcap") || !strcmp(dot, ".pcapng")) &&
	    n_captures < MAX_ARGUMENTS)
		arguments[6 + n_captures++] = strdup(path);
	return 0;
}

/* One run over the captures `times` over; its timing lines go to report. Seconds, or -1. */
static double run(const char *nmctl, const char *model, int times, char *report, size_t size)
{
	const char *head[6] = {nmctl, "classify", "--timing", "-ojson", "--model", model};
	posix_spawn_file_actions_t actions;
	double start_s = now_s();
	int pipe_fds[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	memcpy(arguments, head, sizeof(head));
	for (int i = n_captures; i < n_captures * times; i++)
		arguments[6 + i] = arguments[6 + i - n_captures];
	arguments[6 + n_captures * times] = NULL;
	if (pipe(pipe_fds))
		return -1;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 2);
	posix_spawn_file_actions_addclose(&actions, pipe_fds[0]);
	posix_spawn_file_actions_addclose(&actions, pipe_fds[1]);
	if (posix_spawn(&pid, nmctl, &actions, NULL, (char *const *)arguments, environ))
		return -1;
	close(pipe_fds[1]);
	while ((n = read(pipe_fds[0], report + len, size - 1 - len)) > 0)
		len += n;
	report[len] = 0;
	close(pipe_fds[0]);
	posix_spawn_file_actions_destroy(&actions);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status))
		return -1;
	return now_s() - start_s;
}

static unsigned long long flows_of(const char *report)
{
	const char *at = strstr(report, "timing flows ");

	return at ? strtoull(at + strlen("timing flows "), NULL, 10) : 0;
}

static double tokens_of(const struct model *m)
{
	const struct sample_shape *shape = &m->tokens.shape;
	double bytes = shape->packets * sample_row_bytes(shape);

	return 2 * (shape->seq_len + 1) + bytes / m->architecture.stride + 1;
}

/* Multiplications and additions of a flow's matrix products. */
static double products_of(const struct model *m)
{
	const struct architecture *a = &m->architecture;
	double d = a->embed_dim, e = d * a->expand, r = a->dt_rank, n = a->d_state;
	double token = d * 2 * e + e * (r + 2 * n) + r * e + e * d;
	double embed = a->stride * d * (tokens_of(m) - 2 * (m->tokens.shape.seq_len + 1) - 1);

	return 2 * (a->depth * tokens_of(m) * token + embed + d * m->n_classes);
}

/* The rest of a block: convolution, and the scan's exp, two products and sum a state. */
static double others_of(const struct model *m)
{
	const struct architecture *a = &m->architecture;
	double e = (double)a->embed_dim * a->expand;

	return a->depth * tokens_of(m) * e * (2 * a->d_conv + 6 * a->d_state);
}

static double sgemm_rate(int rows, int columns, int depth)
{
	float *a = calloc((size_t)rows * depth, sizeof(float));
	float *b = calloc((size_t)depth * columns, sizeof(float));
	float *c = calloc((size_t)rows * columns, sizeof(float));
	double best_s = 1e9, end_s = now_s() + 1;

	if (!a || !b || !c)
		exit(1);
	while (now_s() < end_s) {
		double start_s = now_s();

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, columns, depth, 1, a,
			    depth, b, columns, 0, c, columns);
		if (now_s() - start_s < best_s)
			best_s = now_s() - start_s;
	}
	free(a);
	free(b);
	free(c);
	return 2.0 * rows * columns * depth / best_s;
}

int main(int argc, char **argv)
{
	static char report[1 << 20];
	double seconds, rate, floor_s;
	unsigned long long flows;
	struct error e = {0};
	struct model *m;
	int times = 1;

	if (argc != 4 || nftw(argv[3], add_capture, 16, FTW_PHYS) || !n_captures) {
		fprintf(stderr, "usage: classify NMCTL MODEL DIRECTORY-WITH-CAPTURES\n");
		return 2;
	}
	if (model_load(argv[2], &m, &e)) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	while ((seconds = run(argv[1], argv[2], times, report, sizeof(report))) >= 0 &&
	       seconds < LONG_ENOUGH_S && n_captures * times * 2 <= MAX_ARGUMENTS)
		times *= 2;
	flows = flows_of(report);
	if (seconds < 0 || !flows) {
		fprintf(stderr, "nmctl classify failed:\n%s", report);
		return 1;
	}
	rate = sgemm_rate(BATCH * (int)tokens_of(m),
			  2 * (int)(m->architecture.embed_dim * m->architecture.expand),
			  (int)m->architecture.embed_dim);
	floor_s = products_of(m) / rate;
	printf("%d captures %d times over in %.2f s\n%s", n_captures, times, seconds, report);
	printf("a flow: %.0f tokens, %.1f MFLOP in matrix products, about %.1f in conv and scan\n",
	       tokens_of(m), products_of(m) / 1e6, others_of(m) / 1e6);
	printf("sgemm here: %.1f GFLOP/s; floor %.3f ms a flow, reached %.3f ms\n", rate / 1e9,
	       floor_s * 1e3, seconds / flows * 1e3);
	printf("figure classify_share_of_sgemm_floor %.3f ratio\n", floor_s * flows / seconds);
	printf("figure classify_flows_per_second %.0f flows/s\n", flows / seconds);
	model_unref(m);
	return 0;
}
