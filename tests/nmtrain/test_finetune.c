/* SPDX-License-Identifier: BSD-2-Clause */
/* Fine-tuning and pre-training as commands, on tiny sets: what they learn, write, and go on from.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/nmtrain/nmtrain.h"
#include "agent/nmtrain/settings.h"
#include "model/safetensors.h"
#include "tests/nmd/tree.h"
#include "tests/nmtrain/tiny_set.h"

static char dir[64], previous[4096];
static char *out; /* what the last command printed */
static struct error e;

static void write_set(const char *name, const struct tiny_config *config)
{
	struct dataset *set = tiny_set(config);

	if (dataset_write(set, name, &e))
		fail_msg("%s", e.text);
	dataset_free(set);
}

static int begin(void **state)
{
	const struct tiny_config config = {120, 3, 10, 5, 1, false},
				 other = {60, 3, 5, 5, 2, false};

	(void)state;
	tree_make(dir);
	assert_non_null(getcwd(previous, sizeof(previous)));
	assert_int_equal(chdir(dir), 0);
	tree_write(dir, "tiny.conf",
		   "[architecture]\nembed_dim = 16\ndepth = 1\nd_state = 4\n"
		   "[tokens]\npackets = 3\nheader_bytes = 20\npayload_bytes = 12\nseq_len = 4\n"
		   "debias =\n"
		   "[optimiser]\nlearning_rate = 0.05\nlayer_decay = 1\n"
		   "[schedule]\nepochs = 6\nwarmup_epochs = 1\nbatch = 16\n"
		   "[augment]\ncut = 0.1\ntime_jitter = 0.5\n"
		   "[pretrain]\ndecoder_dim = 8\ndecoder_depth = 1\nsteps = 10\n"
		   "warmup_steps = 1\nbatch = 16\n"
		   "[train]\nthreads = 1\n");
	write_set("a.nmd", &config);
	write_set("b.nmd", &other);
	return 0;
}

static int end(void **state)
{
	(void)state;
	free(out);
	out = NULL;
	assert_int_equal(chdir(previous), 0);
	tree_remove(dir);
	return 0;
}

/* A command line of blanks and words; its status. */
static int run(const char *line)
{
	char copy[512], *argv[32], *save = NULL;
	struct nmtrain t = {.log = fopen("/dev/null", "w")};
	size_t len;
	int argc = 0, status;

	free(out);
	t.out = open_memstream(&out, &len);
	assert_non_null(t.out);
	assert_non_null(t.log);
	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	status = nmtrain_run(&t, argc, argv);
	fclose(t.out);
	fclose(t.log);
	e = t.error;
	return status;
}

static void run_well(const char *line)
{
	if (run(line) != STATUS_DONE)
		fail_msg("%s: %s", line, e.text);
}

static void assert_fails(const char *line, int status, const char *wanted)
{
	assert_int_equal(run(line), status);
	if (!strstr(e.text, wanted))
		fail_msg("\"%s\" does not say \"%s\"", e.text, wanted);
}

static bool same_files(const char *a, const char *b)
{
	struct safetensors *x, *y;
	size_t x_size, y_size;
	const uint8_t *x_bytes, *y_bytes;
	bool same;

	assert_int_equal(safetensors_open(a, &x, &e), 0);
	assert_int_equal(safetensors_open(b, &y, &e), 0);
	x_bytes = safetensors_bytes(x, &x_size);
	y_bytes = safetensors_bytes(y, &y_size);
	same = x_size == y_size && !memcmp(x_bytes, y_bytes, x_size);
	safetensors_close(x);
	safetensors_close(y);
	return same;
}

static struct model *load(const char *path)
{
	struct model *m = NULL;

	if (model_load(path, &m, &e))
		fail_msg("%s", e.text);
	return m;
}

/* text "": whether the file is there. */
static bool file_has(const char *path, const char *text)
{
	static char bytes[1 << 16];
	FILE *file = fopen(path, "r");
	size_t n;

	if (!file)
		return false;
	n = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	return memmem(bytes, n, text, strlen(text));
}

