/* SPDX-License-Identifier: BSD-2-Clause */
/* Matrix products through OpenBLAS, and the bias beside them. */
#include <cblas.h>
#include <pthread.h>
#include "model/lanes.h"
#include "model/ops.h"

void linear_forward(float *out, const float *in, size_t in_stride, const float *weight, size_t M,
		    size_t n_in, size_t n_out)
{
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)M, (blasint)n_out,
		    (blasint)n_in, 1.0F, in, (blasint)in_stride, weight, (blasint)n_in, 0.0F, out,
		    (blasint)n_out);
}

void linear_backward(float *d_in, size_t d_in_stride, bool add, float *d_weight, const float *d_out,
		     const float *in, size_t in_stride, const float *weight, size_t M, size_t n_in,
		     size_t n_out)
{
	if (d_in)
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)M, (blasint)n_in,
			    (blasint)n_out, 1.0F, d_out, (blasint)n_out, weight, (blasint)n_in,
			    add ? 1.0F : 0.0F, d_in, (blasint)d_in_stride);
	if (d_weight)
		cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)n_out, (blasint)n_in,
			    (blasint)M, 1.0F, d_out, (blasint)n_out, in, (blasint)in_stride, 1.0F,
			    d_weight, (blasint)n_in);
}

/* sum (n) += row (n) */
LANES_INLINE void add_row(float *sum, const float *row, size_t n)
{
	size_t whole = n - n % LANES;
	lanes s, r;

	for (size_t i = 0; i < whole; i += LANES) {
		lanes_load(&s, sum + i, LANES);
		lanes_load(&r, row + i, LANES);
		s += r;
		lanes_store(sum + i, &s, LANES);
	}
	for (size_t i = whole; i < n; i++)
		sum[i] += row[i];
}

SIMD_CLONES void bias_forward(float *out, const float *bias, size_t M, size_t n)
{
	for (size_t m = 0; m < M; m++)
		add_row(out + m * n, bias, n);
}

SIMD_CLONES void bias_backward(float *d_bias, const float *d_out, size_t M, size_t n)
{
	for (size_t m = 0; m < M; m++)
		add_row(d_bias, d_out + m * n, n);
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
