// SPDX-License-Identifier: Apache-2.0
// Tiling: blocks of 512 elements in memory order, whatever the layout. A block is loaded and converted
// into L1, bias, activation, gain, clamp and the bits of the mask are loops over it there, and it is
// stored: each tensor passes through DRAM once, which bounds the kernel. For piecewise linear
// activations the backward reads two bits a sample where it would read all of x again.
//
// Sums over channels are taken in chunks of the image that do not depend on the number of threads, in
// double, and added in order: the result is the same bits in every run.

#include "bias_act/cpu/bias_act.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "lib/cpu/convert.h"
#include "lib/cpu/piecewise.h"

namespace stylegan::bias_act::cpu {
namespace {

constexpr int64_t kBlock = kMaskBlock;        // 2 KiB of float32: a few blocks fit in any L1
constexpr int64_t kGrainBlocks = 64;          // 32768 elements, the library's own grain
constexpr int64_t kBlocksInSum = 32;          // added in float before they go to double
constexpr int64_t kMostChunks = 64;           // of a sum; enough for as many threads
constexpr int64_t kShortInner = 128;          // runs of one channel below this are laid out beforehand
constexpr int64_t kLongestPattern = 1 << 16;  // elements; 256 KiB of float32 fits in L2

// Channels seen as one repeated pattern of `period` elements (short runs), or as runs (long ones).
struct Pattern {
  explicit Pattern(Channels c)
      : channels(c),
        used(c.inner == 1 || (c.inner < kShortInner && c.inner * c.channels <= kLongestPattern)),
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
  ChannelVector(Channels channels, const void* values)
      : pattern_(channels), values_(static_cast<const C*>(values)) {
    if (values_ == nullptr || !pattern_.used) return;
    table_.resize(pattern_.period + kBlock);  // a block may begin anywhere and never wraps around
    for (size_t i = 0; i < table_.size(); ++i)
      table_[i] = values_[static_cast<int64_t>(i) / channels.inner % channels.channels];
  }

  // v plus the vector, in the buffer; v itself where there is no vector.
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
      : pattern_(pattern),
        recent_(pattern.used ? pattern.period + kBlock : 0),
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
    for (size_t i = 0; i < sums_.size(); ++i)
      out[static_cast<int64_t>(i) / c.inner % c.channels] += sums_[i];
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

// Room for what a body works on.
template <class C> struct Buffers {
  alignas(64) C in[3][kBlock], sum[2][kBlock], out[2][kBlock];
};

// Runs body(first, count, buffers) over all blocks. What the pointer it returns points to is summed by
// channel into `sums` (null: nothing is summed).
template <class C, class Body>
void for_blocks(Channels channels, void* sums, const ParallelFor& parallel_for, const Body& body) {
  const int64_t size = channels.size, blocks = (size + kBlock - 1) / kBlock;
  auto extent = [&](int64_t block) { return std::min(kBlock, size - block * kBlock); };
  if (sums == nullptr) {
    return parallel_for(blocks, kGrainBlocks, [&](int64_t begin, int64_t end) {
      Buffers<C> buffers;
      for (int64_t block = begin; block < end; ++block) body(block * kBlock, extent(block), buffers);
    });
  }
  // No more sums than a quarter of what is summed, however many channels there are.
  const int64_t useful = std::min(blocks / kGrainBlocks, size / (4 * channels.channels));
  const int64_t chunks = std::clamp<int64_t>(useful, 1, kMostChunks);
  const Pattern pattern(channels);
  std::vector<double> partial(chunks * channels.channels);
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    Buffers<C> buffers;
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      ChannelSum<C> sum(pattern);
      for (int64_t block = blocks * chunk / chunks; block < blocks * (chunk + 1) / chunks; ++block) {
        sum.add(block * kBlock, extent(block), body(block * kBlock, extent(block), buffers));
      }
      sum.store(partial.data() + chunk * channels.channels);
    }
  });
  for (int64_t c = 0; c < channels.channels; ++c) {
    double total = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) total += partial[chunk * channels.channels + c];
    static_cast<C*>(sums)[c] = static_cast<C>(total);
  }
}

template <class C, Act A>
void forward_blocks(Dtype dtype, ActParams p, Channels channels, const void* x, const void* b, void* y,
             uint8_t* mask, const ParallelFor& parallel_for) {
  const ChannelVector<C> bias(channels, b);
  const C alpha = static_cast<C>(p.alpha), gain = static_cast<C>(p.gain), clamp = static_cast<C>(p.clamp);
  const bool clamps = has_clamp(p);
  uint8_t* inside_plane = mask + mask_plane_bytes(channels.size);
  for_blocks<C>(channels, nullptr, parallel_for, [=, &bias](int64_t first, int64_t count, Buffers<C>& buffers) {
    const C* __restrict u = bias.plus(first, count, read(dtype, x, first, count, buffers.in[0]), buffers.sum[0]);
    C* __restrict v = room(dtype, y, first, count, buffers.out[0]);
    if (mask != nullptr) pack(mask, first, [=](int64_t i) { return u[i] > 0; });
    for (int64_t i = 0; i < kBlock; ++i) v[i] = Activation<A, C>::value(u[i], alpha) * gain;
    const bool nothing_to_clamp =
        !clamps || (mask != nullptr && pack(inside_plane, first, [=](int64_t i) { return inside(v[i], clamp); }));
    if (!nothing_to_clamp)
      for (int64_t i = 0; i < kBlock; ++i) v[i] = clamped(v[i], clamp);
    done(dtype, y, first, count, v);
    return v;
  });
}

