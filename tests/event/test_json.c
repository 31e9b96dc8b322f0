/* SPDX-License-Identifier: BSD-2-Clause */
/* An event written, read back, and refused when somebody tampered with it. */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "agent/event/event.h"
#include "model/error.h"

#define TIME_NS 1795561200123456000LL /* 2026-11-24T23:00:00.123456Z */

static void put_v4(uint8_t addr[16], const char *text)
{
	memset(addr, 0, 16);
	addr[10] = addr[11] = 0xff;
	assert_int_equal(inet_pton(AF_INET, text, addr + 12), 1);
}

/* 10.0.0.2:443 answers 10.0.0.1:50000, which began. */
static struct flow_event tor_event(void)
{
	struct flow_event event = {
		.flow_id = 0x0123456789abcdefULL,
		.time_ns = TIME_NS,
		.start_ns = TIME_NS - 1500000000,
		.key = {.port_lo_be = htons(50000), .port_hi_be = htons(443), .proto = IPPROTO_TCP},
		.source_direction = FLOW_DIR_FORWARD,
		.directions_seen = 3,
		.packets = 12,
		.bytes = 3456,
		.class_name = "tor",
		.confidence = 0.98f,
		.ood_score = -7.1f,
		.by = DECIDED_CLASS,
		.provisional = true,
		.ready = "full",
		.action = "drop",
		.rule_id = 3,
		.zone_id = 2,
		.zone = "10.0.0.0/8",
		.iface = "eth0",
		.model_id = 1,
		.n_scores = 2,
		.scores = {{"tor", 0.98f}, {"tls", 0.01f}},
	};

	put_v4(event.key.addr_lo, "10.0.0.1");
	put_v4(event.key.addr_hi, "10.0.0.2");
	return event;
}

static void assert_line(const struct flow_event *event, bool offline, const char *expected)
{
	json_t *json = event_to_json(event, offline);
	char *line = json_dumps(json, EVENT_JSON_FLAGS);

	assert_non_null(line);
	assert_string_equal(line, expected);
	free(line);
	json_decref(json);
}

static void an_offline_event_has_the_members_of_the_design_and_no_live_ones(void **state)
{
	struct flow_event event = tor_event();

	(void)state;
	assert_line(&event, true,
		    "{\"time\":\"2026-11-24T23:00:00.123456Z\","
		    "\"start\":\"2026-11-24T22:59:58.623456Z\",\"proto\":\"tcp\","
		    "\"src\":\"10.0.0.1\",\"sport\":50000,\"dst\":\"10.0.0.2\",\"dport\":443,"
		    "\"packets\":12,\"bytes\":3456,\"class\":\"tor\",\"confidence\":0.98,"
		    "\"ood_score\":-7.1,\"unknown\":false}");
}

static void a_live_event_adds_what_was_done(void **state)
{
	static const char *const names[] = {
		"flow_id", "directions_seen", "decided_by", "provisional", "ready",
		"action",  "rule_id",         "zone",       "zone_id",     "protected",
		"iface",   "model_id",        "scores"};
	struct flow_event event = tor_event();
	json_t *live = event_to_json(&event, false), *offline = event_to_json(&event, true);

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_non_null(json_object_get(live, names[i]));
		assert_null(json_object_get(offline, names[i]));
	}
	assert_int_equal(json_object_size(live),
			 json_object_size(offline) + sizeof(names) / sizeof(names[0]));
	assert_string_equal(json_string_value(json_object_get(live, "flow_id")),
			    "0123456789abcdef");
	assert_string_equal(json_string_value(json_object_get(live, "decided_by")), "class");
	json_decref(live);
	json_decref(offline);
}

static void an_endpoint_reads_as_people_write_it(void **state)
{
	static const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 7};
	struct flow_event event = tor_event();
	char text[EVENT_ENDPOINT];

	(void)state;
	event.key.port_lo_be = htons(443);
	event_endpoint(&event, event.source_direction == FLOW_DIR_FORWARD ? 0 : 1, text);
	assert_string_equal(text, "10.0.0.1:443");
	memcpy(event.key.addr_lo, v6, sizeof(v6));
	event_endpoint(&event, event.source_direction == FLOW_DIR_FORWARD ? 0 : 1, text);
	assert_string_equal(text, "[2001:db8::7]:443");
	event.key.proto = 58;
	event_endpoint(&event, event.source_direction == FLOW_DIR_FORWARD ? 0 : 1, text);
	assert_string_equal(text, "2001:db8::7");
}

static void the_source_is_who_sent_first(void **state)
{
	struct flow_event event = tor_event();
	char text[46];
	uint16_t port;

	(void)state;
	event.source_direction = FLOW_DIR_REVERSE;
	event_address(&event, 0, text, &port);
	assert_string_equal(text, "10.0.0.2");
	assert_int_equal(port, 443);
	event_address(&event, 1, text, &port);
	assert_string_equal(text, "10.0.0.1");
	assert_int_equal(port, 50000);
}

