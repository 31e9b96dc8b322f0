/* SPDX-License-Identifier: BSD-2-Clause */
/* Model files written and loaded again: equal in all parts, or not written, with the reason. */
#include <errno.h>
#include <float.h>
#include <math.h>
#include "model/model_write.h"
#include "model/safetensors.h"
#include "tests/model/model_builder.h"

static char path[] = "/tmp/nm-written-XXXXXX";

static int name_file(void **state)
{
	(void)state;
	strcpy(path + strlen(path) - 6, "XXXXXX");
	close(mkstemp(path));
	unlink(path);
	return 0;
}

static int remove_file(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

/* Nothing here has its default. */
static struct model sample_model(void)
{
	struct model m = {
		.architecture = {.backbone = "mamba",
				 .embed_dim = 4,
				 .depth = 2,
				 .d_state = 3,
				 .d_conv = 2,
				 .expand = 2,
				 .dt_rank = 1,
				 .stride = 2,
				 .head_bias = true,
				 .byte_table = true,
				 .project_values = true},
		.tokens = {.shape = {.packets = 2,
				     .header_bytes = 4,
				     .payload_bytes = 6,
				     .seq_len = 3,
				     .bidirectional = true},
			   .packed = true,
			   .iat_log = true,
			   .byte_scale = 1 / 127.5F,
			   .byte_offset = -1,
			   .debias = DEBIAS_PORTS | DEBIAS_TLS_SNI},
		.n_classes = 3,
		.class_name = {"dns", "tor", "tls-web"},
		.training_json = "{\"seed\":7,\"rate\":0.25}",
		.figures_json = "{\"macro_f1\":0.5}",
	};

	model_default_calibration(&m.calibration);
	m.calibration.temperature = 1.7F;
	m.calibration.threshold[1] = 0.9F;
	m.calibration.watch_only[2] = true;
	m.calibration.score = OOD_ENTROPY;
	m.calibration.ood_threshold = 0.1F;
	return m;
}

static struct layout *layout_of(const struct model *m)
{
	struct layout *l = NULL;

	assert_int_equal(layout_classifier(&m->architecture, &m->tokens, m->n_classes, &l), 0);
	return l;
}

static float *some_values(const struct layout *l)
{
	float *values = malloc(l->n_values * sizeof(float));

	assert_non_null(values);
	for (size_t i = 0; i < l->n_values; i++)
		values[i] = sinf((float)i) / 3;
	return values;
}

static struct model *load(void)
{
	struct model *m = NULL;
	struct error e = {0};

	if (model_load(path, &m, &e))
		fail_msg("%s", e.text);
	return m;
}

static void expect_same(const struct model *m, const struct model *want)
{
	const struct calibration *c = &m->calibration, *k = &want->calibration;

	assert_memory_equal(&m->architecture, &want->architecture, sizeof(m->architecture));
	assert_memory_equal(&m->tokens.shape, &want->tokens.shape, sizeof(m->tokens.shape));
	assert_int_equal(m->tokens.packed, want->tokens.packed);
	assert_int_equal(m->tokens.iat_log, want->tokens.iat_log);
	assert_int_equal(m->tokens.debias, want->tokens.debias);
	assert_true(m->tokens.byte_scale == want->tokens.byte_scale);
	assert_true(m->tokens.byte_offset == want->tokens.byte_offset);
	assert_int_equal(m->n_classes, want->n_classes);
	assert_true(c->temperature == k->temperature && c->ood_threshold == k->ood_threshold);
	assert_int_equal(c->score, k->score);
	for (uint32_t i = 0; i < want->n_classes; i++) {
		assert_string_equal(m->class_name[i], want->class_name[i]);
		assert_true(c->threshold[i] == k->threshold[i]);
		assert_int_equal(c->watch_only[i], k->watch_only[i]);
	}
}

static void expect_values(const struct model *m, const struct layout *l, const float *values)
{
	for (size_t i = 0; i < l->n; i++)
		assert_memory_equal(model_tensor(m, l->list[i].name)->data,
				    values + l->list[i].offset,
				    l->list[i].n_values * sizeof(float));
	assert_int_equal(m->n_parameters, l->n_values);
}

static void a_written_model_is_loaded_as_it_was(void **state)
{
	struct model want = sample_model(), *m;
	struct layout *l = layout_of(&want);
	float *values = some_values(l);

	(void)state;
	assert_int_equal(model_write(path, &want, l, values, NULL), 0);
	m = load();
	expect_same(m, &want);
	expect_values(m, l, values);
	assert_string_equal(m->training_json, want.training_json);
	assert_string_equal(m->figures_json, want.figures_json);
	model_unref(m);
	free(values);
	layout_free(l);
}

static void an_attention_model_is_loaded_as_it_was(void **state)
{
	struct model want = sample_model(), *m;
	struct layout *l;
	float *values;

	(void)state;
	strcpy(want.architecture.backbone, "attention");
	want.architecture.d_state = want.architecture.d_conv = 0;
	want.architecture.heads = 2;
	want.architecture.byte_table = want.tokens.iat_log = false;
	want.training_json = want.figures_json = NULL;
	l = layout_of(&want);
	values = some_values(l);
	assert_int_equal(model_write(path, &want, l, values, NULL), 0);
	m = load();
	expect_same(m, &want);
	expect_values(m, l, values);
	assert_null(m->training_json);
	model_unref(m);
	free(values);
	layout_free(l);
}

/* Written again from what was loaded: options that are off leave no trace. */
static void a_file_of_the_paper_keeps_its_metadata(void **state)
{
	struct model *old = NULL, *m;
	struct layout *l;
	float *values;

	(void)state;
	assert_int_equal(model_load("tests/golden/tiny-bi.weights.safetensors", &old, NULL), 0);
	l = layout_of(old);
	values = some_values(l);
	assert_int_equal(model_write(path, old, l, values, NULL), 0);
	m = load();
	expect_same(m, old);
	assert_string_equal(m->training_json, "{}");
	model_unref(m);
	model_unref(old);
	free(values);
	layout_free(l);
}

static void expect_refused(const struct model *m, const float *values, const char *want)
{
	struct model good = sample_model();
	struct layout *l = layout_of(&good);
	struct error e = {0};
	int r = model_write(path, m, l, values, &e);

	assert_true(r < 0 && r == e.code);
	assert_string_equal(e.text + strlen(path), want);
	assert_int_equal(access(path, F_OK), -1);
	layout_free(l);
}

static void what_could_not_be_loaded_is_not_written(void **state)
{
	struct model good = sample_model(), bad;
	struct layout *l = layout_of(&good);
	float *values = some_values(l);

	(void)state;
	bad = good;
	strcpy(bad.class_name[1], "Tor");
	expect_refused(&bad, values,
		       ": netmamba.classes[1]: must be 1 to 31 characters of a to z, 0 to 9 and -");
	bad = good;
	bad.calibration.threshold[0] = 2;
	expect_refused(&bad, values,
		       ": netmamba.calibration.thresholds[0]: must be a number from 0 to 1");
	bad = good;
	bad.training_json = "{";
	expect_refused(&bad, values, ": training: is no JSON object");
	bad.training_json = NULL;
	bad.figures_json = "[]";
	expect_refused(&bad, values, ": figures: is no JSON object");
	values[l->list[7].offset + 3] = NAN;
	expect_refused(&good, values, ": byte_embed.table: value 3 is not finite");
	free(values);
	layout_free(l);
}

/* All weights, of which the head, (3, 4), as I8. */
static int write_reduced(const struct model *m, const struct layout *l, const float *values,
			 const struct raw_tensor *scale, const int8_t *head)
{
	struct raw_tensor list[64];
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++) {
		const struct parameter *p = &l->list[i];
		bool is_head = strcmp(p->name, "head.weight") == 0;

		list[n] = (struct raw_tensor){.name = p->name,
					      .dtype = is_head ? DTYPE_I8 : DTYPE_F32,
					      .n_dims = p->n_dims,
					      .n_values = p->n_values,
					      .data = is_head ? (const void *)head
							      : (const void *)(values + p->offset)};
		memcpy(list[n++].shape, p->shape, sizeof(p->shape));
	}
	if (scale)
		list[n++] = *scale;
	return model_write_tensors(path, m, list, n, NULL);
}

