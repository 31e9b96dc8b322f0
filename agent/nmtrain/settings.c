/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading settings: each value against its row, then all of them against one another. */
#include "agent/nmtrain/settings.h"
#include <assert.h>
#include <errno.h>
#include <ini.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmtrain/settings_table.h"
#include "agent/policy/nearest.h"
#include "model/layout.h"
#include "model/model_metadata.h"

#define LIST_SEPARATORS " \t,"

static int set_number(const struct setting *setting, void *at, const char *value, struct error *e)
{
	char *end;
	double v = strtod(value, &end);

	if (end == value || *end || !isfinite(v))
		return error_set(e, -EINVAL, "%s.%s: \"%.40s\" is not a number; use %.10g to %.10g",
				 setting->section, setting->key, value, setting->min, setting->max);
	if (v < setting->min || v > setting->max)
		return error_set(e, -ERANGE, "%s.%s: %.40s is out of range; use %.10g to %.10g",
				 setting->section, setting->key, value, setting->min, setting->max);
	if (setting->type == SETTING_REAL) {
		*(double *)at = v;
		return 0;
	}
	if (setting->type == SETTING_FLOAT) {
		*(float *)at = v;
		return 0;
	}
	if (v != floor(v))
		return error_set(e, -EINVAL, "%s.%s: %.40s is not a whole number", setting->section,
				 setting->key, value);
	if (setting->type == SETTING_SHORT)
		*(uint16_t *)at = v;
	else if (setting->type == SETTING_COUNT)
		*(uint32_t *)at = v;
	else
		*(uint64_t *)at = v;
	return 0;
}

static int set_switch(const struct setting *setting, bool *on, const char *value, struct error *e)
{
	static const char *const yes[] = {"on", "yes", "true", "1"};
	static const char *const no[] = {"off", "no", "false", "0"};

	for (unsigned i = 0; i < 4; i++) {
		if (strcmp(value, yes[i]) && strcmp(value, no[i]))
			continue;
		*on = !strcmp(value, yes[i]);
		return 0;
	}
	return error_set(e, -EINVAL, "%s.%s: \"%.40s\" is neither on nor off", setting->section,
			 setting->key, value);
}

static int set_choice(const struct setting *setting, void *at, const char *value, struct error *e)
{
	unsigned i = !strcmp(value, setting->name[1]);

	if (strcmp(value, setting->name[i]))
		return error_set(e, -EINVAL, "%s.%s: \"%.40s\" is not known; use %s or %s",
				 setting->section, setting->key, value, setting->name[0],
				 setting->name[1]);
	if (setting->type == SETTING_CHOICE)
		*(bool *)at = i;
	else if (setting->type == SETTING_LOSS)
		*(enum loss_kind *)at = i ? LOSS_LDAM : LOSS_CROSS_ENTROPY;
	else
		strcpy(at, setting->name[i]);
	return 0;
}

static int add_debias(const struct setting *setting, uint32_t *bits, const char *item,
		      struct error *e)
{
	for (unsigned bit = 0; bit < DEBIAS_BITS; bit++) {
		if (strcmp(item, debias_names[bit]))
			continue;
		*bits |= 1u << bit;
		return 0;
	}
	return error_set(e, -EINVAL,
			 "%s.%s: \"%.40s\" is not known; use ip_addr, ports, ip_id, ttl, "
			 "checksums, tcp_seq_ack, tcp_timestamps, tls_sni",
			 setting->section, setting->key, item);
}

static int add_class(const struct setting *setting, struct run_settings *run, const char *item,
		     struct error *e)
{
	if (strlen(item) >= MODEL_CLASS_NAME)
		return error_set(e, -EINVAL, "%s.%s: \"%.40s\" is longer than %d letters",
				 setting->section, setting->key, item, MODEL_CLASS_NAME - 1);
	for (uint32_t i = 0; i < run->n_leave_out; i++)
		if (!strcmp(run->leave_out[i], item))
			return 0;
	if (run->n_leave_out == MODEL_MAX_CLASSES)
		return error_set(e, -E2BIG, "%s.%s: more than %d classes", setting->section,
				 setting->key, MODEL_MAX_CLASSES);
	strcpy(run->leave_out[run->n_leave_out++], item);
	return 0;
}

