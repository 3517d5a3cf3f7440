// SPDX-License-Identifier: Apache-2.0
// Piecewise linear activations: their slopes, and the mask that replaces x in the backward pass.
#pragma once

#include <cstdint>
#include <limits>

#include "lib/host_device.h"
#include "lib/integer.h"

namespace stylegan {

// Derivative of a piecewise linear activation times gain, on either side of 0.
struct Slopes {
  double negative, positive;
};

// A negative clamp means none.
inline double clamp_or_infinity(double clamp) { return clamp < 0 ? std::numeric_limits<double>::infinity() : clamp; }

// The signs of a piecewise linear activation are kept as two planes of bits: u > 0, and, only with a
// clamp, |y| <= clamp. Each device orders the bits inside a plane in its own way.
constexpr int64_t kMaskBlock = 512;  // elements; a plane is padded to whole blocks

inline int64_t mask_plane_bytes(int64_t size) { return ceil_div(size, kMaskBlock) * (kMaskBlock / 8); }

// u * slope; 0 * infinity is 0 if the slope is 0, NaN stays NaN.
template <class T> STYLEGAN_HOST_DEVICE T sloped(T u, T negative, T positive) {
  const T below = negative == 0 ? (u < 0 ? T(0) : u) : u * negative;
  return u > 0 ? u * positive : below;
}

}  // namespace stylegan