/* Runs line in a child; signals it once its checkpoint has text. Its status, as wait gives it. */
static int run_and_signal(const char *line, const char *checkpoint, const char *text,
			  int signal_number)
{
	pid_t child = fork();
	int state;

	assert_true(child >= 0);
	if (!child)
		_exit(run(line));
	while (!file_has(checkpoint, text)) {
		if (waitpid(child, &state, WNOHANG) == child)
			return state;
		usleep(500);
	}
	kill(child, signal_number);
	assert_int_equal(waitpid(child, &state, 0), child);
	return state;
}

#define TINY "-s tiny.conf -d a.nmd "

static void flows_that_tell_their_class_are_learned(void **state)
{
	struct model *m;

	(void)state;
	run_well("finetune " TINY "-o a.safetensors --set schedule.epochs=12");
	assert_non_null(strstr(out, "a.safetensors: macro-F1 1.0000, accuracy 1.0000 on 24 "
				    "validation flows"));
	m = load("a.safetensors");
	assert_int_equal(m->n_classes, 3);
	assert_string_equal(m->class_name[2], "class-c");
	assert_non_null(strstr(m->figures_json, "\"macro_f1\":1.0"));
	model_unref(m);
	assert_int_not_equal(access("a.safetensors.checkpoint", F_OK), 0);
}

static void labels_that_tell_nothing_are_not(void **state)
{
	const struct tiny_config config = {400, 4, 10, 5, 3, true};
	double accuracy;
	const char *at;

	(void)state;
	write_set("c.nmd", &config);
	run_well("finetune -s tiny.conf -d c.nmd -o c.safetensors");
	at = strstr(out, "accuracy ");
	assert_non_null(at);
	accuracy = atof(at + 9);
	assert_true(accuracy < 0.45);
}

static void the_same_seed_gives_the_same_file(void **state)
{
	(void)state;
	run_well("finetune " TINY "-o a.safetensors");
	run_well("finetune " TINY "-o b.safetensors");
	run_well("finetune " TINY "-o c.safetensors --seed 2");
	assert_true(same_files("a.safetensors", "b.safetensors"));
	assert_false(same_files("a.safetensors", "c.safetensors"));
}

static void the_model_keeps_what_it_was_made_with(void **state)
{
	struct train_settings asked, kept;
	struct model *m;
	json_t *training;
	char key[96];

	(void)state;
	run_well("finetune " TINY "-o a.safetensors --fold 3 --set loss.scale=7 --seed 5");
	m = load("a.safetensors");
	training = json_loads(m->training_json, 0, NULL);
	settings_init(&asked);
	assert_int_equal(settings_read_file(&asked, "tiny.conf", &e), 0);
	assert_int_equal(settings_set_word(&asked, "loss.scale=7", &e), 0);
	asked.run.seed = 5;
	settings_init(&kept);
	assert_int_equal(settings_from_json(&kept, json_object_get(training, "settings"), &e), 0);
	if (settings_difference(&asked, &kept, key, sizeof(key)))
		fail_msg("%s differs", key);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(training, "data"), "test_fold")),
		3);
	json_decref(training);
	model_unref(m);
}

static void classes_left_out_are_not_in_the_model(void **state)
{
	struct model *m;

	(void)state;
	run_well("finetune " TINY "-o a.safetensors --set train.leave_out=class-b");
	m = load("a.safetensors");
	assert_int_equal(m->n_classes, 2);
	assert_int_equal(model_class_index(m, "class-b"), -1);
	model_unref(m);
}

#define LONG TINY "--set schedule.epochs=40 --set train.average_weights=0.9 "

static void a_killed_run_goes_on_as_if_nothing_had_been(void **state)
{
	int status;

	(void)state;
	run_well("finetune " LONG "-o a.safetensors");
	status = run_and_signal("finetune " LONG "-o b.safetensors", "b.safetensors.checkpoint", "",
				SIGKILL);
	assert_true(WIFSIGNALED(status));
	assert_int_not_equal(access("b.safetensors", F_OK), 0);
	run_well("finetune " LONG "-o b.safetensors --resume");
	assert_true(same_files("a.safetensors", "b.safetensors"));
	assert_int_not_equal(access("b.safetensors.checkpoint", F_OK), 0);
}

