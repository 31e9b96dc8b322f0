/* SPDX-License-Identifier: BSD-2-Clause */
/* Captures through the offline line into flows with classes. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "agent/flow/offline.h"
#include "agent/nmtrain/dataset_build.h"
#include "agent/nmtrain/dataset_format.h"
#include "agent/nmtrain/names.h"
#include "model/rng.h"

/* As `nmctl classify` follows and ends flows. */
#define MAX_ASSEMBLING 32768
#define FLOW_IDLE_NS   300000000000ULL

struct dataset_builder {
	struct dataset_config config;
	struct dataset *set; /* flows and captures so far; its lists have room for more */
	uint32_t flow_room, capture_room;
	struct names classes, labels, contents; /* contents: SHA-256 of captures, their index */
	struct dataset_counts counts;
	/* of the capture being read */
	const struct dataset_origin *origin;
	const char *path;
	int status; /* the first failure in a callback */
	struct error error;
};

int dataset_builder_new(const struct dataset_config *config, struct dataset_builder **ret_builder,
			struct error *e)
{
	const struct sample_shape *s = &config->shape;
	struct dataset_builder *b;

	if (!config->n_folds || config->n_folds > DATASET_MAX_FOLDS)
		return error_set(e, -EINVAL, "%u folds: 1 to %d can be", config->n_folds,
				 DATASET_MAX_FOLDS);
	if (!s->packets || s->packets > s->seq_len || s->packets > MODEL_MAX_PACKETS ||
	    s->seq_len > MODEL_MAX_SEQ_LEN || s->header_bytes > MODEL_MAX_HEADER_BYTES ||
	    s->payload_bytes > MODEL_MAX_PAYLOAD_BYTES)
		return error_set(e, -EINVAL,
				 "samples of %u packets of %u + %u bytes, and %u sizes: at most %d "
				 "packets, %d + %d bytes and %d sizes, and no fewer sizes than "
				 "packets",
				 s->packets, s->header_bytes, s->payload_bytes, s->seq_len,
				 MODEL_MAX_PACKETS, MODEL_MAX_HEADER_BYTES, MODEL_MAX_PAYLOAD_BYTES,
				 MODEL_MAX_SEQ_LEN);
	b = calloc(1, sizeof(*b));
	if (b)
		b->set = calloc(1, sizeof(*b->set));
	/* Label 0 is none. */
	if (!b || !b->set || names_add(&b->labels, "", NMD_MAX_LABELS)) {
		dataset_builder_free(b);
		return error_set(e, -ENOMEM, "no memory for a data set");
	}
	b->config = *config;
	b->set->shape = config->shape;
	b->set->n_folds = config->n_folds;
	*ret_builder = b;
	return 0;
}

void dataset_builder_free(struct dataset_builder *b)
{
	if (!b)
		return;
	dataset_free(b->set);
	names_fini(&b->classes);
	names_fini(&b->labels);
	names_fini(&b->contents);
	free(b);
}

__attribute__((format(printf, 3, 4))) static void fail(struct dataset_builder *b, int status,
						       const char *format, ...)
{
	char what[200];
	va_list args;

	if (b->status)
		return;
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	b->status = error_set(&b->error, status, "%s", what);
}

static const char *class_by_port(const struct dataset_origin *o, const struct flow_key *key)
{
	if (key->proto != IPPROTO_TCP && key->proto != IPPROTO_UDP)
		return NULL;
	for (size_t i = 0; i < o->n_ports; i++)
		if (o->ports[i].proto == key->proto &&
		    (ntohs(key->port_lo_be) == o->ports[i].port ||
		     ntohs(key->port_hi_be) == o->ports[i].port))
			return o->ports[i].class_name;
	return NULL;
}

