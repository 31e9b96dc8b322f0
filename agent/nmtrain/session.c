/* SPDX-License-Identifier: BSD-2-Clause */
/* From a command line to settings and data. */
#include "agent/nmtrain/session.h"
#include <errno.h>
#include <libgen.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/nmtrain/pretrained.h"

#define AT(member) offsetof(struct session_options, member)

static const struct option_row rows[] = {
	{"data", 'd', OPTION_TEXT, "FILE.nmd", AT(data), "the data set"},
	{"output", 'o', OPTION_TEXT, "FILE", AT(output), "the model to write"},
	{"settings", 's', OPTION_TEXT, "FILE.conf", AT(settings), "what describes the run"},
	{"set", 0, OPTION_LIST, "SECTION.KEY=VALUE", AT(set), "one setting over the file's"},
	{"seed", 0, OPTION_NUMBER, "N", AT(seed), "the same as --set train.seed=N"},
	{"threads", 'j', OPTION_NUMBER, "N", AT(threads), "the same as --set train.threads=N"},
	{"fold", 'f', OPTION_TEXT, "N|none", AT(fold), "kept back as the test; default 0"},
	{"validation", 0, OPTION_TEXT, "N|none", AT(validation),
	 "the fold that validates; default the one after"},
	{"checkpoint", 'c', OPTION_TEXT, "FILE", AT(checkpoint), "default: OUTPUT.checkpoint"},
	{"resume", 'r', OPTION_FLAG, NULL, AT(resume), "go on from the checkpoint"},
	{"help-settings", 0, OPTION_FLAG, NULL, AT(help_settings), "every setting"},
	{"print-settings", 0, OPTION_FLAG, NULL, AT(print_settings),
	 "the settings as they would be, and no more"},
	/* Of fine-tuning alone: */
	{"from", 0, OPTION_TEXT, "FILE", AT(from), "a pre-trained model to begin with"},
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static uint32_t usable_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	return (uint32_t)CPU_COUNT(&set);
}

static int set_number(struct train_settings *settings, const char *key,
		      const struct option_number *number, struct error *e)
{
	char word[64];

	if (!number->given)
		return 0;
	snprintf(word, sizeof(word), "%s=%llu", key, number->value);
	return settings_set_word(settings, word, e);
}

/* The later one wins: what the run goes on from or begins with, the file, the command line. */
static int read_settings(struct session *s, struct error *e)
{
	const struct session_options *o = &s->options;
	struct train_settings *settings = &s->settings;
	int rc = 0;

	settings_init(settings);
	if (s->resumed)
		rc = settings_from_json(settings, json_object_get(s->resumed, "settings"), e);
	else if (o->from)
		rc = pretrained_settings(o->from, settings, s->from_sha256, e);
	if (!rc && o->settings)
		rc = settings_read_file(settings, o->settings, e);
	for (size_t i = 0; !rc && i < o->set.n; i++)
		rc = settings_set_word(settings, o->set.items[i], e);
	if (!rc)
		rc = set_number(settings, "train.seed", &o->seed, e);
	if (!rc)
		rc = set_number(settings, "train.threads", &o->threads, e);
	if (!rc)
		rc = settings_check(settings, e);
	if (!rc && !settings->run.threads && !o->print_settings)
		settings->run.threads = usable_cpus();
	return rc;
}

/* Training for hours to find that the result has no place would be a pity. */
static int check_output(const char *path, struct error *e)
{
	char *copy = strdup(path);
	struct stat st;
	int rc = 0;

	if (!copy)
		return error_set(e, -ENOMEM, "no memory");
	if (!stat(path, &st) && !S_ISREG(st.st_mode))
		rc = error_set(e, -EINVAL, "%.160s: is there, and no regular file", path);
	else if (access(dirname(copy), W_OK))
		rc = error_set(e, -errno, "%.160s: its folder cannot be written: %m", path);
	free(copy);
	return rc;
}

/* What the run began with, which --resume does not name again. */
static void keep_origin(struct session *s)
{
	const char *from = json_string_value(json_object_get(s->resumed, "from"));

	if (from && strlen(from) < sizeof(s->from_sha256))
		strcpy(s->from_sha256, from);
}

static int open_checkpoint(struct session *s, struct error *e)
{
	const struct session_options *o = &s->options;
	int rc;

	if (o->checkpoint)
		s->checkpoint_path = strdup(o->checkpoint);
	else if (asprintf(&s->checkpoint_path, "%s.checkpoint", o->output) < 0)
		s->checkpoint_path = NULL;
	if (!s->checkpoint_path)
		return error_set(e, -ENOMEM, "no memory");
	rc = check_output(s->checkpoint_path, e);
	if (rc)
		return rc;
	if (!o->resume && !access(s->checkpoint_path, F_OK))
		return error_set(e, -EEXIST,
				 "%.120s is of a run that did not end; go on with --resume, or "
				 "remove it",
				 s->checkpoint_path);
	if (!o->resume)
		return 0;
	rc = checkpoint_open(s->checkpoint_path, &s->checkpoint, e);
	if (rc)
		return rc;
	s->resumed = json_loads(checkpoint_state(s->checkpoint), 0, NULL);
	if (!json_is_object(s->resumed))
		return error_set(e, -EINVAL, "%.120s: its state is no JSON object",
				 s->checkpoint_path);
	keep_origin(s);
	return 0;
}

