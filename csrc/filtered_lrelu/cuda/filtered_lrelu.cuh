// SPDX-License-Identifier: Apache-2.0
// filtered_lrelu on a GPU.
#pragma once

#include <cuda_runtime_api.h>

#include "filtered_lrelu/params.h"
#include "lib/dtype.h"

namespace stylegan::filtered_lrelu::cuda {

// x and y dense in the layout of the parameters, of one dtype of 16 or 32 bits.
void run(Dtype, const Params&, const void* x, void* y, cudaStream_t);

}  // namespace stylegan::filtered_lrelu::cuda
