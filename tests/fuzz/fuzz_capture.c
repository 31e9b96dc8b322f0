/* SPDX-License-Identifier: BSD-2-Clause */
/* Any file as a capture, through extractor and assembler: every flow that starts ends once. */
#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include "agent/flow/offline.h"

static uint64_t n_started, n_judged, n_done, n_packets;

static void on_start(void *ctx, struct flow_info *info)
{
	(void)ctx, (void)info;
	n_started++;
}

static void on_ready(void *ctx, const struct flow_info *info, const struct flow_sample *s,
		     enum ready_reason why)
{
	(void)ctx, (void)info, (void)why;
	assert(s->n_packets > 0 && s->n_packets <= s->shape.seq_len);
	for (int i = 1; i < s->n_packets; i++)
		assert(s->packets[i - 1].time_ns <= s->packets[i].time_ns);
	n_judged++;
}

static void on_done(void *ctx, const struct flow_info *info)
{
	(void)ctx;
	n_done++;
	n_packets += info->packets;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const struct offline_config config = {.shape = {.packets = 3,
							.header_bytes = 80,
							.payload_bytes = 80,
							.seq_len = 7,
							.bidirectional = true},
					      .max_flows = 4,
					      .flow_idle_ns = 1000000000,
					      .on_start = on_start,
					      .on_ready = on_ready,
					      .on_done = on_done};
	struct offline_stats stats = {0};
	struct error e = {0};
	static int fd = -1;
	char path[32];
	int status;

	if (fd < 0) {
		mallopt(M_MMAP_THRESHOLD, 1 << 20); /* tables that are not touched cost nothing */
		fd = memfd_create("capture", 0);
	}
	if (ftruncate(fd, 0) || pwrite(fd, bytes, size, 0) != (ssize_t)size)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n_started = n_judged = n_done = n_packets = 0;
	status = offline_read(path, &config, &stats, &e);
	assert(status <= 0 && (status == 0) == (e.code == 0));
	assert(n_started == n_judged && n_judged == n_done);
	assert(n_packets == stats.reasons[REASON_UNDECIDED]);
	return 0;
}
