// SPDX-License-Identifier: Apache-2.0
// A layer's convolution by tensor cores, with styles before it and the epilogue after it, on a GPU.
#pragma once

#include <cuda_runtime_api.h>

#include "lib/dtype.h"
#include "lib/epilogue.h"
#include "tensor_core_layer/params.h"

namespace stylegan::tensor_core_layer::cuda {

// A block makes m pixels x n channels, with k channels of a tap at a time.
struct TileShape {
  int m, n, k, stages, threads;
};

// Tiles that there are for a dtype: none for float64. float32 is by TF32.
int variants(Dtype);
TileShape tile_shape(Dtype, int variant);

// Whether the kernel serves these shapes; x, weight and styles must be aligned to 16 bytes besides.
bool supports(Dtype, const Convolution&);

// Whether the current GPU has the instructions.
bool gpu_supported();

// What variant -1 and split 0 stand for on the current GPU; others remain as they are, but for a split that
// is larger than it can be.
Choice choose(Dtype, const Convolution&, Choice wanted);

// Room for partial sums, in float32 numbers: none where split is 1.
int64_t workspace_size(const Convolution&, Choice);

// x [samples, in_h, in_w, in_channels], weight [out_channels, ky, kx, in_channels] and y are of one dtype (that
// is, channels_last); styles [samples, in_channels] in float32, or null for ones; epilogue as for float32,
// with a mask only for out_channels in multiples of 8.
void run(Dtype, const Convolution&, const Epilogue&, const Operands&, void* y, void* workspace, Choice, cudaStream_t);

}  // namespace stylegan::tensor_core_layer::cuda
