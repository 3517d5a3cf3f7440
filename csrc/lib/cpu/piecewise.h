// SPDX-License-Identifier: Apache-2.0
// Piecewise linear activations and their gradient on a run in L1, with the mask between them.
#pragma once

#include <algorithm>
#include <cmath>

#include "lib/activation.h"
#include "lib/cpu/mask.h"
#include "lib/epilogue.h"

namespace stylegan::cpu {

// v = clamp(v * slope) and its bits, for elements first .. first + count - 1 of y, which has `size`. With a
// mask first and count are multiples of kMaskBlock.
template <class C> void activate(const Epilogue& e, int64_t size, int64_t first, int64_t count, C* out) {
  const C negative = static_cast<C>(e.slopes.negative), positive = static_cast<C>(e.slopes.positive);
  const C clamp = static_cast<C>(e.clamp);
  const bool clamps = std::isfinite(e.clamp);
  if (e.mask == nullptr && negative == 1 && positive == 1 && !clamps) return;
  for (int64_t i = 0; i < count; i += kMaskBlock) {
    C* __restrict v = out + i;
    const int64_t n = std::min(kMaskBlock, count - i);
    if (e.mask != nullptr) pack(e.mask, first + i, [=](int64_t j) { return v[j] > 0; });
    for (int64_t j = 0; j < n; ++j) v[j] = sloped(v[j], negative, positive);
    const bool nothing_to_clamp = !clamps || (e.planes == 2 && pack(e.mask + mask_plane_bytes(size), first + i,
                                                                    [=](int64_t j) { return inside(v[j], clamp); }));
    if (!nothing_to_clamp)
      for (int64_t j = 0; j < n; ++j) v[j] = clamped(v[j], clamp);
  }
}

// v = u * slope by the mask (null: `positive` everywhere), for the whole block of elements from `first` on.
template <class C>
void times_slope_of(const uint8_t* mask, Slopes slopes, bool has_clamp, int64_t size, int64_t first,
                    const C* __restrict u, C* __restrict v) {
  const C negative = static_cast<C>(slopes.negative), positive = static_cast<C>(slopes.positive);
  if (mask == nullptr) {
    for (int64_t i = 0; i < kMaskBlock; ++i) v[i] = u[i] * positive;
    return;
  }
  if (negative == 0)  // an infinite gradient must become 0 too
    unpack(mask, first, false, [=](int64_t i, uint32_t bit) { v[i] = keep(u[i] * positive, bit); });
  else
    unpack(mask, first, false, [=](int64_t i, uint32_t bit) { v[i] = u[i] * (bit ? positive : negative); });
  if (has_clamp)
    unpack(mask + mask_plane_bytes(size), first, true, [=](int64_t i, uint32_t bit) { v[i] = keep(v[i], bit); });
}

}  // namespace stylegan::cpu