static void an_interrupted_run_saves_and_goes_on(void **state)
{
	int status;

	(void)state;
	run_well("finetune " LONG "-o a.safetensors");
	for (unsigned i = 0; i < 2; i++) {
		status = run_and_signal(i ? "finetune " LONG "-o b.safetensors --resume"
					  : "finetune " LONG "-o b.safetensors",
					"b.safetensors.checkpoint", "", i ? SIGINT : SIGTERM);
		assert_true(WIFEXITED(status) || (i && WIFSIGNALED(status)));
		if (!i)
			assert_int_equal(WEXITSTATUS(status), STATUS_FAILED);
	}
	/* Without settings: they are the checkpoint's. */
	run_well("finetune -d a.nmd -o b.safetensors --resume");
	assert_true(same_files("a.safetensors", "b.safetensors"));
}

/* From then on nothing is better: the weights that count come from the checkpoint. */
static void the_best_weights_outlive_a_kill(void **state)
{
	int status;

	(void)state;
	run_well("finetune " LONG "-o a.safetensors");
	status = run_and_signal("finetune " LONG "-o b.safetensors", "b.safetensors.checkpoint",
				"\\\"score\\\":1.0,", SIGKILL);
	assert_true(WIFSIGNALED(status));
	run_well("finetune " LONG "-o b.safetensors --resume");
	assert_true(same_files("a.safetensors", "b.safetensors"));
}

static void pre_training_goes_on_likewise(void **state)
{
	int status;

	(void)state;
	run_well("pretrain " TINY "--set pretrain.steps=200 -o a.safetensors");
	status = run_and_signal("pretrain " TINY "--set pretrain.steps=200 -o b.safetensors",
				"b.safetensors.checkpoint", "", SIGKILL);
	assert_true(WIFSIGNALED(status));
	run_well("pretrain -d a.nmd -o b.safetensors -r");
	assert_true(same_files("a.safetensors", "b.safetensors"));
}

static void keep_a_checkpoint(void)
{
	run_and_signal("finetune " LONG "-o a.safetensors", "a.safetensors.checkpoint", "",
		       SIGKILL);
	assert_int_equal(access("a.safetensors.checkpoint", F_OK), 0);
}

static void a_run_goes_on_only_as_what_it_was(void **state)
{
	(void)state;
	keep_a_checkpoint();
	assert_fails("finetune " LONG "-o a.safetensors", STATUS_FAILED,
		     "a.safetensors.checkpoint is of a run that did not end; go on with --resume");
	assert_fails("finetune " LONG "-o a.safetensors -r --seed 9", STATUS_FAILED,
		     "train.seed differs from what the run was begun with");
	assert_fails("finetune " LONG "-o a.safetensors -r --set architecture.depth=2",
		     STATUS_FAILED, "architecture.depth differs");
	assert_fails("finetune -d b.nmd -o a.safetensors -r", STATUS_FAILED,
		     "was begun with other data than b.nmd");
	assert_fails("finetune -d a.nmd -o a.safetensors -r --fold 1", STATUS_FAILED,
		     "was begun with --fold 0");
	assert_fails("pretrain -d a.nmd -o a.safetensors -r", STATUS_FAILED,
		     "is no checkpoint of nmtrain pretrain");
	assert_fails("finetune " LONG "-o z.safetensors -r", STATUS_FAILED, "z.safetensors.check");
	assert_fails("finetune " LONG "-o a.safetensors -r --from b.safetensors", STATUS_USAGE,
		     "give only --resume");
	run_well("finetune " LONG "-o a.safetensors -r");
}

/* The checkpoint again, with other bytes in place of as many. */
static void damage(const char *from, const char *to)
{
	struct safetensors *file;
	const uint8_t *bytes;
	uint8_t *copy, *at;
	size_t size;
	FILE *written;

	assert_int_equal(strlen(from), strlen(to));
	assert_int_equal(safetensors_open("a.safetensors.checkpoint", &file, &e), 0);
	bytes = safetensors_bytes(file, &size);
	copy = malloc(size);
	memcpy(copy, bytes, size);
	safetensors_close(file);
	at = memmem(copy, size, from, strlen(from));
	assert_non_null(at);
	memcpy(at, to, strlen(to));
	written = fopen("a.safetensors.checkpoint", "w");
	assert_int_equal(fwrite(copy, 1, size, written), size);
	assert_int_equal(fclose(written), 0);
	free(copy);
}

