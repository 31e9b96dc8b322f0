/* SPDX-License-Identifier: BSD-2-Clause */
/* Settings as data: one table, one reader, errors that say what would be right. */
#include "agent/nmd/settings.h"
#include <errno.h>
#include <ini.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmd/log.h"
#include "agent/nmd/protect.h"
#include "agent/policy/policy.h"

#define LIST_SEPARATORS " \t,"
#define LIST_MAX        256

enum setting_type { SETTING_TEXT, SETTING_LIST, SETTING_NUMBER, SETTING_REAL, SETTING_SWITCH };

struct setting {
	const char *key;
	enum setting_type type;
	size_t offset;
	const char *initial;
	double min, max; /* NUMBER, REAL */
	bool reload;     /* may change at run time */
	int (*check)(const char *item, struct error *e);
	const char *help;
};

static int check_mode(const char *item, struct error *e)
{
	if (strcmp(item, "watch") && strcmp(item, "enforce"))
		return error_set(e, -EINVAL, "unknown mode \"%s\"; use watch or enforce", item);
	return 0;
}

static int check_level(const char *item, struct error *e)
{
	enum log_level level;

	if (log_level_parse(item, &level))
		return error_set(e, -EINVAL,
				 "unknown level \"%s\"; use error, warning, info or debug", item);
	return 0;
}

static int check_module(const char *item, struct error *e)
{
	uint32_t bits;

	if (log_module_parse(item, &bits))
		return error_set(e, -EINVAL,
				 "unknown part \"%s\"; use all, libbpf, assembler, batcher, "
				 "enforce, sweep, policy, control",
				 item);
	return 0;
}

static int check_path(const char *item, struct error *e)
{
	if (*item != '/')
		return error_set(e, -EINVAL, "\"%s\" is not an absolute path", item);
	return 0;
}

static int check_path_or_empty(const char *item, struct error *e)
{
	return *item ? check_path(item, e) : 0;
}

static int check_prefix(const char *item, struct error *e)
{
	uint8_t addr[16], len;

	return policy_prefix_parse(item, addr, &len, e);
}

static int check_port(const char *item, struct error *e)
{
	struct protect_port port;

	return protect_port_parse(item, &port, e);
}

static int check_peer(const char *item, struct error *e)
{
	struct protect_peer peer;

	return protect_peer_parse(item, &peer, e);
}

#define AT(member) offsetof(struct settings, member)
#define NO_RANGE   0, 0

