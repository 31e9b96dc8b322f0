/* SPDX-License-Identifier: BSD-2-Clause */
/* The classes of the shipped model, by class id, for tests that compile policies. */
#pragma once
#include "agent/policy/policy.h"

static const char class_table[][CLASS_NAME_LEN] = {"unknown",
						   "database",
						   "dns",
						   "dns-tunnel",
						   "encrypted-dns",
						   "file-transfer",
						   "gaming",
						   "http",
						   "industrial",
						   "ipsec",
						   "mail",
						   "messaging",
						   "mining",
						   "network-service",
						   "openvpn",
						   "p2p",
						   "proxy",
						   "quic",
						   "remote-desktop",
						   "scan",
						   "ssh",
						   "streaming",
						   "tls",
						   "tor",
						   "voip",
						   "vpn-other",
						   "wireguard"};

#define N_CLASSES (sizeof(class_table) / sizeof(class_table[0]))

static const struct policy_classes shipped_classes = {.n = N_CLASSES, .name = class_table};

static inline uint32_t class_id(const char *name)
{
	for (uint32_t id = 0; id < N_CLASSES; id++)
		if (strcmp(class_table[id], name) == 0)
			return id;
	return UINT32_MAX;
}