/* As names of classes in model files are. */
static bool is_class_name(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len < MODEL_CLASS_NAME &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static void set_class(struct dataset_builder *b, struct dataset_flow *f, const char *class_name,
		      const char *label)
{
	int class_index, label_index;

	if (!is_class_name(class_name)) {
		fail(b, -EINVAL,
		     "\"%.40s\" is no name of a class: at most %d of a to z, 0 to 9 and -",
		     class_name, MODEL_CLASS_NAME - 1);
		return;
	}
	if (strlen(label) > NMD_MAX_NAME) {
		fail(b, -ENAMETOOLONG, "label %.40s...: at most %d bytes", label, NMD_MAX_NAME);
		return;
	}
	class_index = names_add(&b->classes, class_name, MODEL_MAX_CLASSES + 1);
	label_index = names_add(&b->labels, label, NMD_MAX_LABELS);
	if (class_index == -EFBIG || label_index == -EFBIG)
		fail(b, -EFBIG, "more than %d classes or %d labels", MODEL_MAX_CLASSES + 1,
		     NMD_MAX_LABELS);
	else if (class_index < 0 || label_index < 0)
		fail(b, -ENOMEM, "no memory for a name");
	if (b->status)
		return;
	b->counts.labelled++;
	f->class_index = (int16_t)class_index;
	f->label = (uint16_t)label_index;
}

static void classify(struct dataset_builder *b, struct dataset_flow *f, const struct flow_key *key)
{
	const struct dataset_origin *o = b->origin;
	const struct labels_row *row = o->labels ? labels_file_find(o->labels, b->path, key) : NULL;
	const char *class_name = class_by_port(o, key);

	if (row)
		set_class(b, f, row->class_name, row->label);
	else if (class_name || (class_name = o->class_name))
		set_class(b, f, class_name, class_name);
}

static int reserve_flow(struct dataset_builder *b)
{
	struct dataset *set = b->set;
	uint32_t room = b->flow_room ? b->flow_room * 2 : 4096;
	struct dataset_flow *grown;

	if (set->n_flows == NMD_MAX_FLOWS ||
	    (set->n_flows + 1ULL) * flow_sample_size(&set->shape) > NMD_MAX_MEMORY)
		return -EFBIG;
	if (set->n_flows < b->flow_room)
		return 0;
	grown = realloc(set->flow, room * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	set->flow = grown;
	b->flow_room = room;
	return 0;
}

/* Flows stand in the order of their starts; user is the index, plus 1. */
static void on_start(void *ctx, struct flow_info *info)
{
	struct dataset_builder *b = ctx;
	struct dataset *set = b->set;
	int status = b->status ? b->status : reserve_flow(b);

	info->user = NULL;
	if (status == -EFBIG)
		fail(b, status,
		     "more than %u flows, or than %llu GiB of samples: give fewer "
		     "captures at once",
		     set->n_flows, NMD_MAX_MEMORY >> 30);
	else if (status)
		fail(b, status, "no memory for a flow");
	if (status)
		return;
	set->flow[set->n_flows++] = (struct dataset_flow){
		.class_index = DATASET_NO_CLASS,
		.capture = set->n_captures,
	};
	info->user = (void *)(uintptr_t)set->n_flows;
}

static struct flow_sample *copy_sample(const struct flow_sample *s)
{
	struct flow_sample *copy = flow_sample_new(&s->shape);

	if (!copy)
		return NULL;
	copy->n_packets = s->n_packets;
	memcpy(copy->packets, s->packets, s->n_packets * sizeof(*s->packets));
	memcpy(copy->bytes, s->bytes, s->shape.packets * sample_row_bytes(&s->shape));
	return copy;
}

static void on_ready(void *ctx, const struct flow_info *info, const struct flow_sample *sample,
		     enum ready_reason why)
{
	struct dataset_builder *b = ctx;
	struct dataset_flow *f;

	(void)why;
	if (!info->user || b->status)
		return;
	f = &b->set->flow[(uintptr_t)info->user - 1];
	classify(b, f, &info->key);
	if (f->class_index == DATASET_NO_CLASS && b->config.labelled_only)
		return;
	f->sample = copy_sample(sample);
	if (!f->sample)
		fail(b, -ENOMEM, "no memory for a sample");
	else
		f->first_ns = sample->packets[0].time_ns;
}

static void on_done(void *ctx, const struct flow_info *info)
{
	struct dataset_builder *b = ctx;
	struct dataset_flow *f;

	if (!info->user)
		return;
	f = &b->set->flow[(uintptr_t)info->user - 1];
	f->packets = info->packets;
	f->bytes = info->bytes;
}

/* Of the flows from first on; the capture's that was read last. */
static void drop_unwanted(struct dataset_builder *b, uint32_t first)
{
	struct dataset *set = b->set;
	uint32_t n = first;

	b->counts.flows += set->n_flows - first;
	for (uint32_t i = first; i < set->n_flows; i++) {
		struct dataset_flow *f = &set->flow[i];

		if (f->sample && f->packets >= b->config.min_packets) {
			set->flow[n++] = *f;
			continue;
		}
		if (f->sample)
			b->counts.short_flows++;
		else
			b->counts.unlabelled++;
		flow_sample_free(f->sample);
	}
	set->n_flows = n;
}

static int hash_file(const char *path, char sha256[65], struct error *e)
{
	crypto_hash_sha256_state state;
	uint8_t bytes[1 << 14], digest[32];
	FILE *file = fopen(path, "re");
	size_t n;
	int status = 0;

	if (!file)
		return error_set(e, -EBADMSG, "%.180s: %s", path, strerror(errno));
	crypto_hash_sha256_init(&state);
	while ((n = fread(bytes, 1, sizeof(bytes), file)) > 0)
		crypto_hash_sha256_update(&state, bytes, n);
	if (ferror(file))
		status = error_set(e, -EBADMSG, "%.180s: %s", path, strerror(errno));
	fclose(file);
	crypto_hash_sha256_final(&state, digest);
	sodium_bin2hex(sha256, 65, digest, sizeof(digest));
	return status;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The capture's entry, after its flows. */
static int add_capture(struct dataset_builder *b, const char *sha256)
{
	struct dataset *set = b->set;
	struct dataset_capture *c;
	int status;

	if (set->n_captures == b->capture_room) {
		uint32_t room = b->capture_room ? b->capture_room * 2 : 256;

		c = realloc(set->capture, room * sizeof(*c));
		if (!c)
			return -ENOMEM;
		set->capture = c;
		b->capture_room = room;
	}
	status = names_add(&b->contents, sha256, NMD_MAX_CAPTURES);
	if (status < 0)
		return status;
	c = &set->capture[set->n_captures];
	*c = (struct dataset_capture){.name = strdup(base_name(b->path)),
				      .source = strdup(b->origin->source)};
	strcpy(c->sha256, sha256);
	if (!c->name || !c->source) {
		free(c->name);
		free(c->source);
		return -ENOMEM;
	}
	set->n_captures++;
	return 0;
}

static int read_flows(struct dataset_builder *b, struct error *e)
{
	struct offline_config config = {
		.shape = b->config.shape,
		.max_flows = MAX_ASSEMBLING,
		.flow_idle_ns = FLOW_IDLE_NS,
		.on_ready = on_ready,
		.on_start = on_start,
		.on_done = on_done,
		.ctx = b,
	};
	struct offline_stats stats = {0};
	int status = offline_read(b->path, &config, &stats, e);

	b->counts.packets += stats.packets;
	if (stats.assembler.flows_no_memory)
		fail(b, -ENOMEM, "no memory for a sample");
	if (b->status)
		return error_set(e, b->status, "%.80s: %.170s", b->path, b->error.text);
	if (!status || status == -ENOMEM)
		return status;
	b->counts.broken++;
	if (e)
		e->code = -EBADMSG;
	return -EBADMSG;
}

int dataset_builder_add(struct dataset_builder *b, const char *path,
			const struct dataset_origin *origin, struct error *e)
{
	uint32_t first = b->set->n_flows;
	char sha256[65];
	int status = hash_file(path, sha256, e), same, added;

	b->path = path;
	b->origin = origin;
	if (status) {
		b->counts.broken++;
		return status;
	}
	same = names_find(&b->contents, sha256);
	if (same >= 0) {
		b->counts.copies++;
		return error_set(e, -EEXIST, "%.120s: the same as %.100s", path,
				 b->set->capture[same].name);
	}
	if (strlen(base_name(path)) > NMD_MAX_NAME || strlen(origin->source) > NMD_MAX_NAME)
		return error_set(e, -ENAMETOOLONG, "%.120s: its name or source is longer than %d",
				 path, NMD_MAX_NAME);
	status = read_flows(b, e);
	if (status && status != -EBADMSG)
		return status;
	drop_unwanted(b, first);
	added = add_capture(b, sha256);
	if (added)
		return error_set(e, added, "%.120s: no room for another capture", path);
	b->counts.captures++;
	return status;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(struct name *const *)a)->text, (*(struct name *const *)b)->text);
}

/* In the order of the alphabet, whatever capture came first. */
static int take_classes(struct dataset_builder *b)
{
	struct dataset *set = b->set;
	int16_t place[MODEL_MAX_CLASSES + 1];

	set->class_name = calloc(b->classes.n + 1, sizeof(*set->class_name));
	if (!set->class_name)
		return -ENOMEM;
	if (b->classes.n)
		qsort(b->classes.list, b->classes.n, sizeof(struct name *), compare_names);
	for (uint32_t i = 0; i < b->classes.n; i++) {
		strcpy(set->class_name[i], b->classes.list[i]->text);
		place[b->classes.list[i]->index] = (int16_t)i;
	}
	set->n_classes = b->classes.n;
	for (uint32_t i = 0; i < set->n_flows; i++)
		if (set->flow[i].class_index >= 0)
			set->flow[i].class_index = place[set->flow[i].class_index];
	return 0;
}

static int take_labels(struct dataset_builder *b)
{
	struct dataset *set = b->set;

	set->label_name = calloc(b->labels.n + 1, sizeof(*set->label_name));
	if (!set->label_name)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->labels.n; i++) {
		set->label_name[i] = strdup(b->labels.list[i]->text);
		if (!set->label_name[i])
			return -ENOMEM;
		set->n_labels++;
	}
	return 0;
}

