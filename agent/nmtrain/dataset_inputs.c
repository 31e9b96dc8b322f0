/* SPDX-License-Identifier: BSD-2-Clause */
/* Inputs from the command line, and the walk over their folders. */
#include <errno.h>
#include <fnmatch.h>
#include <fts.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/nmtrain/dataset_inputs.h"

/* The index in argv of the text that item is part of: "--class=tor" as well as "--class" "tor". */
static int place_of(const char *item, int argc, char *const *argv)
{
	for (int i = 0; i < argc; i++)
		if (item >= argv[i] && item <= argv[i] + strlen(argv[i]))
			return i;
	return -1;
}

/* "tor", or "udp/53=dns" for one port. */
static int add_class(struct dataset_input *input, const char *text, struct error *e)
{
	struct dataset_port_class *port = &input->ports[input->n_ports];
	const char *equals = strchr(text, '=');
	unsigned number;
	int end = 0;

	if (!equals) {
		if (input->class_name)
			return error_set(e, -EINVAL,
					 "--class %.40s and --class %.40s: which of them is %.80s?",
					 input->class_name, text, input->path);
		input->class_name = text;
		return 0;
	}
	port->proto = strncmp(text, "tcp/", 4) ? IPPROTO_UDP : IPPROTO_TCP;
	if ((strncmp(text, "tcp/", 4) && strncmp(text, "udp/", 4)) ||
	    sscanf(text + 4, "%5u%n", &number, &end) != 1 || text + 4 + end != equals ||
	    number > UINT16_MAX || !equals[1])
		return error_set(e, -EINVAL,
				 "--class %.60s: write a class, or tcp/PORT=CLASS, udp/PORT=CLASS",
				 text);
	port->port = (uint16_t)number;
	port->class_name = equals + 1;
	input->n_ports++;
	return 0;
}

static int add_source(struct dataset_input *input, const char *text, struct error *e)
{
	struct dataset_source_rule *rule = &input->sources[input->n_sources];
	const char *equals = strrchr(text, '=');

	rule->name = equals ? equals + 1 : text;
	if (!*rule->name)
		return error_set(e, -EINVAL, "--source %.60s: write NAME or PATTERN=NAME", text);
	rule->pattern = equals ? strndup(text, (size_t)(equals - text)) : NULL;
	if (equals && !rule->pattern)
		return error_set(e, -ENOMEM, "no memory");
	input->n_sources++;
	return 0;
}

static int add_labels(struct dataset_input *input, const char *path, struct error *e)
{
	if (input->labels_path)
		return error_set(e, -EINVAL,
				 "--labels %.60s and --labels %.60s: which of them is of %.60s?",
				 input->labels_path, path, input->path);
	input->labels_path = path;
	return 0;
}

/* Those options of the list that stand between the captures before and these. */
static int add_options(struct dataset_input *input, const struct option_list *list,
		       int (*add)(struct dataset_input *input, const char *text, struct error *e),
		       const int range[2], int argc, char *const *argv, struct error *e)
{
	int place, status = 0;

	for (size_t i = 0; !status && i < list->n; i++) {
		place = place_of(list->items[i], argc, argv);
		if (place > range[0] && place < range[1])
			status = add(input, list->items[i], e);
	}
	return status;
}

/* What stands behind the last --captures belongs to none. */
static int check_rest(const struct dataset_input_options *o, int last, int argc, char *const *argv,
		      struct error *e)
{
	const struct option_list *lists[] = {&o->labels, &o->classes, &o->sources};
	static const char *const names[] = {"labels", "class", "source"};

	for (size_t k = 0; k < 3; k++)
		for (size_t i = 0; i < lists[k]->n; i++)
			if (place_of(lists[k]->items[i], argc, argv) > last)
				return error_set(e, -EINVAL,
						 "--%s %.80s: no --captures follows that it could "
						 "belong to",
						 names[k], lists[k]->items[i]);
	return 0;
}

int dataset_inputs_new(const struct dataset_input_options *o, int argc, char *const *argv,
		       struct dataset_input **ret_inputs, size_t *ret_n, struct error *e)
{
	struct dataset_input *inputs = calloc(o->captures.n + 1, sizeof(*inputs));
	int range[2] = {0, 0}, status = 0;

