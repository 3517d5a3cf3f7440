// SPDX-License-Identifier: Apache-2.0
// bias_act on a GPU; the arguments are those of cpu/bias_act.h. `partial` is a workspace for the sums by
// channel: partial_size() floats (doubles for float64), only needed for sums.
#pragma once

#include <cuda_runtime_api.h>

#include "bias_act/params.h"
#include "lib/dtype.h"

namespace stylegan::bias_act::cuda {

int64_t partial_size(Channels);

void forward(Dtype, ActParams, Channels, const void* x, const void* b, void* y, uint8_t* mask, cudaStream_t);

void mask_grad(Dtype, Slopes, bool has_clamp, Channels, const void* dy, const void* e, const uint8_t* mask, void* dx,
               void* db, void* partial, cudaStream_t);

void grad(Dtype, ActParams, Channels, const void* dy, const void* x, const void* b, void* dx, void* db, void* partial,
          cudaStream_t);

void grad_grad(Dtype, ActParams, Channels, const void* ddx, const void* ddb, const void* dy, const void* x,
               const void* b, void* d_dy, void* d_x, void* d_b, void* partial, cudaStream_t);

}  // namespace stylegan::bias_act::cuda
