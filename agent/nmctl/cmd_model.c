/* SPDX-License-Identifier: BSD-2-Clause */
/* `nmctl model show|verify|load`: model files, and the one that the agent runs. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmctl/human.h"
#include "agent/nmctl/nmctl.h"
#include "model/model_file.h"
#include "model/model_json.h"
#include "model/verify.h"

static void drop_model(struct model **m)
{
	model_unref(*m);
}

static void print_list(FILE *out, const char *label, const json_t *list)
{
	json_t *item;
	size_t i, column = 0;

	fprintf(out, "%-12s", label);
	json_array_foreach (list, i, item) {
		const char *name = json_is_string(item) ? json_string_value(item) : "?";

		if (column + strlen(name) > 64) {
			fprintf(out, "\n%-12s", "");
			column = 0;
		}
		fputc(' ', out);
		output_text(out, name);
		column += strlen(name) + 1;
	}
	fputs(json_array_size(list) ? "\n" : " none\n", out);
}

static void print_thresholds(FILE *out, const json_t *m)
{
	const json_t *list = output_member(m, "calibration.thresholds");
	double least = INFINITY, most = -INFINITY;
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		least = fmin(least, json_number_value(item));
		most = fmax(most, json_number_value(item));
	}
	output_field(out, "calibration", "temperature %.3g, class thresholds %.3g to %.3g",
		     output_number(m, "calibration.temperature", 1), least, most);
	output_field(out, "unknown", "when %s is above %.4g",
		     output_string(m, "calibration.unknown.score", "?"),
		     output_number(m, "calibration.unknown.threshold", 0));
}

static void print_object(FILE *out, const char *label, const json_t *object)
{
	cleanup(drop_text) char *text = NULL;

	if (!object)
		return;
	text = json_dumps(object, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII |
					  JSON_REAL_PRECISION(15));
	output_field(out, label, "%s", text ? text : "?");
}

static void print_network(FILE *out, const json_t *m)
{
	const char *backbone = output_string(m, "architecture.backbone", "?");
	double dim = output_number(m, "architecture.embed_dim", 0);
	double depth = output_number(m, "architecture.depth", 0);
	double expand = output_number(m, "architecture.expand", 0);

	if (output_member(m, "architecture.heads"))
		output_field(out, "network", "%s, D %.0f, depth %.0f, heads %.0f, expand %.0f",
			     backbone, dim, depth, output_number(m, "architecture.heads", 0),
			     expand);
	else
		output_field(out, "network",
			     "%s, D %.0f, depth %.0f, state %.0f, conv %.0f, expand %.0f", backbone,
			     dim, depth, output_number(m, "architecture.d_state", 0),
			     output_number(m, "architecture.d_conv", 0), expand);
	output_field(out, "embedding", "bytes: %s; sizes and times: %s",
		     output_string(m, "architecture.byte_embedding", "stride"),
		     output_string(m, "architecture.value_embedding", "sinusoid"));
}

static void print_model(FILE *out, const json_t *m)
{
	char text[HUMAN_TEXT];
	double parameters = output_number(m, "parameters", 0);

	output_field(out, "file", "%s", output_string(m, "path", "?"));
	output_field(out, "sha256", "%s", output_string(m, "sha256", "?"));
	print_network(out, m);
	if (parameters > 0)
		output_field(out, "parameters", "%s", human_count(parameters, text));
	output_field(
		out, "reads",
		"%s: bytes of %.0f packets (%.0f header + %.0f payload), sizes and times of "
		"%.0f%s",
		output_string(m, "tokens.direction", "?"), output_number(m, "tokens.packets", 0),
		output_number(m, "tokens.header_bytes", 0),
		output_number(m, "tokens.payload_bytes", 0), output_number(m, "tokens.seq_len", 0),
		json_is_true(output_member(m, "tokens.packed")) ? ", packed" : "");
	print_list(out, "debiased", output_member(m, "tokens.debias"));
	if (output_member(m, "engine"))
		output_field(out, "engine", "%s", output_string(m, "engine", "?"));
	print_list(out, "classes", output_member(m, "classes"));
	print_thresholds(out, m);
	print_list(out, "watch only", output_member(m, "calibration.watch_only"));
	print_object(out, "training", output_member(m, "training"));
	print_object(out, "figures", output_member(m, "figures"));
}

static enum status show(struct nmctl *ctl, const json_t *json)
{
	if (!json)
		return nmctl_failed(ctl, "no memory");
	if (ctl->options.format == OUTPUT_JSON)
		return nmctl_result(ctl, output_json(ctl->out, json));
	print_model(ctl->out, json);
	return STATUS_DONE;
}

enum status cmd_model_show(struct nmctl *ctl)
{
	const char *words[] = {"model", "show"};
	cleanup(drop_model) struct model *m = NULL;
	cleanup(drop_json) json_t *json = NULL;
	enum status status;
	int ret;

	if (!ctl->n_words) {
		status = nmctl_call(ctl, words, 2, NULL, NULL, NULL, &json);
		return status ? status : show(ctl, json);
	}
	ret = model_load(ctl->words[0], &m, &ctl->error);
	if (ret)
		return nmctl_result(ctl, ret);
	json = model_to_json(m);
	return show(ctl, json);
}

static enum status print_vectors(struct nmctl *ctl, const struct model *m, json_t *json,
				 const struct verify_result *r)
{
	bool good = r->logits_deviation <= VERIFY_TOLERANCE;

	json_object_set_new(json, "vectors",
			    json_pack("{s:i, s:f, s:f, s:i, s:b}", "samples", (int)r->n_samples,
				      "logits_deviation", r->logits_deviation, "tolerance",
				      VERIFY_TOLERANCE, "other_class", (int)r->n_other_class, "ok",
				      good));
	if (ctl->options.format == OUTPUT_JSON) {
		output_json(ctl->out, json);
	} else {
		fprintf(ctl->out,
			"vectors      %u samples; largest deviation %.3g of the largest logit "
			"%.4g, at "
			"sample %u, class %s; %u choose another class\n",
			r->n_samples, r->logits_deviation, r->largest_logit, r->worst_sample,
			r->worst_class < m->n_classes ? m->class_name[r->worst_class] : "?",
			r->n_other_class);
		fprintf(ctl->out, "figure logits_deviation %.3g relative\n", r->logits_deviation);
	}
	if (good)
		return STATUS_DONE;
	return nmctl_failed(
		ctl,
		"%.100s: logits deviate by %.3g, more than %.0e: the engine or the file "
		"is wrong",
		m->path, r->logits_deviation, VERIFY_TOLERANCE);
}

enum status cmd_model_verify(struct nmctl *ctl)
{
	cleanup(drop_model) struct model *m = NULL;
	cleanup(drop_json) json_t *json = NULL;
	struct verify_result result;
	int ret = model_load(ctl->words[0], &m, &ctl->error);

	if (!ret && ctl->options.vectors_path)
		ret = model_verify_vectors(m, ctl->options.vectors_path, &result, &ctl->error);
	if (ret)
		return nmctl_result(ctl, ret);
	json = model_to_json(m);
	if (!json)
		return nmctl_failed(ctl, "no memory");
	if (ctl->options.format == OUTPUT_TABLE)
		print_model(ctl->out, json);
	if (ctl->options.vectors_path)
		return print_vectors(ctl, m, json, &result);
	if (ctl->options.format == OUTPUT_JSON)
		return nmctl_result(ctl, output_json(ctl->out, json));
	fputs("every tensor has its name, type and shape, every value is finite\n", ctl->out);
	return STATUS_DONE;
}

enum status cmd_model_load(struct nmctl *ctl)
{
	/* The agent reads the file itself, from its own working directory. */
	cleanup(drop_text) char *path = realpath(ctl->words[0], NULL);
	const char *words[] = {"model", "load", path};
	cleanup(drop_model) struct model *m = NULL;
	cleanup(drop_json) json_t *done = NULL;
	enum status status;
	int ret;

	if (!path)
		return nmctl_failed(ctl, "%.120s: %s", ctl->words[0], strerror(errno));
	ret = model_load(path, &m, &ctl->error);
	if (ret)
		return nmctl_result(ctl, ret);
	status = nmctl_call(ctl, words, 3, NULL, NULL, NULL, &done);
	if (status)
		return status;
	if (ctl->options.format == OUTPUT_JSON)
		return nmctl_result(ctl, output_json(ctl->out, done));
	output_field(ctl->out, "loaded", "%s", output_string(done, "path", path));
	output_field(ctl->out, "sha256", "%s", output_string(done, "sha256", "?"));
	output_field(ctl->out, "model id", "%.0f, %u classes", output_number(done, "id", 0),
		     m->n_classes);
	return STATUS_DONE;
}
