/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The grammar: words to a rule, and a file to a policy. A line of a file is split into words and
 * then goes the way of words from the command line, so what can be typed can be stored. The keys
 * are a table: what each wants, and which verbs it goes with.
 */
#include <errno.h>
#include <string.h>
#include <stdlib.h>
#include "agent/policy/nearest.h"
#include "agent/policy/policy.h"
#include "agent/policy/units.h"

#define MAX_WORDS    16
#define MAX_LINE     512
#define MAX_FOR_S    (3650ULL * 86400)
#define N_OF(array)  (sizeof(array) / sizeof((array)[0]))
#define N_VERBS      (POLICY_ALLOW + 1)
#define GOES_WITH(v) (1U << (v))
#define ANY_VERB     0xfU
#define ACTING_VERBS (GOES_WITH(POLICY_BLOCK) | GOES_WITH(POLICY_LIMIT))

/* ---- values, one function a key ---- */

static int value_class(const char *value, struct policy_rule *r, struct error *e)
{
	if (value[strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0')
		return error_set(e, -EINVAL, "a class name has small letters, digits and - only");
	if (strlen(value) >= sizeof(r->class_name))
		return error_set(e, -EINVAL, "a class name has at most %zu letters",
				 sizeof(r->class_name) - 1);
	strcpy(r->class_name, value);
	return 0;
}

static int value_net(const char *value, struct policy_rule *r, struct error *e)
{
	r->has_net = true;
	return policy_prefix_parse(value, r->net, &r->prefix_len, e);
}

static int value_dir(const char *value, struct policy_rule *r, struct error *e)
{
	if (strcmp(value, "in") == 0)
		r->dir = POLICY_DIR_IN;
	else if (strcmp(value, "out") == 0)
		r->dir = POLICY_DIR_OUT;
	else if (strcmp(value, "both") == 0)
		r->dir = POLICY_DIR_BOTH;
	else
		return error_set(e, -EINVAL, "unknown direction; use in, out or both");
	return 0;
}

static int value_rate(const char *value, struct policy_rule *r, struct error *e)
{
	return units_parse_rate(value, &r->rate_bytes_per_s, e);
}

static int value_burst(const char *value, struct policy_rule *r, struct error *e)
{
	return units_parse_burst(value, &r->burst_bytes, e);
}

static int value_for(const char *value, struct policy_rule *r, struct error *e)
{
	return units_parse_duration(value, MAX_FOR_S, &r->for_s, e);
}

static int value_until(const char *value, struct policy_rule *r, struct error *e)
{
	return units_parse_time(value, &r->expires_at, e);
}

static int value_confirm(const char *value, struct policy_rule *r, struct error *e)
{
	return units_parse_duration(value, POLICY_MAX_CONFIRM_S, &r->confirm_s, e);
}

static int value_force(const char *value, struct policy_rule *r, struct error *e)
{
	(void)value;
	(void)e;
	r->force = true;
	return 0;
}

/* ---- tables ---- */

struct key {
	const char *name;
	const char *example; /* NULL = a flag, without a value */
	unsigned goes_with;
	int (*read)(const char *value, struct policy_rule *r, struct error *e);
};

static const struct key keys[] = {
	{"class", "class=tor", ANY_VERB, value_class},
	{"net", "net=10.0.0.0/8", ANY_VERB, value_net},
	{"dir", "dir=in", ANY_VERB, value_dir},
	{"rate", "rate=2mbit", GOES_WITH(POLICY_LIMIT), value_rate},
	{"burst", "burst=64kb", GOES_WITH(POLICY_LIMIT), value_burst},
	{"for", "for=1h", ANY_VERB, value_for},
	{"until", "until=2026-11-24T23:00:00Z", ANY_VERB, value_until},
	{"confirm", "confirm=60s", ANY_VERB, value_confirm},
	{"force", NULL, ACTING_VERBS, value_force},
};

#define HAS(seen, key_name) ((seen)&key_bit(key_name))

static const struct key *find_key(const char *name)
{
	for (size_t i = 0; i < N_OF(keys); i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

static unsigned key_bit(const char *name)
{
	return 1U << (find_key(name) - keys);
}

/* ---- words ---- */

/* Puts a place before what e says. */
static int prefixed(struct error *e, int code, const char *place)
{
	char text[sizeof(e->text)];

	if (!e)
		return code;
	memcpy(text, e->text, sizeof(text));
	return error_set(e, code, "%s: %s", place, text);
}

/* What is not printable ASCII could hide in a listing or move a terminal's cursor. */
static int check_word(const char *word, struct error *e)
{
	if (strlen(word) > MAX_LINE)
		return error_set(e, -EINVAL, "a word is longer than %d bytes", MAX_LINE);
	for (const char *c = word; *c; c++)
		if (*c <= ' ' || *c > '~')
			return error_set(e, -EINVAL,
					 "byte 0x%02x in a word; words are printable ASCII",
					 (unsigned char)*c);
	return 0;
}

static int unknown_key(const char *word, const char *name, struct error *e)
{
	const char *names[N_OF(keys)];
	const char *near;

	for (size_t i = 0; i < N_OF(keys); i++)
		names[i] = keys[i].name;
	if (!strchr(word, '=') && !nearest_is_near(word, "force"))
		return error_set(
			e, -EINVAL,
			"unknown word \"%.64s\"; a word is KEY=VALUE, as class=tor, or force",
			word);
	near = nearest_of(name, names, N_OF(keys));
	if (near)
		return error_set(e, -EINVAL, "%.64s: unknown key \"%.32s\"; did you mean %s?", word,
				 name, near);
	return error_set(e, -EINVAL,
			 "%.64s: unknown key \"%.32s\"; use class=, net=, dir=, rate=, burst=, "
			 "for=, until=, confirm= or force",
			 word, name);
}

static int check_key(const struct key *key, const char *value, const struct policy_rule *r,
		     struct error *e)
{
	if (!(key->goes_with & GOES_WITH(r->verb)))
		return error_set(e, -EINVAL, "does not go with %s; it belongs to %s",
				 policy_verb_name(r->verb),
				 key->goes_with == ACTING_VERBS ? "block and limit" : "limit");
	if (!key->example && value)
		return error_set(e, -EINVAL, "takes no value; write %s", key->name);
	if (key->example && (!value || !*value))
		return error_set(e, -EINVAL, "wants a value, as %s", key->example);
	return 0;
}

static int read_word(const char *word, struct policy_rule *r, unsigned *seen, struct error *e)
{
	const char *equals = strchr(word, '=');
	size_t name_len = equals ? (size_t)(equals - word) : strlen(word);
	const struct key *key = NULL;
	char name[33], place[65];
	int err;

	snprintf(name, sizeof(name), "%.*s", (int)(name_len < 32 ? name_len : 32), word);
	snprintf(place, sizeof(place), "%.64s", word);
	if (name_len < sizeof(name))
		key = find_key(name);
	if (!key)
		return unknown_key(word, name, e);
	if (*seen & key_bit(key->name))
		return error_set(e, -EINVAL, "%s: %s was given before", place, key->name);
	*seen |= key_bit(key->name);
	err = check_key(key, equals ? equals + 1 : NULL, r, e);
	if (!err)
		err = key->read(equals ? equals + 1 : NULL, r, e);
	return err ? prefixed(e, err, place) : 0;
}

static int read_verb(const char *word, enum policy_verb *ret_verb, struct error *e)
{
	const char *verbs[N_VERBS], *near;

	for (size_t i = 0; i < N_VERBS; i++) {
		verbs[i] = policy_verb_name((enum policy_verb)i);
		if (strcmp(verbs[i], word) != 0)
			continue;
		*ret_verb = (enum policy_verb)i;
		return 0;
	}
	if (strcmp(word, "default") == 0)
		return error_set(e, -EINVAL, "default is a line of a policy file, not a rule");
	near = nearest_of(word, verbs, N_VERBS);
	if (near)
		return error_set(e, -EINVAL, "unknown verb \"%.32s\"; did you mean %s?", word,
				 near);
	return error_set(e, -EINVAL, "unknown verb \"%.32s\"; use block, limit, watch or allow",
			 word);
}

/* What no single word can tell. */
static int check_rule(const struct policy_rule *r, unsigned seen, struct error *e)
{
	const char *verb = policy_verb_name(r->verb);

	if (r->verb == POLICY_LIMIT && !HAS(seen, "rate"))
		return error_set(e, -EINVAL, "limit wants a rate, as rate=2mbit");
	if (HAS(seen, "for") && HAS(seen, "until"))
		return error_set(e, -EINVAL, "for= and until= say the same thing; give one");
	if (r->class_name[0] || r->has_net || r->verb == POLICY_LIMIT)
		return 0;
	if (r->verb == POLICY_BLOCK)
		return error_set(
			e, -EINVAL,
			"block wants class= or net=; everything is net=::/0, and that cuts "
			"this host off");
	return error_set(e, -EINVAL,
			 "%s wants class= or net=; for all flows put `default %s` into a policy "
			 "file",
			 verb, verb);
}

int policy_rule_parse(const char *const *words, size_t n_words, struct policy_rule *ret_rule,
		      struct error *e)
{
	struct policy_rule r = {.dir = POLICY_DIR_BOTH};
	unsigned seen = 0;
	int err;

	if (n_words == 0)
		return error_set(e, -EINVAL,
				 "no words; a rule begins with block, limit, watch or "
				 "allow");
	if (n_words > MAX_WORDS)
		return error_set(e, -EINVAL, "more than %d words in a rule", MAX_WORDS);
	for (size_t i = 0; i < n_words; i++) {
		err = check_word(words[i], e);
		if (err)
			return err;
	}
	err = read_verb(words[0], &r.verb, e);
	for (size_t i = 1; !err && i < n_words; i++)
		err = read_word(words[i], &r, &seen, e);
	if (!err)
		err = check_rule(&r, seen, e);
	if (err)
		return err;
	if (r.verb == POLICY_LIMIT && !HAS(seen, "burst"))
		r.burst_bytes = units_default_burst(r.rate_bytes_per_s);
	*ret_rule = r;
	return 0;
}

/* ---- files ---- */

struct reader {
	struct policy *policy;
	uint32_t line;
	uint32_t default_line; /* 0 = not seen */
};

/* Length of the well-formed UTF-8 character at text (RFC 3629), 0 when there is none. */
static size_t utf8_len(const unsigned char *text, size_t left)
{
	static const struct {
		unsigned char mask, lead;
		size_t len;
		unsigned least; /* shorter forms are forged */
	} forms[] = {{0x80, 0x00, 1, 0},
		     {0xe0, 0xc0, 2, 0x80},
		     {0xf0, 0xe0, 3, 0x800},
		     {0xf8, 0xf0, 4, 0x10000}};

	for (size_t f = 0; f < N_OF(forms); f++) {
		unsigned code = text[0] & (unsigned char)~forms[f].mask;

		if ((text[0] & forms[f].mask) != forms[f].lead)
			continue;
		if (forms[f].len > left)
			return 0;
		for (size_t i = 1; i < forms[f].len; i++) {
			if ((text[i] & 0xc0) != 0x80)
				return 0;
			code = code << 6 | (text[i] & 0x3f);
		}
		if (code < forms[f].least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
			return 0;
		return forms[f].len;
	}
	return 0;
}

static int check_line(const char *line, size_t len, struct error *e)
{
	if (memchr(line, '\0', len))
		return error_set(e, -EINVAL, "a NUL byte; a policy is a text file");
	if (len > MAX_LINE)
		return error_set(e, -EINVAL, "longer than %d bytes", MAX_LINE);
	for (size_t i = 0; i < len;) {
		size_t n = utf8_len((const unsigned char *)line + i, len - i);

		if (n == 0)
			return error_set(e, -EINVAL, "column %zu: byte 0x%02x is not UTF-8", i + 1,
					 (unsigned char)line[i]);
		i += n;
	}
	return 0;
}

/* Splits in place; a # begins a comment. */
static int split_words(char *line, const char **words, size_t *ret_n_words, struct error *e)
{
	char *state = NULL;
	size_t n = 0;

	line[strcspn(line, "#")] = '\0';
	for (char *w = strtok_r(line, " \t\r", &state); w; w = strtok_r(NULL, " \t\r", &state)) {
		if (n == MAX_WORDS)
			return error_set(e, -EINVAL, "more than %d words in a rule", MAX_WORDS);
		words[n++] = w;
	}
	*ret_n_words = n;
	return 0;
}

static int read_default(struct reader *reader, const char **words, size_t n_words, struct error *e)
{
	if (reader->default_line)
		return error_set(e, -EINVAL, "default was set in line %u", reader->default_line);
	if (n_words == 2 && strcmp(words[1], "watch") == 0)
		reader->policy->default_verb = POLICY_WATCH;
	else if (n_words == 2 && strcmp(words[1], "allow") == 0)
		reader->policy->default_verb = POLICY_ALLOW;
	else
		return error_set(e, -EINVAL, "write `default watch` or `default allow`");
	reader->default_line = reader->line;
	return 0;
}

static int read_line(struct reader *reader, const char *text, size_t len, struct error *e)
{
	struct policy_rule rule;
	const char *words[MAX_WORDS];
	char line[MAX_LINE + 1];
	size_t n_words = 0;
	int err = check_line(text, len, e);

	if (err)
		return err;
	memcpy(line, text, len);
	line[len] = '\0';
	err = split_words(line, words, &n_words, e);
	if (err || n_words == 0)
		return err;
	if (strcmp(words[0], "default") == 0)
		return read_default(reader, words, n_words, e);
	err = policy_rule_parse(words, n_words, &rule, e);
	if (err)
		return err;
	if (rule.confirm_s)
		return error_set(e, -EINVAL,
				 "confirm= is for the command line, as `nmctl policy apply FILE "
				 "confirm=60s`");
	rule.line = reader->line;
	err = policy_add(reader->policy, &rule, e);
	return err < 0 ? err : 0;
}

static void free_policy(struct policy **p)
{
	policy_free(*p);
}

int policy_parse(const char *name, const char *text, size_t len, struct policy **ret_policy,
		 struct error *e)
{
	cleanup(free_policy) struct policy *p = policy_new();
	struct reader reader = {.policy = p};
	const char *end = text + len;
	char place[128];

	if (!p)
		return error_set(e, -ENOMEM, "no memory for a policy");
	snprintf(p->name, sizeof(p->name), "%s", name);
	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *line_end = newline ? newline : end;
		int err;

		reader.line++;
		err = read_line(&reader, text, (size_t)(line_end - text), e);
		if (err) {
			snprintf(place, sizeof(place), "%s:%u", p->name, reader.line);
			return prefixed(e, err, place);
		}
		text = newline ? newline + 1 : end;
	}
	*ret_policy = take_ptr(p);
	return 0;
}
