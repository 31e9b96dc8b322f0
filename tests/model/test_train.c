/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The training loop on a task that is no network: least squares over made-up samples. Same seed,
 * same weights; a stop anywhere changes nothing; epochs, validation, patience and averages.
 */
#include "tests/model/least_squares.h"

static void the_loss_falls_to_what_noise_leaves(void **state)
{
	struct train_config config = config_of(1);
	struct squares q;
	struct watch w;
	struct train_state *s;

	(void)state;
	config.total_steps = 60;
	config.schedule = (struct schedule){.peak = 0.6, .minimum = 0.01, .total = 20};
	config.adamw.layer_decay = 1;
	s = run_whole(&q, &config, &w);
	assert_true(w.report[0].loss > 20);
	assert_true(w.report[59].loss < 1);
	watch_fini(&w);
	train_state_free(s);
}

static void the_same_seed_gives_the_same_weights(void **state)
{
	(void)state;
	for (uint32_t threads = 1; threads <= MAX_THREADS; threads++) {
		struct train_config config = config_of(threads);
		struct squares q;
		struct watch w1, w2, w3;
		struct train_state *a = run_whole(&q, &config, &w1), *b, *other;

		b = run_whole(&q, &config, &w2);
		expect_same(a, b);
		config.seed++;
		other = run_whole(&q, &config, &w3);
		assert_memory_not_equal(a->weights, other->weights, N_VALUES * sizeof(float));
		watch_fini(&w1);
		watch_fini(&w2);
		watch_fini(&w3);
		train_state_free(a);
		train_state_free(b);
		train_state_free(other);
	}
}

static void threads_change_no_more_than_rounding(void **state)
{
	struct train_config config = config_of(1);
	struct squares q;
	struct watch w;
	struct train_state *one = run_whole(&q, &config, &w), *more;

	(void)state;
	watch_fini(&w);
	for (config.threads = 2; config.threads <= MAX_THREADS; config.threads++) {
		more = run_whole(&q, &config, &w);
		for (size_t i = 0; i < N_VALUES; i++)
			assert_true(fabsf(one->weights[i] - more->weights[i]) < 1e-4F);
		assert_true(fabs(one->best_score.score - more->best_score.score) < 1e-3);
		watch_fini(&w);
		train_state_free(more);
	}
	train_state_free(one);
}

/* Stopped after each step in turn, gone on with from a copy of what was saved. */
static void check_resume(const struct train_config *config, const double *scores)
{
	struct squares q;
	struct watch whole, first, second;
	struct train_state *want = new_state(config->average_decay > 0);
	uint32_t n_steps;

	make_squares(&q);
	q.scores = scores;
	whole = (struct watch){0};
	assert_int_equal(go(&q, config, want, &whole, NULL), 0);
	n_steps = (uint32_t)want->step;
	for (uint64_t stop = 1; stop <= n_steps; stop++) {
		struct train_state *have = new_state(config->average_decay > 0);

		make_squares(&q);
		q.scores = scores;
		first = (struct watch){.stop_after = stop};
		second = (struct watch){0};
		assert_int_equal(go(&q, config, have, &first, NULL), 0);
		assert_int_equal(have->step, stop);
		train_state_free(have);
		have = take_ptr(first.saved);
		assert_int_equal(go(&q, config, have, &second, NULL), 0);
		expect_same(have, want);
		assert_int_equal(first.n + second.n, n_steps);
		if (second.n > 0)
			assert_true(second.report[second.n - 1].loss ==
				    whole.report[n_steps - 1].loss);
		watch_fini(&second);
		train_state_free(have);
	}
	watch_fini(&whole);
	train_state_free(want);
}

static void a_run_that_stopped_anywhere_goes_on_as_if_it_had_not(void **state)
{
	(void)state;
	for (uint32_t threads = 1; threads <= 2; threads++) {
		struct train_config config = config_of(threads);

		check_resume(&config, NULL);
		config.average_decay = 0.9;
		config.clip_norm = 1;
		config.validate_every = 2;
		config.total_steps = 23;
		check_resume(&config, NULL);
	}
}

