// SPDX-License-Identifier: Apache-2.0
// The ops before and after a modulated convolution, on a GPU. The arguments are those of cpu/scale_act.h, except that
// a mask needs channels (channels_last) or pixels in multiples of 8, and GradParams::noise, which is for
// channels_last with channels in multiples of 8, is [noise_parts(), samples, pixels], to be added.
#pragma once

#include <cuda_runtime_api.h>

#include "lib/dtype.h"
#include "scale_act/params.h"

namespace stylegan::scale_act::cuda {

int64_t noise_parts(const Images&);

// The size of the workspace for the sums, in numbers of the dtype of arithmetic.
int64_t partial_size(const Images&);

void forward(Dtype, const Images&, const Epilogue&, const void* x, void* y, cudaStream_t);

void grad(Dtype, const Images&, const GradParams&, const void* dy, void* dx, void* partial, cudaStream_t);

}  // namespace stylegan::scale_act::cuda
