/* SPDX-License-Identifier: BSD-2-Clause */
/* Labels as flow keys, sorted by capture and key. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "agent/flow/labels_file.h"

#define N_FIELDS 10
#define MAX_ROWS 4000000

struct row {
	char *text; /* the line: all strings point into it */
	const char *capture;
	struct flow_key key;
	struct labels_row row;
	size_t line;
};

struct labels_file {
	struct row *rows;
	size_t n_rows;
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static size_t split(char *line, char *fields[N_FIELDS])
{
	size_t n = 0;

	line[strcspn(line, "\r\n")] = 0;
	while (n < N_FIELDS && (fields[n] = strsep(&line, "\t")))
		n++;
	return line ? N_FIELDS + 1 : n;
}

static int read_number(const char *text, unsigned long max, unsigned long *ret_number)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*ret_number = strtoul(text, &end, 10);
	return errno || *end || *ret_number > max ? -EINVAL : 0;
}

static int read_proto(const char *text, __u8 *ret_proto)
{
	static const struct {
		const char *name;
		__u8 number;
	} named[] = {{"tcp", IPPROTO_TCP},
		     {"udp", IPPROTO_UDP},
		     {"icmp", IPPROTO_ICMP},
		     {"icmp6", IPPROTO_ICMPV6}};
	unsigned long number;

	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
		if (strcmp(text, named[i].name))
			continue;
		*ret_proto = named[i].number;
		return 0;
	}
	if (read_number(text, UINT8_MAX, &number))
		return -EINVAL;
	*ret_proto = (__u8)number;
	return 0;
}

static int read_end(const char *address, const char *port, __u8 addr[16], __be16 *ret_port_be)
{
	unsigned long number;

	memset(addr, 0, 10);
	memset(addr + 10, 0xff, 2);
	if (inet_pton(AF_INET, address, addr + 12) != 1 && inet_pton(AF_INET6, address, addr) != 1)
		return -EINVAL;
	if (read_number(port, UINT16_MAX, &number))
		return -EINVAL;
	*ret_port_be = htons((uint16_t)number);
	return 0;
}

static bool has_ports(__u8 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP;
}

/* What is not in a table of labels: the VLAN, and what ICMP has in the place of ports. */
static void reduce(struct flow_key *key)
{
	key->vlan_id = 0;
	if (!has_ports(key->proto))
		key->port_lo_be = key->port_hi_be = 0;
}

/* fields: proto addr_a port_a addr_b port_b */
static int read_key(char *const fields[5], struct flow_key *key)
{
	int order;

	memset(key, 0, sizeof(*key));
	if (read_proto(fields[0], &key->proto) ||
	    read_end(fields[1], fields[2], key->addr_lo, &key->port_lo_be) ||
	    read_end(fields[3], fields[4], key->addr_hi, &key->port_hi_be))
		return -EINVAL;
	reduce(key);
	order = memcmp(key->addr_lo, key->addr_hi, sizeof(key->addr_lo));
	if (!order)
		order = memcmp(&key->port_lo_be, &key->port_hi_be, sizeof(key->port_lo_be));
	if (order > 0) {
		struct flow_key turned = *key;

		memcpy(key->addr_lo, turned.addr_hi, sizeof(key->addr_lo));
		memcpy(key->addr_hi, turned.addr_lo, sizeof(key->addr_hi));
		key->port_lo_be = turned.port_hi_be;
		key->port_hi_be = turned.port_lo_be;
	}
	return 0;
}

/* Takes the text when it succeeds. */
static int add_row(struct labels_file *f, char *text, char *const fields[N_FIELDS], size_t line)
{
	struct row *grown, *row;

	if (f->n_rows == MAX_ROWS)
		return -EFBIG;
	if (!(f->n_rows & (f->n_rows - 1))) {
		grown = realloc(f->rows, (f->n_rows ? f->n_rows * 2 : 1) * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		f->rows = grown;
	}
	row = &f->rows[f->n_rows];
	if (read_key(fields + 1, &row->key))
		return -EINVAL;
	row->text = text;
	row->capture = base_name(fields[0]);
	row->row = (struct labels_row){.label = fields[6], .class_name = fields[7]};
	row->line = line;
	f->n_rows++;
	return 0;
}

static int read_line(struct labels_file *f, char **line, const char *path, size_t n_lines,
		     struct error *e)
{
	char *fields[N_FIELDS];
	size_t n = split(*line, fields);
	int status;

	if (n != N_FIELDS || (n_lines == 1 && strcmp(fields[0], "pcap")))
		return error_set(e, -EINVAL,
				 "%.100s:%zu: not a table of labels: its columns are pcap proto "
				 "addr_a port_a addr_b port_b label class packets bytes",
				 path, n_lines);
	if (n_lines == 1)
		return 0;
	status = add_row(f, *line, fields, n_lines);
	if (status == -EINVAL)
		return error_set(e, status,
				 "%.100s:%zu: \"%.8s %.40s %.8s %.40s %.8s\" is no flow: proto "
				 "address port address port",
				 path, n_lines, fields[1], fields[2], fields[3], fields[4],
				 fields[5]);
	if (status)
		return error_set(e, status, "%.100s:%zu: %s", path, n_lines, strerror(-status));
	*line = NULL;
	return 0;
}

static int read_rows(struct labels_file *f, FILE *file, const char *path, struct error *e)
{
	size_t size = 0, n_lines = 0;
	char *line = NULL;
	int status = 0;

	while (!status && getline(&line, &size, file) > 0) {
		status = read_line(f, &line, path, ++n_lines, e);
		size = line ? size : 0;
	}
	free(line);
	if (!status && ferror(file))
		return error_set(e, -EIO, "%.100s: cannot be read", path);
	if (!status && !n_lines)
		return error_set(e, -EINVAL, "%.100s: empty: a table of labels has a header", path);
	return status;
}

static int compare_flows(const struct row *a, const struct row *b)
{
	int order = strcmp(a->capture, b->capture);

	return order ? order : memcmp(&a->key, &b->key, sizeof(a->key));
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	int order = compare_flows(x, y);

	return order ? order : (x->line > y->line) - (x->line < y->line);
}

int labels_file_read(const char *path, struct labels_file **ret_file, struct error *e)
{
	FILE *file = fopen(path, "re");
	struct labels_file *f;
	int status;

	if (!file)
		return error_set(e, -errno, "%.200s: %s", path, strerror(errno));
	f = calloc(1, sizeof(*f));
	status = f ? read_rows(f, file, path, e) : error_set(e, -ENOMEM, "no memory");
	fclose(file);
	if (status) {
		labels_file_free(f);
		return status;
	}
	if (f->n_rows)
		qsort(f->rows, f->n_rows, sizeof(*f->rows), compare_rows);
	*ret_file = f;
	return 0;
}

void labels_file_free(struct labels_file *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n_rows; i++)
		free(f->rows[i].text);
	free(f->rows);
	free(f);
}

/* Line 0 stands before all of the same ends, so the first row of these is found. */
const struct labels_row *labels_file_find(const struct labels_file *f, const char *capture,
					  const struct flow_key *key)
{
	struct row wanted = {.capture = base_name(capture), .key = *key};
	size_t low = 0, high = f->n_rows, middle;

	reduce(&wanted.key);
	while (low < high) {
		middle = low + (high - low) / 2;
		if (compare_rows(&f->rows[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == f->n_rows || compare_flows(&f->rows[low], &wanted))
		return NULL;
	return &f->rows[low].row;
}
