// SPDX-License-Identifier: Apache-2.0
// The gradient of a convolution by its weight, on a CPU.
#pragma once

#include "lib/cpu/parallel.h"

namespace stylegan::cpu {

constexpr int64_t kInUnit = 32, kOutUnit = 8;  // channels come in multiples of these

struct WeightGrad {
  int64_t samples, in_channels, out_channels;
  int64_t in_h, in_w, out_h, out_w;  // of x and dy
  int64_t kernel_h, kernel_w, stride, pad_y, pad_x;
};

// dw[o, i, ky, kx] = sum over n, y, x of dy[n, o, y, x] * x[n, i, y * stride + ky - pad_y, x * stride + kx - pad_x];
// float32, x and dy channels_last, dw contiguous.
void conv_weight_grad(const WeightGrad&, const float* x, const float* dy, float* dw, const ParallelFor&);

}  // namespace stylegan::cpu
