/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The comparison of parity.h. State is kept from capture to capture in both worlds, so that a flow
 * that returns is compared too. Only two fields may differ: ifindex, which a capture has not, and
 * the hook.
 */
#include "tests/bpf/parity.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/flow/capture.h"
#include "bpf/parse.h"

#define MAX_FLOWS    (1 << 20)
#define MAX_REPORTED 10

static void on_record(void *ctx, const struct packet_record *record, const uint8_t *data)
{
	struct parity *p = ctx;

	p->from_user.record = *record;
	memcpy(p->from_user.data, data, sizeof(p->from_user.data));
	p->user_sent = true;
}

struct parity *parity_new(int hook)
{
	struct nm_config config = harness_config();
	struct harness_options options = {.config = config, .max_flows = MAX_FLOWS};
	struct parity *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	if (hook == HOOK_EGRESS) { /* the other official shape, whose records are large */
		config.byte_packets = 5;
		config.payload_bytes = 240;
		config.record_packets = 20;
		options.config = config;
	}
	p->hook = hook;
	p->kernel = harness_new(&options);
	if (!p->kernel || extractor_new(&config, MAX_FLOWS, on_record, p, &p->user)) {
		parity_free(p);
		return NULL;
	}
	harness_control(p->kernel, &(struct control){.schema_version = SCHEMA_VERSION});
	return p;
}

void parity_free(struct parity *p)
{
	if (!p)
		return;
	harness_free(p->kernel);
	extractor_free(p->user);
	free(p);
}

static void tell(struct parity *p, const char *path, uint64_t number, const char *what)
{
	if (p->differences++ < MAX_REPORTED)
		printf("# %s packet %llu: %s\n", path, (unsigned long long)number, what);
}

/* The record that has the right to be larger: the ring's has a size of three. */
static void compare_records(struct parity *p, const char *path, uint64_t number)
{
	struct record_buffer *k = &p->kernel->records[0], *u = &p->from_user;
	uint32_t bytes = u->record.header_bytes + u->record.payload_bytes;
	bool small = u->record.header_bytes <= RECORD_DATA_SMALL / 2 &&
		     u->record.payload_bytes <= RECORD_DATA_SMALL / 2;
	uint32_t data_size = !bytes ? 0 : small ? RECORD_DATA_SMALL : RECORD_DATA_LARGE;

	if (p->kernel->n_records != (uint32_t)p->user_sent) {
		tell(p, path, number,
		     p->user_sent ? "only user space has a record"
				  : "only the kernel has a record");
		return;
	}
	if (!p->user_sent)
		return;
	p->records++;
	p->record_bytes += bytes;
	if (k->record.hook != p->hook)
		tell(p, path, number, "the kernel's record names the wrong hook");
	k->record.hook = u->record.hook;
	k->record.ifindex = u->record.ifindex;
	if (memcmp(&k->record, &u->record, sizeof(k->record)))
		tell(p, path, number, "the records' headers differ");
	else if (p->kernel->record_size[0] != sizeof(struct packet_record) + data_size)
		tell(p, path, number, "the ring's record has the wrong size");
	else if (memcmp(k->data, u->data, sizeof(k->data)))
		tell(p, path, number, "the records' bytes differ");
}

/* The kernel's programs want a link header: an IP packet gets one. */
static const uint8_t *as_frame(const struct capture_packet *packet, size_t *ret_len)
{
	static uint8_t frame[PACKET_ROOM];
	uint16_t type = 0x88b5; /* for experiments: neither IPv4 nor IPv6 */

	*ret_len = packet->captured;
	if (packet->link == EXTRACT_ETHERNET)
		return packet->bytes;
	*ret_len += 14;
	if (*ret_len > sizeof(frame))
		return NULL;
	if (packet->captured && packet->bytes[0] >> 4 == 4)
		type = ETHERTYPE_IPV4;
	if (packet->captured && packet->bytes[0] >> 4 == 6)
		type = ETHERTYPE_IPV6;
	memset(frame, 0, 12);
	frame[12] = type >> 8;
	frame[13] = type & 0xff;
	memcpy(frame + 14, packet->bytes, packet->captured);
	return frame;
}

static void compare_packet(struct parity *p, const char *path, uint64_t number,
			   const struct capture_packet *packet)
{
	size_t len;
	const uint8_t *frame = as_frame(packet, &len);

	p->packets++;
	p->kernel->now_ns = packet->time_ns;
	if (!frame || harness_run(p->kernel, p->hook, frame, len)) {
		p->not_runnable++;
		return;
	}
	p->user_sent = false;
	p->user_reasons[extractor_packet(p->user, packet->link, packet->bytes, packet->captured,
					 packet->time_ns)]++;
	compare_records(p, path, number);
}

static void read_capture(struct parity *p, const char *path)
{
	struct capture_packet packet;
	struct error e = {0};
	struct capture *c;
	uint64_t number = 0;
	int got;

	p->captures++;
	if (capture_open(path, &c, &e)) {
		p->unreadable++;
		return;
	}
	while ((got = capture_next(c, &packet, &e)) == 1)
		compare_packet(p, path, ++number, &packet);
	if (got < 0)
		p->unreadable++;
	capture_close(c);
}

static struct parity *walking; /* nftw takes no context */

static int on_file(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	const char *dot = strrchr(path, '.');

	(void)stat;
	(void)ftw;
	if (type == FTW_F && dot &&
	    (!strncmp(dot, ".pcap", 5) || !strcmp(dot, ".cap") || !strcmp(dot, ".trace")))
		read_capture(walking, path);
	return 0;
}

void parity_folder(struct parity *p, const char *path)
{
	walking = p;
	if (nftw(path, on_file, 16, FTW_PHYS)) {
		printf("# %s: %s\n", path, strerror(errno));
		p->differences++;
	}
}

void parity_counters(struct parity *p)
{
	static const char *const names[REASON_ROWS] = {
#define X(number, name, json, kind, help) [number] = json,
		REASONS(X)
#undef X
	};
	const uint64_t *notes = extractor_counters(p->user);

	for (uint32_t i = 0; i < REASON_ROWS; i++) {
		uint64_t kernel = harness_counted(p->kernel, i).packets;
		uint64_t user = p->user_reasons[i] + notes[i];

		if (kernel == user)
			continue;
		printf("# counter %s: kernel %llu, user space %llu\n", names[i] ? names[i] : "?",
		       (unsigned long long)kernel, (unsigned long long)user);
		p->differences++;
	}
}

void parity_print(const struct parity *p)
{
	printf("# %s: %llu captures (%llu not or not wholly readable), %llu packets (%llu that the "
	       "kernel cannot run), %llu records with %llu bytes, %llu differences\n",
	       p->hook == HOOK_INGRESS ? "ingress" : "egress", (unsigned long long)p->captures,
	       (unsigned long long)p->unreadable, (unsigned long long)p->packets,
	       (unsigned long long)p->not_runnable, (unsigned long long)p->records,
	       (unsigned long long)p->record_bytes, (unsigned long long)p->differences);
	for (uint32_t i = 0; i < REASON_ROWS; i++)
		if (p->user_reasons[i])
			printf("#   reason %u: %llu packets\n", i,
			       (unsigned long long)p->user_reasons[i]);
}