	if (!inputs)
		return error_set(e, -ENOMEM, "no memory for the inputs");
	for (size_t i = 0; !status && i < o->captures.n; i++) {
		struct dataset_input *input = &inputs[i];

		input->path = o->captures.items[i];
		range[1] = place_of(input->path, argc, argv);
		status = add_options(input, &o->labels, add_labels, range, argc, argv, e);
		if (!status)
			status = add_options(input, &o->classes, add_class, range, argc, argv, e);
		if (!status)
			status = add_options(input, &o->sources, add_source, range, argc, argv, e);
		if (!status && input->labels_path)
			status = labels_file_read(input->labels_path, &input->labels, e);
		range[0] = range[1];
	}
	if (!status)
		status = check_rest(o, range[1], argc, argv, e);
	if (status) {
		dataset_inputs_free(inputs, o->captures.n);
		return status;
	}
	*ret_inputs = inputs;
	*ret_n = o->captures.n;
	return 0;
}

void dataset_inputs_free(struct dataset_input *inputs, size_t n)
{
	for (size_t i = 0; inputs && i < n; i++) {
		labels_file_free(inputs[i].labels);
		for (size_t k = 0; k < inputs[i].n_sources; k++)
			free(inputs[i].sources[k].pattern);
	}
	free(inputs);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool is_capture_name(const char *name)
{
	static const char *const endings[] = {".pcap", ".pcapng", ".cap"};
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && i < sizeof(endings) / sizeof(endings[0]); i++)
		if (!strcmp(dot, endings[i]))
			return true;
	return false;
}

/* The folder below root in which the file lies, or root's own name. root: without links and "..";
 * path begins as given. */
static void default_source(char source[NAME_MAX + 1], const char *root, const char *given,
			   const char *path)
{
	const char *below = path + strlen(given), *slash;

	below += strspn(below, "/");
	slash = strchr(below, '/');
	if (slash)
		snprintf(source, NAME_MAX + 1, "%.*s", (int)(slash - below), below);
	else
		snprintf(source, NAME_MAX + 1, "%s", base_name(root));
}

static int hand_out(const struct dataset_input *input, const char *root, const char *path,
		    dataset_capture_fn on_capture, void *ctx)
{
	struct dataset_origin origin = {.labels = input->labels,
					.class_name = input->class_name,
					.ports = input->ports,
					.n_ports = input->n_ports};
	char source[NAME_MAX + 1];

	default_source(source, root, input->path, path);
	origin.source = source;
	for (size_t i = 0; i < input->n_sources; i++) {
		const struct dataset_source_rule *rule = &input->sources[i];

		if (rule->pattern && fnmatch(rule->pattern, base_name(path), 0))
			continue;
		origin.source = rule->name;
		break;
	}
	return on_capture(ctx, path, &origin);
}

static int compare_entries(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int walk_entry(const struct dataset_input *input, const char *root, const FTSENT *entry,
		      dataset_capture_fn on_capture, void *ctx, uint64_t *ret_others,
		      struct error *e)
{
	switch (entry->fts_info) {
	case FTS_F:
		if (entry->fts_level == FTS_ROOTLEVEL || is_capture_name(entry->fts_name))
			return hand_out(input, root, entry->fts_path, on_capture, ctx);
		++*ret_others;
		return 0;
	case FTS_SLNONE:
		++*ret_others;
		return 0;
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		return error_set(e, -entry->fts_errno, "%.180s: %s", entry->fts_path,
				 strerror(entry->fts_errno));
	case FTS_DC:
		return error_set(e, -ELOOP, "%.180s: leads back to a folder above it",
				 entry->fts_path);
	default:
		return 0;
	}
}

int dataset_input_walk(const struct dataset_input *input, dataset_capture_fn on_capture, void *ctx,
		       uint64_t *ret_others, struct error *e)
{
	char *paths[] = {(char *)input->path, NULL};
	char *root = realpath(input->path, NULL), *slash;
	FTS *walk = root ? fts_open(paths, FTS_LOGICAL | FTS_NOCHDIR, compare_entries) : NULL;
	struct stat st;
	int status = 0;
	FTSENT *entry;

	if (!walk) {
		status = error_set(e, -errno, "%.180s: %s", input->path, strerror(errno));
		free(root);
		return status;
	}
	/* A single capture is of the folder that it lies in. */
	if (!stat(root, &st) && !S_ISDIR(st.st_mode) && (slash = strrchr(root, '/')) &&
	    slash > root)
		*slash = 0;
	while (!status && (errno = 0, entry = fts_read(walk)))
		status = walk_entry(input, root, entry, on_capture, ctx, ret_others, e);
	if (!status && errno)
		status = error_set(e, -errno, "%.180s: %s", input->path, strerror(errno));
	fts_close(walk);
	free(root);
	return status;
}