/* Captures that gave no flow are not part of the set. */
static int drop_empty_captures(struct dataset *set)
{
	uint32_t *place = calloc(set->n_captures + 1, sizeof(*place)), n = 0;

	if (!place)
		return -ENOMEM;
	for (uint32_t i = 0; i < set->n_captures; i++)
		set->capture[i].n_flows = 0;
	for (uint32_t i = 0; i < set->n_flows; i++)
		set->capture[set->flow[i].capture].n_flows++;
	for (uint32_t i = 0; i < set->n_captures; i++) {
		if (set->capture[i].n_flows) {
			place[i] = n;
			set->capture[n++] = set->capture[i];
			continue;
		}
		free(set->capture[i].name);
		free(set->capture[i].source);
	}
	set->n_captures = n;
	for (uint32_t i = 0; i < set->n_flows; i++)
		set->flow[i].capture = place[set->flow[i].capture];
	free(place);
	return 0;
}

const struct dataset_counts *dataset_builder_counts(const struct dataset_builder *b)
{
	return &b->counts;
}

int dataset_builder_finish(struct dataset_builder *b, struct dataset **ret_set,
			   struct dataset_counts *ret_counts, struct error *e)
{
	const struct dataset_config *c = &b->config;
	struct dataset *set = b->set;
	int status = 0;

	if (c->max_per_class)
		status = dataset_limit_classes(set, c->max_per_class, c->seed,
					       &b->counts.over_limit);
	if (!status && !set->n_flows)
		return error_set(e, -ENODATA,
				 "no flow: %llu captures read, %llu packets, %llu flows, of which "
				 "%llu too short and %llu without a class",
				 (unsigned long long)b->counts.captures,
				 (unsigned long long)b->counts.packets,
				 (unsigned long long)b->counts.flows,
				 (unsigned long long)b->counts.short_flows,
				 (unsigned long long)b->counts.unlabelled);
	if (!status)
		status = drop_empty_captures(set);
	if (!status)
		status = take_classes(b);
	if (!status)
		status = take_labels(b);
	if (!status)
		status = dataset_deal_folds(set, c->seed, &b->counts);
	if (status)
		return error_set(e, status, "no memory to finish the data set");
	if (ret_counts)
		*ret_counts = b->counts;
	*ret_set = take_ptr(b->set);
	return 0;
}
