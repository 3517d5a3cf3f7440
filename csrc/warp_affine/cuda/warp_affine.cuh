// SPDX-License-Identifier: Apache-2.0
// warp_affine on a GPU.
#pragma once

#include <cuda_runtime_api.h>

#include "lib/dtype.h"
#include "warp_affine/params.h"

namespace stylegan::warp_affine::cuda {

// Numbers of the dtype of arithmetic; 0 unless adjoint.
int64_t workspace_size(const Params&);

// x and y contiguous, of one dtype.
void run(Dtype, const Params&, const void* x, void* y, void* workspace, cudaStream_t);

}  // namespace stylegan::warp_affine::cuda
