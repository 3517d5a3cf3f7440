// SPDX-License-Identifier: Apache-2.0
// Integer arithmetic that hosts and devices share.
#pragma once

#include <cstdint>

#include "lib/host_device.h"

namespace stylegan {

// Rounded towards minus infinity; b > 0.
STYLEGAN_HOST_DEVICE int64_t floor_div(int64_t a, int64_t b) {
  const int64_t q = a / b;
  return q - (q * b > a);
}

// Rounded towards plus infinity; b > 0.
STYLEGAN_HOST_DEVICE int64_t ceil_div(int64_t a, int64_t b) { return floor_div(a + b - 1, b); }

// The smallest multiple of b that is at least a.
STYLEGAN_HOST_DEVICE int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

}  // namespace stylegan
