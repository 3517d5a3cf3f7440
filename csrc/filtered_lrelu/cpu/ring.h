// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace stylegan::filtered_lrelu::cpu {

// Slots for consecutive rows. The newest row takes the slot of the oldest.
struct Ring {
  float* at(int64_t row) const { return rows + row % slots * size; }
  float* next(float* row) const { return row + size == rows + slots * size ? rows : row + size; }

  float* rows = nullptr;
  int64_t slots = 1, size = 0;  // floats
};

}  // namespace stylegan::filtered_lrelu::cpu
