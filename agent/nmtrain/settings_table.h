/* SPDX-License-Identifier: BSD-2-Clause */
/* The keys of struct train_settings as data. Private to settings.c and settings_print.c. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "agent/nmtrain/settings.h"

enum setting_type {
	SETTING_SHORT, /* uint16_t */
	SETTING_COUNT, /* uint32_t */
	SETTING_SEED,  /* uint64_t, below 2^53 so that JSON keeps it */
	SETTING_FLOAT,
	SETTING_REAL,   /* double */
	SETTING_SWITCH, /* bool */
	/* One of two names: */
	SETTING_CHOICE, /* bool, true for the second */
	SETTING_LOSS,   /* enum loss_kind */
	SETTING_NAME,   /* char [16] */
	/* Lists of names: */
	SETTING_DEBIAS,  /* uint32_t of enum debias_bit */
	SETTING_CLASSES, /* leave_out */
};

struct setting {
	const char *section, *key;
	enum setting_type type;
	size_t offset;
	const char *initial;
	double min, max;     /* of numbers */
	const char *name[2]; /* of choices */
	const char *help;
};

extern const struct setting settings_table[];
extern const size_t n_settings;

#define SETTINGS_MAX_KEYS 96

/* Long enough for any value as text: leave_out with all its names. */
#define SETTING_MAX_TEXT (MODEL_MAX_CLASSES * MODEL_CLASS_NAME + 1)

static inline void *setting_at(const struct setting *setting, const struct train_settings *s)
{
	return (char *)s + setting->offset;
}

static inline bool setting_is_list(const struct setting *setting)
{
	return setting->type == SETTING_DEBIAS || setting->type == SETTING_CLASSES;
}

/* settings.c. add: to what a list holds already. Errors begin with section.key. */
int setting_set(const struct setting *setting, struct train_settings *s, const char *value,
		bool add, struct error *e);
