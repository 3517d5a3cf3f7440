// SPDX-License-Identifier: Apache-2.0
// The plan of a call: filters in the order of sums, tiles, and the rows that are kept.
#pragma once

#include <algorithm>
#include <vector>

#include "lib/cpu/convert.h"
#include "filtered_lrelu/cpu/kernels.h"
#include "filtered_lrelu/cpu/reach.h"
#include "lib/cpu/isa.h"

namespace stylegan::filtered_lrelu::cpu {

// Of a task's rows, in L2: wide tiles read longer runs of memory, which is worth more than L1.
constexpr int64_t kLocalBytes = 384 << 10;
constexpr int64_t kTaskRows = 64;           // of y, at least, so that rows which two tasks compute are a small part
constexpr int64_t kWideTasks = 128;         // tasks that are enough for any machine
constexpr int64_t kAhead = 2;               // rows of x that are read at a time: more lines under way
constexpr int64_t kGrainPixels = 1 << 11;   // of y that are worth a thread

// One of the filters in the order of correlation, its gain in the column (or in `both`).
struct Taps {
  std::vector<float> x, y, both;
  bool product = true, symmetric = false;  // symmetric: row i of `both` is row h - 1 - i

  Taps(const FilterTaps& f, int64_t w, int64_t h) {
    const float* taps = static_cast<const float*>(f.taps);
    const float gain = static_cast<float>(f.gain);
    product = taps == nullptr || f.separable;
    auto order = [&](std::vector<float>& v, float factor) {
      if (!f.flip) std::reverse(v.begin(), v.end());
      for (float& value : v) value *= factor;
    };
    if (product) {
      x.assign(w, 1.0f);
      if (taps != nullptr) x.assign(taps, taps + w);
      y = x;
      order(x, 1.0f);
      order(y, gain);
    } else {
      both.assign(taps, taps + w * h);
      order(both, gain);
      symmetric = h > 1;
      for (int64_t i = 0; i < h / 2; ++i)
        symmetric = symmetric && std::equal(&both[i * w], &both[i * w] + w, &both[(h - 1 - i) * w]);
    }
  }
};

inline int log2_of(int64_t factor) { return factor == 4 ? 2 : factor == 2 ? 1 : 0; }

// The taps of an axis that meet samples, by the first of them: every up-th.
struct Phases {
  Phases(const std::vector<float>& rows, int64_t width, int64_t up)
      : up(up), height(rows.size() / width), max_taps(ceil_div(width, up)) {
    for (int64_t row = 0; row < height; ++row)
      for (int64_t first = 0; first < up; ++first)
        for (int64_t i = 0; i < max_taps; ++i) {
          const int64_t k = first + i * up;
          taps.push_back(k < width ? rows[row * width + k] : 0.0f);
        }
  }
  const float* of(int64_t row, int64_t first) const { return taps.data() + (row * up + first) * max_taps; }
  int64_t up, height, max_taps;
  std::vector<float> taps;
};

// What all threads share.
struct Plan {
  Plan(Dtype dtype, const Params& given, const Kernels& k, const void* x, void* y)
      : dtype(dtype), p(unit_slope(given)), k(k), x(x), y(y), up(p.up, p.x.up.taps, p.y.up.taps),
        down(p.down, p.x.down.taps, p.y.down.taps), phases(up.product ? up.x : up.both, p.x.up.taps, p.x.up.up),
        keeps(p.signs == Signs::written),
        blocks(p.channels_last ? ceil_div(p.channels, kPixel) : ceil_div(p.samples * p.channels, kPixel)) {
    x_slots = ceil_div(p.y.up.taps, p.y.up.up) + kAhead - 1;
    ring_slots = p.y.down.taps + (down.product ? p.y.down.down : 0);  // two rows of y at once
    const int64_t columns = p.x.down.out, max_width = max_columns();
    const int64_t even = keeps && !p.channels_last ? kPixel / std::min(kPixel, p.x.down.down) : 8;
    width = std::min(columns, round_up(ceil_div(columns, ceil_div(columns, max_width)), even));
    tiles_x = ceil_div(columns, width);
    const int64_t others = tiles_x * blocks * (p.channels_last ? p.samples : 1), rows = p.y.down.out;
    const int64_t parts = std::clamp<int64_t>(ceil_div(kWideTasks, others), 1, ceil_div(rows, kTaskRows));
    height = ceil_div(rows, parts);
    tiles_y = ceil_div(rows, height);
  }

  // The slope above 0 as a part of the up filter's gain, so that one multiplication does.
  static Params unit_slope(Params p) {
    if (!(p.slopes.positive > 0)) return p;
    p.up.gain *= p.slopes.positive;
    p.slopes = {p.slopes.negative / p.slopes.positive, 1.0};
    return p;
  }

  // Columns of y whose rows fit in kLocalBytes.
  int64_t max_columns() const {
    const int64_t per_line = x_slots + 2, up_x = p.x.up.up, down_x = p.x.down.down;
    int64_t found = 8;
    for (int64_t w = 8; w <= p.x.down.out + 8; w += 8) {
      const int64_t mid = (w - 1) * down_x + p.x.down.taps, in = mid / up_x + ceil_div(p.x.up.taps, up_x) + 1;
      const int64_t ring = down.product ? mid + ring_slots * w : ring_slots * mid;
      if ((in * per_line + ring) * kPixel * 4 > kLocalBytes) break;
      found = w;
    }
    return found;
  }

  int64_t tasks() const { return (p.channels_last ? p.samples : 1) * tiles_y * tiles_x * blocks; }

  const Dtype dtype;
  const Params p;
  const Kernels& k;
  const void* const x;
  void* const y;
  const Taps up, down;
  const Phases phases;
  const bool keeps;      // a mask
  const int64_t blocks;  // of lanes: of a sample, for channels_last
  int64_t x_slots, ring_slots;
  int64_t width, height, tiles_x, tiles_y;  // of y
};

}  // namespace stylegan::filtered_lrelu::cpu
