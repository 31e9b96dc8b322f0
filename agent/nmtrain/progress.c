/* SPDX-License-Identifier: BSD-2-Clause */
/* See progress.h. */
#include "agent/nmtrain/progress.h"
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_NS     100000000ULL
#define PLAIN_NS      10000000000ULL
#define DEFAULT_WIDTH 80
#define MIN_BAR       8
#define MAX_BAR       24
#define MAX_PARTS     5
#define PART_SIZE     40

static void measure_terminal(struct progress *p)
{
	struct winsize size;

	if (!ioctl(fileno(p->out), TIOCGWINSZ, &size) && size.ws_col)
		p->width = size.ws_col;
}

void progress_init(struct progress *p, FILE *out, double begun_done, uint64_t now_ns)
{
	*p = (struct progress){
		.out = out,
		.terminal = isatty(fileno(out)),
		.width = DEFAULT_WIDTH,
		.begun_ns = now_ns,
		.begun_done = begun_done,
	};
}

static void duration_text(char *text, size_t size, double seconds)
{
	unsigned long s = seconds < 3.6e8 ? (unsigned long)(seconds + 0.5) : 360000000;

	if (s < 3600)
		snprintf(text, size, "%lu:%02lu", s / 60, s % 60);
	else if (s < 86400)
		snprintf(text, size, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
	else
		snprintf(text, size, "%lu d %lu h", s / 86400, s / 3600 % 24);
}

/* What stands behind the bar, the most wanted first; returns how many. */
static unsigned compose(const struct progress *p, const struct progress_state *s, uint64_t now_ns,
			char part[MAX_PARTS][PART_SIZE])
{
	double elapsed_s = (double)(now_ns - p->begun_ns) / 1e9, gained = s->done - p->begun_done;
	double rate = elapsed_s > 0 ? (double)s->n_flows / elapsed_s : 0;
	unsigned n = 0;
	char left[24];

	snprintf(part[n++], PART_SIZE, "%3d%%", (int)(s->done * 100));
	snprintf(part[n++], PART_SIZE, "  loss %.4f", s->loss);
	if (s->score_name)
		snprintf(part[n++], PART_SIZE, "  %.16s %.4f", s->score_name, s->score);
	if (gained > 0 && elapsed_s > 0) {
		duration_text(left, sizeof(left), elapsed_s * (1 - s->done) / gained);
		snprintf(part[n++], PART_SIZE, "  %s left", left);
	}
	if (rate > 0)
		snprintf(part[n++], PART_SIZE, "  %.*f flows/s", rate < 10 ? 1 : 0, rate);
	return n;
}

static void bar_text(char *text, int cells, double done)
{
	int full = (int)(done * cells);

	for (int i = 0; i < cells; i++)
		text[i] = i < full ? '#' : '.';
	text[cells] = '\0';
}

/* One line of at most width columns: head, bar, parts. The bar takes what the parts leave. */
static int line_text(char *text, size_t size, const char *head, double done, int width,
		     char part[MAX_PARTS][PART_SIZE], unsigned n_parts)
{
	int len = (int)strlen(head), room, cells;
	char bar[MAX_BAR + 1];
	unsigned n = 0;

	for (; n < n_parts && len + 1 + (int)strlen(part[n]) <= width; n++)
		len += (int)strlen(part[n]);
	room = width - len - 4; /* a blank, the brackets, one to part it from the percentage */
	cells = room < MAX_BAR ? room : MAX_BAR;
	len = snprintf(text, size, "%.*s", width, head);
	if (n == n_parts && cells >= MIN_BAR) {
		bar_text(bar, cells, done);
		len += snprintf(text + len, size - (size_t)len, " [%s]", bar);
	}
	for (unsigned i = 0; i < n; i++)
		len += snprintf(text + len, size - (size_t)len, "%s%s", i ? "" : " ", part[i]);
	return len;
}

static void draw(struct progress *p, const char *line, int len)
{
	int stale = p->drawn > len ? p->drawn - len : 0;

	fprintf(p->out, "\r%s%*s", line, stale, "");
	p->drawn = len;
	fflush(p->out);
}

void progress_show(struct progress *p, const struct progress_state *s, uint64_t now_ns)
{
	uint64_t since_ns = now_ns - (p->drawn_ns ? p->drawn_ns : p->begun_ns);
	bool first = !p->drawn_ns, last = s->done >= 1;
	char part[MAX_PARTS][PART_SIZE], head[64], line[256];
	unsigned n_parts;
	int len;

	if (p->terminal ? !first && !last && since_ns < REDRAW_NS
			: !s->milestone && !last && since_ns < PLAIN_NS)
		return;
	n_parts = compose(p, s, now_ns, part);
	snprintf(head, sizeof(head), "%.16s %llu/%llu", s->unit, (unsigned long long)s->at,
		 (unsigned long long)s->of);
	if (p->terminal) {
		measure_terminal(p);
		/* The last column stays free: some terminals wrap there. */
		len = line_text(line, sizeof(line), head, s->done,
				p->width < (int)sizeof(line) ? p->width - 1 : (int)sizeof(line) - 1,
				part, n_parts);
		draw(p, line, len);
	} else {
		fprintf(p->out, "%s", head);
		for (unsigned i = 0; i < n_parts; i++)
			fprintf(p->out, "%s%s", i ? "" : " ", part[i]);
		fputc('\n', p->out);
		fflush(p->out);
	}
	p->drawn_ns = now_ns ? now_ns : 1;
}

void progress_end(struct progress *p)
{
	if (p->terminal && p->drawn)
		fputc('\n', p->out);
	p->drawn = 0;
}
