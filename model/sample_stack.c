/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Another TCP/IP stack's hand in the headers of a sample (sample_edit.h). Debiasing cannot zero
 * these fields, which also tell applications apart (a server's window is not a client's), but
 * captures come from few machines, and a network learns those machines if it can.
 *
 * One stack is drawn for each direction and holds for all its packets: a window grows and shrinks
 * as it did, times a factor. Where a header is not wholly recorded or contradicts itself, what
 * cannot be told stays as it is.
 */
#include <math.h>
#include <netinet/in.h>
#include <string.h>
#include "model/sample_edit.h"

#define TCP_SYN       0x02
#define MAX_OPTIONS   40
#define OPTION_END    0
#define OPTION_FILLER 1
#define OPTION_MSS    2
#define OPTION_SCALE  3
#define MAX_SCALE     14 /* RFC 7323 2.3 */

struct stack {
	uint8_t first_ttl; /* of its packets' TTL, before the way here */
	uint8_t hops;
	bool bleached; /* a network on the way cleared the DSCP */
	double window_factor;
	uint8_t window_scale;
	uint16_t mss_bytes;
	struct rng order; /* of options; a copy each packet, so that repeated SYNs are alike */
};

static struct stack draw_stack(struct rng *rng)
{
	static const uint8_t first_ttl[] = {64, 64, 128, 255};
	/* Ethernet; PPPoE; IPv6; tunnels and mobile networks */
	static const uint16_t mss_bytes[] = {1460, 1460, 1452, 1440, 1432, 1412, 1400,
					     1380, 1370, 1360, 1350, 1300, 1220};
	struct stack stack = {0};

	/* One by one: an initialiser's order is the compiler's choice. */
	stack.first_ttl = first_ttl[rng_below(rng, sizeof(first_ttl))];
	stack.hops = rng_below(rng, 24);
	stack.bleached = rng_below(rng, 2);
	stack.window_factor = exp2(4 * rng_uniform(rng) - 2);
	stack.window_scale = rng_below(rng, MAX_SCALE + 1);
	stack.mss_bytes = mss_bytes[rng_below(rng, sizeof(mss_bytes) / sizeof(mss_bytes[0]))];
	stack.order.state = rng_next(rng);
	return stack;
}

static uint16_t get16(const uint8_t *bytes)
{
	return bytes[0] << 8 | bytes[1];
}

static void put16(uint8_t *bytes, uint16_t value)
{
	bytes[0] = value >> 8;
	bytes[1] = value;
}

/* 0 when the option at `at` is none that ends within n. */
static size_t option_length(const uint8_t *options, size_t at, size_t n)
{
	size_t length;

	if (options[at] == OPTION_FILLER)
		return 1;
	length = at + 1 < n ? options[at + 1] : 0;
	return length >= 2 && length <= n - at ? length : 0;
}

/* Where each option begins, up to the end of all; -1 when they are not sound. */
static int find_options(const uint8_t *options, size_t n, uint8_t *starts, size_t *ret_end)
{
	size_t at = 0, length;
	int n_found = 0;

	while (at < n && options[at] != OPTION_END) {
		length = option_length(options, at, n);
		if (length == 0)
			return -1;
		starts[n_found++] = at;
		at += length;
	}
	*ret_end = at;
	return n_found;
}

static void change_values(const struct stack *stack, uint8_t *options, const uint8_t *starts,
			  int n_options)
{
	for (int i = 0; i < n_options; i++) {
		uint8_t *option = options + starts[i];

		if (option[0] == OPTION_MSS && option[1] == 4)
			put16(option + 2, stack->mss_bytes);
		else if (option[0] == OPTION_SCALE && option[1] == 3)
			option[2] = stack->window_scale;
	}
}

/* n bytes of options; fillers are moved like the others, padding after the end stays. */
static void change_syn_options(const struct stack *stack, uint8_t *options, size_t n)
{
	uint8_t starts[MAX_OPTIONS], before[MAX_OPTIONS];
	struct rng order = stack->order;
	size_t end, at = 0, length;
	int n_options = find_options(options, n, starts, &end);

	if (n_options <= 0)
		return;
	change_values(stack, options, starts, n_options);
	memcpy(before, options, end);
	for (; n_options > 0; n_options--) {
		int i = rng_below(&order, n_options);

		length = option_length(before, starts[i], end);
		memcpy(options + at, before + starts[i], length);
		at += length;
		starts[i] = starts[n_options - 1];
	}
}

static void change_tcp(const struct stack *stack, uint8_t *tcp, size_t n)
{
	size_t header_bytes;
	double window;

	if (n < 20)
		return;
	header_bytes = (size_t)(tcp[12] >> 4) * 4;
	window = get16(tcp + 14) * stack->window_factor;
	if (window > 0) /* a closed window stays closed */
		put16(tcp + 14, (uint16_t)fmin(fmax(window, 1), 65535));
	if ((tcp[13] & TCP_SYN) && header_bytes > 20 && header_bytes <= n)
		change_syn_options(stack, tcp + 20, header_bytes - 20);
}

static void change_ipv4(const struct stack *stack, uint8_t *ip, size_t n)
{
	size_t header_bytes;

	if (n < 20)
		return;
	header_bytes = (size_t)(ip[0] & 0x0f) * 4;
	ip[8] = stack->first_ttl - stack->hops;
	if (stack->bleached)
		ip[1] &= 0x03; /* ECN stays */
	if (ip[9] == IPPROTO_TCP && !(get16(ip + 6) & 0x1fff) && header_bytes >= 20 &&
	    header_bytes <= n)
		change_tcp(stack, ip + header_bytes, n - header_bytes);
}

/* TCP behind extension headers is rare, and left alone. */
static void change_ipv6(const struct stack *stack, uint8_t *ip, size_t n)
{
	if (n < 40)
		return;
	ip[7] = stack->first_ttl - stack->hops;
	if (stack->bleached) {
		ip[0] &= 0xf0;
		ip[1] &= 0x3f;
	}
	if (ip[6] == IPPROTO_TCP)
		change_tcp(stack, ip + 40, n - 40);
}

void sample_randomise_stack(struct flow_sample *s, struct rng *rng)
{
	struct stack stacks[2];
	uint16_t H = s->shape.header_bytes;

	stacks[0] = draw_stack(rng);
	stacks[1] = draw_stack(rng);
	for (uint16_t i = 0; i < s->n_packets && i < s->shape.packets; i++) {
		const struct sample_packet *p = &s->packets[i];
		size_t n = p->header_bytes < H ? p->header_bytes : H;
		uint8_t *ip;

		if (n == 0 || p->byte_slot >= s->shape.packets)
			continue;
		ip = sample_row(s, p);
		if (ip[0] >> 4 == 4)
			change_ipv4(&stacks[p->against], ip, n);
		else if (ip[0] >> 4 == 6)
			change_ipv6(&stacks[p->against], ip, n);
	}
}
