// SPDX-License-Identifier: Apache-2.0
// What upfirdn2d's kernels on both devices are told, and the index arithmetic that they share.
#pragma once

#include <cstdint>

#include "bias_act/params.h"
#include "lib/host_device.h"

namespace stylegan {

STYLEGAN_HOST_DEVICE int64_t floor_div(int64_t a, int64_t b) {
  const int64_t q = a / b;
  return q - (q * b > a);
}
STYLEGAN_HOST_DEVICE int64_t ceil_div(int64_t a, int64_t b) { return floor_div(a + b - 1, b); }

// One axis, for 0 <= o < out:
//     y[o] = sum over k in [0, taps) of g[k] * x[(o * down + k - origin) / up]
// where the division leaves no rest and the sample exists. With up > 1 the taps that meet a sample are
// every up-th, from first_tap(o) on; the t-th of them meets sample first_sample(o) + t.
struct FirAxis {
  int64_t up, down, taps, origin, in, out;

  STYLEGAN_HOST_DEVICE int64_t first_sample(int64_t o) const {
    return up == 1 ? o * down - origin : ceil_div(o * down - origin, up);
  }
  STYLEGAN_HOST_DEVICE int64_t first_tap(int64_t o) const { return first_sample(o) * up - (o * down - origin); }
};

// y [samples, channels, y.out, x.out] from x [samples, channels, y.in, x.in], contiguous or
// channels_last; all sizes but those of the input are at least 1.
struct Fir {
  int64_t samples, channels;
  bool channels_last;
  FirAxis x, y;
  // In the dtype of arithmetic, on the device: [y.taps, x.taps]; separable: [x.taps], for both axes; null:
  // one tap of 1.
  const void* taps;
  bool separable;
  bool flip;    // g is the taps as they are (correlation), else reversed
  double gain;  // factor on y
};

// What may follow in the same pass:
//     y = clamp(u * (u > 0 ? positive : negative)), u = fir * scale[n, c] + noise[n, h, w] + b[c]
// scale, noise and b are in the dtype of arithmetic; null: 1, 0, 0.
struct FirEpilogue {
  const void *scale, *noise, *b;
  bool noise_per_sample;  // [samples, y.out, x.out], else [y.out, x.out]
  Slopes slopes;
  double clamp;   // infinity for none
  uint8_t* mask;  // null, or as many of bias_act's planes as the gradient needs (mask_planes)
  int planes;
};

// u * slope; 0 * infinity is 0 where the slope is 0, NaN stays NaN.
template <class T> STYLEGAN_HOST_DEVICE T sloped(T u, T negative, T positive) {
  const T below = negative == 0 ? (u < 0 ? T(0) : u) : u * negative;
  return u > 0 ? u * positive : below;
}

}  // namespace stylegan
