// SPDX-License-Identifier: Apache-2.0
// Vectors with one value per channel, added to blocks of elements, and sums over them, in any dense layout.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "bias_act/params.h"
#include "lib/cpu/mask.h"

namespace stylegan::bias_act::cpu {

using namespace stylegan::cpu;  // lib/cpu

constexpr int64_t kBlock = kMaskBlock;        // 2 KiB of float32: a few blocks fit in any L1
constexpr int64_t kBlocksInSum = 32;          // added in float before they go to double
constexpr int64_t kShortInner = 128;          // shorter runs of one channel are expanded into a table
constexpr int64_t kMaxPattern = 1 << 16;  // elements; 256 KiB of float32 fits in L2

// Channels seen as one repeated pattern of `period` elements (short runs), or as runs (long ones).
struct Pattern {
  explicit Pattern(Channels c)
      : channels(c), used(c.inner == 1 || (c.inner < kShortInner && c.inner * c.channels <= kMaxPattern)),
        period(c.inner * c.channels) {}

  // f(channel, offset in the block, length) for each run of one channel in [first, first + count).
  template <class F> void runs(int64_t first, int64_t count, F&& f) const {
    int64_t row = first / channels.inner, channel = row % channels.channels;
    int64_t length = (row + 1) * channels.inner - first;
    for (int64_t i = 0; i < count; i += length, length = channels.inner) {
      if (i > 0 && ++channel == channels.channels) channel = 0;
      length = std::min(length, count - i);
      f(channel, i, length);
    }
  }

  Channels channels;
  bool used;
  int64_t period;
};

// A vector with one value per channel, ready to be added to blocks.
template <class C> class ChannelVector {
 public:
  ChannelVector(Channels channels, const void* values) : pattern_(channels), values_(static_cast<const C*>(values)) {
    if (values_ == nullptr || !pattern_.used) return;
    table_.resize(pattern_.period + kBlock);  // a block may begin anywhere and never wraps around
    for (size_t i = 0; i < table_.size(); ++i)
      table_[i] = values_[static_cast<int64_t>(i) / channels.inner % channels.channels];
  }

  // v plus the vector, in the buffer; without a vector, v itself.
  const C* plus(int64_t first, int64_t count, const C* __restrict v, C* __restrict buffer) const {
    if (values_ == nullptr) return v;
    if (pattern_.used) {
      const C* __restrict t = table_.data() + first % pattern_.period;
      for (int64_t i = 0; i < kBlock; ++i) buffer[i] = v[i] + t[i];
    } else {
      const C* values = values_;
      pattern_.runs(first, count, [values, v, buffer](int64_t channel, int64_t offset, int64_t length) {
        const C value = values[channel];
        for (int64_t i = offset; i < offset + length; ++i) buffer[i] = v[i] + value;
      });
      std::fill(buffer + count, buffer + kBlock, C(0));
    }
    return buffer;
  }

 private:
  Pattern pattern_;
  const C* values_;
  std::vector<C> table_;
};

// Sums per channel over the blocks of one chunk.
template <class C> class ChannelSum {
 public:
  explicit ChannelSum(const Pattern& pattern)
      : pattern_(pattern), recent_(pattern.used ? pattern.period + kBlock : 0),
        sums_(pattern.used ? pattern.period + kBlock : pattern.channels.channels) {}

  void add(int64_t first, int64_t count, const C* __restrict v) {
    if (pattern_.used) {
      C* __restrict s = recent_.data() + first % pattern_.period;
      for (int64_t i = 0; i < count; ++i) s[i] += v[i];
      if (++blocks_ % kBlocksInSum == 0) flush();
    } else {
      pattern_.runs(first, count, [&](int64_t channel, int64_t offset, int64_t length) {
        sums_[channel] += sum(v + offset, length);
      });
    }
  }

  void store(double* out) {
    flush();
    if (!pattern_.used) return void(std::copy(sums_.begin(), sums_.end(), out));
    const Channels& c = pattern_.channels;
    std::fill(out, out + c.channels, 0.0);
    for (size_t i = 0; i < sums_.size(); ++i) out[static_cast<int64_t>(i) / c.inner % c.channels] += sums_[i];
  }

 private:
  void flush() {
    for (size_t i = 0; i < recent_.size(); ++i) sums_[i] += recent_[i];
    std::fill(recent_.begin(), recent_.end(), C(0));
  }

  static double sum(const C* v, int64_t length) {  // at most a block: 32 additions in a lane
    C lane[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= length; i += kLanes)
      for (int64_t l = 0; l < kLanes; ++l) lane[l] += v[i + l];
    double total = 0;
    for (int64_t l = 0; l < kLanes; ++l) total += lane[l];
    for (; i < length; ++i) total += v[i];
    return total;
  }

  Pattern pattern_;
  std::vector<C> recent_;
  std::vector<double> sums_;
  int64_t blocks_ = 0;
};

}  // namespace stylegan::bias_act::cpu
