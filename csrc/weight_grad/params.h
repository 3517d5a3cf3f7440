// SPDX-License-Identifier: Apache-2.0
// The parameters of the kernel for the gradient of a convolution w.r.t. its weight.
#pragma once

#include <cstdint>

namespace stylegan::weight_grad {

constexpr int64_t kInUnit = 32, kOutUnit = 8;  // channels come in multiples of these

struct Params {
  int64_t samples, in_channels, out_channels;
  int64_t in_h, in_w, out_h, out_w;  // of x and dy
  int64_t kernel_h, kernel_w, stride, pad_y, pad_x;
};

}  // namespace stylegan::weight_grad
