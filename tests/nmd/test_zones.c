/* SPDX-License-Identifier: BSD-2-Clause */
/* Zones of conversations, zone ids over a change of policy, and the safety net. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "agent/nmd/protect.h"
#include "agent/nmd/zones.h"
#include "maps/packet_record.h"

static struct zones z;
static const char class_names[][CLASS_NAME_LEN] = {"unknown", "tor", "tls"};

static void address(const char *text, uint8_t addr[16])
{
	uint8_t len;

	assert_int_equal(policy_prefix_parse(text, addr, &len, NULL), 0);
}

static void own(const char *text, bool added)
{
	uint8_t addr[16];

	address(text, addr);
	assert_true(zones_own_address(&z, addr, added));
}

static struct policy_program *compile(const char *text, const char *never)
{
	struct policy_classes classes = {3, (void *)class_names, NULL};
	struct policy_program *program;
	struct zone_key key = {0};
	struct policy *policy;
	struct error e;
	uint8_t len = 0;

	if (never)
		assert_int_equal(policy_prefix_parse(never, key.addr, &len, NULL), 0);
	key.prefix_len = len;
	if (policy_parse("test", text, strlen(text), &policy, &e))
		fail_msg("%s", e.text);
	if (policy_compile(policy, &classes, &key, never ? 1 : 0, &program, &e))
		fail_msg("%s", e.text);
	policy_free(policy);
	return program;
}

/* The key of src -> dst, and which direction that is. */
static uint8_t key_of(const char *src, const char *dst, struct flow_key *key)
{
	uint8_t a[16], b[16];
	bool forward;

	address(src, a);
	address(dst, b);
	forward = memcmp(a, b, 16) <= 0;
	memset(key, 0, sizeof(*key));
	memcpy(key->addr_lo, forward ? a : b, 16);
	memcpy(key->addr_hi, forward ? b : a, 16);
	key->proto = IPPROTO_TCP;
	return forward ? FLOW_DIR_FORWARD : FLOW_DIR_REVERSE;
}

static void assert_zone(const struct policy_program *program, const char *src, const char *dst,
			const char *wanted)
{
	struct flow_key key;
	uint8_t direction = key_of(src, dst, &key);
	char name[64];

	zones_name(program, zones_resolve(&z, program, &key, direction), name, sizeof(name));
	if (strcmp(name, wanted))
		fail_msg("%s -> %s is in %s, not in %s", src, dst, name, wanted);
}

static int begin(void **state)
{
	(void)state;
	memset(&z, 0, sizeof(z));
	return 0;
}

static void net_is_matched_against_the_end_that_is_not_this_host(void **state)
{
	struct policy_program *p = compile("block class=tor net=10.0.0.0/8\n", NULL);

	(void)state;
	own("10.0.0.1", true);
	assert_zone(p, "10.0.0.1", "192.0.2.1", "default");
	assert_zone(p, "192.0.2.1", "10.0.0.1", "default");
	assert_zone(p, "10.0.0.1", "10.0.0.2", "10.0.0.0/8");
	own("10.0.0.1", false);
	assert_zone(p, "10.0.0.1", "192.0.2.1", "10.0.0.0/8");
	policy_program_free(p);
}

static void on_loopback_both_ends_are_matched(void **state)
{
	struct policy_program *p = compile("block class=tor net=127.0.0.2\n", NULL);

	(void)state;
	own("127.0.0.1", true);
	own("127.0.0.2", true);
	assert_zone(p, "127.0.0.1", "127.0.0.2", "127.0.0.2/32");
	assert_zone(p, "127.0.0.2", "127.0.0.1", "127.0.0.2/32");
	policy_program_free(p);
}

static bool is_own(const char *text)
{
	uint8_t addr[16];

	address(text, addr);
	return zones_is_own(&z, addr);
}

static void addresses_of_this_host_come_and_go_in_any_order(void **state)
{
	uint8_t addr[16];

	(void)state;
	own("10.0.0.3", true);
	own("10.0.0.1", true);
	own("10.0.0.2", true);
	address("10.0.0.2", addr);
	assert_false(zones_own_address(&z, addr, true)); /* the kernel may tell it again */
	own("10.0.0.2", false);
	assert_false(zones_own_address(&z, addr, false));
	assert_true(is_own("10.0.0.1") && is_own("10.0.0.3"));
	assert_false(is_own("10.0.0.2"));
	own("10.0.0.3", false);
	assert_false(is_own("10.0.0.3"));
	assert_int_equal(z.n_own, 1);
}

