// SPDX-License-Identifier: Apache-2.0
// The index arithmetic of FIR filters with resampling, along one axis.
#pragma once

#include <cstdint>

#include "lib/host_device.h"
#include "lib/integer.h"

namespace stylegan {

// One axis, for 0 <= o < out:
//     y[o] = sum over k in [0, taps) of g[k] * x[(o * down + k - origin) / up]
// if the division has no remainder and the sample exists. With up > 1 the taps that meet a sample are
// every up-th, from first_tap(o) on; the t-th of them meets sample first_sample(o) + t.
struct FirAxis {
  int64_t up, down, taps, origin, in, out;

  STYLEGAN_HOST_DEVICE int64_t first_sample(int64_t o) const {
    return up == 1 ? o * down - origin : ceil_div(o * down - origin, up);
  }
  STYLEGAN_HOST_DEVICE int64_t first_tap(int64_t o) const { return first_sample(o) * up - (o * down - origin); }
};

}  // namespace stylegan
