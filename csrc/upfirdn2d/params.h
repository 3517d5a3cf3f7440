// SPDX-License-Identifier: Apache-2.0
// The parameters of upfirdn2d's kernels on both devices.
#pragma once

#include <cstdint>

#include "lib/fir.h"

namespace stylegan::upfirdn2d {

// y [samples, channels, y.out, x.out] from x [samples, channels, y.in, x.in], contiguous or
// channels_last; all sizes but those of the input are at least 1.
struct Fir {
  int64_t samples, channels;
  bool channels_last;
  FirAxis x, y;
  // In the dtype of arithmetic, on the device: [y.taps, x.taps]; separable: [x.taps], for both axes; null: one tap of
  // 1.
  const void* taps;
  bool separable;
  bool flip;    // correlation: g is the taps in the given order, else reversed
  double gain;  // factor on y
};

}  // namespace stylegan::upfirdn2d
