/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An update in a dispatcher is an addition, then a removal: libxdp builds a dispatcher with both
 * programs and exchanges it in one step, so that no packet passes unguarded; for a moment a packet
 * is seen twice.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <xdp/libxdp.h>
#include "agent/nmd/dispatcher.h"
#include "agent/nmd/kernel_log.h"

#define RUN_PRIORITY 10 /* libxdp's default is 50; what we drop, the others need not see */
#define MAX_PROGRAMS 10 /* a dispatcher's slots */

static int print_libxdp(enum libxdp_print_level level, const char *format, va_list args)
{
	kernel_log_print(level == LIBXDP_WARN, format, args);
	return 0;
}

static void log_begin(void)
{
	kernel_log_begin();
	libxdp_set_print(print_libxdp);
}

static void close_program(struct xdp_program **program)
{
	if (*program)
		xdp_program__close(*program);
}

static void close_multiprog(struct xdp_multiprog **mp)
{
	if (*mp)
		xdp_multiprog__close(*mp);
}

bool dispatcher_supported(void)
{
	static int supported = -1;

	if (supported < 0) {
		kernel_log_begin();
		supported = libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_EXT, NULL) == 1;
	}
	return supported;
}

/* NULL when there is none, or what is there is no dispatcher. */
static struct xdp_multiprog *get_dispatcher(int ifindex)
{
	struct xdp_multiprog *mp = xdp_multiprog__get_from_ifindex(ifindex);

	if (libxdp_get_error(mp))
		return NULL;
	if (mp && xdp_multiprog__is_legacy(mp)) {
		xdp_multiprog__close(mp);
		return NULL;
	}
	return mp;
}

/* Detaches one program of that name whose id is another; 1 when there was one. */
static int detach_one(const char *name, uint32_t keep_id, int ifindex)
{
	cleanup(close_multiprog) struct xdp_multiprog *mp = get_dispatcher(ifindex);
	struct xdp_program *program = NULL;
	int err;

	if (!mp)
		return 0;
	while ((program = xdp_multiprog__next_prog(program, mp))) {
		if (strcmp(xdp_program__name(program), name) != 0 ||
		    xdp_program__id(program) == keep_id)
			continue;
		err = xdp_program__detach(program, ifindex, xdp_multiprog__attach_mode(mp), 0);
		return err ? err : 1;
	}
	return 0;
}

static int detach_others(const char *name, uint32_t keep_id, int ifindex, struct error *e)
{
	int err = 1;

	for (int i = 0; i < MAX_PROGRAMS && err > 0; i++)
		err = detach_one(name, keep_id, ifindex);
	if (err < 0)
		return error_set(e, err, "interface %d: leaving the XDP dispatcher: %s%s", ifindex,
				 strerror(-err), kernel_log_cause());
	return 0;
}

int dispatcher_attach(struct bpf_object *object, const char *program, int ifindex, bool generic,
		      struct error *e)
{
	DECLARE_LIBXDP_OPTS(xdp_program_opts, opts, .obj = object, .prog_name = program);
	enum xdp_attach_mode mode = generic ? XDP_MODE_SKB : XDP_MODE_NATIVE;
	cleanup(close_multiprog) struct xdp_multiprog *mp = NULL;
	cleanup(close_program) struct xdp_program *p = NULL;
	int err;

	log_begin();
	p = xdp_program__create(&opts);
	err = libxdp_get_error(p);
	if (err) {
		p = NULL;
		return error_set(e, err, "libxdp: %s%s", strerror(-err), kernel_log_cause());
	}
	xdp_program__set_run_prio(p, RUN_PRIORITY);
	err = xdp_program__attach(p, ifindex, mode, 0);
	if (err)
		return error_set(e, err, "libxdp: %s%s", strerror(-err), kernel_log_cause());
	mp = get_dispatcher(ifindex);
	if (!mp) {
		xdp_program__detach(p, ifindex, mode, 0);
		return error_set(e, -EOPNOTSUPP, "libxdp: no dispatcher%s", kernel_log_cause());
	}
	return detach_others(program, xdp_program__id(p), ifindex, e);
}

int dispatcher_detach(const char *program, int ifindex, struct error *e)
{
	log_begin();
	return detach_others(program, 0, ifindex, e);
}
