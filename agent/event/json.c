/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one encoding of an event. Reading is strict: what the store or another program hands back is
 * checked member by member, as any input is.
 */
#include "agent/event/event.h"
#include <arpa/inet.h>
#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_S  1000000000LL
#define TIME_TEXT 40

static bool is_icmp(uint8_t proto)
{
	return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

/* ---- writing ---- */

static json_t *time_json(int64_t ns)
{
	int64_t seconds = ns / NS_PER_S, rest = ns % NS_PER_S;
	char date[TIME_TEXT / 2], text[TIME_TEXT];
	time_t t;
	struct tm tm;

	if (rest < 0) {
		rest += NS_PER_S;
		seconds--;
	}
	t = seconds;
	if (!gmtime_r(&t, &tm) || strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		return NULL;
	snprintf(text, sizeof(text), "%s.%06dZ", date, (int)(rest / 1000));
	return json_string(text);
}

/* Six digits are what a float is good for; null where it is no number. */
static json_t *float_json(float value)
{
	char text[32];

	if (!isfinite(value))
		return json_null();
	snprintf(text, sizeof(text), "%.6g", value);
	return json_real(strtod(text, NULL));
}

/* Interface names may hold any byte. */
static json_t *text_json(const char *text)
{
	char clean[64];
	size_t n = 0;

	for (; text[n] && n < sizeof(clean) - 1; n++)
		clean[n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
	clean[n] = '\0';
	return json_string(clean);
}

static json_t *scores_json(const struct flow_event *event)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < event->n_scores && i < EVENT_MAX_SCORES; i++)
		if (json_array_append_new(
			    list,
			    json_pack("{s:o, s:o}", "class", text_json(event->scores[i].class_name),
				      "probability", float_json(event->scores[i].probability))))
			break;
	if (json_array_size(list) == event->n_scores)
		return list;
	json_decref(list);
	return NULL;
}

static int add_flow(json_t *json, const struct flow_event *event)
{
	char proto[8], src[46], dst[46];
	uint16_t sport, dport;
	const struct flow_key *key = &event->key;
	int err = 0;

	event_address(event, 0, src, &sport);
	event_address(event, 1, dst, &dport);
	err |= json_object_set_new(json, "time", time_json(event->time_ns));
	err |= json_object_set_new(json, "start", time_json(event->start_ns));
	err |= json_object_set_new(json, "proto", json_string(event_proto_name(key->proto, proto)));
	err |= json_object_set_new(json, "src", json_string(src));
	err |= json_object_set_new(json, "sport", json_integer(sport));
	err |= json_object_set_new(json, "dst", json_string(dst));
	err |= json_object_set_new(json, "dport", json_integer(dport));
	if (is_icmp(key->proto)) {
		int type_code = ntohs(key->port_hi_be);

		err |= json_object_set_new(json, "icmp_type", json_integer(type_code >> 8));
		err |= json_object_set_new(json, "icmp_code", json_integer(type_code & 0xff));
		err |= json_object_set_new(json, "icmp_id", json_integer(ntohs(key->port_lo_be)));
	}
	if (key->vlan_id)
		err |= json_object_set_new(json, "vlan", json_integer(key->vlan_id));
	return err;
}

static int add_judgement(json_t *json, const struct flow_event *event)
{
	int err = 0;

	err |= json_object_set_new(json, "packets", json_integer((json_int_t)event->packets));
	err |= json_object_set_new(json, "bytes", json_integer((json_int_t)event->bytes));
	err |= json_object_set_new(json, "class", text_json(event->class_name));
	err |= json_object_set_new(json, "confidence", float_json(event->confidence));
	err |= json_object_set_new(json, "ood_score", float_json(event->ood_score));
	err |= json_object_set_new(json, "unknown", json_boolean(event->unknown));
	return err;
}

static int add_live(json_t *json, const struct flow_event *event)
{
	char id[17];
	int err = 0;

	snprintf(id, sizeof(id), "%016" PRIx64, event->flow_id);
	err |= json_object_set_new(json, "flow_id", json_string(id));
	err |= json_object_set_new(json, "directions_seen", json_integer(event->directions_seen));
	err |= json_object_set_new(json, "decided_by", json_string(decided_by_name(event->by)));
	err |= json_object_set_new(json, "provisional", json_boolean(event->provisional));
	err |= json_object_set_new(json, "ready", text_json(event->ready ? event->ready : ""));
	err |= json_object_set_new(json, "action", text_json(event->action));
	err |= json_object_set_new(json, "rule_id", json_integer(event->rule_id));
	err |= json_object_set_new(json, "zone", text_json(event->zone));
	err |= json_object_set_new(json, "zone_id", json_integer(event->zone_id));
	err |= json_object_set_new(json, "protected", json_boolean(event->protected_flow));
	err |= json_object_set_new(json, "iface", text_json(event->iface));
	err |= json_object_set_new(json, "model_id", json_integer(event->model_id));
	err |= json_object_set_new(json, "scores", scores_json(event));
	return err;
}

json_t *event_to_json(const struct flow_event *event, bool offline)
{
	json_t *json = json_object();
	int err = add_flow(json, event);

	err |= add_judgement(json, event);
	if (!offline)
		err |= add_live(json, event);
	if (!err)
		return json;
	json_decref(json);
	return NULL;
}

/* ---- reading ---- */

/* Members are read one after the other; the first that is wrong ends it. */
struct reader {
	const json_t *json;
	struct error *e;
	int err;
};

static void refuse(struct reader *r, const char *name, const char *right)
{
	if (!r->err)
		r->err = error_set(r->e, -EINVAL, "event: \"%s\" is not %s", name, right);
}

static uint64_t read_integer(struct reader *r, const char *name, uint64_t most)
{
	const json_t *value = json_object_get(r->json, name);
	json_int_t number = json_integer_value(value);

	if (json_is_integer(value) && number >= 0 && (uint64_t)number <= most)
		return (uint64_t)number;
	refuse(r, name, "a number of its range");
	return 0;
}

static bool read_bool(struct reader *r, const char *name)
{
	const json_t *value = json_object_get(r->json, name);

	if (!json_is_boolean(value))
		refuse(r, name, "true or false");
	return json_is_true(value);
}

static float read_float(struct reader *r, const char *name)
{
	const json_t *value = json_object_get(r->json, name);

	if (json_is_null(value))
		return NAN;
	if (json_is_number(value) && fabs(json_number_value(value)) <= FLT_MAX)
		return (float)json_number_value(value);
	refuse(r, name, "a number");
	return 0;
}

static const char *read_string(struct reader *r, const char *name)
{
	const char *text = json_string_value(json_object_get(r->json, name));

	if (!text)
		refuse(r, name, "a string");
	return text ? text : "";
}

static void read_text(struct reader *r, const char *name, char *buffer, size_t size)
{
	const char *text = read_string(r, name);

	if (strlen(text) >= size)
		refuse(r, name, "so short a string");
	else
		strcpy(buffer, text);
}

static int64_t read_time(struct reader *r, const char *name)
{
	const char *text = read_string(r, name);
	struct tm tm = {0};
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t ns;

	if (rest && *rest == '.' && strspn(rest + 1, "0123456789") == 6 &&
	    strcmp(rest + 7, "Z") == 0 &&
	    !__builtin_mul_overflow((int64_t)timegm(&tm), NS_PER_S, &ns) &&
	    !__builtin_add_overflow(ns, strtol(rest + 1, NULL, 10) * 1000, &ns))
		return ns;
	refuse(r, name, "a time as 2026-11-24T23:00:00.000000Z");
	return 0;
}

static uint8_t read_proto(struct reader *r)
{
	const char *text = read_string(r, "proto");
	char name[8];

	for (int proto = 0; proto < 256; proto++)
		if (strcmp(event_proto_name((uint8_t)proto, name), text) == 0)
			return (uint8_t)proto;
	refuse(r, "proto", "a protocol");
	return 0;
}

static void read_address(struct reader *r, const char *name, uint8_t addr[16])
{
	const char *text = read_string(r, name);

	memset(addr, 0, 16);
	addr[10] = addr[11] = 0xff;
	if (inet_pton(AF_INET, text, addr + 12) != 1 && inet_pton(AF_INET6, text, addr) != 1)
		refuse(r, name, "an address");
}

/* The key and which end of it began, as maps/flow_key.h orders them. */
static void read_key(struct reader *r, struct flow_event *event)
{
	struct flow_key *key = &event->key;
	uint8_t src[16], dst[16];
	__be16 sport = htons((uint16_t)read_integer(r, "sport", UINT16_MAX));
	__be16 dport = htons((uint16_t)read_integer(r, "dport", UINT16_MAX));
	int order;

	key->proto = read_proto(r);
	read_address(r, "src", src);
	read_address(r, "dst", dst);
	order = memcmp(src, dst, sizeof(src));
	if (order == 0)
		order = memcmp(&sport, &dport, sizeof(sport));
	event->source_direction = order <= 0 ? FLOW_DIR_FORWARD : FLOW_DIR_REVERSE;
	memcpy(key->addr_lo, order <= 0 ? src : dst, sizeof(src));
	memcpy(key->addr_hi, order <= 0 ? dst : src, sizeof(src));
	key->port_lo_be = order <= 0 ? sport : dport;
	key->port_hi_be = order <= 0 ? dport : sport;
	if (is_icmp(key->proto)) {
		uint64_t type = read_integer(r, "icmp_type", UINT8_MAX);

		key->port_hi_be =
			htons((uint16_t)(type << 8 | read_integer(r, "icmp_code", UINT8_MAX)));
		key->port_lo_be = htons((uint16_t)read_integer(r, "icmp_id", UINT16_MAX));
	}
	if (json_object_get(r->json, "vlan"))
		key->vlan_id = (uint16_t)read_integer(r, "vlan", 4095);
}

static uint64_t read_flow_id(struct reader *r)
{
	const char *text = read_string(r, "flow_id");
	uint64_t id = 0;

	if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16 ||
	    sscanf(text, "%" SCNx64, &id) != 1)
		refuse(r, "flow_id", "16 hex digits");
	return id;
}