static void more_addresses_than_there_is_room_for_are_left_out(void **state)
{
	uint8_t addr[16];

	(void)state;
	address("10.0.0.0", addr);
	for (unsigned i = 0; i < ZONES_MAX_OWN; i++) {
		addr[14] = (uint8_t)(i >> 8);
		addr[15] = (uint8_t)i;
		assert_true(zones_own_address(&z, addr, true));
	}
	address("10.1.0.0", addr);
	assert_false(zones_own_address(&z, addr, true));
	assert_int_equal(z.n_own, ZONES_MAX_OWN);
}

static void every_address_is_a_zone_too(void **state)
{
	struct policy_program *p = compile("block class=tor net=::/0\n", NULL);

	(void)state;
	own("2001:db8::1", true);
	assert_zone(p, "2001:db8::1", "2001:db8::2", "::/0");
	assert_zone(p, "2001:db8::2", "2001:db8::1", "::/0");
	policy_program_free(p);
}

static void the_longest_prefix_wins_then_never_then_the_source(void **state)
{
	struct policy_program *p = compile("block class=tor net=10.1.0.0/16\n"
					   "block class=tor net=10.2.0.0/16\n"
					   "block class=tor net=10.3.0.0/24\n",
					   "10.4.0.0/16");

	(void)state;
	assert_zone(p, "10.1.0.1", "10.2.0.1", "10.1.0.0/16");
	assert_zone(p, "10.2.0.1", "10.1.0.1", "10.2.0.0/16");
	assert_zone(p, "10.1.0.1", "10.3.0.1", "10.3.0.0/24");
	assert_zone(p, "10.4.0.1", "10.1.0.1", "never");
	assert_zone(p, "10.1.0.1", "10.4.0.1", "never");
	assert_zone(p, "10.4.0.1", "10.3.0.1", "10.3.0.0/24");
	policy_program_free(p);
}

static void ipv6_prefixes_are_zones_too(void **state)
{
	struct policy_program *p = compile("block class=tor net=2001:db8::/32\n", NULL);

	(void)state;
	assert_zone(p, "2001:db8::1", "2001:dead::1", "2001:db8::/32");
	assert_zone(p, "2001:dead::1", "192.0.2.1", "default");
	policy_program_free(p);
}

static uint32_t zone_id(const struct policy_program *p, const char *addr)
{
	uint8_t bytes[16];

	address(addr, bytes);
	return policy_zone_of(p, bytes, NULL);
}

static uint8_t action(const struct policy_program *p, uint32_t zone, uint32_t class_id)
{
	return p->entries[policy_index(zone, class_id)].by_hook[HOOK_INGRESS].action;
}

static void a_prefix_that_stays_keeps_its_zone_id(void **state)
{
	struct policy_program *old = compile("block class=tor net=10.2.0.0/16\n"
					     "block class=tls net=10.1.0.0/16\n",
					     NULL);
	struct policy_program *fresh = compile("limit class=tls net=10.9.0.0/16 rate=1mbit\n"
					       "block class=tls net=10.1.0.0/16\n"
					       "limit class=tor net=10.2.0.0/16 rate=1mbit\n",
					       NULL);
	uint32_t one = zone_id(old, "10.1.0.1"), two = zone_id(old, "10.2.0.1");

	(void)state;
	zones_keep_ids(old, fresh);
	assert_int_equal(zone_id(fresh, "10.1.0.1"), one);
	assert_int_equal(zone_id(fresh, "10.2.0.1"), two);
	assert_int_equal(action(fresh, one, 2), ACTION_DROP);
	assert_int_equal(action(fresh, two, 1), ACTION_LIMIT);
	assert_int_not_equal(zone_id(fresh, "10.9.0.1"), one);
	assert_int_not_equal(zone_id(fresh, "10.9.0.1"), two);
	assert_int_equal(action(fresh, zone_id(fresh, "10.9.0.1"), 2), ACTION_LIMIT);
	policy_program_free(old);
	policy_program_free(fresh);
}

