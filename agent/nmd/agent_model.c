/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Models: the first one, and a hot swap.
 *
 * A swap keeps what is decided and loses nothing that is not. With the same record shape only the
 * batcher's judge changes. With another one: the programs are loaded anew on the same maps and the
 * links moved over, flows in assembly are handed to the old model as they are (a provisional
 * judgement), and a new generation makes the kernel send up undecided flows from their next packet
 * on.
 */
#include <limits.h>
#include <string.h>
#include <unistd.h>
#include "agent/nmd/agent.h"
#include "agent/flow/offline.h"
#include "agent/nmd/clock.h"
#include "agent/nmd/log.h"

/* A flow judged on fewer is judged again by what follows: a handshake and a pause say little, and
 * would be a way past any block. */
#define SOUND_PACKETS 10

/* An agent that runs from its source tree finds the tree's model. */
static void default_model_path(char path[PATH_MAX])
{
	static const char in_tree[] = "/../model/weights/bootstrap.safetensors";
	ssize_t n;
	char *slash;

	snprintf(path, PATH_MAX, "%s", SETTINGS_DEFAULT_MODEL);
	if (!access(path, R_OK))
		return;
	n = readlink("/proc/self/exe", path, PATH_MAX - sizeof(in_tree));
	if (n > 0) {
		path[n] = '\0';
		slash = strrchr(path, '/');
		strcpy(slash, in_tree);
		if (!access(path, R_OK))
			return;
	}
	snprintf(path, PATH_MAX, "%s", SETTINGS_DEFAULT_MODEL);
}

int agent_model_programs(const struct agent *a, const struct model *m,
			 struct nm_config *ret_programs, struct error *e)
{
	struct nm_config programs = {
		/* Later than the assembler's limit: what it judges idle has begun anew for both. */
		.flow_idle_ns = (a->settings.idle_s + 1) * NS_PER_S,
		.newcomers_per_ms = (uint32_t)a->settings.newcomers_per_ms,
	};
	int rc = record_limits(&m->tokens.shape, &programs, e);

	if (!rc)
		*ret_programs = programs;
	return rc;
}

static void on_ready(void *ctx, const struct flow_info *info, const struct flow_sample *sample,
		     enum ready_reason why)
{
	struct agent *a = ctx;

	batcher_add(a->batcher, info, sample, why);
}

int agent_assembler_new(struct agent *a, const struct model *m, struct assembler **ret_assembler,
			struct error *e)
{
	struct assembler_config config = {
		.shape = m->tokens.shape,
		.max_flows = (uint32_t)a->settings.max_flows,
		.early_packets = (uint32_t)a->settings.early_packets,
		.idle_ns = a->settings.idle_s * NS_PER_S,
		.total_ns = a->settings.total_s * NS_PER_S,
	};
	int rc;

	config.again_below =
		m->tokens.shape.seq_len < SOUND_PACKETS ? m->tokens.shape.seq_len : SOUND_PACKETS;
	a->enforce.again_below = config.again_below;
	if (config.early_packets >= config.shape.seq_len)
		config.early_packets = 0; /* the full judgement comes as soon */
	rc = assembler_new(&config, on_ready, a, ret_assembler);
	return rc ? error_set(e, rc, "a table for %u flows: %s", config.max_flows, strerror(-rc))
		  : 0;
}

int agent_model_start(struct agent *a, struct error *e)
{
	char path[PATH_MAX];
	int rc;

	if (settings_given(&a->settings, "model"))
		snprintf(path, sizeof(path), "%s", a->settings.model);
	else
		default_model_path(path);
	rc = model_load(path, &a->model, e);
	if (rc)
		return rc;
	a->model_id = 1;
	log_info("model %s: %u classes, sha256 %.12s", path, a->model->n_classes, a->model->sha256);
	return 0;
}

/* The programs of the new shape on every interface, or all as it was. */
static int change_programs(struct agent *a, const struct model *m, struct error *e)
{
	struct nm_config programs;
	int rc = agent_model_programs(a, m, &programs, e);

	if (rc)
		return rc;
	heartbeat_beat_ahead(&a->heartbeat);
	rc = kernel_reload(a->kernel, &programs, e);
	if (rc)
		return rc;
	rc = interfaces_update(&a->interfaces, e);
	if (!rc)
		return 0;
	if (!agent_model_programs(a, a->model, &programs, NULL) &&
	    !kernel_reload(a->kernel, &programs, NULL))
		interfaces_update(&a->interfaces, NULL);
	return rc;
}

/* Records of the old shape that are still in the rings, and what they make, are the old model's:
 * so this comes before the new judge. */
static void change_assembler(struct agent *a, struct assembler *fresh)
{
	rings_consume(a->rings);
	assembler_flush(a->assembler);
	assembler_free(a->assembler);
	a->assembler = fresh;
}

static void free_assembler(struct assembler **assembler)
{
	assembler_free(*assembler);
}

static void unref_model(struct model **m)
{
	model_unref(*m);
}

static void free_judge(struct judge **judge)
{
	batcher_judge_free(*judge);
}

/* Everything that can fail, in an order that can be undone. */
static int prepare_swap(struct agent *a, struct model *m, struct judge **ret_judge,
			struct assembler **ret_assembler, struct error *e)
{
	bool same = sample_shape_equal(&a->model->tokens.shape, &m->tokens.shape);
	struct classes before = a->classes;
	char notes[POLICY_NOTES];
	int rc = batcher_judge_new(a->batcher, m, a->model_id + 1, ret_judge, e);

	if (!rc && !same)
		rc = agent_assembler_new(a, m, ret_assembler, e);
	if (!rc)
		rc = classes_adopt_model(&a->classes, a->kernel, m, e);
	if (rc)
		return rc;
	/* watch_only classes are the model's: a rule that would need `force` refuses the model. */
	rc = policy_state_reinstall(a->policy, notes, e);
	if (!rc && !same)
		rc = change_programs(a, m, e);
	if (!rc) {
		if (*notes)
			log_warning("policy: %s", notes);
		return 0;
	}
	a->classes = before;
	policy_state_reinstall(a->policy, notes, NULL);
	return rc;
}

int agent_model_swap(struct agent *a, const char *path, struct error *e)
{
	cleanup(unref_model) struct model *m = NULL;
	cleanup(free_judge) struct judge *judge = NULL;
	cleanup(free_assembler) struct assembler *fresh = NULL;
	int rc = model_load(path, &m, e);

	if (!rc)
		rc = prepare_swap(a, m, &judge, &fresh, e);
	if (rc)
		return rc;
	if (fresh) {
		change_assembler(a, take_ptr(fresh));
		heartbeat_next_generation(&a->heartbeat);
	}
	batcher_judge_use(a->batcher, take_ptr(judge));
	a->model_id++;
	model_unref(a->model);
	a->model = take_ptr(m);
	log_info("model %s: %u classes, sha256 %.12s, from now on", path, a->model->n_classes,
		 a->model->sha256);
	return 0;
}