static enum decided_by read_by(struct reader *r)
{
	const char *text = read_string(r, "decided_by");

	for (int by = DECIDED_CLASS; by <= DECIDED_UNKNOWN; by++)
		if (strcmp(decided_by_name((enum decided_by)by), text) == 0)
			return (enum decided_by)by;
	refuse(r, "decided_by", "class, threshold or unknown");
	return DECIDED_UNKNOWN;
}

/* As agent/flow/assembler.h names them; its header is another layer's. */
static const char *read_ready(struct reader *r)
{
	static const char *const names[] = {"early", "full",    "end",  "idle",
					    "time",  "evicted", "flush"};
	const char *text = read_string(r, "ready");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], text) == 0)
			return names[i];
	return "";
}

static void read_scores(struct reader *r, struct flow_event *event)
{
	const json_t *list = json_object_get(r->json, "scores");
	size_t n = json_array_size(list);

	if (!json_is_array(list) || n > EVENT_MAX_SCORES) {
		refuse(r, "scores", "a list of at most 8");
		return;
	}
	for (size_t i = 0; i < n; i++) {
		struct reader one = {.json = json_array_get(list, i), .e = r->e, .err = r->err};

		read_text(&one, "class", event->scores[i].class_name,
			  sizeof(event->scores[i].class_name));
		event->scores[i].probability = read_float(&one, "probability");
		r->err = one.err;
	}
	event->n_scores = (uint32_t)n;
}

