/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Debiasing: zeroes in one packet's bytes what identifies a host or a capture rather than an
 * application. What each bit zeroes; all else stays, lengths included:
 *
 *   ip_addr         IPv4 and IPv6 source and destination; addresses in IPv4 options (record route,
 *                   source routes, timestamp) and in IPv6 routing headers; the gateway of an ICMP
 *                   redirect
 *   ports           TCP and UDP ports; the identifier of ICMP and ICMPv6 queries
 *   ip_id           IPv4 identification, IPv6 flow label and fragment identification (type of
 *                   service, traffic class, fragment flags and offset stay)
 *   ttl             IPv4 time to live, IPv6 hop limit
 *   checksums       of IPv4, TCP, UDP, ICMP, ICMPv6
 *   tcp_seq_ack     sequence and acknowledgement number, and the blocks of SACK options, which are
 *                   such numbers
 *   tcp_timestamps  both values of the timestamp option (RFC 7323); the option itself stays
 *   tls_sni         the host name in the server_name extension of a TLS ClientHello that begins the
 *                   payload of a TCP packet, as far as it is there; its lengths stay
 *
 * The packet that an ICMP error quotes is debiased likewise, as far as it is there. Not done: a
 * ClientHello spread over packets from its second packet on, DTLS, neighbour discovery's targets,
 * names inside other payloads (DNS, HTTP).
 *
 * Bytes come from the network: every offset is held against the bytes that are there.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* header: from the IP header on, without payload. bits: enum debias_bit. */
void debias_packet(uint8_t *header, size_t header_bytes, uint8_t *payload, size_t payload_bytes,
		   uint32_t bits);