template <class C>
void mask_grad_blocks(Dtype dtype, Slopes slopes, bool has_clamp, Channels channels, const void* dy,
               const void* e, const uint8_t* mask, void* dx, void* db, const ParallelFor& parallel_for) {
  const ChannelVector<C> extra(channels, e);
  for_blocks<C>(channels, db, parallel_for, [=, &extra](int64_t first, int64_t count, Buffers<C>& buffers) {
    const C* u = extra.plus(first, count, read(dtype, dy, first, count, buffers.in[0]), buffers.sum[0]);
    C* v = room(dtype, dx, first, count, buffers.out[0]);
    times_slope_of(mask, slopes, has_clamp, channels.size, first, u, v);
    done(dtype, dx, first, count, v);
    return v;
  });
}

template <class C, Act A>
void grad_blocks(Dtype dtype, ActParams p, Channels channels, const void* dy, const void* x, const void* b,
          void* dx, void* db, const ParallelFor& parallel_for) {
  const ChannelVector<C> bias(channels, b);
  const C alpha = static_cast<C>(p.alpha), gain = static_cast<C>(p.gain), clamp = static_cast<C>(p.clamp);
  const bool clamps = has_clamp(p);
  for_blocks<C>(channels, db, parallel_for, [=, &bias](int64_t first, int64_t count, Buffers<C>& buffers) {
    const C* __restrict u = bias.plus(first, count, read(dtype, x, first, count, buffers.in[0]), buffers.sum[0]);
    const C* __restrict w = read(dtype, dy, first, count, buffers.in[1]);
    C* __restrict v = room(dtype, dx, first, count, buffers.out[0]);
    if (clamps)
      for (int64_t i = 0; i < kBlock; ++i) v[i] = times_slope<A, true>(w[i], u[i], alpha, gain, clamp);
    else
      for (int64_t i = 0; i < kBlock; ++i) v[i] = times_slope<A, false>(w[i], u[i], alpha, gain, clamp);
    done(dtype, dx, first, count, v);
    return v;
  });
}

template <class C, Act A>
void grad_grad_blocks(Dtype dtype, ActParams p, Channels channels, const void* ddx, const void* ddb,
               const void* dy, const void* x, const void* b, void* d_dy, void* d_x, void* d_b,
               const ParallelFor& parallel_for) {
  const ChannelVector<C> bias(channels, b), extra(channels, ddb);
  const C alpha = static_cast<C>(p.alpha), gain = static_cast<C>(p.gain), clamp = static_cast<C>(p.clamp);
  const bool clamps = has_clamp(p);
  for_blocks<C>(channels, d_b, parallel_for, [=, &bias, &extra](int64_t first, int64_t count, Buffers<C>& buffers) {
    const C* __restrict u = bias.plus(first, count, read(dtype, x, first, count, buffers.in[0]), buffers.sum[0]);
    const C* __restrict w = extra.plus(first, count, read(dtype, ddx, first, count, buffers.in[1]), buffers.sum[1]);
    C* __restrict by_dy = room(dtype, d_dy, first, count, buffers.out[0]);
    const C* __restrict d = read(dtype, dy, first, count, buffers.in[2]);
    C* __restrict by_x = room(dtype, d_x, first, count, buffers.out[1]);
    if (clamps) {
      for (int64_t i = 0; i < kBlock; ++i) by_dy[i] = times_slope<A, true>(w[i], u[i], alpha, gain, clamp);
      for (int64_t i = 0; i < kBlock; ++i) by_x[i] = times_curvature<A, true>(w[i] * d[i], u[i], alpha, gain, clamp);
    } else {
      for (int64_t i = 0; i < kBlock; ++i) by_dy[i] = times_slope<A, false>(w[i], u[i], alpha, gain, clamp);
      for (int64_t i = 0; i < kBlock; ++i) by_x[i] = times_curvature<A, false>(w[i] * d[i], u[i], alpha, gain, clamp);
    }
    done(dtype, d_dy, first, count, by_dy);
    done(dtype, d_x, first, count, by_x);
    return by_x;
  });
}

}  // namespace

void forward(Dtype dtype, ActParams p, Channels channels, const void* x, const void* b, void* y,
              uint8_t* mask, const ParallelFor& parallel_for) {
  with_arithmetic(dtype, [&](auto c) {
    with_act(p.act, [&](auto act) {
      forward_blocks<decltype(c), act.value>(dtype, p, channels, x, b, y, mask, parallel_for);
    });
  });
}

void mask_grad(Dtype dtype, Slopes slopes, bool has_clamp, Channels channels, const void* dy,
                        const void* e, const uint8_t* mask, void* dx, void* db,
                        const ParallelFor& parallel_for) {
  with_arithmetic(dtype, [&](auto c) {
    mask_grad_blocks<decltype(c)>(dtype, slopes, has_clamp, channels, dy, e, mask, dx, db, parallel_for);
  });
}

void grad(Dtype dtype, ActParams p, Channels channels, const void* dy, const void* x,
                   const void* b, void* dx, void* db, const ParallelFor& parallel_for) {
  with_arithmetic(dtype, [&](auto c) {
    with_smooth_act(p.act, [&](auto act) {
      grad_blocks<decltype(c), act.value>(dtype, p, channels, dy, x, b, dx, db, parallel_for);
    });
  });
}

void grad_grad(Dtype dtype, ActParams p, Channels channels, const void* ddx, const void* ddb,
                        const void* dy, const void* x, const void* b, void* d_dy, void* d_x, void* d_b,
                        const ParallelFor& parallel_for) {
  with_arithmetic(dtype, [&](auto c) {
    with_smooth_act(p.act, [&](auto act) {
      grad_grad_blocks<decltype(c), act.value>(dtype, p, channels, ddx, ddb, dy, x, b, d_dy, d_x, d_b,
                                        parallel_for);
    });
  });
}

}  // namespace stylegan::bias_act::cpu
