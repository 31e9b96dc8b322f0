/* SPDX-License-Identifier: BSD-2-Clause */
/* The safety net's list of ports, peers and classes. */
#include "agent/nmd/protect.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include "agent/policy/policy.h"

#define MAPPED_BITS          128
#define MLD2_LISTENER_REPORT 143 /* RFC 3810 */

static int parse_port_number(const char *text, uint16_t *ret_port)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || port < 1 || port > 65535)
		return -EINVAL;
	*ret_port = (uint16_t)port;
	return 0;
}

int protect_port_parse(const char *text, struct protect_port *ret_port, struct error *e)
{
	struct protect_port port = {0};
	bool tcp = !strncmp(text, "tcp/", 4);

	if ((!tcp && strncmp(text, "udp/", 4)) || parse_port_number(text + 4, &port.port))
		return error_set(e, -EINVAL, "\"%s\" is not a port; write tcp/22 or udp/53", text);
	port.proto = tcp ? IPPROTO_TCP : IPPROTO_UDP;
	*ret_port = port;
	return 0;
}

int protect_peer_parse(const char *text, struct protect_peer *ret_peer, struct error *e)
{
	const char *colon = strrchr(text, ':'), *start = text;
	struct protect_peer peer;
	char addr[INET6_ADDRSTRLEN];
	uint8_t prefix_len;
	size_t len;

	if (!colon || parse_port_number(colon + 1, &peer.port))
		goto bad;
	len = colon - text;
	if (len > 2 && *text == '[' && text[len - 1] == ']') {
		start++;
		len -= 2;
	}
	if (!len || len >= sizeof(addr))
		goto bad;
	memcpy(addr, start, len);
	addr[len] = '\0';
	if (policy_prefix_parse(addr, peer.addr, &prefix_len, NULL) || prefix_len != MAPPED_BITS)
		goto bad;
	*ret_peer = peer;
	return 0;
bad:
	return error_set(e, -EINVAL,
			 "\"%s\" is not a peer; write 192.0.2.1:6379 or [2001:db8::1]:6379", text);
}

int protect_init(struct protect *p, const struct text_list *ports, const struct text_list *peers,
		 struct error *e)
{
	struct protect fresh = {0};
	int rc;

	if (ports->n > PROTECT_MAX_PORTS || peers->n > PROTECT_MAX_PEERS)
		return error_set(e, -E2BIG,
				 "protect_ports and protect_peers take %d and %d items at most",
				 PROTECT_MAX_PORTS, PROTECT_MAX_PEERS);
	for (unsigned i = 0; i < ports->n; i++) {
		rc = protect_port_parse(ports->items[i], &fresh.ports[fresh.n_ports++], e);
		if (rc)
			return rc;
	}
	for (unsigned i = 0; i < peers->n; i++) {
		rc = protect_peer_parse(peers->items[i], &fresh.peers[fresh.n_peers++], e);
		if (rc)
			return rc;
	}
	*p = fresh;
	return 0;
}

static bool is_end(const uint8_t addr[16], uint16_t port_be, const struct protect_peer *peer)
{
	return ntohs(port_be) == peer->port && !memcmp(addr, peer->addr, sizeof(peer->addr));
}

/* Without these no IPv6 neighbour is found, and large packets vanish. The key has type << 8 | code.
 */
static const char *vital_message(const struct flow_key *key)
{
	uint16_t message = ntohs(key->port_hi_be);
	uint8_t type = message >> 8;

	if (key->proto == IPPROTO_ICMP && message == (ICMP_UNREACH << 8 | ICMP_UNREACH_NEEDFRAG))
		return "path MTU";
	if (key->proto != IPPROTO_ICMPV6)
		return NULL;
	if (type == ICMP6_PACKET_TOO_BIG)
		return "path MTU";
	if (type >= ND_ROUTER_SOLICIT && type <= ND_REDIRECT)
		return "neighbour discovery";
	if ((type >= MLD_LISTENER_QUERY && type <= MLD_LISTENER_REDUCTION) ||
	    type == MLD2_LISTENER_REPORT)
		return "multicast listeners";
	return NULL;
}

const char *protect_reason(const struct protect *p, const struct flow_key *key,
			   const char *class_name, char buffer[32])
{
	uint16_t lo = ntohs(key->port_lo_be), hi = ntohs(key->port_hi_be);

	for (unsigned i = 0; i < p->n_ports; i++) {
		const struct protect_port *port = &p->ports[i];

		if (port->proto != key->proto || (port->port != lo && port->port != hi))
			continue;
		snprintf(buffer, 32, "%s/%u", port->proto == IPPROTO_TCP ? "tcp" : "udp",
			 port->port);
		return buffer;
	}
	for (unsigned i = 0; i < p->n_peers && key->proto == IPPROTO_TCP; i++)
		if (is_end(key->addr_lo, key->port_lo_be, &p->peers[i]) ||
		    is_end(key->addr_hi, key->port_hi_be, &p->peers[i]))
			return "a peer of the agent";
	if (vital_message(key))
		return vital_message(key);
	if (!class_name || !policy_class_protected(class_name))
		return NULL;
	snprintf(buffer, 32, "class %.20s", class_name);
	return buffer;
}