static void a_stop_does_not_change_when_patience_ends(void **state)
{
	static const double scores[] = {3, 1, 4, 1, 4, 9, 9, 9};

	(void)state;
	for (uint32_t threads = 1; threads <= 2; threads++) {
		struct train_config config = config_of(threads);

		config.patience = 2;
		check_resume(&config, scores);
	}
}

static void every_epoch_has_every_sample_once_in_an_order_of_its_own(void **state)
{
	struct train_config config = config_of(2);
	struct squares q;
	struct watch w;
	struct train_state *s = run_whole(&q, &config, &w);

	(void)state;
	assert_int_equal(q.n_order, 8 * N_SAMPLES);
	for (uint32_t epoch = 0; epoch < 8; epoch++) {
		const uint32_t *order = q.order + epoch * N_SAMPLES;
		uint32_t seen = 0, in_place = 0;

		for (uint32_t i = 0; i < N_SAMPLES; i++) {
			seen |= 1U << order[i];
			in_place += order[i] == i;
		}
		assert_int_equal(seen, (1U << N_SAMPLES) - 1);
		assert_true(in_place < N_SAMPLES / 2);
		for (uint32_t before = 0; before < epoch; before++)
			assert_memory_not_equal(order, q.order + before * N_SAMPLES,
						N_SAMPLES * sizeof(*order));
	}
	watch_fini(&w);
	train_state_free(s);
}

static void the_last_batch_of_an_epoch_is_what_is_left(void **state)
{
	static const uint32_t want[] = {4, 4, 2, 4, 4, 2};
	struct train_config config = config_of(1);
	struct squares q;
	struct watch w;
	struct train_state *s = run_whole(&q, &config, &w);

	(void)state;
	assert_int_equal(train_steps_per_epoch(&config, N_SAMPLES), 3);
	assert_int_equal(train_steps_per_epoch(&config, 8), 2);
	assert_memory_equal(q.batch_size, want, sizeof(want));
	assert_int_equal(w.report[2].n_samples, N_SAMPLES);
	assert_int_equal(w.report[23].n_samples, 8 * N_SAMPLES);
	watch_fini(&w);
	train_state_free(s);
}

static void reports_tell_epochs_losses_and_rates(void **state)
{
	struct train_config config = config_of(1);
	struct squares q;
	struct watch w;
	struct train_state *s;

	(void)state;
	config.total_steps = 23; /* the last epoch has two steps */
	s = run_whole(&q, &config, &w);
	assert_int_equal(w.n, 23);
	for (uint32_t i = 0; i < w.n; i++) {
		const struct train_report *r = &w.report[i];

		assert_int_equal(r->step, i + 1);
		assert_int_equal(r->total_steps, 23);
		assert_int_equal(r->epoch, i / 3);
		assert_int_equal(r->n_epochs, 8);
		assert_int_equal(r->epoch_end, i % 3 == 2 || i == 22);
		assert_int_equal(r->validated, r->epoch_end);
		assert_true(r->learning_rate == schedule_rate(&config.schedule, (i + 1) / 3.0));
		assert_true(r->gradient_norm > 0);
	}
	assert_int_equal(w.n_saved, 8);
	watch_fini(&w);
	train_state_free(s);
}

