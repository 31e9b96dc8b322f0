/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libxdp's dispatcher: several XDP programs on one interface. Nothing else knows libxdp; it stands
 * apart from attach_xdp.c because libxdp and attach.h use the same names for the XDP modes. libxdp
 * pins what it needs below /sys/fs/bpf (its LIBXDP_BPFFS says otherwise), which must be a bpffs.
 */
#pragma once
#include <stdbool.h>
#include "model/error.h"

#define DISPATCHER_NAME "xdp_dispatcher" /* the kernel's name of libxdp's own program */

struct bpf_object;

/* The kernel lets a program be a part of another (freplace), which the dispatcher is made of. */
bool dispatcher_supported(void);

/* Puts the program of the (open, not loaded) object on the interface, beside what a dispatcher
 * there runs already; then takes away older programs of that name. An interface without XDP gets a
 * dispatcher. -EOPNOTSUPP, and nothing attached, where libxdp could only have attached it alone. */
int dispatcher_attach(struct bpf_object *object, const char *program, int ifindex, bool generic,
		      struct error *e);
/* Programs of that name leave the interface's dispatcher; none there is no error. */
int dispatcher_detach(const char *program, int ifindex, struct error *e);