static void verdicts_of_a_zone_that_went_meet_the_zone_around_it(void **state)
{
	struct policy_program *old = compile("allow class=tor net=10.1.0.0/16\n"
					     "block class=tls net=10.0.0.0/8\nblock class=tor\n",
					     NULL);
	struct policy_program *fresh =
		compile("block class=tls net=10.0.0.0/8\nblock class=tor\n", NULL);
	uint32_t gone = zone_id(old, "10.1.0.1");

	(void)state;
	assert_int_equal(action(old, gone, 1), ACTION_PASS);
	zones_keep_ids(old, fresh);
	assert_int_not_equal(zone_id(fresh, "10.1.0.1"), gone);
	assert_int_equal(action(fresh, gone, 1), ACTION_DROP);
	assert_int_equal(action(fresh, gone, 2), ACTION_DROP);
	policy_program_free(old);
	policy_program_free(fresh);
}

static void a_new_prefix_takes_an_id_that_no_live_verdict_carries(void **state)
{
	struct policy_program *old = compile("block class=tor net=10.1.0.0/16\n", NULL);
	struct policy_program *fresh = compile("block class=tls net=10.2.0.0/16\n", NULL);
	uint32_t gone = zone_id(old, "10.1.0.1");

	(void)state;
	zones_keep_ids(old, fresh);
	assert_int_not_equal(zone_id(fresh, "10.2.0.1"), gone);
	assert_int_equal(action(fresh, gone, 2), ACTION_WATCH);
	policy_program_free(old);
	policy_program_free(fresh);
}

/* Blocks of one class in n networks of their own, from the one of that number on. */
static struct policy_program *many(unsigned first, unsigned n, const char *class_name)
{
	struct policy_program *p;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	for (unsigned i = first; i < first + n; i++)
		fprintf(out, "block class=%s net=10.%u.%u.0/24\n", class_name, i >> 8, i & 255);
	fclose(out);
	p = compile(text, NULL);
	free(text);
	return p;
}

/* As many as there can be: half of them stay, and there is no id that nobody had. */
static void no_two_zones_share_an_id_however_many_there_are(void **state)
{
	unsigned n = MAX_ZONES - 2;

	(void)state;
	for (unsigned half = 1; half <= n / 2; half += n / 2 - 1) {
		struct policy_program *old = many(half, half * 2, "tor");
		struct policy_program *fresh = many(0, half * 2, "tls");
		bool seen[MAX_ZONES] = {[ZONE_DEFAULT] = true, [ZONE_NEVER] = true};

		zones_keep_ids(old, fresh);
		for (uint32_t i = 0; i < fresh->n_zones; i++) {
			uint32_t id = fresh->zones[i].zone_id;

			assert_in_range(id, 0, MAX_ZONES - 1);
			assert_false(seen[id]);
			seen[id] = true;
			assert_int_equal(action(fresh, id, 2), ACTION_DROP);
			assert_int_equal(action(fresh, id, 1), ACTION_WATCH);
		}
		policy_program_free(old);
		policy_program_free(fresh);
	}
}

static void zone_never_stays_as_it_is_whatever_becomes_of_its_networks(void **state)
{
	struct policy_program *old = compile("block class=tor\n", "10.4.0.0/16");
	struct policy_program *fresh = compile("block class=tor net=10.4.0.0/16\n", NULL);

	(void)state;
	zones_keep_ids(old, fresh);
	assert_int_equal(action(fresh, ZONE_NEVER, 1), ACTION_PASS);
	assert_int_equal(action(fresh, zone_id(fresh, "10.4.0.1"), 1), ACTION_DROP);
	policy_program_free(old);
	policy_program_free(fresh);
}

static const char *protects(const char *ports, const char *peers, const struct flow_key *key,
			    const char *class_name)
{
	static char buffer[32];
	struct settings s;
	struct protect p;

	assert_int_equal(settings_init(&s, NULL), 0);
	assert_int_equal(settings_set(&s, "protect_ports", ports, NULL), 0);
	assert_int_equal(settings_set(&s, "protect_peers", peers, NULL), 0);
	assert_int_equal(protect_init(&p, &s.protect_ports, &s.protect_peers, NULL), 0);
	settings_fini(&s);
	return protect_reason(&p, key, class_name, buffer);
}