/* With no rate all steps have the loss of the same weights. */
static void the_loss_of_an_epoch_is_the_mean_of_its_steps(void **state)
{
	struct train_config config = config_of(1);
	struct squares q;
	struct watch w = {0};
	struct train_state *s = new_state(false);

	(void)state;
	config.total_steps = 5;
	make_squares(&q);
	memset(q.in, 0, sizeof(q.in)); /* a loss of out^2, whatever the weights */
	for (size_t i = 0; i < N_SAMPLES + N_VALIDATION; i++)
		q.out[i] = 2;
	q.loss_of_step[0] = 3;
	q.loss_of_step[4] = 1;
	assert_int_equal(go(&q, &config, s, &w, NULL), 0);
	assert_true(w.report[0].loss == 7 && w.report[1].loss == 4);
	assert_true(fabs(w.report[2].loss - 5) < 1e-9);
	assert_true(fabs(w.report[4].loss - 4.5) < 1e-9); /* of two steps */
	assert_true(s->epoch_loss == 0);
	watch_fini(&w);
	train_state_free(s);
}

static void the_best_validated_weights_are_kept(void **state)
{
	static const double scores[] = {1, 5, 2, 5, 4, 3, 2, 1};
	struct train_config config = config_of(2);
	struct squares q;
	struct watch w = {0};
	struct train_state *s = new_state(false);

	(void)state;
	make_squares(&q);
	q.scores = scores;
	assert_int_equal(go(&q, &config, s, &w, NULL), 0);
	for (uint32_t epoch = 0; epoch < 8; epoch++) {
		const struct train_report *r = &w.report[epoch * 3 + 2];

		assert_true(r->score.score == scores[epoch]);
		assert_int_equal(r->best, epoch < 2); /* an equal one is not better */
	}
	assert_int_equal(s->best_epoch, 1);
	assert_true(s->best_score.score == 5);
	assert_int_equal(s->stale, 6);
	assert_memory_equal(train_result(s), w.weights[5], sizeof(w.weights[5]));
	assert_memory_not_equal(s->weights, w.weights[5], sizeof(w.weights[5]));
	watch_fini(&w);
	train_state_free(s);
}

static void patience_ends_a_run_that_does_not_improve(void **state)
{
	static const double scores[] = {1, 5, 2, 6, 4, 3, 2, 7};
	struct train_config config = config_of(1);
	struct squares q;
	struct watch w = {0};
	struct train_state *s = new_state(false);

	(void)state;
	config.patience = 3;
	make_squares(&q);
	q.scores = scores;
	assert_int_equal(go(&q, &config, s, &w, NULL), 0);
	assert_int_equal(s->step, 7 * 3);
	assert_int_equal(s->best_epoch, 3);
	watch_fini(&w);
	train_state_free(s);
}

static void epochs_without_validation_are_asked_for(void **state)
{
	struct train_config config = config_of(1);
	struct squares q;
	struct watch w;
	struct train_state *s;

	(void)state;
	config.validate_every = 3;
	s = run_whole(&q, &config, &w);
	assert_int_equal(q.n_scored, 3); /* after 3, 6, and the last */
	for (uint32_t epoch = 0; epoch < 8; epoch++)
		assert_int_equal(w.report[epoch * 3 + 2].validated,
				 epoch == 2 || epoch == 5 || epoch == 7);
	watch_fini(&w);
	train_state_free(s);
}

static void without_validation_the_last_weights_are_the_result(void **state)
{
	struct train_config config = config_of(1);
	struct train_task task;
	struct squares q;
	struct watch w = {0};
	struct train_state *s = new_state(false);
	struct train_hooks hooks = {&w, on_step, on_save};

	(void)state;
	make_squares(&q);
	task = task_of(&q);
	task.n_validation = 0;
	w.state = s;
	assert_int_equal(train_run(&task, &config, s, &hooks, NULL), 0);
	assert_int_equal(q.n_scored, 0);
	assert_false(s->has_best);
	assert_ptr_equal(train_result(s), s->weights);
	watch_fini(&w);
	train_state_free(s);
}

