/* SPDX-License-Identifier: BSD-2-Clause */
/* Engines and threads: OpenBLAS keeps none of its own, and engines in several threads share a
 * model without seeing each other. */
#include <dirent.h>
#include <pthread.h>
#include "model/batch.h"
#include "model/engine.h"
#include "tests/model/model_builder.h"

static const struct built_shape shape = {17, 2, 16, 4, 2, 4, 4, 40, 40, 12, 8, 1, 0};

#define N_RUNS 20

/* The thread sanitizer has one of its own. */
#ifdef __SANITIZE_THREAD__
#define OWN_THREADS 2
#else
#define OWN_THREADS 1
#endif

struct worker {
	struct model *model;
	float logits[8];
	int n_changed; /* runs that gave other logits than the first */
};

static struct model *shared_model(void)
{
	char path[] = "/tmp/nm-model-XXXXXX";
	struct model *m = NULL;
	struct error e = {0};

	write_built_model(path, &shape, 5);
	if (model_load(path, &m, &e))
		fail_msg("%s", e.text);
	unlink(path);
	return m;
}

static size_t count_threads(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	size_t n = 0;

	assert_non_null(tasks);
	while ((entry = readdir(tasks)))
		n += entry->d_name[0] != '.';
	closedir(tasks);
	return n;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct engine *engine = NULL;
	struct batch *b = NULL;
	float again[8];

	if (engine_open("cpu", w->model, &engine, NULL) ||
	    batch_new(&w->model->tokens, w->model->architecture.stride, 1, &b))
		return NULL;
	b->n = 1;
	for (size_t i = 0; i < 320; i++)
		b->bytes[i] = (uint8_t)(i % 7 * 40);
	for (size_t i = 0; i < 12; i++)
		b->sizes[i] = 100.0F * (float)i;
	for (size_t i = 0; i < 12; i++)
		b->iats[i] = 0.5F;
	if (engine_run(engine, b, w->logits, NULL))
		return NULL;
	for (int run = 0; run < N_RUNS; run++) {
		if (engine_run(engine, b, again, NULL))
			return NULL;
		w->n_changed += memcmp(again, w->logits, sizeof(again)) != 0;
	}
	batch_free(b);
	engine_close(engine);
	return w;
}

static void an_open_engine_leaves_no_thread_but_the_callers(void **state)
{
	struct model *m = shared_model();
	struct engine *engine = NULL;

	(void)state;
	assert_int_equal(engine_open("cpu", m, &engine, NULL), 0);
	assert_int_equal(count_threads(), OWN_THREADS);
	engine_close(engine);
	model_unref(m);
}

static void engines_in_four_threads_give_the_same_logits(void **state)
{
	struct worker workers[4] = {0};
	pthread_t threads[4];
	struct model *m = shared_model();

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		workers[i].model = m;
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (size_t i = 0; i < 4; i++) {
		void *done = NULL;

		assert_int_equal(pthread_join(threads[i], &done), 0);
		assert_ptr_equal(done, &workers[i]);
		assert_int_equal(workers[i].n_changed, 0);
		assert_memory_equal(workers[i].logits, workers[0].logits,
				    sizeof(workers[0].logits));
	}
	model_unref(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_open_engine_leaves_no_thread_but_the_callers),
		cmocka_unit_test(engines_in_four_threads_give_the_same_logits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
