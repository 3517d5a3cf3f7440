// SPDX-License-Identifier: Apache-2.0
// What a sample needs of the fine image along one axis, and how that comes from pixels.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "upfirdn2d/cpu/row_sums.h"
#include "warp_affine/params.h"

namespace stylegan::warp_affine::cpu {

using upfirdn2d::cpu::Run;
using upfirdn2d::cpu::Terms;

// The filter as both directions use it.
template <class C> struct Filter {
  explicit Filter(const Params& p) : taps(p.taps) {
    const C* f = static_cast<const C*>(p.f);
    down.assign(f, f + taps);
    for (int64_t t = 0; t < taps / 2; ++t) {
      even.push_back(2 * f[taps - 1 - 2 * t]);
      odd.push_back(2 * f[taps - 2 - 2 * t]);
    }
  }

  // Whether filtering up and then down changes nothing but by rounding.
  bool orthonormal() const {
    for (int64_t shift = 0; shift < taps; shift += 2) {
      double sum = 0;
      for (int64_t k = shift; k < taps; ++k) sum += 2.0 * down[k] * down[k - shift];
      if (!(std::abs(sum - (shift == 0)) < 2e-7)) return false;
    }
    return true;
  }

  int64_t taps;
  std::vector<C> down;
  // Sample 2 q of the fine image = sum over t of even[t] * pixel q - K / 4 + t; sample 2 q + 1 of odd[t] * the next
  // one.
  std::vector<C> even, odd;
};

// Pairs of fine samples first to first + count - 1 along one axis. Pair q is samples 2 q and 2 q + 1.
struct Pairs {
  int64_t size, taps;  // of the image, of the filter
  int64_t first = 0, count = 0;

  // Those that positions from low to high meet; all of them if either is not a number.
  Pairs(int64_t size, int64_t taps, double low, double high) : size(size), taps(taps) {
    const double begin = -static_cast<double>(size - 1), end = 2.0 * static_cast<double>(size) - 1;
    const double from = std::floor(low / 2), to = std::floor((high + 1) / 2) + 1;
    first = static_cast<int64_t>(from > begin ? std::min(from, end) : begin);
    count = std::max<int64_t>(0, static_cast<int64_t>(to < end ? std::max(to, begin) : end) - first);
  }

  int64_t pixels() const { return count + taps / 2; }                                     // that these are made of
  int64_t pixel(int64_t i) const { return reflected(first - taps / 4 + i, size); }        // the i-th of them, or -1
  int64_t samples() const { return 2 * count; }
  int64_t bordered() const { return 2 * count + 3; }  // with zeros: one before, two after
};

// One row of pixels, and the row of its fine samples; and back, which adds to the pixels.
template <class C> class RowResampler {
 public:
  RowResampler(const Filter<C>& filter, const Pairs& pairs)
      : filter_(filter), pairs_(pairs), line_(pairs.pixels() + filter.taps),
        halves_(2 * (pairs.count + 2 * filter.taps)) {}

  void up(const C* pixels, C* samples) {
    for (int64_t i = 0; i < pairs_.pixels(); ++i) {
      const int64_t m = pairs_.pixel(i);
      line_[i] = m < 0 ? C(0) : pixels[m];
    }
    const Run run{1, pairs_.count, 0, 0};
    for (int half = 0; half < 2; ++half) {
      terms_.clear();
      for (int64_t t = 0; t < filter_.taps / 2; ++t)
        terms_.push_back({(half == 0 ? filter_.even : filter_.odd)[t], line_.data() + t + half});
      sum_terms(terms_, run, halves_.data() + half * pairs_.count);
    }
    upfirdn2d::cpu::interleave_by<2>(halves_.data(), pairs_.count, pairs_.count, samples);
  }

  void down(const C* samples, C* pixels) {
    // Zeros around both halves, so that every pixel has all terms.
    const int64_t around = filter_.taps / 2, part = pairs_.count + 2 * around;
    std::fill(halves_.begin(), halves_.end(), C(0));
    upfirdn2d::cpu::separate_by<2>(samples, part, pairs_.count, halves_.data() + around);
    terms_.clear();
    for (int half = 0; half < 2; ++half)
      for (int64_t t = 0; t < filter_.taps / 2; ++t)
        terms_.push_back(
            {(half == 0 ? filter_.even : filter_.odd)[t], halves_.data() + half * part + around - t - half});
    sum_terms(terms_, Run{1, pairs_.pixels(), 0, 0}, line_.data());
    for (int64_t i = 0; i < pairs_.pixels(); ++i) {
      const int64_t m = pairs_.pixel(i);
      if (m >= 0) pixels[m] += line_[i];
    }
  }

 private:
  const Filter<C>& filter_;
  const Pairs& pairs_;
  std::vector<C> line_, halves_;
  Terms<C> terms_;
};

}  // namespace stylegan::warp_affine::cpu