static const int8_t head[12] = {1, -2, 3, 127, -127, 0, 7, 8, 9, 10, 11, 12};

static void whole_numbers_are_expanded_by_their_rows_scale(void **state)
{
	static const uint16_t scales[] = {0x3800, 0x3c00, 0xc000}; /* F16: 0.5, 1, -2 */
	const struct raw_tensor scale = {.name = "head.weight.scale",
					 .dtype = DTYPE_F16,
					 .n_dims = 1,
					 .shape = {3},
					 .n_values = 3,
					 .data = (const void *)scales};
	static const float want[12] = {0.5F, -1, 1.5F, 63.5F, -127, 0, 7, 8, -18, -20, -22, -24};
	struct model m = sample_model(), *loaded;
	struct layout *l = layout_of(&m);
	float *values = some_values(l);

	(void)state;
	assert_int_equal(write_reduced(&m, l, values, &scale, head), 0);
	loaded = load();
	assert_memory_equal(model_tensor(loaded, "head.weight")->data, want, sizeof(want));
	assert_int_equal(loaded->n_parameters, l->n_values);
	model_unref(loaded);
	free(values);
	layout_free(l);
}

static void whole_numbers_without_a_fitting_scale_are_refused(void **state)
{
	static const float scales[] = {1, 1, 1, 1, INFINITY};
	struct raw_tensor scale = {.name = "head.weight.scale",
				   .dtype = DTYPE_F32,
				   .n_dims = 1,
				   .shape = {4},
				   .n_values = 4,
				   .data = (const void *)scales};
	struct model m = sample_model(), *loaded = NULL;
	struct layout *l = layout_of(&m);
	float *values = some_values(l);
	struct error e = {0};

	(void)state;
	for (int missing = 0; missing < 2; missing++) {
		assert_int_equal(write_reduced(&m, l, values, missing ? NULL : &scale, head), 0);
		assert_int_equal(model_load(path, &loaded, &e), -EINVAL);
		assert_string_equal(e.text + strlen(path),
				    ": tensor head.weight is I8: a tensor head.weight.scale with "
				    "one number for each of its 3 rows must be there");
	}
	scale.n_values = scale.shape[0] = 3;
	scale.data = (const void *)(scales + 2);
	assert_int_equal(write_reduced(&m, l, values, &scale, head), 0);
	assert_int_equal(model_load(path, &loaded, &e), -EINVAL);
	assert_non_null(strstr(e.text, "is not finite"));
	free(values);
	layout_free(l);
}

