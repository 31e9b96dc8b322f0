/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The programs' read-only configuration, `const volatile struct nm_config config` in .rodata: set
 * before load, from the model's own description, so that kernel and model cannot disagree.
 */
#pragma once
#include <linux/types.h>

struct nm_config {
	__u32 byte_packets;     /* P: records up to this index carry bytes */
	__u32 header_bytes;     /* H <= RECORD_MAX_HEADER */
	__u32 payload_bytes;    /* Y <= RECORD_MAX_PAYLOAD */
	__u32 record_packets;   /* S: packets of a flow that go up */
	__u64 flow_idle_ns;     /* a flow silent for so long begins anew; 0 = never */
	__u32 newcomers_per_ms; /* first-packet records a CPU may send in a millisecond (2^20 ns);
				   0 = no limit */
	__u32 newcomer_mask;    /* slots of `newcomers` - 1 (NEWCOMERS_PER_ROW slots a map entry) */
	__u32 n_rings;          /* rings in `events`; a CPU uses ring cpu % n_rings */
	__u8 replay;            /* tests and tools only: take time from the packet's metadata */
	__u8 parse_only;        /* benchmark only: stop after the parser */
	__u8 xdp_load_bytes;    /* the kernel has bpf_xdp_load_bytes (5.18): payload past the linear
				   part of a multi-buffer packet is read too */
	__u8 pad;
};

/*
 * With config.replay, XDP takes a packet's time from this prefix in front of it (xdp_md.data_meta),
 * TC from __sk_buff.tstamp. BPF_PROG_TEST_RUN sets both through ctx_in. A packet without the prefix
 * has time 0.
 */
struct replay_prefix {
	__u64 time_ns;
	__u64 pad; /* the kernel wants a multiple of 4; 16 keeps the packet aligned */
};
