// SPDX-License-Identifier: Apache-2.0
// Before and after a modulated convolution, on a GPU; the arguments are those of cpu/scale_act.h, except that
// a mask needs channels (channels_last) or pixels in multiples of 8, and ScaleActGrad::noise, which is for
// channels_last with channels in multiples of 8, is [scale_act_noise_parts(), samples, pixels], to be added.
#pragma once

#include <cuda_runtime_api.h>

#include "scale_act/params.h"

namespace stylegan::cuda {

int64_t scale_act_noise_parts(const Images&);

// Room that the sums need, in numbers of the dtype of arithmetic.
int64_t scale_act_partial_size(const Images&);

void scale_act(Dtype, const Images&, const FirEpilogue&, const void* x, void* y, cudaStream_t);

void scale_act_grad(Dtype, const Images&, const ScaleActGrad&, const void* dy, void* dx, void* partial, cudaStream_t);

}  // namespace stylegan::cuda
