/* SPDX-License-Identifier: BSD-2-Clause */
/* Settings as a file, as help and as JSON: each by one walk over the table. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmtrain/settings_table.h"
#include "model/model_metadata.h"

#define LINE_WIDTH 88 /* inih takes 200 */

static unsigned choice_of(const struct setting *setting, const void *at)
{
	if (setting->type == SETTING_CHOICE)
		return *(const bool *)at;
	if (setting->type == SETTING_LOSS)
		return *(const enum loss_kind *)at == LOSS_LDAM;
	return !strcmp(at, setting->name[1]);
}

/* The fewest digits that read back to the same. */
static double short_float(float value)
{
	char text[32];

	for (int digits = 1; digits < 10; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, value);
		if (strtof(text, NULL) == value)
			break;
	}
	return strtod(text, NULL);
}

static double number_of(const struct setting *setting, const void *at)
{
	switch (setting->type) {
	case SETTING_SHORT:
		return *(const uint16_t *)at;
	case SETTING_COUNT:
		return *(const uint32_t *)at;
	case SETTING_SEED:
		return *(const uint64_t *)at;
	case SETTING_FLOAT:
		return short_float(*(const float *)at);
	default:
		return *(const double *)at;
	}
}

static void number_text(char *text, size_t size, double value)
{
	for (int digits = 6; digits <= 17; digits++) {
		snprintf(text, size, "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			return;
	}
}

/* The i-th name of a list, NULL behind the last; bits that are not set count as "". */
static const char *list_item(const struct setting *setting, const struct train_settings *s,
			     unsigned i)
{
	if (setting->type == SETTING_CLASSES)
		return i < s->run.n_leave_out ? s->run.leave_out[i] : NULL;
	if (i >= DEBIAS_BITS)
		return NULL;
	return s->tokens.debias & 1u << i ? debias_names[i] : "";
}

static void print_list(FILE *out, const struct setting *setting, const struct train_settings *s)
{
	size_t column = fprintf(out, "%s =", setting->key);
	const char *item;

	for (unsigned i = 0; (item = list_item(setting, s, i)); i++) {
		if (!*item)
			continue;
		if (column + strlen(item) + 1 > LINE_WIDTH)
			column = fprintf(out, "\n   ") - 1;
		column += fprintf(out, " %s", item);
	}
	fputc('\n', out);
}

static void print_value(FILE *out, const struct setting *setting, const struct train_settings *s)
{
	const void *at = setting_at(setting, s);
	char text[32];

	if (setting_is_list(setting)) {
		print_list(out, setting, s);
	} else if (setting->type == SETTING_SWITCH) {
		fprintf(out, "%s = %s\n", setting->key, *(const bool *)at ? "on" : "off");
	} else if (setting->name[0]) {
		fprintf(out, "%s = %s\n", setting->key, setting->name[choice_of(setting, at)]);
	} else {
		number_text(text, sizeof(text), number_of(setting, at));
		fprintf(out, "%s = %s\n", setting->key, text);
	}
}

static bool begins_section(size_t i)
{
	return !i || strcmp(settings_table[i].section, settings_table[i - 1].section);
}

void settings_print(FILE *out, const struct train_settings *s)
{
	for (size_t i = 0; i < n_settings; i++) {
		if (begins_section(i))
			fprintf(out, "%s[%s]\n", i ? "\n" : "", settings_table[i].section);
		print_value(out, &settings_table[i], s);
	}
}

void settings_print_help(FILE *out)
{
	for (size_t i = 0; i < n_settings; i++) {
		const struct setting *setting = &settings_table[i];

		if (begins_section(i))
			fprintf(out, "%s[%s]\n", i ? "\n" : "", setting->section);
		fprintf(out, "%-22s %s", setting->key, setting->help);
		if (setting->name[0])
			fprintf(out, " (%s or %s)", setting->name[0], setting->name[1]);
		else if (setting->min < setting->max)
			fprintf(out, " (%.10g to %.10g)", setting->min, setting->max);
		fprintf(out, "\n%-22s default: %s\n", "",
			*setting->initial ? setting->initial : "(empty)");
	}
}

static json_t *list_json(const struct setting *setting, const struct train_settings *s)
{
	json_t *list = json_array();
	const char *item;

	for (unsigned i = 0; list && (item = list_item(setting, s, i)); i++)
		if (*item)
			json_array_append_new(list, json_string(item));
	return list;
}

static json_t *value_json(const struct setting *setting, const struct train_settings *s)
{
	const void *at = setting_at(setting, s);

	if (setting_is_list(setting))
		return list_json(setting, s);
	if (setting->type == SETTING_SWITCH)
		return json_boolean(*(const bool *)at);
	if (setting->name[0])
		return json_string(setting->name[choice_of(setting, at)]);
	if (setting->type == SETTING_FLOAT || setting->type == SETTING_REAL)
		return json_real(number_of(setting, at));
	return json_integer(number_of(setting, at));
}

json_t *settings_to_json(const struct train_settings *s)
{
	json_t *root = json_object(), *section = NULL;
	int rc = root ? 0 : -1;

	for (size_t i = 0; i < n_settings && !rc; i++) {
		const struct setting *setting = &settings_table[i];

		if (begins_section(i)) {
			section = json_object();
			rc = json_object_set_new(root, setting->section, section);
		}
		if (!rc)
			rc = json_object_set_new(section, setting->key, value_json(setting, s));
	}
	if (!rc)
		return root;
	json_decref(root);
	return NULL;
}

static int list_from_json(const struct setting *setting, struct train_settings *s,
			  const json_t *list, struct error *e)
{
	int rc = setting_set(setting, s, "", false, e);
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		if (rc)
			return rc;
		if (!json_is_string(item))
			return error_set(e, -EINVAL, "%s.%s: must be an array of names",
					 setting->section, setting->key);
		rc = setting_set(setting, s, json_string_value(item), true, e);
	}
	return rc;
}

