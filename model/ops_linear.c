/* SPDX-License-Identifier: BSD-2-Clause */
/* Matrix products through OpenBLAS. */
#include <cblas.h>
#include "model/ops.h"

void linear_forward(float *out, const float *in, size_t in_stride, const float *weight, size_t M,
		    size_t n_in, size_t n_out)
{
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)M, (blasint)n_out,
		    (blasint)n_in, 1.0F, in, (blasint)in_stride, weight, (blasint)n_in, 0.0F, out,
		    (blasint)n_out);
}

void linear_single_thread(void)
{
	openblas_set_num_threads(1);
}

const char *linear_library(void)
{
	return openblas_get_corename();
}
