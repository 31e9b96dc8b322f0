/* SPDX-License-Identifier: BSD-2-Clause */
/* See model_metadata.h. Every number has bounds in a table or beside its name. */
#include "model/model_metadata.h"
#include <errno.h>
#include <float.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

const char *const debias_names[DEBIAS_BITS] = {
	"ip_addr",   "ports",       "ip_id",          "ttl",
	"checksums", "tcp_seq_ack", "tcp_timestamps", "tls_sni"};

const char *const ood_score_names[OOD_SCORES] = {
	[OOD_ENERGY] = "energy",
	[OOD_MAX_LOGIT] = "max_logit",
	[OOD_MAX_PROBABILITY] = "max_probability",
	[OOD_ENTROPY] = "entropy",
};

const char *const backbone_names[2] = {"mamba", "attention"};
const char *const byte_embedding_names[2] = {"stride", "table"};
const char *const value_embedding_names[2] = {"sinusoid", "projected"};
const char *const iat_scale_names[2] = {"ratio", "log"};
const char *const direction_names[2] = {"uni", "bi"};

/* Of architecture, whatever the backbone. */
#define OTHER_KEYS "expand stride head_bias byte_embedding value_embedding "

/* Where we are in the file, for messages. */
struct reader {
	const char *path;
	struct error *e;
};

#define refuse(rd, format, ...)                                                                    \
	error_set((rd)->e, -EINVAL, "%s: netmamba." format, (rd)->path, __VA_ARGS__)

static void free_json(json_t **json)
{
	json_decref(*json);
}

static int read_uint(const struct reader *rd, const json_t *object, const char *section,
		     const char *key, uint32_t min, uint32_t max, uint32_t *ret_value)
{
	json_t *json = json_object_get(object, key);

	if (!json_is_integer(json) || json_integer_value(json) < min ||
	    json_integer_value(json) > max)
		return refuse(rd, "%s.%s: must be a whole number from %u to %u", section, key, min,
			      max);
	*ret_value = json_integer_value(json);
	return 0;
}

static int read_real(const struct reader *rd, const json_t *json, const char *where, double min,
		     double max, float *ret_value)
{
	double value = json_number_value(json);

	if (!json_is_number(json) || !(value >= min && value <= max))
		return refuse(rd, "%s: must be a number from %g to %g", where, min, max);
	*ret_value = (float)value;
	return 0;
}

static int read_flag(const struct reader *rd, const json_t *object, const char *section,
		     const char *key, bool *ret_value)
{
	json_t *json = json_object_get(object, key);

	*ret_value = json_is_true(json);
	if (json && !json_is_boolean(json))
		return refuse(rd, "%s.%s: must be true or false", section, key);
	return 0;
}

/* One of two words. */
static int read_word(const struct reader *rd, const json_t *object, const char *section,
		     const char *key, const char *const words[2], bool *ret_second)
{
	const char *word = json_string_value(json_object_get(object, key));

	if (!word || (strcmp(word, words[0]) != 0 && strcmp(word, words[1]) != 0))
		return refuse(rd, "%s.%s: must be \"%s\" or \"%s\"", section, key, words[0],
			      words[1]);
	*ret_second = strcmp(word, words[1]) == 0;
	return 0;
}

/* The same, and the first when the key is absent. */
static int read_option(const struct reader *rd, const json_t *object, const char *section,
		       const char *key, const char *const words[2], bool *ret_second)
{
	*ret_second = false;
	return json_object_get(object, key) ? read_word(rd, object, section, key, words, ret_second)
					    : 0;
}

/* known: names joined and ended by blanks. */
static int refuse_unknown_keys(const struct reader *rd, json_t *object, const char *section,
			       const char *known)
{
	const char *key;
	json_t *value;

	if (!json_is_object(object))
		return refuse(rd, "%s: must be an object", section);
	json_object_foreach (object, key, value) {
		const char *place = strstr(known, key);
		size_t length = strlen(key);

		if (!place || !length || place[length] != ' ' ||
		    (place != known && place[-1] != ' '))
			return refuse(rd, "%s: has a key that is not known; known are: %s", section,
				      known);
	}
	return 0;
}

