// SPDX-License-Identifier: Apache-2.0
// A layer's convolution by tensor cores, with styles before it and the epilogue after it, on a GPU.
#pragma once

#include <cuda_runtime_api.h>

#include "lib/fir.h"

namespace stylegan::cuda {

// u[n, oy, ox, o] = sum over ky, kx, i of weight[o, ky, kx, i] * (x * styles)[n, oy + ky - pad_y, ox + kx - pad_x, i]
// with zeros outside of the image; y = what FirEpilogue makes of u.
//
// up: the weight is [4, out_channels, ky, kx, in_channels], and its [2 * dy + dx] makes the pixels (2 * oy +
// dy, 2 * ox + dx) of y, as far as they exist.
struct ModConv {
  int64_t samples, in_channels, out_channels, in_h, in_w, out_h, out_w;  // out: of y
  int kernel;                                                           // 1 or 3
  int64_t pad_y, pad_x;
  bool up;
};

// A block makes m pixels x n channels, with k channels of a tap at a time.
struct ModConvTile {
  int m, n, k, stages, threads;
};

// Tiles that there are for a dtype: none for float64. float32 is by TF32.
int modconv_variants(Dtype);
ModConvTile modconv_tile(Dtype, int variant);

// Whether the kernel serves these shapes; x, weight and styles must be aligned to 16 bytes besides.
bool modconv_fits(Dtype, const ModConv&);

// Whether the current GPU has the instructions.
bool modconv_runs();

// What variant -1 and split 0 stand for on the current GPU; others remain as they are, but for a split that
// is larger than it can be.
struct ModConvChoice {
  int variant, split;
};
ModConvChoice modconv_choice(Dtype, const ModConv&, int variant, int split);

// Room for partial sums, in float32 numbers: none where split is 1.
int64_t modconv_workspace(const ModConv&, ModConvChoice);

// x [samples, in_h, in_w, in_channels], weight [out_channels, ky, kx, in_channels] and y are of one dtype (that
// is, channels_last); styles [samples, in_channels] in float32, or null for ones; epilogue as for float32,
// with a mask only for out_channels in multiples of 8.
void modconv(Dtype, const ModConv&, const FirEpilogue&, const void* x, const void* weight, const void* styles, void* y,
             void* workspace, ModConvChoice, cudaStream_t);

}  // namespace stylegan::cuda