static void read_live(struct reader *r, struct flow_event *event)
{
	event->flow_id = read_flow_id(r);
	event->directions_seen = (uint8_t)read_integer(r, "directions_seen", 3);
	event->by = read_by(r);
	event->provisional = read_bool(r, "provisional");
	event->ready = read_ready(r);
	read_text(r, "action", event->action, sizeof(event->action));
	event->rule_id = (uint32_t)read_integer(r, "rule_id", UINT32_MAX);
	read_text(r, "zone", event->zone, sizeof(event->zone));
	event->zone_id = (uint32_t)read_integer(r, "zone_id", UINT32_MAX);
	event->protected_flow = read_bool(r, "protected");
	read_text(r, "iface", event->iface, sizeof(event->iface));
	event->model_id = (uint32_t)read_integer(r, "model_id", UINT32_MAX);
	read_scores(r, event);
}

int event_from_json(const json_t *json, struct flow_event *ret_event, struct error *e)
{
	struct reader r = {.json = json, .e = e};
	struct flow_event event = {0};

	if (!json_is_object(json))
		return error_set(e, -EINVAL, "event: not a JSON object");
	event.time_ns = read_time(&r, "time");
	event.start_ns = read_time(&r, "start");
	read_key(&r, &event);
	event.packets = read_integer(&r, "packets", INT64_MAX);
	event.bytes = read_integer(&r, "bytes", INT64_MAX);
	read_text(&r, "class", event.class_name, sizeof(event.class_name));
	event.confidence = read_float(&r, "confidence");
	event.ood_score = read_float(&r, "ood_score");
	event.unknown = read_bool(&r, "unknown");
	read_live(&r, &event);
	if (r.err)
		return r.err;
	*ret_event = event;
	return 0;
}
