/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file to a data set. The checksum is held first, then the payload is decoded as a stream; since
 * anybody can write a right checksum, each number is checked as if there were none.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>
#include "agent/nmtrain/dataset_build.h"
#include "agent/nmtrain/dataset_format.h"

struct in {
	const char *path;
	int fd;
	ZSTD_DCtx *zstd;
	size_t frame_left; /* 0: the frame has ended */
	ZSTD_inBuffer packed;
	size_t at, n;
	int status; /* the first failure: zeroes are read after it */
	struct error *e;
	uint8_t packed_bytes[1 << 16], raw[1 << 16];
};

__attribute__((format(printf, 2, 3))) static int refuse(struct in *in, const char *format, ...)
{
	char why[160];
	va_list args;

	if (in->status)
		return in->status;
	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	return in->status =
		       error_set(in->e, -EINVAL, "%.90s: not a good data set: %s", in->path, why);
}

static int no_memory(struct in *in)
{
	if (!in->status)
		in->status = error_set(in->e, -ENOMEM, "%.150s: no memory", in->path);
	return in->status;
}

static int read_some(struct in *in, uint8_t *to, size_t size, size_t *ret_n)
{
	ssize_t n;

	do
		n = read(in->fd, to, size);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return in->status =
			       error_set(in->e, -errno, "%.150s: %s", in->path, strerror(errno));
	*ret_n = (size_t)n;
	return 0;
}

/* More raw bytes; there are none after a failure or the frame's end. */
static void refill(struct in *in)
{
	ZSTD_outBuffer out = {.dst = in->raw, .size = sizeof(in->raw)};

	in->at = in->n = 0;
	while (!in->status && !out.pos && in->frame_left) {
		if (in->packed.pos == in->packed.size) {
			in->packed = (ZSTD_inBuffer){.src = in->packed_bytes};
			if (read_some(in, in->packed_bytes, sizeof(in->packed_bytes),
				      &in->packed.size))
				return;
			if (!in->packed.size) {
				refuse(in, "its zstd frame ends early");
				return;
			}
		}
		in->frame_left = ZSTD_decompressStream(in->zstd, &out, &in->packed);
		if (ZSTD_isError(in->frame_left))
			refuse(in, "zstd: %s", ZSTD_getErrorName(in->frame_left));
	}
	in->n = in->status ? 0 : out.pos;
}

static void get(struct in *in, void *to, size_t n)
{
	uint8_t *at = to;
	size_t part;

	for (; n; at += part, n -= part) {
		if (in->at == in->n)
			refill(in);
		part = in->n - in->at < n ? in->n - in->at : n;
		if (!part) {
			refuse(in, "it ends early");
			memset(at, 0, n);
			return;
		}
		memcpy(at, in->raw + in->at, part);
		in->at += part;
	}
}

static uint64_t get_number(struct in *in, size_t n_bytes)
{
	uint64_t value = 0;

	get(in, &value, n_bytes);
	return le64toh(value);
}

static uint32_t get_count(struct in *in, const char *what, uint32_t least, uint32_t most)
{
	uint64_t n = get_number(in, 4);

	if (!in->status && (n < least || n > most))
		refuse(in, "%" PRIu64 " %s; %u to %u can be", n, what, least, most);
	return in->status ? 0 : (uint32_t)n;
}

/* Heap memory, also for an empty text; NULL after a failure. */
static char *get_text(struct in *in, size_t len)
{
	char *text = in->status ? NULL : malloc(len + 1);

	if (!text) {
		no_memory(in);
		return NULL;
	}
	get(in, text, len);
	text[len] = 0;
	if (memchr(text, 0, len))
		refuse(in, "a name with a zero byte");
	return text;
}

static void get_shape(struct in *in, struct sample_shape *shape)
{
	uint64_t bidirectional;

	shape->packets = (uint16_t)get_number(in, 2);
	shape->header_bytes = (uint16_t)get_number(in, 2);
	shape->payload_bytes = (uint16_t)get_number(in, 2);
	shape->seq_len = (uint16_t)get_number(in, 2);
	bidirectional = get_number(in, 1);
	shape->bidirectional = bidirectional == 1;
	if (bidirectional > 1 || !shape->packets || shape->packets > shape->seq_len ||
	    shape->packets > MODEL_MAX_PACKETS || shape->seq_len > MODEL_MAX_SEQ_LEN ||
	    shape->header_bytes > MODEL_MAX_HEADER_BYTES ||
	    shape->payload_bytes > MODEL_MAX_PAYLOAD_BYTES)
		refuse(in, "a shape of %u packets of %u + %u bytes, %u sizes", shape->packets,
		       shape->header_bytes, shape->payload_bytes, shape->seq_len);
}