/* Decay 0.5, but less in the first steps: (1 + step) / (10 + step). */
static void averages_follow_the_weights_and_are_what_is_validated(void **state)
{
	struct train_config config = config_of(1);
	struct squares q;
	struct watch w;
	struct train_state *s;
	double average[N_VALUES] = {0}, loss = 0;

	(void)state;
	config.average_decay = 0.5;
	s = run_whole(&q, &config, &w);
	for (uint32_t i = 0; i < w.n; i++)
		for (size_t k = 0; k < N_VALUES; k++) {
			double keep = fmin(0.5, (2.0 + i) / (11.0 + i));

			average[k] = keep * average[k] + (1 - keep) * (double)w.weights[i][k];
		}
	for (size_t k = 0; k < N_VALUES; k++)
		assert_true(fabs(average[k] - (double)s->average[k]) < 1e-5);
	for (uint32_t i = 0; i < N_VALIDATION; i++)
		loss += pow(off(&q, N_SAMPLES + i, s->average), 2) / N_VALIDATION;
	assert_true(fabs(loss - w.report[w.n - 1].score.loss) < 1e-9);
	assert_true(w.report[w.n - 1].best);
	assert_memory_equal(train_result(s), s->average, N_VALUES * sizeof(float));
	watch_fini(&w);
	train_state_free(s);
}

static void gradients_are_clipped_before_the_step(void **state)
{
	struct train_config config = config_of(1);
	struct squares q;
	struct watch w = {.stop_after = 1};
	struct train_state *s = new_state(false);
	double norm = 0;

	(void)state;
	config.clip_norm = 0.25;
	make_squares(&q);
	assert_int_equal(go(&q, &config, s, &w, NULL), 0);
	assert_true(w.report[0].gradient_norm > 1); /* as it was */
	for (size_t i = 0; i < N_VALUES; i++)
		norm += (double)s->m[i] * s->m[i];
	assert_true(fabs(sqrt(norm) / (1 - config.adamw.beta1) - 0.25) < 1e-5);
	watch_fini(&w);
	train_state_free(s);
}

/* No gradient but what is put in. */
static void each_step_is_the_optimisers_at_its_own_rate(void **state)
{
	struct train_config config = config_of(1);
	struct squares q;
	struct watch w = {.stop_after = 5};
	struct train_state *s = new_state(false), *want = new_state(false);

	(void)state;
	make_squares(&q);
	memset(q.in, 0, sizeof(q.in));
	for (uint64_t i = 0; i < 5; i++)
		q.gradient_of_step[i] = i % 2 ? -1.0F : 0.5F * (float)(i + 1);
	assert_int_equal(go(&q, &config, s, &w, NULL), 0);
	for (uint64_t i = 0; i < 5; i++) {
		float g[N_VALUES] = {q.gradient_of_step[i]};

		adamw_step(&config.adamw, &layout,
			   schedule_rate(&config.schedule, (double)(i + 1) / 3), i + 1,
			   want->weights, want->m, want->v, g);
	}
	assert_memory_equal(s->weights, want->weights, sizeof(w.weights[0]));
	watch_fini(&w);
	train_state_free(s);
	train_state_free(want);
}

static void check_not_finite(double loss, float gradient_value)
{
	for (uint32_t threads = 1; threads <= 2; threads++) {
		struct train_config config = config_of(threads);
		struct squares q;
		struct watch w = {0};
		struct train_state *s = new_state(false);
		struct error e = {0};

		make_squares(&q);
		q.loss_of_step[4] = loss;
		q.gradient_of_step[4] = gradient_value;
		assert_int_equal(go(&q, &config, s, &w, &e), -ERANGE);
		assert_int_equal(e.code, -ERANGE);
		assert_non_null(strstr(e.text, "step 4"));
		assert_int_equal(s->step, 4);
		assert_memory_equal(s->weights, w.weights[3], sizeof(w.weights[3]));
		assert_int_equal(q.n_workers, 0);
		watch_fini(&w);
		train_state_free(s);
	}
}

