// SPDX-License-Identifier: Apache-2.0
// What a kernel may do with its sums before it stores them: scale, noise, bias, activation, clamp, mask.
#pragma once

#include <cstdint>

#include "lib/piecewise.h"

namespace stylegan {

// The formula:
//     y = clamp(u * (u > 0 ? positive : negative)), u = sum * scale[n, c] + noise[n, h, w] + b[c]
// scale, noise and b are in the dtype of arithmetic; null: 1, 0, 0.
struct Epilogue {
  const void *scale, *noise, *b;
  bool noise_per_sample;  // [samples, y.out, x.out], else [y.out, x.out]
  Slopes slopes;
  double clamp;   // infinity: no clamp
  uint8_t* mask;  // null, or as many planes as the gradient needs: 1, or 2 with a clamp
  int planes;
};

}  // namespace stylegan
