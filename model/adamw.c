/* SPDX-License-Identifier: BSD-2-Clause */
/* See adamw.h. */
#include "model/adamw.h"
#include <assert.h>
#include <math.h>

struct adamw_config adamw_finetune_config(void)
{
	return (struct adamw_config){.beta1 = 0.9,
				     .beta2 = 0.999,
				     .eps = 1e-8,
				     .weight_decay = 0.05,
				     .layer_decay = 0.75};
}

struct adamw_config adamw_pretrain_config(void)
{
	return (struct adamw_config){
		.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.05, .layer_decay = 1};
}

/* One step's numbers for one parameter, in float so that the loop is. */
struct step {
	float beta1, beta2, new1, new2, eps; /* new1 = 1 - beta1, before rounding */
	float kept;                          /* of a value, after weight decay */
	float rate;                          /* with the first moment's bias corrected */
	float unbiased;                      /* 1 / sqrt of the second moment's bias */
};

static void step_values(const struct step *s, size_t n, float *restrict values,
			float *restrict moment1, float *restrict moment2,
			const float *restrict gradients)
{
	for (size_t i = 0; i < n; i++) {
		float g = gradients[i];

		moment1[i] = s->beta1 * moment1[i] + s->new1 * g;
		moment2[i] = s->beta2 * moment2[i] + s->new2 * g * g;
		values[i] = s->kept * values[i] -
			    s->rate * moment1[i] / (sqrtf(moment2[i]) * s->unbiased + s->eps);
	}
}

void adamw_step(const struct adamw_config *config, const struct layout *layout, double rate,
		uint64_t step, float *values, float *moment1, float *moment2,
		const float *gradients)
{
	double bias1 = 1 - pow(config->beta1, (double)step);
	double bias2 = 1 - pow(config->beta2, (double)step);

	assert(step >= 1);
	for (size_t i = 0; i < layout->n; i++) {
		const struct parameter *p = &layout->list[i];
		double of_layer =
			rate * pow(config->layer_decay, layout->n_layers - 1.0 - p->layer);
		struct step s = {.beta1 = config->beta1,
				 .beta2 = config->beta2,
				 .new1 = 1 - config->beta1,
				 .new2 = 1 - config->beta2,
				 .eps = config->eps,
				 .kept = p->decayed ? 1 - of_layer * config->weight_decay : 1,
				 .rate = of_layer / bias1,
				 .unbiased = 1 / sqrt(bias2)};

		step_values(&s, p->n_values, values + p->offset, moment1 + p->offset,
			    moment2 + p->offset, gradients + p->offset);
	}
}

double gradient_norm(const float *gradients, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)gradients[i] * gradients[i];
	return sqrt(sum);
}

double gradient_clip(float *gradients, size_t n, double max_norm)
{
	double norm = gradient_norm(gradients, n);
	float factor = max_norm / norm;

	if (!isfinite(norm) || max_norm <= 0 || norm <= max_norm)
		return norm;
	for (size_t i = 0; i < n; i++)
		gradients[i] *= factor;
	return norm;
}
