// SPDX-License-Identifier: Apache-2.0
// The convolution of a layer on tensor cores of a GPU, with styles before it and the epilogue after it.
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

// How many tiles exist for a dtype: none for float64. float32 uses TF32.
int variants(Dtype);
TileShape tile_shape(Dtype, int variant);

// Whether the kernel supports these shapes. x, weight and styles must also be aligned to 16 bytes.
bool supports(Dtype, const Convolution&);

// Whether the current GPU has the instructions of tensor cores.
bool gpu_supported();

// Replaces variant -1 and split 0 by the fastest for the current GPU. Limits a split that is too large.
Choice choose(Dtype, const Convolution&, Choice wanted);

// The size of the workspace for partial sums, in float32 numbers: 0 if split is 1.
int64_t workspace_size(const Convolution&, Choice);

// x [samples, in_h, in_w, in_channels], weight [out_channels, ky, kx, in_channels] and y have one dtype
// (channels_last). styles [samples, in_channels] are float32. The epilogue is that of float32, with a mask only if
// out_channels is a multiple of 8.
void run(Dtype, const Convolution&, const Epilogue&, const Operands&, void* y, void* workspace, Choice, cudaStream_t);

}  // namespace stylegan::tensor_core_layer::cuda
