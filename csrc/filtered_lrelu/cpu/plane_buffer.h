// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "filtered_lrelu/cpu/tile.h"

namespace stylegan::filtered_lrelu::cpu {

// A row of each of kPixel planes in float32, between contiguous images and rows of pixels. Reading and writing share
// it.
class PlaneBuffer {
 public:
  void begin(const Plan& plan, const Tile& tile) {
    row_floats_ = plan.p.channels_last ? 0 : round_up(std::max(tile.source.size(), tile.columns.out.size()), kPixel);
    memory_.assign(row_floats_ * kPixel, 0.0f);
  }
  float* row(int64_t lane) { return memory_.data() + lane * row_floats_; }
  int64_t row_floats() const { return row_floats_; }

 private:
  std::vector<float> memory_;
  int64_t row_floats_ = 0;
};

}  // namespace stylegan::filtered_lrelu::cpu
