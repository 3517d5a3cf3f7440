// SPDX-License-Identifier: Apache-2.0
// The parameters of the kernels of a layer on tensor cores.
#pragma once

#include <cstdint>

namespace stylegan::tensor_core_layer {

// u[n, oy, ox, o] = sum over ky, kx, i of weight[o, ky, kx, i] * (x * styles)[n, oy + ky - pad_y, ox + kx - pad_x, i]
// with zeros outside of the image; y = epilogue(u).
//
// up: the weight is [4, out_channels, ky, kx, in_channels]. Its part [2 * dy + dx] makes the pixels (2 * oy + dy, 2 *
// ox + dx) of y, as far as they exist.
struct Convolution {
  int64_t samples, in_channels, out_channels, in_h, in_w, out_h, out_w;  // out: of y
  int kernel;                                                           // 1 or 3
  int64_t pad_y, pad_x;
  bool up;
};

// Device pointers, each aligned to 16 bytes.
struct Operands {
  const void *x, *weight, *styles;  // styles: null for ones
};

// Which tile, and in how many parts the sum over input channels is taken. -1 and 0: the kernel chooses.
struct Choice {
  int variant, split;
};

}  // namespace stylegan::tensor_core_layer