static const struct setting settings_table[] = {
	{"iface", SETTING_LIST, AT(iface), "", NO_RANGE, false, NULL,
	 "interfaces to guard: names or patterns (eth*), !name excludes, first match decides"},
	{"model", SETTING_TEXT, AT(model), SETTINGS_DEFAULT_MODEL, NO_RANGE, false, NULL,
	 "the model file"},
	{"engine", SETTING_TEXT, AT(engine), "auto", NO_RANGE, false, NULL,
	 "what runs the model: auto or cpu"},
	{"mode", SETTING_TEXT, AT(mode), "enforce", NO_RANGE, true, check_mode,
	 "enforce acts on the policy; watch only counts what it would have done"},
	{"run_dir", SETTING_TEXT, AT(run_dir), "/run/netmamba", NO_RANGE, false, check_path,
	 "control socket, pid file and the BPF file system"},
	{"state_dir", SETTING_TEXT, AT(state_dir), "/var/lib/netmamba", NO_RANGE, false, check_path,
	 "policy history and the event store"},
	{"fail_open_s", SETTING_NUMBER, AT(fail_open_s), "10", 0, 86400, true, NULL,
	 "seconds without a living agent after which everything passes; 0 = enforce for ever"},
	{"max_flows", SETTING_NUMBER, AT(max_flows), "16384", 64, 1 << 20, false, NULL,
	 "flows that are assembled at the same time"},
	{"max_verdicts", SETTING_NUMBER, AT(max_verdicts), "65536", 64, 1 << 22, false, NULL,
	 "flows with a verdict in the kernel"},
	{"ring_kb", SETTING_NUMBER, AT(ring_kb), "1024", 64, 65536, false, NULL,
	 "kilobytes of a packet ring, one a CPU"},
	{"newcomers_per_ms", SETTING_NUMBER, AT(newcomers_per_ms), "100", 1, 100000, false, NULL,
	 "first packets that a CPU may send up in a millisecond"},
	{"early_packets", SETTING_NUMBER, AT(early_packets), "10", 0, 1000, false, NULL,
	 "packets after which a flow gets a provisional verdict; 0 = none"},
	{"idle_s", SETTING_NUMBER, AT(idle_s), "15", 1, 3600, false, NULL,
	 "a flow silent for so long is judged with what there is"},
	{"total_s", SETTING_NUMBER, AT(total_s), "60", 1, 86400, false, NULL,
	 "a flow is judged at the latest so long after its first packet"},
	{"verdict_idle_s", SETTING_NUMBER, AT(verdict_idle_s), "300", 1, 86400, true, NULL,
	 "a verdict without a packet for so long is removed"},
	{"batch_flows", SETTING_NUMBER, AT(batch_flows), "32", 1, 4096, false, NULL,
	 "most flows judged in one run of the model"},
	{"batch_ms", SETTING_NUMBER, AT(batch_ms), "2", 0, 1000, false, NULL,
	 "longest wait for a batch to fill"},
	{"queue_flows", SETTING_NUMBER, AT(queue_flows), "1024", 1, 1 << 20, false, NULL,
	 "flows that may wait for the model; more are dropped and counted"},
	{"protect_ports", SETTING_LIST, AT(protect_ports),
	 "tcp/22 udp/53 tcp/53 udp/67 udp/68 udp/546 udp/547", NO_RANGE, true, check_port,
	 "flows on these ports are acted on only by a rule with force"},
	{"protect_peers", SETTING_LIST, AT(protect_peers), "", NO_RANGE, true, check_peer,
	 "addr:port of the agent's own servers (Redis), protected likewise"},
	{"never", SETTING_LIST, AT(never), "", NO_RANGE, true, check_prefix,
	 "prefixes that are never acted on, whatever the policy says"},
	{"breaker", SETTING_SWITCH, AT(breaker), "on", NO_RANGE, true, NULL,
	 "go to watch mode when the model would have most flows dropped"},
	{"breaker_share", SETTING_REAL, AT(breaker_share), "0.5", 0.01, 1, true, NULL,
	 "share of judged flows to be dropped that trips the breaker"},
	{"breaker_flows", SETTING_NUMBER, AT(breaker_flows), "100", 1, 100000, true, NULL,
	 "judged flows that the breaker wants before it believes the share"},
	{"endpoints", SETTING_SWITCH, AT(endpoints), "off", NO_RANGE, false, NULL,
	 "block a server's next connections from their first packet once one was blocked"},
	{"socket_group", SETTING_TEXT, AT(socket_group), "netmamba", NO_RANGE, false, NULL,
	 "members of this group may use nmctl, beside root"},
	{"store_rows", SETTING_NUMBER, AT(store_rows), "100000", 0, 100000000, false, NULL,
	 "flow events kept for `nmctl flows`; 0 = no store"},
	{"log_level", SETTING_TEXT, AT(log_level), "info", NO_RANGE, true, check_level,
	 "error, warning, info or debug"},
	{"debug", SETTING_LIST, AT(debug), "", NO_RANGE, true, check_module,
	 "parts whose debug messages are logged at any level"},
	{"json_log", SETTING_TEXT, AT(json_log), "", NO_RANGE, false, check_path_or_empty,
	 "append each flow event to this file as a line of JSON"},
};
#define N_SETTINGS (sizeof(settings_table) / sizeof(settings_table[0]))
_Static_assert(N_SETTINGS <= SETTINGS_MAX, "struct settings has a bit a key");

static void *setting_value(const struct settings *s, const struct setting *setting)
{
	return (char *)s + setting->offset;
}

static const struct setting *setting_find(const char *key)
{
	for (size_t i = 0; i < N_SETTINGS; i++)
		if (!strcmp(settings_table[i].key, key))
			return &settings_table[i];
	return NULL;
}

static uint64_t setting_bit(const struct setting *setting)
{
	return 1ull << (setting - settings_table);
}

static void list_clear(struct text_list *list)
{
	for (unsigned i = 0; i < list->n; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct text_list){NULL, 0};
}

static int list_add(struct text_list *list, const char *item)
{
	char **items = realloc(list->items, (list->n + 2) * sizeof(*items));

	if (!items)
		return -ENOMEM;
	list->items = items;
	items[list->n] = strdup(item);
	if (!items[list->n])
		return -ENOMEM;
	items[++list->n] = NULL;
	return 0;
}

