/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The policy language (policies/README.md): words -> rules -> map entries. Pure: no files but what
 * the caller read, no clock but what the caller gives. Used by nmd, and by nmctl with no daemon.
 *
 *   default watch|allow
 *   block|limit|watch|allow [class=NAME] [net=PREFIX] [dir=in|out|both] [rate=2mbit] [burst=64kb]
 *                           [for=1h | until=2026-11-24T23:00:00Z] [confirm=60s] [force]
 *
 * Which rule decides a flow of class c and zone z: rules whose net= holds the flow's zone before
 * those without; among them the longest prefix first; at equal prefix a rule with class= before one
 * without; at equal rank the later line. A rule without class= covers every class but `unknown`,
 * unless it is an allow or watch, which cover that too. `allow net=X` with neither class= nor dir=
 * makes zone "never".
 *
 * Errors read `NAME:LINE: rate=2mbt: unknown unit "mbt"; use bit, kbit, mbit, gbit`.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "maps/policy.h"
#include "model/error.h"

enum policy_verb { POLICY_BLOCK, POLICY_LIMIT, POLICY_WATCH, POLICY_ALLOW };

#define POLICY_DIR_IN   0x1
#define POLICY_DIR_OUT  0x2
#define POLICY_DIR_BOTH 0x3

#define POLICY_MAX_CONFIRM_S 3600 /* a change may wait so long for its confirmation */

struct policy_rule {
	uint32_t id; /* 1.. in order of first appearance; stable while the rule stays */
	enum policy_verb verb;
	char class_name[CLASS_NAME_LEN]; /* "" = any */
	bool has_net;
	uint8_t net[16];    /* v4-mapped */
	uint8_t prefix_len; /* of 128 */
	uint8_t dir;        /* POLICY_DIR_* */
	bool force;
	uint64_t rate_bytes_per_s, burst_bytes; /* limit only */
	uint64_t for_s;                         /* 0 = for good */
	uint64_t confirm_s; /* 0 = no confirmation wanted; only the control socket acts on it */
	/* Seconds since the epoch when the rule ends, 0 = never: set by until=, or by nmd from
	 * for_s. A rule whose time is over is the caller's to remove: the policy knows no clock. */
	int64_t expires_at;
	uint32_t line; /* where it was read, 0 = command line */
};

struct policy {
	char name[96];                 /* the file it was read from, for messages; "" = none */
	enum policy_verb default_verb; /* POLICY_WATCH or POLICY_ALLOW */
	uint32_t n_rules, next_id;
	struct policy_rule *rules;
};

const char *policy_verb_name(enum policy_verb verb);

struct policy *policy_new(void);    /* default watch, no rules; NULL when memory is short */
void policy_free(struct policy *p); /* accepts NULL */
int policy_copy(const struct policy *p, struct policy **ret_policy);

/* One rule from words, as typed after `nmctl policy`: {"block", "class=tor"}. */
int policy_rule_parse(const char *const *words, size_t n_words, struct policy_rule *ret_rule,
		      struct error *e);
/* A whole file; name is for messages. */
int policy_parse(const char *name, const char *text, size_t len, struct policy **ret_policy,
		 struct error *e);
/* Adds a rule behind the others; one with equal class, net and dir goes, and leaves it its id (so
 * counters and meter go on). Ids stay below MAX_RULES, they are rows of `counters`; one that was
 * freed is given out again only when all others were. Returns the id or a negative errno. */
int policy_add(struct policy *p, const struct policy_rule *rule, struct error *e);
int policy_remove(struct policy *p, uint32_t id, struct error *e);
/* Borrowed until the policy changes; NULL when no rule has that id. */
const struct policy_rule *policy_rule_find(const struct policy *p, uint32_t id);
/* Before `to` replaces `from`: rules of `to` that `from` has too (class, net, dir) take its ids,
 * the others ids that `from` does not use. */
void policy_keep_ids(struct policy *to, const struct policy *from);
/* The rule in the words it is typed in, without confirm=; truncates as snprintf does. */
int policy_rule_format(const struct policy_rule *rule, char *buffer, size_t size);
/* The policy as a file, which policy_parse reads back; a rule with expires_at is written with
 * until=, so that a restart does not lengthen it. Caller frees. NULL when memory is short. */
char *policy_format(const struct policy *p);
/* `- line`, `+ line` for each that differs, their order counted; "" when none; caller frees. NULL
 * when memory is short. */
char *policy_diff(const struct policy *from, const struct policy *to);

/* Classes the rules may name, by class id (index); id 0 is `unknown`. */
struct policy_classes {
	uint32_t n;
	const char (*name)[CLASS_NAME_LEN]; /* "" = id not in use */
	const bool *watch_only;             /* may be NULL */
};

struct policy_zone {
	struct zone_key prefix;
	uint32_t zone_id;
};

/* What goes into the maps. */
struct policy_program {
	struct policy_entry entries[MAX_ZONES * MAX_CLASSES];
	struct meter meters[MAX_METERS];    /* 1..n_meters in use; tat_ns 0 */
	uint32_t meter_rule_id[MAX_METERS]; /* so that a kept rule keeps its meter's state */
	uint32_t n_meters;
	struct policy_zone zones[MAX_ZONES];
	uint32_t n_zones;
	char notes[1024]; /* warnings for the operator, one a line: "block class=dns-tunnel: ..." */
};

/* The id of the class that a rule names, or -ENOENT. class=bittorrent means p2p where there is no
 * class of the former name. */
int policy_class_find(const struct policy_classes *classes, const char *name);
/* ssh and dns: the safety net protects flows of these classes. */
bool policy_class_protected(const char *name);
/* never: prefixes from the settings that no rule overrides. */
int policy_compile(const struct policy *p, const struct policy_classes *classes,
		   const struct zone_key *never, uint32_t n_never,
		   struct policy_program **ret_program, struct error *e);
void policy_program_free(struct policy_program *program); /* accepts NULL */

/* The zone of an address: longest prefix; ZONE_DEFAULT when none. ret_prefix_len may be NULL. */
uint32_t policy_zone_of(const struct policy_program *program, const uint8_t addr[16],
			uint8_t *ret_prefix_len);
/* 0 and the address v4-mapped, prefix_len of 128; "10.0.0.0/8", "2001:db8::/32", "192.0.2.7". */
int policy_prefix_parse(const char *text, uint8_t ret_addr[16], uint8_t *ret_prefix_len,
			struct error *e);
