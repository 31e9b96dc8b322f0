/* SPDX-License-Identifier: BSD-2-Clause */
/* A data set in memory. */
#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "agent/nmtrain/dataset_build.h"
#include "model/debias.h"

void dataset_free(struct dataset *set)
{
	if (!set)
		return;
	for (uint32_t i = 0; set->flow && i < set->n_flows; i++)
		flow_sample_free(set->flow[i].sample);
	for (uint32_t i = 0; set->capture && i < set->n_captures; i++) {
		free(set->capture[i].name);
		free(set->capture[i].source);
	}
	for (uint32_t i = 0; set->label_name && i < set->n_labels; i++)
		free(set->label_name[i]);
	free(set->flow);
	free(set->capture);
	free(set->class_name);
	free(set->label_name);
	free(set->provenance);
	free(set);
}

int dataset_class_index(const struct dataset *set, const char *name)
{
	for (uint32_t i = 0; i < set->n_classes; i++)
		if (!strcmp(set->class_name[i], name))
			return (int)i;
	return -1;
}

int dataset_set_provenance(struct dataset *set, const char *json, struct error *e)
{
	json_t *object = json_loads(json, 0, NULL);
	char *copy;

	if (!json_is_object(object)) {
		json_decref(object);
		return error_set(e, -EINVAL, "provenance is not a JSON object");
	}
	json_decref(object);
	copy = strdup(json);
	if (!copy)
		return error_set(e, -ENOMEM, "no memory for the provenance");
	free(set->provenance);
	set->provenance = copy;
	return 0;
}

void dataset_flow_mark(const struct dataset_flow *f, struct dataset_mark *ret_mark)
{
	const struct sample_packet *first = &f->sample->packets[0];
	uint8_t bytes[MODEL_MAX_HEADER_BYTES + MODEL_MAX_PAYLOAD_BYTES];
	uint8_t *payload = bytes + first->header_bytes;
	const uint8_t *row = sample_row(f->sample, first);
	crypto_generichash_state state;

	memcpy(bytes, row, first->header_bytes);
	memcpy(payload, row + f->sample->shape.header_bytes, first->payload_bytes);
	debias_packet(bytes, first->header_bytes, payload, first->payload_bytes, UINT32_MAX);
	crypto_generichash_init(&state, NULL, 0, sizeof(ret_mark->bytes));
	crypto_generichash_update(&state, (const uint8_t *)&first->time_ns, sizeof(first->time_ns));
	crypto_generichash_update(&state, (const uint8_t *)&first->ip_len_bytes,
				  sizeof(first->ip_len_bytes));
	crypto_generichash_update(&state, bytes,
				  (size_t)first->header_bytes + first->payload_bytes);
	crypto_generichash_final(&state, ret_mark->bytes, sizeof(ret_mark->bytes));
}