static int set_list(const struct setting *setting, struct train_settings *s, const char *value,
		    bool add, struct error *e)
{
	char copy[SETTING_MAX_TEXT], *save = NULL;
	int rc = 0;

	if (strlen(value) >= sizeof(copy))
		return error_set(e, -E2BIG, "%s.%s: longer than %zu bytes", setting->section,
				 setting->key, sizeof(copy) - 1);
	strcpy(copy, value);
	if (!add && setting->type == SETTING_DEBIAS)
		s->tokens.debias = 0;
	if (!add && setting->type == SETTING_CLASSES)
		s->run.n_leave_out = 0;
	for (char *item = strtok_r(copy, LIST_SEPARATORS, &save); item && !rc;
	     item = strtok_r(NULL, LIST_SEPARATORS, &save))
		rc = setting->type == SETTING_DEBIAS
			     ? add_debias(setting, &s->tokens.debias, item, e)
			     : add_class(setting, &s->run, item, e);
	return rc;
}

int setting_set(const struct setting *setting, struct train_settings *s, const char *value,
		bool add, struct error *e)
{
	void *at = setting_at(setting, s);

	switch (setting->type) {
	case SETTING_SHORT:
	case SETTING_COUNT:
	case SETTING_SEED:
	case SETTING_FLOAT:
	case SETTING_REAL:
		return set_number(setting, at, value, e);
	case SETTING_SWITCH:
		return set_switch(setting, at, value, e);
	case SETTING_CHOICE:
	case SETTING_LOSS:
	case SETTING_NAME:
		return set_choice(setting, at, value, e);
	case SETTING_DEBIAS:
	case SETTING_CLASSES:
		return set_list(setting, s, value, add, e);
	}
	return -EINVAL;
}

void settings_init(struct train_settings *s)
{
	memset(s, 0, sizeof(*s));
	/* The paper's (b / 255 - 0.5) / 0.5. */
	s->tokens.byte_scale = 2.0F / 255;
	s->tokens.byte_offset = -1;
	for (size_t i = 0; i < n_settings; i++) {
		int rc = setting_set(&settings_table[i], s, settings_table[i].initial, false, NULL);

		assert(!rc);
		(void)rc;
	}
}

static int unknown_section(const char *section, struct error *e)
{
	return error_set(e, -EINVAL,
			 "unknown section [%.40s]; use architecture, tokens, loss, optimiser, "
			 "schedule, augment, pretrain or train",
			 section);
}

/* "; did you mean ...?", or where the key belongs, or what keys there are. */
static int unknown_key(const char *section, const char *key, struct error *e)
{
	const char *names[SETTINGS_MAX_KEYS], *elsewhere = NULL, *nearest;
	char known[160] = "";
	size_t n = 0;

	for (size_t i = 0; i < n_settings; i++) {
		const struct setting *setting = &settings_table[i];

		if (!strcmp(setting->section, section))
			names[n++] = setting->key;
		else if (!strcmp(setting->key, key))
			elsewhere = setting->section;
	}
	if (!n)
		return unknown_section(section, e);
	nearest = nearest_of(key, names, n);
	if (!nearest && elsewhere)
		return error_set(e, -EINVAL, "[%s] has no %.40s; it belongs to [%s]", section, key,
				 elsewhere);
	if (nearest)
		return error_set(e, -EINVAL, "[%s] has no %.40s; did you mean %s?", section, key,
				 nearest);
	for (size_t i = 0; i < n && strlen(known) + strlen(names[i]) + 3 < sizeof(known); i++) {
		strcat(known, i ? ", " : "");
		strcat(known, names[i]);
	}
	return error_set(e, -EINVAL, "[%s] has no %.40s; it has %s", section, key, known);
}

static const struct setting *find(const char *section, const char *key, struct error *e)
{
	for (size_t i = 0; i < n_settings; i++)
		if (!strcmp(settings_table[i].section, section) &&
		    !strcmp(settings_table[i].key, key))
			return &settings_table[i];
	unknown_key(section, key, e);
	return NULL;
}

int settings_set_word(struct train_settings *s, const char *word, struct error *e)
{
	const char *dot = strchr(word, '.'), *equals = strchr(word, '=');
	const struct setting *setting;
	char section[32], key[48];

	if (!dot || !equals || dot > equals || (size_t)(dot - word) >= sizeof(section) ||
	    (size_t)(equals - dot) > sizeof(key))
		return error_set(e, -EINVAL, "\"%.80s\" is no setting; write section.key=value",
				 word);
	snprintf(section, sizeof(section), "%.*s", (int)(dot - word), word);
	snprintf(key, sizeof(key), "%.*s", (int)(equals - dot - 1), dot + 1);
	setting = find(section, key, e);
	return setting ? setting_set(setting, s, equals + 1, false, e) : -EINVAL;
}