static int value_from_json(const struct setting *setting, struct train_settings *s,
			   const json_t *value, struct error *e)
{
	char text[32];

	if (json_is_array(value) && setting_is_list(setting))
		return list_from_json(setting, s, value, e);
	if (json_is_string(value) && setting->name[0])
		return setting_set(setting, s, json_string_value(value), false, e);
	if (json_is_boolean(value) && setting->type == SETTING_SWITCH)
		return setting_set(setting, s, json_is_true(value) ? "on" : "off", false, e);
	if (!json_is_number(value) || setting->min == setting->max)
		return error_set(e, -EINVAL, "%s.%s: is of a wrong type", setting->section,
				 setting->key);
	number_text(text, sizeof(text), json_number_value(value));
	return setting_set(setting, s, text, false, e);
}

int settings_from_json(struct train_settings *s, const json_t *json, struct error *e)
{
	struct train_settings fresh = *s;
	int rc = json_is_object(json) ? 0 : error_set(e, -EINVAL, "settings: must be an object");

	for (size_t i = 0; i < n_settings && !rc; i++) {
		const struct setting *setting = &settings_table[i];
		const json_t *section = json_object_get(json, setting->section);
		const json_t *value = json_object_get(section, setting->key);

		if (value)
			rc = value_from_json(setting, &fresh, value, e);
	}
	if (!rc)
		*s = fresh;
	return rc;
}

static bool lists_equal(const struct setting *setting, const struct train_settings *a,
			const struct train_settings *b)
{
	const char *x, *y;
	unsigned i = 0;

	do {
		x = list_item(setting, a, i);
		y = list_item(setting, b, i++);
		if (!x || !y || strcmp(x, y))
			return !x && !y;
	} while (true);
}

static bool values_equal(const struct setting *setting, const struct train_settings *a,
			 const struct train_settings *b)
{
	const void *x = setting_at(setting, a), *y = setting_at(setting, b);

	if (setting_is_list(setting))
		return lists_equal(setting, a, b);
	if (setting->type == SETTING_SWITCH)
		return *(const bool *)x == *(const bool *)y;
	if (setting->name[0])
		return choice_of(setting, x) == choice_of(setting, y);
	return number_of(setting, x) == number_of(setting, y);
}

const char *settings_difference(const struct train_settings *a, const struct train_settings *b,
				char *key, size_t size)
{
	for (size_t i = 0; i < n_settings; i++) {
		const struct setting *setting = &settings_table[i];

		if (values_equal(setting, a, b))
			continue;
		snprintf(key, size, "%s.%s", setting->section, setting->key);
		return key;
	}
	return NULL;
}