static void get_counts(struct in *in, struct dataset *set)
{
	uint64_t sample_bytes = flow_sample_size(&set->shape);

	set->n_flows = get_count(in, "flows", 0, NMD_MAX_FLOWS);
	set->n_captures = get_count(in, "captures", 0, NMD_MAX_CAPTURES);
	set->n_classes = get_count(in, "classes", 0, MODEL_MAX_CLASSES + 1);
	set->n_labels = get_count(in, "labels", 0, NMD_MAX_LABELS);
	set->n_folds = get_count(in, "folds", 1, DATASET_MAX_FOLDS);
	if (set->n_flows * sample_bytes > NMD_MAX_MEMORY)
		refuse(in, "%u flows of %" PRIu64 " bytes: more than %llu GiB", set->n_flows,
		       sample_bytes, NMD_MAX_MEMORY >> 30);
}

static void get_provenance(struct in *in, struct dataset *set)
{
	uint32_t len = get_count(in, "bytes of provenance", 0, NMD_MAX_PROVENANCE);
	char *text = get_text(in, len);
	struct error why = {0};

	if (!in->status && dataset_set_provenance(set, text, &why))
		refuse(in, "%s", why.text);
	free(text);
}

/* As names of classes in model files are. */
static bool is_class_name(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len < MODEL_CLASS_NAME &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static void get_classes(struct in *in, struct dataset *set)
{
	uint32_t n = set->n_classes;

	set->class_name = calloc(n + 1, sizeof(*set->class_name));
	set->label_name = calloc(set->n_labels + 1, sizeof(*set->label_name));
	if (!set->class_name || !set->label_name) {
		no_memory(in);
		return;
	}
	set->n_classes = 0;
	for (uint32_t i = 0; i < n && !in->status; i++) {
		char *name = get_text(in, get_number(in, 1));

		if (name && (!is_class_name(name) || dataset_class_index(set, name) >= 0))
			refuse(in, "class %u has a name that cannot be, or that another has", i);
		if (!in->status)
			strcpy(set->class_name[set->n_classes++], name);
		free(name);
	}
	for (uint32_t i = 0; i < set->n_labels && !in->status; i++)
		set->label_name[i] = get_text(in, get_number(in, 1));
}

static void get_captures(struct in *in, struct dataset *set)
{
	uint8_t digest[32];

	set->capture = calloc(set->n_captures + 1, sizeof(*set->capture));
	if (!set->capture) {
		no_memory(in);
		return;
	}
	for (uint32_t i = 0; i < set->n_captures && !in->status; i++) {
		struct dataset_capture *c = &set->capture[i];

		c->name = get_text(in, get_number(in, 1));
		c->source = get_text(in, get_number(in, 1));
		get(in, digest, sizeof(digest));
		sodium_bin2hex(c->sha256, sizeof(c->sha256), digest, sizeof(digest));
	}
}

static void get_bytes(struct in *in, struct flow_sample *s, uint16_t i)
{
	struct sample_packet *p = &s->packets[i];
	uint8_t *row;

	p->byte_slot = i;
	p->header_bytes = (uint16_t)get_number(in, 2);
	p->payload_bytes = (uint16_t)get_number(in, 2);
	if (p->header_bytes > s->shape.header_bytes || p->payload_bytes > s->shape.payload_bytes) {
		refuse(in, "a packet has %u + %u bytes", p->header_bytes, p->payload_bytes);
		return;
	}
	row = sample_row(s, p);
	get(in, row, p->header_bytes);
	get(in, row + s->shape.header_bytes, p->payload_bytes);
}

static void get_sample(struct in *in, struct flow_sample *s)
{
	uint64_t n = get_number(in, 2), time_ns = 0, against;

	if (!in->status && (!n || n > s->shape.seq_len))
		refuse(in, "a flow of %" PRIu64 " packets", n);
	for (uint16_t i = 0; i < n && !in->status; i++) {
		struct sample_packet *p = &s->packets[i];

		if (__builtin_add_overflow(time_ns, get_number(in, 8), &time_ns) ||
		    time_ns > INT64_MAX)
			refuse(in, "a packet's time is out of range");
		p->time_ns = time_ns;
		p->ip_len_bytes = (uint32_t)get_number(in, 4);
		p->packet_index = (uint32_t)get_number(in, 4);
		against = get_number(in, 1);
		if (against > 1)
			refuse(in, "a packet's direction is %" PRIu64, against);
		p->against = against;
		if (i < s->shape.packets && !in->status)
			get_bytes(in, s, i);
		s->n_packets++;
	}
}

static void get_flow(struct in *in, struct dataset *set, struct dataset_flow *f)
{
	f->class_index = (int16_t)get_number(in, 2);
	f->label = (uint16_t)get_number(in, 2);
	f->capture = (uint32_t)get_number(in, 4);
	f->piece = (uint32_t)get_number(in, 4);
	f->fold = (uint8_t)get_number(in, 1);
	f->packets = get_number(in, 8);
	f->bytes = get_number(in, 8);
	if (in->status)
		return;
	if (f->class_index < DATASET_NO_CLASS || f->class_index >= (int)set->n_classes ||
	    f->label >= set->n_labels || f->capture >= set->n_captures ||
	    f->piece >= DATASET_MAX_FOLDS || f->fold >= set->n_folds) {
		refuse(in, "a flow names a class, label, capture, piece or fold that is not there");
		return;
	}
	f->sample = flow_sample_new(&set->shape);
	if (!f->sample) {
		no_memory(in);
		return;
	}
	get_sample(in, f->sample);
	f->first_ns = f->sample->packets[0].time_ns;
	set->capture[f->capture].n_flows++;
}

static void get_flows(struct in *in, struct dataset *set)
{
	uint32_t n = set->n_flows, room = 0;

	set->n_flows = 0;
	while (set->n_flows < n && !in->status) {
		/* Grows with what is there: a number alone takes no memory. */
		if (set->n_flows == room) {
			struct dataset_flow *grown;

			room = room ? room * 2 : 1024;
			grown = realloc(set->flow, room * sizeof(*grown));
			if (!grown) {
				no_memory(in);
				return;
			}
			set->flow = grown;
		}
		set->flow[set->n_flows] = (struct dataset_flow){0};
		get_flow(in, set, &set->flow[set->n_flows++]);
	}
}

static int get_set(struct in *in, struct dataset *set)
{
	get_shape(in, &set->shape);
	if (!in->status)
		get_counts(in, set);
	if (!in->status)
		get_provenance(in, set);
	if (!in->status)
		get_classes(in, set);
	if (!in->status)
		get_captures(in, set);
	if (!in->status)
		get_flows(in, set);
	if (!in->status && in->at == in->n)
		refill(in);
	if (!in->status && (in->at < in->n || in->frame_left || in->packed.pos < in->packed.size))
		refuse(in, "more follows after its last flow");
	return in->status;
}

/* The whole file once, for both checksums. */
static int check_file(struct in *in, char sha256[65])
{
	crypto_hash_sha256_state file, payload;
	uint8_t digest[32];
	struct nmd_header h;
	uint64_t total = 0;
	struct stat st;
	size_t n;

	if (fstat(in->fd, &st) || !S_ISREG(st.st_mode))
		return refuse(in, "not a regular file");
	if (read_some(in, (uint8_t *)&h, sizeof(h), &n))
		return in->status;
	if (n < sizeof(h) || memcmp(h.magic, NMD_MAGIC, sizeof(h.magic)))
		return refuse(in, "it does not begin as one");
	if (le32toh(h.version_le) != NMD_VERSION)
		return refuse(in, "version %u; this program reads version %u",
			      le32toh(h.version_le), NMD_VERSION);
	crypto_hash_sha256_init(&file);
	crypto_hash_sha256_init(&payload);
	crypto_hash_sha256_update(&file, (uint8_t *)&h, sizeof(h));
	while (!read_some(in, in->raw, sizeof(in->raw), &n) && n) {
		crypto_hash_sha256_update(&file, in->raw, n);
		crypto_hash_sha256_update(&payload, in->raw, n);
		total += n;
	}
	if (!in->status && total != le64toh(h.payload_bytes_le))
		return refuse(in, "it has %" PRIu64 " bytes of payload, and says %" PRIu64, total,
			      le64toh(h.payload_bytes_le));
	crypto_hash_sha256_final(&payload, digest);
	if (!in->status && memcmp(digest, h.sha256, sizeof(digest)))
		return refuse(in, "damaged: its checksum differs");
	crypto_hash_sha256_final(&file, digest);
	sodium_bin2hex(sha256, 65, digest, sizeof(digest));
	return in->status;
}

static int read_file(struct in *in, struct dataset *set)
{
	if (check_file(in, set->sha256))
		return in->status;
	in->zstd = ZSTD_createDCtx();
	if (!in->zstd)
		return no_memory(in);
	if (lseek(in->fd, NMD_HEADER_BYTES, SEEK_SET) < 0)
		return refuse(in, "%s", strerror(errno));
	in->frame_left = 1;
	if (get_set(in, set))
		return in->status;
	return dataset_check_folds(set, in->path, in->e);
}

int dataset_read(const char *path, struct dataset **ret_set, struct error *e)
{
	struct dataset *set = calloc(1, sizeof(*set));
	struct in *in = calloc(1, sizeof(*in));
	int status;

	if (!set || !in) {
		status = error_set(e, -ENOMEM, "%.150s: no memory", path);
	} else {
		in->path = path;
		in->e = e;
		in->fd = open(path, O_RDONLY | O_CLOEXEC);
		status = in->fd < 0 ? error_set(e, -errno, "%.150s: %s", path, strerror(errno))
				    : read_file(in, set);
		if (in->fd >= 0)
			close(in->fd);
		ZSTD_freeDCtx(in->zstd);
	}
	free(in);
	if (status)
		dataset_free(set);
	else
		*ret_set = set;
	return status;
}
