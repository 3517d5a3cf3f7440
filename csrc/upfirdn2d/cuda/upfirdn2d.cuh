// SPDX-License-Identifier: Apache-2.0
// upfirdn2d on a GPU.
#pragma once

#include <cuda_runtime_api.h>

#include "lib/dtype.h"
#include "lib/epilogue.h"
#include "upfirdn2d/params.h"

namespace stylegan::upfirdn2d::cuda {

// x and y dense in the layout of the Fir, of one dtype. epilogue: null, or for up = down = 1;
// with a mask, rows of 8 elements: x.out (channels_last: channels) is a multiple of 8.
void run(Dtype, const Fir&, const Epilogue* epilogue, const void* x, void* y, cudaStream_t);

}  // namespace stylegan::upfirdn2d::cuda
