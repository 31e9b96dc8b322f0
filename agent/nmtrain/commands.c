/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands as data. Finding and help read this one table. */
#include <errno.h>
#include <string.h>
#include "agent/nmtrain/nmtrain.h"
#include "agent/policy/nearest.h"

static const struct command table[] = {
	{"dataset", cmd_dataset,
	 "[--labels TSV | --class NAME] [--source NAME] --captures DIR ... -o FILE.nmd",
	 "captures to a data set; show FILE.nmd tells what is in one",
	 "  nmtrain dataset show FILE.nmd [-o json]\n"
	 "  nmtrain dataset dump FILE.nmd -o FILE.safetensors    for other learners\n\n"
	 "--labels, --class and --source are of the --captures that follows them, and of that one\n"
	 "alone. A flow has the class of its row in the table, else of its port, else of the "
	 "folder;\n"
	 "without any it serves pre-training. Folders are walked with all below them.\n"},
	{"pretrain", cmd_pretrain, "--data SET.nmd --output ENCODER.safetensors [options]",
	 "flows without labels to an encoder for finetune --from",
	 "All flows of the training folds are used, with or without a class; give the\n"
	 "same --fold as to finetune. Settings, interrupts and --resume as there.\n"},
	{"finetune", cmd_finetune, "--data SET.nmd --output MODEL.safetensors [options]",
	 "labelled flows to a model",
	 "Settings: defaults, then architecture and tokens of --from, then --settings,\n"
	 "then --set; `nmtrain finetune --help-settings` tells each. Fold N is kept back\n"
	 "for `nmtrain eval`, the one after it validates: the weights of the best\n"
	 "validation are kept. After an interrupt or a crash the same command with\n"
	 "--resume goes on from the last checkpoint.\n"},
	{"eval", cmd_eval, "--model MODEL.safetensors --data SET.nmd [options]",
	 "how good a model is on flows that it never saw; thresholds, calibration",
	 "The test fold is measured, and temperature, thresholds and the score that tells\n"
	 "unknown flows are fitted on the validation fold: by default those that training\n"
	 "kept back. Flows of classes that the model does not have are what unknown\n"
	 "detection is measured on; flows without a label are not looked at.\n"},
	{"export", cmd_export, "MODEL.safetensors --type f32|f16|bf16|int8 --output FILE",
	 "a model's weights in another type, as a model file again",
	 "int8: matrices as whole numbers with a scale for each row, embeddings as f16.\n"
	 "Weights are expanded when a model is loaded: its file is smaller, its speed the\n"
	 "same. `nmtrain eval` tells what the change costs.\n"},
	{"import", cmd_import,
	 "STATE.safetensors --output FILE [--metadata FILE.json] [--tokens uni|bi] [options]",
	 "an official PyTorch state dict to a model, or to an encoder if it has no head",
	 "In Python, from the released programs' checkpoint.pth:\n"
	 "  state = torch.load('checkpoint.pth', map_location='cpu')['model']\n"
	 "  safetensors.torch.save_file(state, 'STATE.safetensors')\n"
	 "The network follows from the tensors' shapes; what it reads must be told.\n"},
	{"help", cmd_help, "[COMMAND]", "what a command does and takes", NULL},
};
#define N_COMMANDS (sizeof(table) / sizeof(table[0]))

const struct command *commands_find(const char *name, struct error *e)
{
	const char *names[N_COMMANDS], *nearest;

	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (!strcmp(table[i].name, name))
			return &table[i];
		names[i] = table[i].name;
	}
	nearest = nearest_of(name, names, N_COMMANDS);
	if (nearest)
		error_set(e, -EINVAL, "unknown command \"%.40s\"; did you mean \"%s\"?", name,
			  nearest);
	else
		error_set(e, -EINVAL, "unknown command \"%.40s\"; `nmtrain help` lists them", name);
	return NULL;
}

void commands_usage(FILE *out, const struct command *c)
{
	fprintf(out, "usage: nmtrain %s%s%s\n", c->name, *c->usage ? " " : "", c->usage);
}

void commands_help(FILE *out)
{
	fputs("usage: nmtrain COMMAND [options]\n\n", out);
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(out, "  %-10s %s\n", table[i].name, table[i].help);
	fputs("\n`nmtrain help COMMAND` tells more of one. Exit status: 0 done, 1 failed, 2 "
	      "usage.\n"
	      "nmtrain --version prints the version.\n",
	      out);
}

int cmd_help(struct nmtrain *t, int argc, char **argv)
{
	char *ask[] = {argc > 1 ? argv[1] : NULL, "--help", NULL};

	if (argc < 2 || !strcmp(argv[1], "help")) {
		commands_help(t->out);
		return STATUS_DONE;
	}
	t->command = commands_find(argv[1], &t->error);
	return t->command ? t->command->run(t, 2, ask) : STATUS_USAGE;
}