/* In the file the state is a JSON string, its quotes escaped. */
static void a_checkpoint_that_cannot_be_is_refused(void **state)
{
	static const char *const cases[][3] = {
		{"\\\"step\\\":", "\\\"stop\\\":", "lacks its step"},
		{"\\\"run\\\":{", "\\\"run\\\":[", "no JSON object"},
		{"\\\"epochs\\\":40", "\\\"epochs\\\": 0", "schedule.epochs: 0 is out of range"},
		{"\\\"finetune\\\"", "\\\"finetuna\\\"", "is no checkpoint of nmtrain finetune"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		remove("a.safetensors.checkpoint");
		keep_a_checkpoint();
		damage(cases[i][0], cases[i][1]);
		assert_fails("finetune " LONG "-o a.safetensors -r", STATUS_FAILED, cases[i][2]);
	}
	assert_int_equal(truncate("a.safetensors.checkpoint", 1000), 0);
	assert_fails("finetune " LONG "-o a.safetensors -r", STATUS_FAILED, "a.safetensors.check");
}

static void assert_tensor(const struct safetensors *a, const struct safetensors *b,
			  const char *name, bool same)
{
	const struct raw_tensor *x = safetensors_find(a, name), *y = safetensors_find(b, name);

	assert_non_null(x);
	assert_non_null(y);
	assert_int_equal(x->n_values, y->n_values);
	assert_int_equal(!memcmp(x->data, y->data, x->n_values * sizeof(float)), same);
}

/* At a learning rate of 0 weights stay what they were. */
#define STILL                                                                                      \
	"--set schedule.epochs=1 --set schedule.warmup_epochs=0 --set optimiser.learning_rate=0 "  \
	"--set optimiser.min_learning_rate=0 --set pretrain.learning_rate=0 "

static void a_pre_trained_encoder_is_where_fine_tuning_begins(void **state)
{
	struct safetensors *pretrained, *from, *fresh;

	(void)state;
	run_well("pretrain " TINY "-o p.safetensors");
	assert_non_null(strstr(out, "p.safetensors: 10 steps over 72 flows, loss "));
	/* Architecture and tokens come with it. */
	run_well("finetune -d a.nmd " STILL "--from p.safetensors -o a.safetensors");
	run_well("finetune " TINY STILL "-o b.safetensors");
	assert_int_equal(safetensors_open("p.safetensors", &pretrained, &e), 0);
	assert_int_equal(safetensors_open("a.safetensors", &from, &e), 0);
	assert_int_equal(safetensors_open("b.safetensors", &fresh, &e), 0);
	assert_tensor(pretrained, from, "pos_embed", true);
	assert_tensor(pretrained, from, "encoder_blocks.0.mixer.in_proj.weight", true);
	assert_tensor(fresh, from, "encoder_blocks.0.mixer.in_proj.weight", false);
	assert_tensor(fresh, from, "head.weight", false);
	safetensors_close(pretrained);
	safetensors_close(from);
	safetensors_close(fresh);
}

static void the_model_names_the_encoder_it_began_with(void **state)
{
	struct model *m;
	json_t *training;
	const char *from;

	(void)state;
	run_well("pretrain " TINY "-o p.safetensors");
	run_and_signal("finetune " LONG "--from p.safetensors -o a.safetensors",
		       "a.safetensors.checkpoint", "", SIGKILL);
	run_well("finetune " LONG "-o a.safetensors --resume");
	m = load("a.safetensors");
	training = json_loads(m->training_json, 0, NULL);
	from = json_string_value(json_object_get(training, "from"));
	assert_non_null(from);
	assert_int_equal(strspn(from, "0123456789abcdef"), 64);
	json_decref(training);
	model_unref(m);
}

/* No file may grow beyond 2000 bytes: writes fail as on a full disk. */
static int run_on_a_full_disk(const char *line, const char *wanted)
{
	const struct rlimit limit = {2000, 2000};

	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit))
		return 2;
	return run(line) == STATUS_FAILED && strstr(e.text, wanted) ? 0 : 1;
}