/* Written, dumped, loaded and read; both must write the same line again. */
static struct flow_event assert_round_trip(const struct flow_event *event)
{
	json_t *json = event_to_json(event, false), *loaded, *again;
	char *line = json_dumps(json, EVENT_JSON_FLAGS), *line_again;
	struct flow_event back;
	struct error e = {0};

	loaded = json_loads(line, 0, NULL);
	if (event_from_json(loaded, &back, &e) != 0)
		fail_msg("%s: %s", line, e.text);
	assert_memory_equal(&back.key, &event->key, sizeof(back.key));
	assert_int_equal(back.source_direction, event->source_direction);
	again = event_to_json(&back, false);
	line_again = json_dumps(again, EVENT_JSON_FLAGS);
	assert_string_equal(line_again, line);
	free(line);
	free(line_again);
	json_decref(json);
	json_decref(loaded);
	json_decref(again);
	return back;
}

static void an_event_reads_back_as_it_was_written(void **state)
{
	struct flow_event event = tor_event(), back = assert_round_trip(&event);

	(void)state;
	assert_true(back.flow_id == event.flow_id);
	assert_int_equal(back.time_ns, event.time_ns);
	assert_int_equal(back.start_ns, event.start_ns);
	assert_int_equal(back.packets, 12);
	assert_string_equal(back.class_name, "tor");
	assert_true(fabsf(back.confidence - 0.98f) < 1e-6f);
	assert_true(back.provisional);
	assert_string_equal(back.ready, "full");
	assert_string_equal(back.action, "drop");
	assert_int_equal(back.rule_id, 3);
	assert_string_equal(back.zone, "10.0.0.0/8");
	assert_int_equal(back.n_scores, 2);
	assert_string_equal(back.scores[1].class_name, "tls");
	assert_int_equal(back.by, DECIDED_CLASS);
}

static void every_kind_of_flow_keeps_its_key(void **state)
{
	struct flow_event event = tor_event();

	(void)state;
	event.source_direction = FLOW_DIR_REVERSE;
	event.key.vlan_id = 4094;
	event.by = DECIDED_UNKNOWN;
	event.unknown = true;
	assert_round_trip(&event);
	/* Both ends on one address: the ports order them, as bytes in network order. */
	put_v4(event.key.addr_hi, "10.0.0.1");
	event.key.port_lo_be = htons(443);
	event.key.port_hi_be = htons(50000);
	assert_round_trip(&event);
	event.key.proto = IPPROTO_GRE;
	event.key.port_lo_be = event.key.port_hi_be = 0;
	put_v4(event.key.addr_hi, "10.0.0.2");
	assert_round_trip(&event);
	event.key.proto = IPPROTO_UDP;
	inet_pton(AF_INET6, "2001:db8::1", event.key.addr_lo);
	inet_pton(AF_INET6, "2001:db8::2", event.key.addr_hi);
	assert_round_trip(&event);
}

static void an_icmp_flow_has_type_code_and_id_for_ports(void **state)
{
	struct flow_event event = tor_event();
	json_t *json;

	(void)state;
	event.key.proto = IPPROTO_ICMP;
	event.key.port_lo_be = htons(0x1234);
	event.key.port_hi_be = htons(8 << 8 | 3);
	assert_round_trip(&event);
	json = event_to_json(&event, true);
	assert_string_equal(json_string_value(json_object_get(json, "proto")), "icmp");
	assert_int_equal(json_integer_value(json_object_get(json, "sport")), 0);
	assert_int_equal(json_integer_value(json_object_get(json, "dport")), 0);
	assert_int_equal(json_integer_value(json_object_get(json, "icmp_type")), 8);
	assert_int_equal(json_integer_value(json_object_get(json, "icmp_code")), 3);
	assert_int_equal(json_integer_value(json_object_get(json, "icmp_id")), 0x1234);
	json_decref(json);
	event.key.proto = IPPROTO_ICMPV6;
	event.source_direction = FLOW_DIR_REVERSE;
	assert_round_trip(&event);
}

static void protocols_without_a_name_are_numbers(void **state)
{
	char buffer[8];

	(void)state;
	assert_string_equal(event_proto_name(IPPROTO_ICMPV6, buffer), "icmp6");
	assert_string_equal(event_proto_name(IPPROTO_UDP, buffer), "udp");
	assert_string_equal(event_proto_name(255, buffer), "255");
}

static void odd_values_still_make_an_event(void **state)
{
	struct flow_event event = tor_event(), back;

	(void)state;
	event.time_ns = -1;
	event.start_ns = INT64_MIN + 999999999;
	event.confidence = NAN;
	event.ood_score = INFINITY;
	event.ready = NULL;
	strcpy(event.iface, "w\xff\x1b[");
	back = assert_round_trip(&event);
	assert_int_equal(back.time_ns, -1000);
	assert_true(isnan(back.confidence));
	assert_string_equal(back.ready, "");
	assert_string_equal(back.iface, "w??[");
}

