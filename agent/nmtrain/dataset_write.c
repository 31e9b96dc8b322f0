/* SPDX-License-Identifier: BSD-2-Clause */
/* A data set to a file, as a stream: nothing but the set itself is in memory. */
#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>
#include "agent/nmtrain/dataset_build.h"
#include "agent/nmtrain/dataset_format.h"
#include "model/whole_file.h"

/* 12 is a fifth smaller than 3 on real captures; beyond it little is gained for much time. */
#define ZSTD_LEVEL 12

struct out {
	struct whole_file file;
	ZSTD_CCtx *zstd;
	crypto_hash_sha256_state hash;
	uint64_t packed_bytes;
	int status; /* the first failure: nothing is written after it */
	size_t n;
	uint8_t raw[1 << 16], packed[1 << 16];
};

static void flush(struct out *o, ZSTD_EndDirective how)
{
	ZSTD_inBuffer in = {.src = o->raw, .size = o->n};
	size_t left;

	do {
		ZSTD_outBuffer out = {.dst = o->packed, .size = sizeof(o->packed)};

		if (o->status)
			return;
		left = ZSTD_compressStream2(o->zstd, &out, &in, how);
		if (ZSTD_isError(left)) {
			o->status = -ENOMEM;
			return;
		}
		crypto_hash_sha256_update(&o->hash, o->packed, out.pos);
		o->packed_bytes += out.pos;
		o->status = whole_file_add(&o->file, o->packed, out.pos);
	} while (how == ZSTD_e_end ? left > 0 : in.pos < in.size);
	o->n = 0;
}

static void put(struct out *o, const void *bytes, size_t n)
{
	const uint8_t *from = bytes;
	size_t part;

	for (; n && !o->status; from += part, n -= part) {
		part = sizeof(o->raw) - o->n < n ? sizeof(o->raw) - o->n : n;
		memcpy(o->raw + o->n, from, part);
		o->n += part;
		if (o->n == sizeof(o->raw))
			flush(o, ZSTD_e_continue);
	}
}

static void put_number(struct out *o, uint64_t value, size_t n_bytes)
{
	value = htole64(value);
	put(o, &value, n_bytes);
}

static void put_text(struct out *o, const char *text)
{
	size_t len = strlen(text);

	if (len > NMD_MAX_NAME && !o->status)
		o->status = -ENAMETOOLONG;
	put_number(o, len, 1);
	put(o, text, len);
}

static void put_sample(struct out *o, const struct flow_sample *s)
{
	uint64_t before_ns = 0;

	put_number(o, s->n_packets, 2);
	for (uint16_t i = 0; i < s->n_packets; i++) {
		const struct sample_packet *p = &s->packets[i];

		put_number(o, p->time_ns - before_ns, 8);
		put_number(o, p->ip_len_bytes, 4);
		put_number(o, p->packet_index, 4);
		put_number(o, p->against, 1);
		before_ns = p->time_ns;
		if (i >= s->shape.packets)
			continue;
		put_number(o, p->header_bytes, 2);
		put_number(o, p->payload_bytes, 2);
		put(o, sample_row(s, p), p->header_bytes);
		put(o, sample_row(s, p) + s->shape.header_bytes, p->payload_bytes);
	}
}

static void put_flow(struct out *o, const struct dataset_flow *f)
{
	put_number(o, (uint16_t)f->class_index, 2);
	put_number(o, f->label, 2);
	put_number(o, f->capture, 4);
	put_number(o, f->piece, 4);
	put_number(o, f->fold, 1);
	put_number(o, f->packets, 8);
	put_number(o, f->bytes, 8);
	put_sample(o, f->sample);
}

static void put_capture(struct out *o, const struct dataset_capture *c)
{
	uint8_t digest[32];
	size_t len;

	put_text(o, c->name);
	put_text(o, c->source);
	if (sodium_hex2bin(digest, sizeof(digest), c->sha256, 64, NULL, &len, NULL) ||
	    len != sizeof(digest))
		o->status = o->status ? o->status : -EINVAL;
	put(o, digest, sizeof(digest));
}

static void put_set(struct out *o, const struct dataset *set)
{
	const char *provenance = set->provenance ? set->provenance : "{}";

	put_number(o, set->shape.packets, 2);
	put_number(o, set->shape.header_bytes, 2);
	put_number(o, set->shape.payload_bytes, 2);
	put_number(o, set->shape.seq_len, 2);
	put_number(o, set->shape.bidirectional, 1);
	put_number(o, set->n_flows, 4);
	put_number(o, set->n_captures, 4);
	put_number(o, set->n_classes, 4);
	put_number(o, set->n_labels, 4);
	put_number(o, set->n_folds, 4);
	put_number(o, strlen(provenance), 4);
	put(o, provenance, strlen(provenance));
	for (uint32_t i = 0; i < set->n_classes; i++)
		put_text(o, set->class_name[i]);
	for (uint32_t i = 0; i < set->n_labels; i++)
		put_text(o, set->label_name[i]);
	for (uint32_t i = 0; i < set->n_captures; i++)
		put_capture(o, &set->capture[i]);
	for (uint32_t i = 0; i < set->n_flows; i++)
		put_flow(o, &set->flow[i]);
	flush(o, ZSTD_e_end);
}

/* The header has the payload's size and checksum, so it is written twice. */
static int write_header(struct out *o)
{
	struct nmd_header h = {.version_le = htole32(NMD_VERSION),
			       .payload_bytes_le = htole64(o->packed_bytes)};

	memcpy(h.magic, NMD_MAGIC, sizeof(h.magic));
	crypto_hash_sha256_final(&o->hash, h.sha256);
	if (lseek(o->file.fd, 0, SEEK_SET) < 0)
		return -errno;
	return whole_file_add(&o->file, &h, sizeof(h));
}

static int write_file(struct out *o, const struct dataset *set)
{
	static const struct nmd_header none;

	crypto_hash_sha256_init(&o->hash);
	o->zstd = ZSTD_createCCtx();
	if (!o->zstd ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL)))
		return -ENOMEM;
	o->status = whole_file_add(&o->file, &none, sizeof(none));
	put_set(o, set);
	if (!o->status)
		o->status = write_header(o);
	return o->status;
}

int dataset_write(const struct dataset *set, const char *path, struct error *e)
{
	struct out *o = calloc(1, sizeof(*o));
	int status;

	if (!o)
		return error_set(e, -ENOMEM, "%.180s: no memory to write it", path);
	status = whole_file_create(&o->file, path, 0666, e);
	if (!status)
		status = whole_file_end(&o->file, write_file(o, set), e);
	ZSTD_freeCCtx(o->zstd);
	free(o);
	return status;
}