static void a_full_disk_is_told_and_leaves_no_half_file(void **state)
{
	pid_t child = fork();
	int status;

	(void)state;
	assert_true(child >= 0);
	if (!child)
		_exit(run_on_a_full_disk("finetune " TINY "-o a.safetensors",
					 "a.safetensors.checkpoint"));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_not_equal(access("a.safetensors", F_OK), 0);
	assert_int_not_equal(access("a.safetensors.checkpoint", F_OK), 0);
}

static void an_encoder_of_another_network_is_refused(void **state)
{
	(void)state;
	run_well("pretrain " TINY "-o p.safetensors");
	assert_fails("finetune -d a.nmd --from p.safetensors -o a.safetensors "
		     "--set architecture.depth=2",
		     STATUS_FAILED, "p.safetensors: was trained with another architecture.depth");
	assert_fails("finetune -d a.nmd --from p.safetensors -o a.safetensors "
		     "--set tokens.debias=ttl",
		     STATUS_FAILED, "another tokens.debias");
	assert_fails("finetune -d a.nmd --from a.nmd -o a.safetensors", STATUS_FAILED, "a.nmd: ");
	assert_int_not_equal(access("a.safetensors", F_OK), 0);
	assert_int_not_equal(access("a.safetensors.checkpoint", F_OK), 0);
}

static void what_cannot_begin_says_why(void **state)
{
	(void)state;
	assert_fails("finetune -s tiny.conf -o a.safetensors", STATUS_USAGE, "give --data");
	assert_fails("finetune " TINY, STATUS_USAGE, "give --output");
	assert_fails("finetune " TINY "-o a.safetensors extra", STATUS_USAGE,
		     "takes options only, not \"extra\"");
	assert_fails("finetune " TINY "-o nowhere/a.safetensors", STATUS_FAILED,
		     "nowhere/a.safetensors: its folder cannot be written: No such file");
	assert_fails("finetune " TINY "-o .", STATUS_FAILED, ".: is there, and no regular file");
	assert_fails("finetune " TINY "-o a.safetensors --set tokens.packets=5", STATUS_FAILED,
		     "tokens.seq_len = 4 is less than tokens.packets = 5");
	assert_fails("finetune -d none.nmd -o a.safetensors", STATUS_FAILED, "none.nmd");
	assert_fails("finetune " TINY "-o a.safetensors --fold 5", STATUS_FAILED, "folds 0 to 4");
	assert_fails("pretrain " TINY "-o a.safetensors --from b", STATUS_USAGE,
		     "unknown option --from");
}

static void without_validation_the_last_weights_are_the_model(void **state)
{
	struct model *m;

	(void)state;
	run_well("finetune " TINY "-o a.safetensors --fold none");
	assert_string_equal(out, "a.safetensors: not validated\n");
	m = load("a.safetensors");
	assert_int_equal(m->n_classes, 3);
	model_unref(m);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		CASE(flows_that_tell_their_class_are_learned),
		CASE(labels_that_tell_nothing_are_not),
		CASE(the_same_seed_gives_the_same_file),
		CASE(the_model_keeps_what_it_was_made_with),
		CASE(classes_left_out_are_not_in_the_model),
		CASE(a_killed_run_goes_on_as_if_nothing_had_been),
		CASE(an_interrupted_run_saves_and_goes_on),
		CASE(the_best_weights_outlive_a_kill),
		CASE(pre_training_goes_on_likewise),
		CASE(a_run_goes_on_only_as_what_it_was),
		CASE(a_checkpoint_that_cannot_be_is_refused),
		CASE(a_pre_trained_encoder_is_where_fine_tuning_begins),
		CASE(the_model_names_the_encoder_it_began_with),
		CASE(a_full_disk_is_told_and_leaves_no_half_file),
		CASE(an_encoder_of_another_network_is_refused),
		CASE(what_cannot_begin_says_why),
		CASE(without_validation_the_last_weights_are_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