static void a_loss_or_gradient_that_is_not_finite_ends_the_run_before_the_step(void **state)
{
	(void)state;
	check_not_finite((double)NAN, 0);
	check_not_finite((double)INFINITY, 0);
	check_not_finite(0, NAN);
	check_not_finite(0, INFINITY);
}

static void what_cannot_be_saved_ends_the_run(void **state)
{
	struct train_config config = config_of(2);
	struct squares q;
	struct watch w = {.save_result = -ENOSPC};
	struct train_state *s = new_state(false);

	(void)state;
	make_squares(&q);
	assert_int_equal(go(&q, &config, s, &w, NULL), -ENOSPC);
	assert_int_equal(s->step, 3);
	assert_int_equal(q.n_workers, 0);
	watch_fini(&w);
	train_state_free(s);
}

static void workers_that_cannot_be_had_leave_none_behind(void **state)
{
	struct train_config config = config_of(4);
	struct squares q;
	struct watch w = {0};
	struct train_state *s = new_state(false);
	struct error e = {0};

	(void)state;
	make_squares(&q);
	q.worker_limit = 3;
	assert_int_equal(go(&q, &config, s, &w, &e), -ENOMEM);
	assert_int_equal(e.code, -ENOMEM);
	assert_int_equal(q.n_workers, 0);
	assert_int_equal(w.n, 0);
	train_state_free(s);
}

static void no_samples_are_refused(void **state)
{
	struct train_config config = config_of(1);
	struct squares q;
	struct watch w = {0};
	struct train_hooks hooks = {&w, on_step, on_save};
	struct train_state *s = new_state(false);
	struct train_task task;

	(void)state;
	make_squares(&q);
	task = task_of(&q);
	task.n_samples = 0;
	assert_int_equal(train_run(&task, &config, s, &hooks, NULL), -EINVAL);
	train_state_free(s);
}

static void a_finished_run_is_not_run_again(void **state)
{
	struct train_config config = config_of(1);
	struct squares q;
	struct watch w, again = {0};
	struct train_state *s = run_whole(&q, &config, &w), *before = copy_state(s);

	(void)state;
	assert_int_equal(go(&q, &config, s, &again, NULL), 0);
	assert_int_equal(again.n, 0);
	expect_same(s, before);
	watch_fini(&w);
	train_state_free(s);
	train_state_free(before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_loss_falls_to_what_noise_leaves),
		cmocka_unit_test(the_same_seed_gives_the_same_weights),
		cmocka_unit_test(threads_change_no_more_than_rounding),
		cmocka_unit_test(a_run_that_stopped_anywhere_goes_on_as_if_it_had_not),
		cmocka_unit_test(a_stop_does_not_change_when_patience_ends),
		cmocka_unit_test(every_epoch_has_every_sample_once_in_an_order_of_its_own),
		cmocka_unit_test(the_last_batch_of_an_epoch_is_what_is_left),
		cmocka_unit_test(reports_tell_epochs_losses_and_rates),
		cmocka_unit_test(the_loss_of_an_epoch_is_the_mean_of_its_steps),
		cmocka_unit_test(the_best_validated_weights_are_kept),
		cmocka_unit_test(patience_ends_a_run_that_does_not_improve),
		cmocka_unit_test(epochs_without_validation_are_asked_for),
		cmocka_unit_test(without_validation_the_last_weights_are_the_result),
		cmocka_unit_test(averages_follow_the_weights_and_are_what_is_validated),
		cmocka_unit_test(gradients_are_clipped_before_the_step),
		cmocka_unit_test(each_step_is_the_optimisers_at_its_own_rate),
		cmocka_unit_test(
			a_loss_or_gradient_that_is_not_finite_ends_the_run_before_the_step),
		cmocka_unit_test(what_cannot_be_saved_ends_the_run),
		cmocka_unit_test(workers_that_cannot_be_had_leave_none_behind),
		cmocka_unit_test(no_samples_are_refused),
		cmocka_unit_test(a_finished_run_is_not_run_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
