/* SPDX-License-Identifier: BSD-2-Clause */
/* Matrix products through OpenBLAS. */
#include <cblas.h>
#include <pthread.h>
#include "model/ops.h"

void linear_forward(float *out, const float *in, size_t in_stride, const float *weight, size_t M,
		    size_t n_in, size_t n_out)
{
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)M, (blasint)n_out,
		    (blasint)n_in, 1.0F, in, (blasint)in_stride, weight, (blasint)n_in, 0.0F, out,
		    (blasint)n_out);
}

/* OpenBLAS makes its threads when it is loaded, before main. Idle ones are not harmless in an agent
 * that gives up capabilities, which every thread has of its own: end them. Exported by OpenBLAS, in
 * no header, and not there in its serial build. */
extern int blas_thread_shutdown_(void) __attribute__((weak));

/* Once, and in this order: setting a number starts the threads again. */
static void end_threads(void)
{
	openblas_set_num_threads(1);
	if (blas_thread_shutdown_)
		blas_thread_shutdown_();
}

void linear_single_thread(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, end_threads);
}

const char *linear_library(void)
{
	return openblas_get_corename();
}