static int set_list(const struct setting *setting, struct text_list *list, const char *value,
		    struct error *e)
{
	char *copy = strdup(value), *save = NULL;
	int rc = copy ? 0 : -ENOMEM;

	for (char *item = copy ? strtok_r(copy, LIST_SEPARATORS, &save) : NULL; item && !rc;
	     item = strtok_r(NULL, LIST_SEPARATORS, &save)) {
		struct error why = {0};

		if (setting->check && setting->check(item, &why))
			rc = error_set(e, -EINVAL, "%s: %s", setting->key, why.text);
		else if (list->n >= LIST_MAX)
			rc = error_set(e, -E2BIG, "%s: more than %d items", setting->key, LIST_MAX);
		else
			rc = list_add(list, item);
	}
	free(copy);
	return rc == -ENOMEM ? error_set(e, rc, "%s: out of memory", setting->key) : rc;
}

static int set_text(const struct setting *setting, char **text, const char *value, struct error *e)
{
	struct error why = {0};
	char *copy;

	if (setting->check && setting->check(value, &why))
		return error_set(e, -EINVAL, "%s: %s", setting->key, why.text);
	copy = strdup(value);
	if (!copy)
		return error_set(e, -ENOMEM, "%s: out of memory", setting->key);
	free(*text);
	*text = copy;
	return 0;
}

static int set_number(const struct setting *setting, void *number, const char *value,
		      struct error *e)
{
	char *end;
	double v;

	errno = 0;
	v = strtod(value, &end);
	if (end == value || *end || errno || !isfinite(v))
		return error_set(e, -EINVAL, "%s: \"%s\" is not a number", setting->key, value);
	if (v < setting->min || v > setting->max)
		return error_set(e, -ERANGE, "%s: %s is out of range; use %.10g to %.10g",
				 setting->key, value, setting->min, setting->max);
	if (setting->type == SETTING_REAL) {
		*(double *)number = v;
		return 0;
	}
	if (v != floor(v))
		return error_set(e, -EINVAL, "%s: %s is not a whole number", setting->key, value);
	*(uint64_t *)number = (uint64_t)v;
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
	return error_set(e, -EINVAL, "%s: \"%s\" is neither on nor off", setting->key, value);
}

static int setting_set(struct settings *s, const struct setting *setting, const char *value,
		       struct error *e)
{
	void *at = setting_value(s, setting);

	switch (setting->type) {
	case SETTING_TEXT:
		return set_text(setting, at, value, e);
	case SETTING_LIST:
		if (!(s->source & setting_bit(setting)))
			list_clear(at);
		return set_list(setting, at, value, e);
	case SETTING_NUMBER:
	case SETTING_REAL:
		return set_number(setting, at, value, e);
	case SETTING_SWITCH:
		return set_switch(setting, at, value, e);
	}
	return -EINVAL;
}

int settings_set(struct settings *s, const char *key, const char *value, struct error *e)
{
	const struct setting *setting = setting_find(key);
	int rc;

	if (!setting)
		return error_set(e, -EINVAL,
				 "unknown setting \"%s\"; `nmd --help-settings` lists them", key);
	rc = setting_set(s, setting, value, e);
	if (!rc) {
		s->source |= setting_bit(setting);
		s->given |= setting_bit(setting);
	}
	return rc;
}

int settings_set_word(struct settings *s, const char *word, struct error *e)
{
	const char *equals = strchr(word, '=');
	char key[64];

	if (!equals || (size_t)(equals - word) >= sizeof(key))
		return error_set(e, -EINVAL, "\"%s\" is not a setting; write key=value", word);
	memcpy(key, word, equals - word);
	key[equals - word] = '\0';
	return settings_set(s, key, equals + 1, e);
}

int settings_init(struct settings *s, struct error *e)
{
	memset(s, 0, sizeof(*s));
	for (size_t i = 0; i < N_SETTINGS; i++) {
		int rc = setting_set(s, &settings_table[i], settings_table[i].initial, e);

		if (rc) {
			settings_fini(s);
			return rc;
		}
	}
	return 0;
}

void settings_fini(struct settings *s)
{
	for (size_t i = 0; i < N_SETTINGS; i++) {
		void *at = setting_value(s, &settings_table[i]);

		if (settings_table[i].type == SETTING_TEXT)
			free(*(char **)at);
		else if (settings_table[i].type == SETTING_LIST)
			list_clear(at);
	}
	memset(s, 0, sizeof(*s));
}