static int read_states(const struct reader *rd, json_t *object, struct architecture *a)
{
	int r = read_uint(rd, object, "architecture", "d_state", 1, MODEL_MAX_STATE, &a->d_state);

	return r ? r
		 : read_uint(rd, object, "architecture", "d_conv", 1, MODEL_MAX_CONV, &a->d_conv);
}

static int read_heads(const struct reader *rd, json_t *object, struct architecture *a)
{
	int r = read_uint(rd, object, "architecture", "heads", 1, a->embed_dim, &a->heads);

	if (!r && (a->embed_dim % a->heads || a->embed_dim / a->heads > MODEL_MAX_HEAD_DIM))
		return refuse(rd,
			      "architecture.heads: must divide embed_dim %u into heads of at most "
			      "%d",
			      a->embed_dim, MODEL_MAX_HEAD_DIM);
	return r;
}

/* The backbone, and that no key is there which it does not have. */
static int read_backbone(const struct reader *rd, json_t *object, struct architecture *a)
{
	bool attention;
	int r;

	if (!json_is_object(object))
		return refuse(rd, "%s: must be an object", "architecture");
	r = read_word(rd, object, "architecture", "backbone", backbone_names, &attention);
	if (r)
		return r;
	strcpy(a->backbone, backbone_names[attention]);
	return refuse_unknown_keys(rd, object, "architecture",
				   attention
					   ? "backbone embed_dim depth heads " OTHER_KEYS
					   : "backbone embed_dim depth d_state d_conv " OTHER_KEYS);
}

static int read_architecture(const struct reader *rd, json_t *object, struct architecture *a)
{
	const struct {
		const char *key;
		uint32_t min, max;
		uint32_t *value;
	} sizes[] = {
		{"embed_dim", 1, MODEL_MAX_EMBED_DIM, &a->embed_dim},
		{"depth", 1, MODEL_MAX_DEPTH, &a->depth},
		{"expand", 1, MODEL_MAX_EXPAND, &a->expand},
		{"stride", 1, MODEL_MAX_STRIDE, &a->stride},
	};
	int r = read_backbone(rd, object, a);
	bool attention = strcmp(a->backbone, backbone_names[1]) == 0;

	for (size_t i = 0; !r && i < sizeof(sizes) / sizeof(sizes[0]); i++)
		r = read_uint(rd, object, "architecture", sizes[i].key, sizes[i].min, sizes[i].max,
			      sizes[i].value);
	if (!r && attention)
		r = read_heads(rd, object, a);
	else if (!r)
		r = read_states(rd, object, a);
	a->dt_rank = (a->embed_dim + 15) / 16;
	if (!r)
		r = read_flag(rd, object, "architecture", "head_bias", &a->head_bias);
	if (!r)
		r = read_option(rd, object, "architecture", "byte_embedding", byte_embedding_names,
				&a->byte_table);
	if (!r)
		r = read_option(rd, object, "architecture", "value_embedding",
				value_embedding_names, &a->project_values);
	return r;
}

static int read_debias(const struct reader *rd, json_t *list, uint32_t *ret_bits)
{
	size_t i, bit;
	json_t *item;

	if (list && (!json_is_array(list) || json_array_size(list) > DEBIAS_BITS))
		return refuse(rd, "tokens.debias: must be an array of at most %d names",
			      DEBIAS_BITS);
	json_array_foreach (list, i, item) {
		for (bit = 0; bit < DEBIAS_BITS; bit++)
			if (json_is_string(item) &&
			    strcmp(json_string_value(item), debias_names[bit]) == 0)
				break;
		if (bit == DEBIAS_BITS)
			return refuse(rd,
				      "tokens.debias[%zu]: must be one of ip_addr, ports, ip_id, "
				      "ttl, checksums, tcp_seq_ack, tcp_timestamps, tls_sni",
				      i);
		*ret_bits |= 1U << bit;
	}
	return 0;
}

