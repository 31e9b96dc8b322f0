/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libbpf reads a ring until it is empty, which under a flood is never: each ring is its own
 * ring_buffer, and the callback stops it after a quota, so that every ring and the rest of the
 * event loop get their turn. What is left makes the epoll descriptor readable again.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "agent/flow/rings.h"

#define RECORDS_A_TURN 4096

struct rings {
	struct ring_buffer **ring;
	uint32_t n_rings;
	int epoll_fd;
	record_fn on_record, on_hit;
	void *ctx;
	uint64_t bad_records;
	int taken; /* of the ring whose turn it is */
};

static bool size_is_sound(const void *data, size_t size)
{
	const struct packet_record *record = data;

	if (size != sizeof(*record) && size != sizeof(*record) + RECORD_DATA_SMALL &&
	    size != sizeof(*record) + RECORD_DATA_LARGE)
		return false;
	return (size_t)record->header_bytes + record->payload_bytes <= size - sizeof(*record);
}

static int take_record(void *ctx, void *data, size_t size)
{
	struct rings *r = ctx;
	const struct packet_record *record = data;

	r->taken++;
	if (!size_is_sound(data, size) || record->kind > RECORD_HIT)
		r->bad_records++;
	else if (record->kind == RECORD_HIT)
		r->on_hit(r->ctx, record, (const uint8_t *)(record + 1));
	else
		r->on_record(r->ctx, record, (const uint8_t *)(record + 1));
	return r->taken < RECORDS_A_TURN ? 0 : -EAGAIN;
}

static int add_ring(struct rings *r, int fd, struct error *e)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = r->n_rings};
	struct ring_buffer *ring = ring_buffer__new(fd, take_record, r, NULL);

	if (!ring)
		return error_set(e, -errno, "ring %u: map descriptor %d is no ring buffer: %s",
				 r->n_rings, fd, strerror(errno));
	r->ring[r->n_rings++] = ring;
	if (epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &event))
		return error_set(e, -errno, "ring %u: cannot wait for map descriptor %d: %s",
				 r->n_rings - 1, fd, strerror(errno));
	return 0;
}

int rings_new(const int *ring_fds, uint32_t n_rings, record_fn on_record, record_fn on_hit,
	      void *ctx, struct rings **ret_rings, struct error *e)
{
	struct rings *r = calloc(1, sizeof(*r));
	int status;

	if (!r)
		return error_set(e, -ENOMEM, "rings: no memory");
	r->on_record = on_record;
	r->on_hit = on_hit;
	r->ctx = ctx;
	r->ring = calloc(n_rings, sizeof(struct ring_buffer *));
	r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	status = r->ring && r->epoll_fd >= 0
			 ? 0
			 : error_set(e, -ENOMEM, "rings: no memory or no descriptor");
	for (uint32_t i = 0; !status && i < n_rings; i++)
		status = add_ring(r, ring_fds[i], e);
	if (status) {
		rings_free(r);
		return status;
	}
	*ret_rings = r;
	return 0;
}

void rings_free(struct rings *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; i < r->n_rings; i++)
		ring_buffer__free(r->ring[i]);
	if (r->epoll_fd >= 0)
		close(r->epoll_fd);
	free(r->ring);
	free(r);
}

int rings_epoll_fd(const struct rings *r)
{
	return r->epoll_fd;
}

int rings_consume(struct rings *r)
{
	int status, total = 0;

	for (uint32_t i = 0; i < r->n_rings; i++) {
		r->taken = 0;
		status = ring_buffer__consume(r->ring[i]);
		if (status < 0 && status != -EAGAIN)
			return status;
		total += r->taken;
	}
	return total;
}

uint64_t rings_bad_records(const struct rings *r)
{
	return r->bad_records;
}