void settings_next_source(struct settings *s)
{
	s->source = 0;
}

bool settings_given(const struct settings *s, const char *key)
{
	const struct setting *setting = setting_find(key);

	return setting && (s->given & setting_bit(setting));
}

struct file_reader {
	struct settings *settings;
	struct error first; /* inih goes on after an error, and returns the line of the first */
};

static int on_file_line(void *ctx, const char *section, const char *name, const char *value)
{
	struct file_reader *reader = ctx;
	struct error e = {0};
	int rc;

	if (*section && strcmp(section, "nmd"))
		rc = error_set(&e, -EINVAL, "unknown section [%s]; use [nmd] or none", section);
	else
		rc = settings_set(reader->settings, name, value, &e);
	if (rc && !reader->first.code)
		reader->first = e;
	return rc ? 0 : 1;
}

int settings_read_file(struct settings *s, const char *path, struct error *e)
{
	struct file_reader reader = {.settings = s};
	int line = ini_parse(path, on_file_line, &reader);

	if (line == 0)
		return 0;
	if (line == -1)
		return error_set(e, -ENOENT, "%s: cannot be read: %m", path);
	if (line < 0)
		return error_set(e, -ENOMEM, "%s: out of memory", path);
	if (!reader.first.code)
		return error_set(e, -EINVAL, "%s:%d: not a setting; write key = value", path, line);
	return error_set(e, reader.first.code, "%s:%d: %.180s", path, line, reader.first.text);
}

int settings_check(const struct settings *s, struct error *e)
{
	if (s->total_s < s->idle_s)
		return error_set(e, -EINVAL,
				 "total_s = %llu is shorter than idle_s = %llu; make it longer",
				 (unsigned long long)s->total_s, (unsigned long long)s->idle_s);
	if (s->queue_flows < s->batch_flows)
		return error_set(e, -EINVAL,
				 "queue_flows = %llu holds no batch_flows = %llu; make it larger",
				 (unsigned long long)s->queue_flows,
				 (unsigned long long)s->batch_flows);
	return 0;
}

static bool lists_equal(const struct text_list *a, const struct text_list *b)
{
	if (a->n != b->n)
		return false;
	for (unsigned i = 0; i < a->n; i++)
		if (strcmp(a->items[i], b->items[i]))
			return false;
	return true;
}

static size_t setting_size(const struct setting *setting)
{
	static const size_t size[] = {[SETTING_TEXT] = sizeof(char *),
				      [SETTING_LIST] = sizeof(struct text_list),
				      [SETTING_NUMBER] = sizeof(uint64_t),
				      [SETTING_REAL] = sizeof(double),
				      [SETTING_SWITCH] = sizeof(bool)};

	return size[setting->type];
}

static bool setting_equal(const struct setting *setting, const void *a, const void *b)
{
	if (setting->type == SETTING_TEXT)
		return !strcmp(*(char *const *)a, *(char *const *)b);
	if (setting->type == SETTING_LIST)
		return lists_equal(a, b);
	return !memcmp(a, b, setting_size(setting));
}

int settings_reload(struct settings *running, struct settings *fresh,
		    void (*on_other)(void *ctx, const char *key), void *ctx, struct error *e)
{
	int rc = settings_check(fresh, e);

	if (rc)
		return rc;
	for (size_t i = 0; i < N_SETTINGS; i++) {
		const struct setting *setting = &settings_table[i];
		char *a = setting_value(running, setting), *b = setting_value(fresh, setting);

		if (setting_equal(setting, a, b))
			continue;
		if (!setting->reload) {
			on_other(ctx, setting->key);
			continue;
		}
		/* The values change hands, so that each struct goes on owning what it holds. */
		for (size_t byte = 0; byte < setting_size(setting); byte++) {
			char kept = a[byte];

			a[byte] = b[byte];
			b[byte] = kept;
		}
	}
	return 0;
}

void settings_print_help(FILE *out)
{
	for (size_t i = 0; i < N_SETTINGS; i++) {
		const struct setting *setting = &settings_table[i];

		fprintf(out, "%-16s %s", setting->key, setting->help);
		if (setting->type == SETTING_NUMBER || setting->type == SETTING_REAL)
			fprintf(out, " (%.10g to %.10g)", setting->min, setting->max);
		fprintf(out, "%s\n%-16s default: %s\n", setting->reload ? " [reload]" : "", "",
			*setting->initial ? setting->initial : "(empty)");
	}
}
