// SPDX-License-Identifier: Apache-2.0
// upfirdn2d on a GPU.
#pragma once

#include <cuda_runtime_api.h>

#include "lib/fir.h"

namespace stylegan::cuda {

// x and y dense in the layout that the Fir names, of one dtype. epilogue: null, or for up = down = 1;
// with a mask, rows of 8 elements: x.out (channels_last: channels) is a multiple of 8.
void upfirdn2d(Dtype, const Fir&, const FirEpilogue* epilogue, const void* x, void* y, cudaStream_t);

}  // namespace stylegan::cuda
