/* SPDX-License-Identifier: BSD-2-Clause */
/* Policies into force: compile, keep zone ids, write, give live verdicts their zones. */
#include <errno.h>
#include <string.h>
#include "agent/nmd/agent.h"
#include "agent/nmd/clock.h"
#include "agent/nmd/log.h"

static void free_program(struct policy_program **program)
{
	policy_program_free(*program);
}

static struct policy_classes known_classes(const struct agent *a)
{
	return (struct policy_classes){
		.n = a->classes.n,
		.name = a->classes.name,
		.watch_only = a->classes.watch_only,
	};
}

int agent_policy_compile(const struct agent *a, const struct policy *p,
			 struct policy_program **ret_program, struct error *e)
{
	struct policy_classes classes = known_classes(a);

	return policy_compile(p, &classes, a->never, a->n_never, ret_program, e);
}

/* A class that is registered but not the model's: the rule stays, and cannot match a new flow. */
static void note_missing_classes(const struct agent *a, const struct policy *p, char *notes)
{
	struct policy_classes classes = known_classes(a);
	size_t len = strlen(notes);

	for (uint32_t i = 0; i < p->n_rules && len < POLICY_NOTES; i++) {
		const char *name = p->rules[i].class_name;
		int id = *name ? policy_class_find(&classes, name) : 0;

		if (id <= 0 || a->classes.in_model[id])
			continue;
		len += snprintf(notes + len, POLICY_NOTES - len,
				"%sclass=%s: the present model does not know this class",
				len ? "\n" : "", name);
	}
}

/* The stored policy was accepted once: a class that went with the pins comes back. */
static int register_rule_classes(struct agent *a, const struct policy *p, struct error *e)
{
	for (uint32_t i = 0; i < p->n_rules; i++) {
		struct policy_classes classes = known_classes(a);
		const char *name = p->rules[i].class_name;
		int id = *name ? policy_class_find(&classes, name) : 0;

		if (id < 0)
			id = classes_register(&a->classes, a->kernel, name, e);
		if (id < 0)
			return id;
	}
	return 0;
}

struct install {
	struct agent *agent;
	const struct policy_program *program;
};

static int rezone(void *ctx)
{
	struct install *install = ctx;
	int n = enforce_rezone(&install->agent->enforce, install->program);

	if (n > 0)
		log_debug(LOG_POLICY, "%d live verdicts changed their zone", n);
	return n < 0 ? n : 0;
}

/* For policy_state; ctx is the struct agent. */
static int install_policy(void *ctx, const struct policy *p, char ret_notes[POLICY_NOTES],
			  struct error *e)
{
	struct agent *a = ctx;
	cleanup(free_program) struct policy_program *program = NULL;
	struct install install = {a, NULL};
	int rc = a->starting ? register_rule_classes(a, p, e) : 0;

	if (!rc)
		rc = agent_policy_compile(a, p, &program, e);
	if (rc)
		return rc;
	if (a->program)
		zones_keep_ids(a->program, program);
	install.program = program;
	if (!a->starting) /* then kernel_open has */
		heartbeat_beat_ahead(&a->heartbeat);
	rc = kernel_policy_write_rezoned(a->kernel, program, rezone, &install, e);
	if (rc) {
		/* Half of it may be there: the old one once more, as far as that goes. */
		if (a->program && !kernel_policy_write(a->kernel, a->program, NULL))
			enforce_rezone(&a->enforce, a->program);
		return rc;
	}
	snprintf(ret_notes, POLICY_NOTES, "%s", program->notes);
	note_missing_classes(a, p, ret_notes);
	policy_program_free(a->program);
	a->program = take_ptr(program);
	a->enforce.program = a->program;
	return 0;
}

int agent_policy_set_never(struct agent *a, struct error *e)
{
	struct zone_key never[AGENT_MAX_NEVER] = {0};
	const struct text_list *list = &a->settings.never;
	int rc;

	if (list->n > AGENT_MAX_NEVER)
		return error_set(e, -E2BIG, "never: %d prefixes at most", AGENT_MAX_NEVER);
	for (unsigned i = 0; i < list->n; i++) {
		uint8_t len;

		rc = policy_prefix_parse(list->items[i], never[i].addr, &len, e);
		if (rc)
			return rc;
		never[i].prefix_len = len;
	}
	rc = protect_init(&a->protect, &a->settings.protect_ports, &a->settings.protect_peers, e);
	if (rc)
		return rc;
	memcpy(a->never, never, sizeof(never));
	a->n_never = list->n;
	return 0;
}

int agent_policy_start(struct agent *a, struct error *e)
{
	char dir[AGENT_PATH + 8];
	struct policy_state_config config = {.dir = dir, .install = install_policy, .ctx = a};
	int rc = agent_policy_set_never(a, e);

	if (rc)
		return rc;
	snprintf(dir, sizeof(dir), "%s/policy", a->settings.state_dir);
	a->starting = true;
	rc = policy_state_new(&config, clock_wall_s(), &a->policy, e);
	a->starting = false;
	return rc;
}

int agent_set_mode(struct agent *a)
{
	a->enforce.watch = a->breaker.tripped || !strcmp(a->settings.mode, "watch");
	return heartbeat_set_mode(&a->heartbeat, a->enforce.watch, a->breaker.tripped);
}

void agent_breaker_tripped(void *ctx)
{
	struct agent *a = ctx;

	agent_set_mode(a);
	log_error("BREAKER TRIPPED: %s. Nothing is dropped any more (watch mode). Look at `nmctl "
		  "classes`, then change the policy or the model, then say `nmctl policy arm`",
		  a->breaker.reason);
}

int agent_arm_breaker(struct agent *a)
{
	breaker_arm(&a->breaker);
	log_info("breaker armed");
	return agent_set_mode(a);
}
