/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel wants to know of the agent: that it lives, and what it may do. */
#include "agent/nmd/heartbeat.h"
#include <string.h>
#include "agent/nmd/clock.h"
#include "agent/nmd/log.h"

#define AHEAD_NS (10 * NS_PER_S)

static int write_at(struct heartbeat *h, uint64_t heartbeat_ns)
{
	int rc;

	h->control.heartbeat_ns = heartbeat_ns;
	rc = kernel_control_set(h->kernel, &h->control);
	if (rc && !h->failed++)
		log_error("the control map cannot be written: %s; traffic passes after the "
			  "fail-open deadline",
			  strerror(-rc));
	return rc;
}

static int write_control(struct heartbeat *h)
{
	return write_at(h, clock_monotonic_ns());
}

int heartbeat_start(struct heartbeat *h, struct kernel *k, bool watch, uint64_t fail_open_s,
		    bool endpoints, struct error *e)
{
	struct control before = {0};
	int rc = kernel_control_get(k, &before);

	if (rc)
		return error_set(e, rc, "map control: cannot be read: %s", strerror(-rc));
	watch |= !!(before.flags & CONTROL_TRIPPED);
	h->kernel = k;
	h->control = (struct control){
		.schema_version = SCHEMA_VERSION,
		.mode = watch ? MODE_WATCH : MODE_ENFORCE,
		.fail_open_ns = fail_open_s * NS_PER_S,
		.generation = before.generation + 1,
		.flags = (endpoints ? CONTROL_ENDPOINTS : 0) | (before.flags & CONTROL_TRIPPED),
	};
	rc = write_control(h);
	return rc ? error_set(e, rc, "map control: cannot be written: %s", strerror(-rc)) : 0;
}

void heartbeat_beat(struct heartbeat *h)
{
	write_control(h);
}

void heartbeat_beat_ahead(struct heartbeat *h)
{
	write_at(h, clock_monotonic_ns() + AHEAD_NS);
}

bool heartbeat_tripped(const struct heartbeat *h)
{
	return h->control.flags & CONTROL_TRIPPED;
}

int heartbeat_set_mode(struct heartbeat *h, bool watch, bool tripped)
{
	h->control.flags &= ~CONTROL_TRIPPED;
	h->control.flags |= tripped ? CONTROL_TRIPPED : 0;
	h->control.mode = watch ? MODE_WATCH : MODE_ENFORCE;
	return write_control(h);
}

void heartbeat_set_fail_open(struct heartbeat *h, uint64_t fail_open_s)
{
	h->control.fail_open_ns = fail_open_s * NS_PER_S;
	write_control(h);
}

int heartbeat_next_generation(struct heartbeat *h)
{
	h->control.generation++;
	return write_control(h);
}

uint64_t heartbeat_period_ms(uint64_t fail_open_s)
{
	uint64_t ms = fail_open_s * 1000 / 4;

	return ms && ms < 1000 ? ms : 1000;
}
