// SPDX-License-Identifier: Apache-2.0
// What a kernel may do with its sums before it stores them: scale, noise, bias, activation, clamp, mask.
#pragma once

#include <cstdint>

#include "lib/piecewise.h"

namespace stylegan {

// What may follow in the same pass:
//     y = clamp(u * (u > 0 ? positive : negative)), u = fir * scale[n, c] + noise[n, h, w] + b[c]
// scale, noise and b are in the dtype of arithmetic; null: 1, 0, 0.
struct Epilogue {
  const void *scale, *noise, *b;
  bool noise_per_sample;  // [samples, y.out, x.out], else [y.out, x.out]
  Slopes slopes;
  double clamp;   // infinity for none
  uint8_t* mask;  // null, or as many of bias_act's planes as the gradient needs (mask_planes)
  int planes;
};

}  // namespace stylegan