static void the_safety_net_holds_ports_of_either_end_peers_and_classes(void **state)
{
	struct flow_key key;

	(void)state;
	key_of("192.0.2.1", "192.0.2.2", &key);
	key.port_lo_be = htons(50000);
	key.port_hi_be = htons(22);
	assert_string_equal(protects("tcp/22", "", &key, NULL), "tcp/22");
	assert_null(protects("udp/22", "", &key, NULL));
	key.port_lo_be = htons(22);
	key.port_hi_be = htons(50000);
	assert_string_equal(protects("tcp/22", "", &key, "tor"), "tcp/22");
	key.port_lo_be = htons(6379);
	assert_null(protects("tcp/22", "192.0.2.2:6379", &key, "tor"));
	assert_string_equal(protects("tcp/22", "192.0.2.1:6379", &key, "tor"),
			    "a peer of the agent");
	key.port_hi_be = htons(6379);
	assert_string_equal(protects("tcp/22", "192.0.2.2:6379", &key, "tor"),
			    "a peer of the agent");
	key.proto = IPPROTO_UDP;
	assert_null(protects("tcp/22", "192.0.2.2:6379", &key, "tor"));
	assert_string_equal(protects("", "", &key, "ssh"), "class ssh");
	assert_string_equal(protects("", "", &key, "dns"), "class dns");
	assert_null(protects("", "", &key, "dns-tunnel"));
}

static void more_ports_than_there_is_room_for_are_refused(void **state)
{
	char *items[PROTECT_MAX_PORTS + 1];
	struct text_list ports = {.items = items, .n = PROTECT_MAX_PORTS + 1}, peers = {0};
	struct protect p;

	(void)state;
	for (unsigned i = 0; i < ports.n; i++)
		items[i] = "tcp/1";
	assert_int_equal(protect_init(&p, &ports, &peers, NULL), -E2BIG);
	ports.n--;
	assert_int_equal(protect_init(&p, &ports, &peers, NULL), 0);
	assert_int_equal(p.n_ports, PROTECT_MAX_PORTS);
	items[7] = "tcp/x";
	assert_int_equal(protect_init(&p, &ports, &peers, NULL), -EINVAL);
}

static const char *protects_message(uint8_t proto, uint16_t type, uint16_t code)
{
	struct flow_key key;

	key_of("192.0.2.1", "192.0.2.2", &key);
	key.proto = proto;
	key.port_lo_be = 0;
	key.port_hi_be = htons(type << 8 | code);
	return protects("", "", &key, "network-service");
}

static void the_safety_net_holds_what_ip_itself_needs(void **state)
{
	(void)state;
	for (uint8_t type = 133; type <= 137; type++)
		assert_string_equal(protects_message(IPPROTO_ICMPV6, type, 0),
				    "neighbour discovery");
	for (uint8_t type = 130; type <= 132; type++)
		assert_string_equal(protects_message(IPPROTO_ICMPV6, type, 0),
				    "multicast listeners");
	assert_string_equal(protects_message(IPPROTO_ICMPV6, 143, 0), "multicast listeners");
	assert_string_equal(protects_message(IPPROTO_ICMPV6, 2, 0), "path MTU");
	assert_string_equal(protects_message(IPPROTO_ICMP, 3, 4), "path MTU");
	assert_null(protects_message(IPPROTO_ICMPV6, 128, 0));
	assert_null(protects_message(IPPROTO_ICMP, 3, 3));
	assert_null(protects_message(IPPROTO_TCP, 135, 0));
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(net_is_matched_against_the_end_that_is_not_this_host),
		TEST(on_loopback_both_ends_are_matched),
		TEST(addresses_of_this_host_come_and_go_in_any_order),
		TEST(more_addresses_than_there_is_room_for_are_left_out),
		TEST(every_address_is_a_zone_too),
		TEST(the_longest_prefix_wins_then_never_then_the_source),
		TEST(ipv6_prefixes_are_zones_too),
		TEST(a_prefix_that_stays_keeps_its_zone_id),
		TEST(verdicts_of_a_zone_that_went_meet_the_zone_around_it),
		TEST(a_new_prefix_takes_an_id_that_no_live_verdict_carries),
		TEST(no_two_zones_share_an_id_however_many_there_are),
		TEST(zone_never_stays_as_it_is_whatever_becomes_of_its_networks),
		TEST(the_safety_net_holds_ports_of_either_end_peers_and_classes),
		TEST(more_ports_than_there_is_room_for_are_refused),
		TEST(the_safety_net_holds_what_ip_itself_needs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
