/* SPDX-License-Identifier: BSD-2-Clause */
/* `nmctl policy check`: a policy file against the classes of a model, with no agent. */
#include "agent/nmctl/human.h"
#include "agent/nmctl/nmctl.h"
#include "agent/policy/policy.h"
#include "model/model_file.h"

static void drop_policy(struct policy **p)
{
	policy_free(*p);
}

static void drop_model(struct model **m)
{
	model_unref(*m);
}

static void drop_program(struct policy_program **p)
{
	policy_program_free(*p);
}

/* Class ids as a fresh agent gives them: 0 is unknown, then the model's classes in their order. */
static int compile(const struct policy *policy, const struct model *m,
		   struct policy_program **ret_program, struct error *e)
{
	char names[MAX_CLASSES][CLASS_NAME_LEN] = {"unknown"};
	bool watch_only[MAX_CLASSES] = {false};
	struct policy_classes classes = {
		.n = m->n_classes + 1, .name = names, .watch_only = watch_only};

	for (uint32_t i = 0; i < m->n_classes; i++) {
		snprintf(names[i + 1], CLASS_NAME_LEN, "%s", m->class_name[i]);
		watch_only[i + 1] = m->calibration.watch_only[i];
	}
	return policy_compile(policy, &classes, NULL, 0, ret_program, e);
}

static enum status print(struct nmctl *ctl, const struct policy *policy, const char *notes,
			 const char *model_path)
{
	cleanup(drop_json) json_t *done =
		json_pack("{s:i, s:s, s:s?}", "rules", (int)policy->n_rules, "notes", notes,
			  "model", model_path);

	if (!done)
		return nmctl_failed(ctl, "no memory");
	if (ctl->options.format == OUTPUT_JSON)
		return nmctl_result(ctl, output_json(ctl->out, done));
	output_text(ctl->out, ctl->words[0]);
	fprintf(ctl->out, ": %u rule%s, no error", policy->n_rules, human_plural(policy->n_rules));
	fputs(model_path ? " with the classes of "
			 : "; class names were not checked: no model file",
	      ctl->out);
	output_text(ctl->out, model_path ? model_path : "");
	fputc('\n', ctl->out);
	nmctl_print_notes(ctl->out, done);
	return STATUS_DONE;
}

enum status cmd_policy_check(struct nmctl *ctl)
{
	const char *model_path = nmctl_model_path(ctl);
	cleanup(drop_text) char *text = NULL;
	cleanup(drop_policy) struct policy *policy = NULL;
	cleanup(drop_model) struct model *model = NULL;
	cleanup(drop_program) struct policy_program *program = NULL;
	size_t len;
	int ret;

	ret = nmctl_read_file(ctl->words[0], &text, &len, &ctl->error);
	ret = ret ? ret : policy_parse(ctl->words[0], text, len, &policy, &ctl->error);
	if (!ret && model_path)
		ret = model_load(model_path, &model, &ctl->error);
	if (!ret && model)
		ret = compile(policy, model, &program, &ctl->error);
	if (ret)
		return nmctl_result(ctl, ret);
	return print(ctl, policy, program ? program->notes : "", model_path);
}