struct file_reader {
	struct train_settings *settings;
	bool seen[SETTINGS_MAX_KEYS];
	struct error first; /* inih goes on after an error, and returns the line of the first */
};

/* A list goes on where its key is repeated, or on lines that are indented. */
static int on_file_line(void *ctx, const char *section, const char *key, const char *value)
{
	struct file_reader *reader = ctx;
	const struct setting *setting;
	struct error e = {0};
	bool *seen;

	if (reader->first.code)
		return 0;
	setting = find(section, key, &e);
	if (setting) {
		seen = &reader->seen[setting - settings_table];
		if (*seen && !setting_is_list(setting))
			error_set(&e, -EINVAL, "%s.%s: is given twice", section, key);
		else
			setting_set(setting, reader->settings, value, *seen, &e);
		*seen = true;
	}
	reader->first = e;
	return !e.code;
}

int settings_read_file(struct train_settings *s, const char *path, struct error *e)
{
	struct train_settings fresh = *s;
	struct file_reader reader = {.settings = &fresh};
	int line = ini_parse(path, on_file_line, &reader);

	if (line == -1)
		return error_set(e, -ENOENT, "%.120s: cannot be read: %m", path);
	if (line < 0)
		return error_set(e, -ENOMEM, "%.120s: out of memory", path);
	if (line && !reader.first.code)
		return error_set(e, -EINVAL,
				 "%.120s:%d: not a setting; write key = value under a [section]",
				 path, line);
	if (line)
		return error_set(e, reader.first.code, "%.120s:%d: %.230s", path, line,
				 reader.first.text);
	*s = fresh;
	return 0;
}

static int check_shape(const struct train_settings *s, struct error *e)
{
	const struct sample_shape *shape = &s->tokens.shape;
	size_t n_bytes = shape->packets * sample_row_bytes(shape);
	uint32_t n_tokens;

	if (shape->seq_len < shape->packets)
		return error_set(e, -EINVAL,
				 "tokens.seq_len = %u is less than tokens.packets = %u; make it "
				 "at least that",
				 shape->seq_len, shape->packets);
	if (!n_bytes || n_bytes % s->architecture.stride)
		return error_set(e, -EINVAL,
				 "tokens: packets * (header_bytes + payload_bytes) is %zu; make it "
				 "a multiple of architecture.stride = %u, and not 0",
				 n_bytes, s->architecture.stride);
	n_tokens = layout_sequence_length(&s->architecture, &s->tokens);
	if (n_tokens > MODEL_MAX_TOKENS)
		return error_set(e, -EINVAL,
				 "tokens: a flow has %u tokens; make it at most %d by fewer "
				 "packets, fewer bytes or a larger stride",
				 n_tokens, MODEL_MAX_TOKENS);
	return 0;
}

static int check_heads(const struct architecture *a, struct error *e)
{
	if (a->embed_dim % a->heads)
		return error_set(e, -EINVAL,
				 "architecture.embed_dim = %u cannot be parted into heads = %u; "
				 "make it a multiple",
				 a->embed_dim, a->heads);
	if (a->embed_dim / a->heads > MODEL_MAX_HEAD_DIM)
		return error_set(e, -EINVAL,
				 "architecture.heads = %u makes heads of %u; make them at most %d "
				 "by more of them",
				 a->heads, a->embed_dim / a->heads, MODEL_MAX_HEAD_DIM);
	return 0;
}

static int check_pair(const char *low_key, double low, const char *high_key, double high,
		      struct error *e)
{
	if (low <= high)
		return 0;
	return error_set(e, -EINVAL, "%s = %.10g is more than %s = %.10g; make it at most that",
			 low_key, low, high_key, high);
}

int settings_check(struct train_settings *s, struct error *e)
{
	struct architecture *a = &s->architecture;
	int rc = check_shape(s, e);

	a->dt_rank = (a->embed_dim + 15) / 16;
	if (!rc && !strcmp(a->backbone, "attention"))
		rc = check_heads(a, e);
	if (!rc)
		rc = check_pair("optimiser.min_learning_rate", s->optimiser.min_learning_rate,
				"optimiser.learning_rate", s->optimiser.learning_rate, e);
	if (!rc)
		rc = check_pair("schedule.warmup_epochs", s->schedule.warmup_epochs,
				"schedule.epochs", s->schedule.epochs, e);
	if (!rc)
		rc = check_pair("pretrain.warmup_steps", s->pretrain.warmup_steps, "pretrain.steps",
				s->pretrain.steps, e);
	return rc;
}