static int read_shape(const struct reader *rd, const json_t *object, struct sample_shape *shape)
{
	uint32_t packets, header, payload, seq_len;
	int r = 0;

	if (!json_object_get(object, "direction"))
		return refuse(rd, "tokens.direction: must be \"%s\" or \"%s\"", direction_names[0],
			      direction_names[1]);
	r = read_option(rd, object, "tokens", "direction", direction_names, &shape->bidirectional);
	if (!r)
		r = read_uint(rd, object, "tokens", "packets", 1, MODEL_MAX_PACKETS, &packets);
	if (!r)
		r = read_uint(rd, object, "tokens", "header_bytes", 0, MODEL_MAX_HEADER_BYTES,
			      &header);
	if (!r)
		r = read_uint(rd, object, "tokens", "payload_bytes", 0, MODEL_MAX_PAYLOAD_BYTES,
			      &payload);
	if (!r)
		r = read_uint(rd, object, "tokens", "seq_len", packets, MODEL_MAX_SEQ_LEN,
			      &seq_len);
	if (r)
		return r;
	shape->packets = packets;
	shape->header_bytes = header;
	shape->payload_bytes = payload;
	shape->seq_len = seq_len;
	return 0;
}

static int read_tokens(const struct reader *rd, json_t *object, struct model *m)
{
	struct token_config *t = &m->tokens;
	size_t n_bytes;
	int r;

	r = refuse_unknown_keys(rd, object, "tokens",
				"direction packets header_bytes payload_bytes seq_len packed "
				"iat_scale byte_scale byte_offset debias ");
	if (!r)
		r = read_shape(rd, object, &t->shape);
	if (!r)
		r = read_flag(rd, object, "tokens", "packed", &t->packed);
	if (!r)
		r = read_option(rd, object, "tokens", "iat_scale", iat_scale_names, &t->iat_log);
	if (!r)
		r = read_real(rd, json_object_get(object, "byte_scale"), "tokens.byte_scale", -1e3,
			      1e3, &t->byte_scale);
	if (!r)
		r = read_real(rd, json_object_get(object, "byte_offset"), "tokens.byte_offset",
			      -1e3, 1e3, &t->byte_offset);
	if (!r)
		r = read_debias(rd, json_object_get(object, "debias"), &t->debias);
	if (r)
		return r;
	n_bytes = t->shape.packets * sample_row_bytes(&t->shape);
	if (n_bytes == 0 || n_bytes % m->architecture.stride)
		return refuse(rd,
			      "tokens: packets * (header_bytes + payload_bytes) is %zu; must be a "
			      "multiple of stride %u, and not 0",
			      n_bytes, m->architecture.stride);
	if (model_sequence_length(m) > MODEL_MAX_TOKENS)
		return refuse(rd, "tokens: make a sequence of %u tokens; at most %u can be run",
			      model_sequence_length(m), MODEL_MAX_TOKENS);
	return 0;
}

static bool is_class_name(const char *name)
{
	size_t length = name ? strlen(name) : 0;

	return length > 0 && length < MODEL_CLASS_NAME &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

static int read_classes(const struct reader *rd, const json_t *list, struct model *m)
{
	json_t *item;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) < 1 ||
	    json_array_size(list) > MODEL_MAX_CLASSES)
		return refuse(rd, "classes: must be an array of 1 to %d names", MODEL_MAX_CLASSES);
	json_array_foreach (list, i, item) {
		const char *name = json_string_value(item);

		if (!is_class_name(name))
			return refuse(rd,
				      "classes[%zu]: must be 1 to %d characters of a to z, 0 to 9 "
				      "and -",
				      i, MODEL_CLASS_NAME - 1);
		if (strcmp(name, "unknown") == 0)
			return refuse(rd, "classes[%zu]: \"unknown\" is what no class fits", i);
		if (model_class_index(m, name) >= 0)
			return refuse(rd, "classes[%zu]: \"%s\" is there twice", i, name);
		strcpy(m->class_name[i], name);
		m->n_classes = i + 1;
	}
	return 0;
}

static int read_thresholds(const struct reader *rd, json_t *list, struct model *m)
{
	json_t *item;
	size_t i;
	int r = 0;

	if (!list)
		return 0;
	if (!json_is_array(list) || json_array_size(list) != m->n_classes)
		return refuse(rd,
			      "calibration.thresholds: must be an array of %u numbers, one a class",
			      m->n_classes);
	json_array_foreach (list, i, item) {
		char where[48];

		snprintf(where, sizeof(where), "calibration.thresholds[%zu]", i);
		r = read_real(rd, item, where, 0, 1, &m->calibration.threshold[i]);
		if (r)
			break;
	}
	return r;
}