/* What a value may differ by: half of a step of its type, which for whole numbers is its row's. */
static double allowed(const struct safetensors *file, const struct parameter *p, size_t i,
		      float value)
{
	const struct raw_tensor *t = safetensors_find(file, p->name);
	char name[80];
	float scale;

	switch (t->dtype) {
	case DTYPE_F16:
		return fmax(fabs(value) * 0x1p-11, 0x1p-25);
	case DTYPE_BF16:
		return fabs(value) * 0x1p-8;
	case DTYPE_I8:
		snprintf(name, sizeof(name), "%s.scale", p->name);
		memcpy(&scale, safetensors_find(file, name)->data + i / p->shape[1] * sizeof(float),
		       sizeof(scale));
		return scale * 0.5001;
	default:
		return 0;
	}
}

static void expect_near(const struct layout *l, const float *values)
{
	struct model *m = load();
	struct safetensors *file = NULL;

	assert_int_equal(safetensors_open(path, &file, NULL), 0);
	for (size_t k = 0; k < l->n; k++) {
		const struct parameter *p = &l->list[k];
		const struct tensor *t = model_tensor(m, p->name);

		for (size_t i = 0; i < p->n_values; i++) {
			float want = values[p->offset + i];

			if (fabs(t->data[i] - want) > allowed(file, p, i, want))
				fail_msg("%s: value %zu: %g, not %g", p->name, i, t->data[i], want);
		}
	}
	assert_int_equal(m->n_parameters, l->n_values);
	safetensors_close(file);
	model_unref(m);
}

static void reduced_weights_are_the_nearest_of_their_type(void **state)
{
	struct model m = sample_model();
	struct layout *l = layout_of(&m);
	float *values = some_values(l);

	(void)state;
	for (enum weight_type type = WEIGHTS_F32; type <= WEIGHTS_INT8; type++) {
		assert_int_equal(model_write_as(path, &m, l, values, type, NULL), 0);
		expect_near(l, values);
	}
	free(values);
	layout_free(l);
}

