// SPDX-License-Identifier: Apache-2.0
// Where the samples of one row of v lie in the fine image, with one sample of zeros before it and two after.
#pragma once

#include <algorithm>
#include <vector>

#include "warp_affine/cpu/axis.h"

namespace stylegan::warp_affine::cpu {

// The part of the fine image that a sample needs.
struct Box {
  Box(const Params& p, const Map<double>& map)
      : x(axis(p.width, p, map.xx, map.xy, map.x)), y(axis(p.height, p, map.yx, map.yy, map.y)) {}

  bool empty() const { return x.count == 0 || y.count == 0; }

  Pairs x, y;

 private:
  static Pairs axis(int64_t size, const Params& p, double by_column, double by_row, double shift) {
    const double columns = static_cast<double>(mid_center(p.width, p.taps));
    const double rows = static_cast<double>(mid_center(p.height, p.taps));
    // Samples are at most center + 1 away.
    const double reach = std::abs(by_column) * (columns + 1) + std::abs(by_row) * (rows + 1);
    return Pairs(size, p.taps, shift - reach, shift + reach);
  }
};

// Of one row: the first of four samples, and the weight of the second along each axis.
template <class C> class Positions {
 public:
  Positions(const Params& p, const Map<double>& map, const Box& box)
      : p_(p), map_(map), box_(box), count(mid_size(p.width, p.taps)), at(count), x(count), y(count) {}

  void begin_row(int64_t row) {
    const double columns = static_cast<double>(mid_center(p_.width, p_.taps));
    const double r = static_cast<double>(row - mid_center(p_.height, p_.taps));
    const double from_x = map_.xy * r + map_.x - static_cast<double>(2 * box_.x.first - 1);
    const double from_y = map_.yy * r + map_.y - static_cast<double>(2 * box_.y.first - 1);
    const double last_x = static_cast<double>(box_.x.samples() + 1), last_y = static_cast<double>(box_.y.samples() + 1);
    const double xx = map_.xx, yx = map_.yx;
    const int64_t stride = box_.x.bordered();
    for (int64_t s = 0; s < count; ++s) {
      const double column = static_cast<double>(s) - columns;
      const double given_u = xx * column + from_x, given_v = yx * column + from_y;
      const double u = clamped(given_u, last_x), v = clamped(given_v, last_y);
      const int32_t i = static_cast<int32_t>(u), j = static_cast<int32_t>(v);
      at[s] = j * stride + i;
      x[s] = static_cast<C>(given_u != given_u ? given_u : u - i);  // NaN stays NaN
      y[s] = static_cast<C>(given_v != given_v ? given_v : v - j);
    }
  }

 private:
  static double clamped(double u, double last) {
    u = u > 0 ? u : 0;
    return u < last ? u : last;
  }

  const Params& p_;
  const Map<double>& map_;
  const Box& box_;

 public:
  const int64_t count;
  std::vector<int64_t> at;
  std::vector<C> x, y;
};

}  // namespace stylegan::warp_affine::cpu