static int read_watch_only(const struct reader *rd, json_t *list, struct model *m)
{
	json_t *item;
	size_t i;

	if (list && !json_is_array(list))
		return refuse(rd, "calibration.watch_only: must be an array of %s", "class names");
	json_array_foreach (list, i, item) {
		const char *name = json_string_value(item);
		int index = name ? model_class_index(m, name) : -1;

		if (index < 0)
			return refuse(rd, "calibration.watch_only[%zu]: is no class of this model",
				      i);
		m->calibration.watch_only[index] = true;
	}
	return 0;
}

static int read_unknown(const struct reader *rd, json_t *object, struct calibration *c)
{
	const char *score = json_string_value(json_object_get(object, "score"));
	size_t i = 0;

	if (!object)
		return 0;
	while (score && i < OOD_SCORES && strcmp(score, ood_score_names[i]) != 0)
		i++;
	if (!score || i == OOD_SCORES)
		return refuse(rd,
			      "calibration.unknown.score: must be one of %s, max_logit, "
			      "max_probability, entropy",
			      ood_score_names[OOD_ENERGY]);
	c->score = (enum ood_score)i;
	return read_real(rd, json_object_get(object, "threshold"), "calibration.unknown.threshold",
			 -FLT_MAX, FLT_MAX, &c->ood_threshold);
}

static int read_calibration(const struct reader *rd, json_t *object, struct model *m)
{
	struct calibration *c = &m->calibration;
	json_t *temperature = json_object_get(object, "temperature");
	int r = 0;

	c->temperature = 1;
	for (uint32_t i = 0; i < m->n_classes; i++)
		c->threshold[i] = 0.5F;
	c->score = OOD_ENERGY;
	c->ood_threshold = FLT_MAX;
	if (!object)
		return 0;
	if (!json_is_object(object))
		return refuse(rd, "%s: must be an object", "calibration");
	if (temperature)
		r = read_real(rd, temperature, "calibration.temperature", 1e-3, 1e3,
			      &c->temperature);
	if (!r)
		r = read_thresholds(rd, json_object_get(object, "thresholds"), m);
	if (!r)
		r = read_watch_only(rd, json_object_get(object, "watch_only"), m);
	if (!r)
		r = read_unknown(rd, json_object_get(object, "unknown"), c);
	return r;
}

/* An object kept as text, for `model show`. */
static int keep_text(const struct reader *rd, const json_t *root, const char *key, char **ret_text)
{
	json_t *object = json_object_get(root, key);

	if (!object)
		return 0;
	if (!json_is_object(object))
		return refuse(rd, "%s: must be an object", key);
	*ret_text = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);
	return *ret_text ? 0 : error_set(rd->e, -ENOMEM, "%s: no memory", rd->path);
}

int model_read_metadata(struct model *m, const char *json_text, struct error *e)
{
	struct reader rd = {.path = m->path, .e = e};
	json_error_t json_error;
	cleanup(free_json) json_t *root =
		json_loads(json_text, JSON_REJECT_DUPLICATES, &json_error);
	int r;

	if (!json_is_object(root))
		return error_set(
			e, -EINVAL,
			"%s: __metadata__.netmamba: must be a JSON object, no key twice (byte %d)",
			m->path, root ? 0 : json_error.position);
	if (!json_is_integer(json_object_get(root, "format")) ||
	    json_integer_value(json_object_get(root, "format")) != MODEL_FORMAT)
		return refuse(&rd, "format: this program reads format %d", MODEL_FORMAT);
	r = read_architecture(&rd, json_object_get(root, "architecture"), &m->architecture);
	if (!r)
		r = read_tokens(&rd, json_object_get(root, "tokens"), m);
	if (!r)
		r = read_classes(&rd, json_object_get(root, "classes"), m);
	if (!r)
		r = read_calibration(&rd, json_object_get(root, "calibration"), m);
	if (!r)
		r = keep_text(&rd, root, "training", &m->training_json);
	if (!r)
		r = keep_text(&rd, root, "figures", &m->figures_json);
	return r;
}
