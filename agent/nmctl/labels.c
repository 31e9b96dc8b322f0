/* SPDX-License-Identifier: BSD-2-Clause */
/* Labels in the C library's hash table, and the confusion that the figures are made of. */
#include <arpa/inet.h>
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmctl/labels.h"

#define N_FIELDS       10
#define MAX_KEY        256
#define MAX_ROWS       4000000
#define CLASS_UNLISTED (-1)

struct row {
	char *key;
	int class_index;
};

struct labels {
	struct row *rows;
	size_t n_rows;
	struct hsearch_data table;
	uint32_t n_classes;
	/* by class: labelled so, judged so, both */
	uint64_t labelled[MODEL_MAX_CLASSES], judged[MODEL_MAX_CLASSES], right[MODEL_MAX_CLASSES];
};

/* The two ends in the order of their text, so that a pair has one key. */
static int make_key(char key[MAX_KEY], const char *capture, const char *proto, const char *ends[2])
{
	const char *slash = strrchr(capture, '/');
	int first = strcmp(ends[0], ends[1]) > 0;
	int len = snprintf(key, MAX_KEY, "%s %s %s %s", slash ? slash + 1 : capture, proto,
			   ends[first], ends[!first]);

	return len < MAX_KEY ? 0 : -ENAMETOOLONG;
}

static size_t split(char *line, char *fields[N_FIELDS])
{
	size_t n = 0;

	line[strcspn(line, "\r\n")] = 0;
	while (n < N_FIELDS && (fields[n] = strsep(&line, "\t")))
		n++;
	return n;
}

/* IPv6 has several spellings; ours is inet_ntop's. */
static void write_end(char end[80], const char *address, const char *port)
{
	char ours[INET6_ADDRSTRLEN];
	struct in6_addr binary;

	if (inet_pton(AF_INET6, address, &binary) == 1)
		address = inet_ntop(AF_INET6, &binary, ours, sizeof(ours));
	snprintf(end, 80, "%s/%s", address, port);
}

static int add_row(struct labels *l, const struct model *m, char *fields[N_FIELDS])
{
	char key[MAX_KEY], a[80], b[80];
	const char *ends[2] = {a, b};
	struct row *grown;

	write_end(a, fields[2], fields[3]);
	write_end(b, fields[4], fields[5]);
	if (make_key(key, fields[0], fields[1], ends))
		return -ENAMETOOLONG;
	if (l->n_rows == MAX_ROWS)
		return -EFBIG;
	if (!(l->n_rows & (l->n_rows - 1))) {
		grown = realloc(l->rows, (l->n_rows ? l->n_rows * 2 : 1) * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		l->rows = grown;
	}
	l->rows[l->n_rows].key = strdup(key);
	if (!l->rows[l->n_rows].key)
		return -ENOMEM;
	l->rows[l->n_rows++].class_index = model_class_index(m, fields[7]);
	return 0;
}

static int read_rows(struct labels *l, const struct model *m, FILE *file, const char *path,
		     struct error *e)
{
	char *line = NULL, *fields[N_FIELDS];
	size_t size = 0, n_lines = 0;
	int status = 0;

	while (!status && getline(&line, &size, file) > 0) {
		size_t n = split(line, fields);

		n_lines++;
		if (n != N_FIELDS || (n_lines == 1 && strcmp(fields[0], "pcap")))
			status = error_set(e, -EINVAL,
					   "%.100s:%zu: not a table of labels: its columns are "
					   "pcap proto addr_a port_a addr_b port_b label class "
					   "packets bytes",
					   path, n_lines);
		else if (n_lines > 1 && (status = add_row(l, m, fields)))
			error_set(e, status, "%.100s:%zu: %s", path, n_lines, strerror(-status));
	}
	free(line);
	return status;
}

static int index_rows(struct labels *l)
{
	ENTRY entry, *found;

	if (!hcreate_r(l->n_rows * 2 + 1, &l->table))
		return -ENOMEM;
	for (size_t i = 0; i < l->n_rows; i++) {
		entry = (ENTRY){.key = l->rows[i].key, .data = &l->rows[i]};
		if (!hsearch_r(entry, ENTER, &found, &l->table))
			return -ENOMEM;
	}
	return 0;
}

int labels_read(const char *path, const struct model *m, struct labels **ret_labels,
		struct error *e)
{
	struct labels *l;
	FILE *file = fopen(path, "re");
	int status;

	if (!file)
		return error_set(e, -errno, "%.200s: %s", path, strerror(errno));
	l = calloc(1, sizeof(*l));
	status = l ? read_rows(l, m, file, path, e) : error_set(e, -ENOMEM, "no memory");
	fclose(file);
	if (!status) {
		l->n_classes = m->n_classes;
		status = index_rows(l);
		if (status)
			error_set(e, status, "%.200s: no memory", path);
	}
	if (status) {
		labels_free(l);
		return status;
	}
	*ret_labels = l;
	return 0;
}

void labels_free(struct labels *l)
{
	if (!l)
		return;
	hdestroy_r(&l->table);
	for (size_t i = 0; i < l->n_rows; i++)
		free(l->rows[i].key);
	free(l->rows);
	free(l);
}

void labels_count(struct labels *l, const char *capture, const struct flow_event *event,
		  int class_index)
{
	char key[MAX_KEY], proto[8], text[46], end[2][80];
	const char *ends[2] = {end[0], end[1]};
	ENTRY entry = {.key = key}, *found;
	const struct row *row;
	uint16_t port;

	for (int side = 0; side < 2; side++) {
		event_address(event, side, text, &port);
		snprintf(end[side], sizeof(end[side]), "%s/%u", text, port);
	}
	if (make_key(key, capture, event_proto_name(event->key.proto, proto), ends) ||
	    !hsearch_r(entry, FIND, &found, &l->table))
		return;
	row = found->data;
	if (row->class_index == CLASS_UNLISTED)
		return;
	l->labelled[row->class_index]++;
	l->judged[class_index]++;
	l->right[class_index] += class_index == row->class_index;
}

void labels_figures(const struct labels *l, struct labels_figures *ret_figures)
{
	struct labels_figures f = {0};

	for (uint32_t i = 0; i < l->n_classes; i++) {
		f.n_flows += l->labelled[i];
		f.n_right += l->right[i];
		if (!l->labelled[i])
			continue;
		f.n_classes++;
		f.macro_f1 += 2.0 * l->right[i] / (l->labelled[i] + l->judged[i]);
	}
	if (f.n_classes)
		f.macro_f1 /= f.n_classes;
	*ret_figures = f;
}
