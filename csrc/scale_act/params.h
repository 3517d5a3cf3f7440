// SPDX-License-Identifier: Apache-2.0
// The parameters of the kernels before and after a modulated convolution, on both devices.
#pragma once

#include "lib/epilogue.h"

namespace stylegan::scale_act {

// [samples, channels, pixels], contiguous, or channels_last as [samples, pixels, channels]; all at least 1.
struct Images {
  int64_t samples, channels, pixels;
  bool channels_last;
};

// The gradient of Epilogue's formula, with dv = dy * slope by the mask (null: `positive` everywhere):
//     dx = dv * scale[n, c]     products[n, c] = sum over pixels of dv * x
//     noise[n, p] = sum over channels of dv     sums[n, c] = sum over pixels of dv
// scale null: 1. Results that are null are not computed. scale, products, noise and sums are in the dtype of
// arithmetic.
struct GradParams {
  Slopes slopes;
  bool has_clamp;
  const uint8_t* mask;
  const void *x, *scale;  // x: only needed for products
  void *products, *noise, *sums;
};

}  // namespace stylegan::scale_act
