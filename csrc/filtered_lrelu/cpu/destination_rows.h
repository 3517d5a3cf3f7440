// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "filtered_lrelu/cpu/plane_buffer.h"
#include "filtered_lrelu/cpu/tile.h"

namespace stylegan::filtered_lrelu::cpu {

// Writes rows of pixels to y.
class DestinationRows {
 public:
  DestinationRows(const Plan& plan, const Tile& tile, PlaneBuffer& planes)
      : plan_(plan), p_(plan.p), k_(plan.k), tile_(tile), planes_(planes) {}

  // Whether sums may go to y at once: float32 in channels_last, all lanes in use.
  bool direct() const { return p_.channels_last && is_stored<float>(plan_.dtype) && tile_.lanes == kPixel; }

  // Row o of y, if `direct`; its pixels are `channels` floats apart.
  float* row(int64_t o) const { return static_cast<float*>(plan_.y) + first_of_channels(o); }

  // Row o of y, if not `direct`.
  void store(int64_t o, const float* pixels) {
    const int64_t count = tile_.columns.out.size();
    if (p_.channels_last) {
      const int64_t first = first_of_channels(o);
      for (int64_t j = 0; j < count; ++j)
        cpu::store(plan_.dtype, plan_.y, first + j * p_.channels, tile_.lanes, pixels + j * kPixel);
      return;
    }
    const int64_t width = p_.x.down.out, plane = p_.y.down.out * width;
    const int64_t first = tile_.block * kPixel * plane + o * width + tile_.columns.out.begin;
    if (is_stored<float>(plan_.dtype) && tile_.lanes == kPixel)
      return k_.to_rows(pixels, count, static_cast<float*>(plan_.y) + first, plane);
    k_.to_rows(pixels, count, planes_.row(0), planes_.row_floats());
    for (int64_t l = 0; l < tile_.lanes; ++l)
      cpu::store(plan_.dtype, plan_.y, first + l * plane, count, planes_.row(l));
  }

 private:
  int64_t first_of_channels(int64_t o) const {
    const int64_t pixel = (tile_.sample * p_.y.down.out + o) * p_.x.down.out + tile_.columns.out.begin;
    return pixel * p_.channels + tile_.block * kPixel;
  }

  const Plan& plan_;
  const Params& p_;
  const Kernels& k_;
  const Tile& tile_;
  PlaneBuffer& planes_;
};

}  // namespace stylegan::filtered_lrelu::cpu