static void int8_is_for_matrices_and_half_for_embeddings(void **state)
{
	static const struct {
		const char *name;
		enum dtype dtype;
	} list[] = {
		{"encoder_blocks.0.mixer.in_proj.weight", DTYPE_I8},
		{"encoder_blocks.1.mixer.x_proj.weight", DTYPE_I8},
		{"encoder_blocks.0.mixer.dt_proj.weight", DTYPE_I8},
		{"encoder_blocks.0.mixer.out_proj.weight", DTYPE_I8},
		{"head.weight", DTYPE_I8},
		{"size_embed.proj.weight", DTYPE_I8},
		{"head.weight.scale", DTYPE_F32},
		{"byte_embed.table", DTYPE_F16},
		{"pos_embed", DTYPE_F16},
		{"encoder_blocks.0.mixer.A_log", DTYPE_F32},
		{"encoder_blocks.0.mixer.conv1d.weight", DTYPE_F32},
		{"encoder_blocks.0.mixer.dt_proj.bias", DTYPE_F32},
		{"norm_f.weight", DTYPE_F32},
	};
	struct model m = sample_model();
	struct layout *l = layout_of(&m);
	float *values = some_values(l);
	struct safetensors *file = NULL;

	(void)state;
	assert_int_equal(model_write_as(path, &m, l, values, WEIGHTS_INT8, NULL), 0);
	assert_int_equal(safetensors_open(path, &file, NULL), 0);
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		assert_int_equal(safetensors_find(file, list[i].name)->dtype, list[i].dtype);
	safetensors_close(file);
	free(values);
	layout_free(l);
}

static void a_row_of_nothing_stays_nothing(void **state)
{
	struct model m = sample_model(), *loaded;
	struct layout *l = layout_of(&m);
	float *values = some_values(l);
	float *row = values + layout_find(l, "head.weight")->offset;
	const float *read;

	(void)state;
	for (int i = 0; i < 4; i++) {
		row[i] = 0;
		row[4 + i] = 0x1p-142F;
	}
	assert_int_equal(model_write_as(path, &m, l, values, WEIGHTS_INT8, NULL), 0);
	loaded = load();
	read = model_tensor(loaded, "head.weight")->data;
	for (int i = 0; i < 8; i++)
		assert_true(read[i] == 0);
	assert_true(read[8] != 0);
	model_unref(loaded);
	free(values);
	layout_free(l);
}

static void what_half_precision_cannot_hold_is_refused(void **state)
{
	struct model m = sample_model();
	struct layout *l = layout_of(&m);
	float *values = some_values(l);
	struct error e = {0};

	(void)state;
	values[l->list[0].offset + 2] = -65520;
	assert_int_equal(model_write_as(path, &m, l, values, WEIGHTS_F16, &e), -ERANGE);
	assert_string_equal(e.text + strlen(path), ": byte_cls_token: value 2 is -65520, which F16 "
						   "cannot hold; use bf16 or f32");
	values[l->list[0].offset + 2] = -65519;
	assert_int_equal(model_write_as(path, &m, l, values, WEIGHTS_F16, NULL), 0);
	expect_near(l, values);
	free(values);
	layout_free(l);
}

int main(void)
{
#define WITH_FILE(test) cmocka_unit_test_setup_teardown(test, name_file, remove_file)
	const struct CMUnitTest tests[] = {
		WITH_FILE(a_written_model_is_loaded_as_it_was),
		WITH_FILE(an_attention_model_is_loaded_as_it_was),
		WITH_FILE(a_file_of_the_paper_keeps_its_metadata),
		WITH_FILE(what_could_not_be_loaded_is_not_written),
		WITH_FILE(whole_numbers_are_expanded_by_their_rows_scale),
		WITH_FILE(whole_numbers_without_a_fitting_scale_are_refused),
		WITH_FILE(reduced_weights_are_the_nearest_of_their_type),
		WITH_FILE(int8_is_for_matrices_and_half_for_embeddings),
		WITH_FILE(a_row_of_nothing_stays_nothing),
		WITH_FILE(what_half_precision_cannot_hold_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