static void assert_refused(const char *name, json_t *value)
{
	struct flow_event event = tor_event(), back;
	json_t *json = event_to_json(&event, false);
	struct error e = {0};
	char quoted[40];

	if (value)
		json_object_set_new(json, name, value);
	else
		json_object_del(json, name);
	memset(&back, 0xaa, sizeof(back));
	if (event_from_json(json, &back, &e) != -EINVAL)
		fail_msg("%s was taken", name);
	snprintf(quoted, sizeof(quoted), "event: \"%s\" is not ", name);
	assert_memory_equal(e.text, quoted, strlen(quoted));
	assert_int_equal(back.n_scores, 0xaaaaaaaa);
	json_decref(json);
}

static void each_missing_or_mistyped_member_is_refused_by_name(void **state)
{
	struct flow_event event = tor_event();
	json_t *json = event_to_json(&event, false), *value;
	const char *name;

	(void)state;
	json_object_foreach (json, name, value) {
		assert_refused(name, NULL);
		/* An object is right for none. */
		assert_refused(name, json_object());
	}
	json_decref(json);
}

static void hostile_values_are_refused(void **state)
{
	char *giant = malloc(100001);
	json_t *scores = json_array();

	(void)state;
	memset(giant, 'a', 100000);
	giant[100000] = '\0';
	for (int i = 0; i <= EVENT_MAX_SCORES; i++)
		json_array_append_new(scores,
				      json_pack("{s:s, s:f}", "class", "a", "probability", 0.5));
	assert_refused("scores", scores);
	assert_refused("class", json_string(giant));
	assert_refused("iface", json_string("0123456789abcdef"));
	assert_refused("action", json_string("everything"));
	assert_refused("zone", json_string(giant));
	assert_refused("src", json_string(giant));
	assert_refused("src", json_string("10.0.0.1 "));
	assert_refused("dst", json_string(""));
	assert_refused("sport", json_integer(65536));
	assert_refused("dport", json_integer(-1));
	assert_refused("dport", json_real(443));
	assert_refused("vlan", json_integer(4096));
	assert_refused("packets", json_integer(-1));
	assert_refused("rule_id", json_integer(1LL << 32));
	assert_refused("directions_seen", json_integer(4));
	assert_refused("confidence", json_real(1e300));
	assert_refused("unknown", json_integer(1));
	assert_refused("proto", json_string("TCP"));
	assert_refused("proto", json_string("0006"));
	assert_refused("flow_id", json_string("0123456789ABCDEF"));
	assert_refused("flow_id", json_string("0x23456789abcdef"));
	assert_refused("flow_id", json_string("1"));
	assert_refused("decided_by", json_string("me"));
	free(giant);
}

static void bad_times_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"now",
		"2026-11-24T23:00:00Z",
		"2026-11-24T23:00:00.12345Z",
		"2026-11-24T23:00:00.1234567Z",
		"2026-11-24T23:00:00.123456",
		"2026-11-24T23:00:00.123456ZZ",
		"2026-11-24T23:00:00.-12345Z",
		"2026-11-24T23:00:00. 12345Z",
		"2026-11-24 23:00:00.123456Z",
		"2026-13-24T23:00:00.123456Z",
		"9999-11-24T23:00:00.123456Z",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_refused("time", json_string(bad[i]));
}

static void what_is_no_object_is_refused(void **state)
{
	json_t *list = json_array();
	struct flow_event event;
	struct error e;

	(void)state;
	assert_int_equal(event_from_json(list, &event, &e), -EINVAL);
	assert_string_equal(e.text, "event: not a JSON object");
	assert_int_equal(event_from_json(NULL, &event, NULL), -EINVAL);
	json_decref(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_offline_event_has_the_members_of_the_design_and_no_live_ones),
		cmocka_unit_test(a_live_event_adds_what_was_done),
		cmocka_unit_test(an_endpoint_reads_as_people_write_it),
		cmocka_unit_test(the_source_is_who_sent_first),
		cmocka_unit_test(an_event_reads_back_as_it_was_written),
		cmocka_unit_test(every_kind_of_flow_keeps_its_key),
		cmocka_unit_test(an_icmp_flow_has_type_code_and_id_for_ports),
		cmocka_unit_test(protocols_without_a_name_are_numbers),
		cmocka_unit_test(odd_values_still_make_an_event),
		cmocka_unit_test(each_missing_or_mistyped_member_is_refused_by_name),
		cmocka_unit_test(hostile_values_are_refused),
		cmocka_unit_test(bad_times_are_refused),
		cmocka_unit_test(what_is_no_object_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