static int read_data(struct session *s, struct error *e)
{
	const struct session_options *o = &s->options;
	int rc = dataset_read(o->data, &s->set, e);

	if (!rc)
		rc = train_split_parse(o->fold, o->validation, s->set->n_folds, &s->split, e);
	if (rc)
		return rc;
	return s->labelled
		       ? train_data_new(s->set, &s->settings, &s->split, &s->data, e)
		       : train_data_new_unlabelled(s->set, &s->settings, &s->split, &s->data, e);
}

static int64_t resumed_number(const struct session *s, const char *key)
{
	const json_t *data = json_object_get(s->resumed, "data");

	return json_integer_value(json_object_get(data, key));
}

/* A run goes on only as what it was. */
static int check_resumed(struct session *s, struct error *e)
{
	const char *command = json_string_value(json_object_get(s->resumed, "command"));
	const json_t *data = json_object_get(s->resumed, "data");
	const char *sha256 = json_string_value(json_object_get(data, "sha256"));
	struct train_settings before;
	char key[96];

	settings_init(&before);
	if (settings_from_json(&before, json_object_get(s->resumed, "settings"), e))
		return e->code;
	if (!command || strcmp(command, s->t->command->name))
		return error_set(e, -EINVAL, "%.120s: is no checkpoint of nmtrain %s",
				 s->checkpoint_path, s->t->command->name);
	if (!sha256 || strcmp(sha256, s->set->sha256))
		return error_set(e, -EINVAL, "%.100s: was begun with other data than %.80s",
				 s->checkpoint_path, s->options.data);
	if (resumed_number(s, "test_fold") != s->split.test ||
	    resumed_number(s, "validation_fold") != s->split.validation)
		return error_set(e, -EINVAL, "%.100s: was begun with --fold %d; give the same",
				 s->checkpoint_path, (int)resumed_number(s, "test_fold"));
	if (settings_difference(&before, &s->settings, key, sizeof(key)))
		return error_set(e, -EINVAL,
				 "%s differs from what the run was begun with; leave it out, or "
				 "begin anew without --resume",
				 key);
	return 0;
}

static int check_options(struct session *s, int n_words, char **argv)
{
	const struct session_options *o = &s->options;

	if (n_words)
		return nmtrain_usage(s->t, "%s takes options only, not \"%.40s\"", argv[0],
				     argv[1]);
	if (!o->data && !o->print_settings)
		return nmtrain_usage(s->t, "which data? give --data FILE.nmd, as `nmtrain dataset` "
					   "writes it");
	if (!o->output && !o->print_settings)
		return nmtrain_usage(s->t, "where to? give --output FILE");
	if (o->resume && o->from)
		return nmtrain_usage(s->t, "--from is where a run begins, --resume goes on with "
					   "one; give only --resume");
	return STATUS_DONE;
}

/* Everything behind the options. */
static int prepare(struct session *s, struct error *e)
{
	int rc = s->options.print_settings ? 0 : check_output(s->options.output, e);

	if (!rc && !s->options.print_settings)
		rc = open_checkpoint(s, e);
	if (!rc)
		rc = read_settings(s, e);
	if (rc || s->options.print_settings)
		return rc;
	rc = read_data(s, e);
	if (!rc && s->resumed)
		rc = check_resumed(s, e);
	return rc;
}

bool session_begin(struct session *s, struct nmtrain *t, int argc, char **argv, bool labelled,
		   int *ret_status)
{
	int n_words;

	*s = (struct session){.t = t, .labelled = labelled};
	if (nmtrain_options(t, rows, labelled ? N_ROWS : N_ROWS - 1, &s->options, argc, argv,
			    &n_words, ret_status))
		return false;
	if (s->options.help_settings) {
		settings_print_help(t->out);
		return false;
	}
	*ret_status = check_options(s, n_words, argv);
	if (*ret_status != STATUS_DONE)
		return false;
	*ret_status = nmtrain_result(t, prepare(s, &t->error));
	if (*ret_status != STATUS_DONE)
		return false;
	if (s->options.print_settings)
		settings_print(t->out, &s->settings);
	return !s->options.print_settings;
}

void session_fini(struct session *s)
{
	train_state_free(s->state);
	train_data_free(s->data);
	dataset_free(s->set);
	checkpoint_close(s->checkpoint);
	json_decref(s->resumed);
	free(s->checkpoint_path);
}
