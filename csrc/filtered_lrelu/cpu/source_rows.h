// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "filtered_lrelu/cpu/plane_buffer.h"
#include "filtered_lrelu/cpu/ring.h"
#include "filtered_lrelu/cpu/tile.h"
#include "lib/cpu/aligned.h"

namespace stylegan::filtered_lrelu::cpu {

// Reads rows of x into a ring, as pixels with b added. Outside of x, and in lanes without a channel, there are zeros.
class SourceRows {
 public:
  SourceRows(const Plan& plan, const Tile& tile, PlaneBuffer& planes)
      : plan_(plan), p_(plan.p), k_(plan.k), tile_(tile), planes_(planes) {}

  int64_t floats() const { return tile_.x_floats * plan_.x_slots; }

  // Begins another tile.
  void begin(Arena& arena) {
    ring_.size = tile_.x_floats, ring_.slots = plan_.x_slots;
    ring_.rows = arena.take(floats());
    begin_ = end_ = 0;
    for (int64_t i = 0; i < kPixel; ++i) {
      const int64_t channel = (tile_.block * kPixel + i) % p_.channels;
      bias_[i] = p_.b == nullptr || i >= tile_.lanes ? 0 : static_cast<const float*>(p_.b)[channel];
    }
  }

  // Returns row `first`, once rows first .. last are in their slots; next() leads to the others.
  const float* hold(int64_t first, int64_t last) {
    if (first < begin_ || first > end_) begin_ = end_ = first;
    if (end_ <= last) {
      const int64_t end = std::min({last + kAhead, p_.y.up.in, tile_.rows.in.end});
      for (; end_ < end; ++end_) fill(end_, ring_.at(end_));
      begin_ = std::max(begin_, end_ - ring_.slots);
    }
    return ring_.at(first);
  }
  const float* next(const float* row) const { return ring_.next(const_cast<float*>(row)); }

 private:
  void fill(int64_t i, float* row) {
    float* const dst = row + (tile_.source.begin - tile_.columns.in.begin) * kPixel;
    if (p_.channels_last)
      fill_from_channels(i, dst);
    else
      fill_from_planes(i, dst);
  }

  void fill_from_channels(int64_t i, float* dst) {
    const int64_t count = tile_.source.size(), step = p_.channels;
    const int64_t pixel = (tile_.sample * p_.y.up.in + i) * p_.x.up.in + tile_.source.begin;
    const int64_t first = pixel * step + tile_.block * kPixel;
    if (is_stored<float>(plan_.dtype) && tile_.lanes == kPixel)
      return k_.gather(static_cast<const float*>(plan_.x) + first, step, count, bias_, dst);
    for (int64_t j = 0; j < count; ++j) {
      widen(plan_.dtype, plan_.x, first + j * step, tile_.lanes, dst + j * kPixel);
      for (int64_t l = 0; l < kPixel; ++l) dst[j * kPixel + l] += bias_[l];
    }
  }

  void fill_from_planes(int64_t i, float* dst) {
    const int64_t count = tile_.source.size(), plane = p_.y.up.in * p_.x.up.in;
    const int64_t first = tile_.block * kPixel * plane + i * p_.x.up.in + tile_.source.begin;
    if (is_stored<float>(plan_.dtype) && tile_.lanes == kPixel)
      return k_.to_pixels(static_cast<const float*>(plan_.x) + first, plane, count, bias_, dst);
    for (int64_t l = 0; l < tile_.lanes; ++l) widen(plan_.dtype, plan_.x, first + l * plane, count, planes_.row(l));
    k_.to_pixels(planes_.row(0), planes_.row_floats(), count, bias_, dst);
  }

  const Plan& plan_;
  const Params& p_;
  const Kernels& k_;
  const Tile& tile_;
  PlaneBuffer& planes_;
  Ring ring_;
  int64_t begin_ = 0, end_ = 0;  // the rows in the ring
  float bias_[kPixel];
};

}  // namespace stylegan::filtered_lrelu::cpu
