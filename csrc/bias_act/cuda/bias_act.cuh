// SPDX-License-Identifier: Apache-2.0
// bias_act on a GPU; the arguments are those of cpu/bias_act.h. `partial` is room for the sums by
// channel, bias_act_partial_size() floats (doubles for float64), needed where sums are asked for.
#pragma once

#include <cuda_runtime_api.h>

#include "bias_act/params.h"

namespace stylegan::cuda {

int64_t bias_act_partial_size(Channels);

void bias_act(Dtype, ActParams, Channels, const void* x, const void* b, void* y, uint8_t* mask, cudaStream_t);

void bias_act_mask_grad(Dtype, Slopes, bool has_clamp, Channels, const void* dy, const void* e,
                        const uint8_t* mask, void* dx, void* db, void* partial, cudaStream_t);

void bias_act_grad(Dtype, ActParams, Channels, const void* dy, const void* x, const void* b, void* dx, void* db,
                   void* partial, cudaStream_t);

void bias_act_grad_grad(Dtype, ActParams, Channels, const void* ddx, const void* ddb, const void* dy,
                        const void* x, const void* b, void* d_dy, void* d_x, void* d_b, void* partial,
                        cudaStream_t);

}  // namespace stylegan::cuda
