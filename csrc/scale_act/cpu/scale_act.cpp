// SPDX-License-Identifier: Apache-2.0
// Tiling: an image is cut into pieces of whole pixels (contiguous: of a plane) that lie in L1 while they are
// scaled, shifted, activated and packed into bits, or the other way round; every tensor passes through DRAM
// once, which bounds both kernels. In channels_last a piece is a few pixels and the vectors of a sample's
// scale and bias meet each; in contiguous images they are two numbers for a whole piece.
//
// Sums are taken in tasks of a size that does not depend on the number of threads, in double, and added in
// order: the same bits in every run.

#include "scale_act/cpu/scale_act.h"

#include <numeric>
#include <vector>

#include "lib/cpu/piecewise.h"

namespace stylegan::scale_act::cpu {
namespace {

constexpr int64_t kPieceElements = 2048;       // 8 KiB of float32: a few of them fit in any L1
constexpr int64_t kGrainElements = 32768;      // PyTorch's own grain
constexpr int64_t kTaskElements = 1 << 16;     // of a task with sums, at least
constexpr int64_t kTasksOfASample = 64;        // at most: enough for as many threads
constexpr int64_t kPixelsInSum = 64;           // added in float before they go to double
// Of contiguous images, added in float before their sum is: as exact as sums in lanes.
constexpr int64_t kChannelsInSum = 16;

// Pixels of a piece: whole blocks of a mask.
int64_t piece_of(const Images& g) {
  const int64_t unit = g.channels_last ? g.channels : 1, whole = kMaskBlock / std::gcd(kMaskBlock, unit);
  return round_up(std::max<int64_t>(kPieceElements / unit, 1), whole);
}

// Elements [first, first + count) in the dtype of arithmetic: in place, or converted in the buffer.
template <class C>
const C* input_values(Dtype dtype, const void* src, int64_t first, int64_t count, std::vector<C>& buffer) {
  if (is_stored<C>(dtype)) return static_cast<const C*>(src) + first;
  if (static_cast<int64_t>(buffer.size()) < count) buffer.resize(count);
  widen(dtype, src, first, count, buffer.data());
  return buffer.data();
}

// Where to write them. store() must follow, unless the stored dtype is that of arithmetic.
template <class C> C* output_buffer(Dtype dtype, void* dst, int64_t first, int64_t count, std::vector<C>& buffer) {
  if (is_stored<C>(dtype)) return static_cast<C*>(dst) + first;
  if (static_cast<int64_t>(buffer.size()) < count) buffer.resize(count);
  return buffer.data();
}

// out = in * factor(i) + shift(i). In place and out of place are two loops: the compiler has to know which one it
// is to make vector code.
template <class C, class Factor, class Shift>
void scale_row(const C* in, C* out, int64_t count, const Factor& factor, const Shift& shift) {
  if (in == out) {
    C* __restrict v = out;
    for (int64_t i = 0; i < count; ++i) v[i] = v[i] * factor(i) + shift(i);
  } else {
    const C* __restrict u = in;
    C* __restrict v = out;
    for (int64_t i = 0; i < count; ++i) v[i] = u[i] * factor(i) + shift(i);
  }
}

template <class C>
void forward_pieces(Dtype dtype, const Images& g, const Epilogue& e, const void* x, void* y,
                    const ParallelFor& parallel_for) {
  const C* const scale = static_cast<const C*>(e.scale);
  const C* const noise = static_cast<const C*>(e.noise);
  const C* const b = static_cast<const C*>(e.b);
  const int64_t unit = g.channels_last ? g.channels : 1, planes = g.channels_last ? g.samples : g.samples * g.channels;
  const int64_t piece = piece_of(g), pieces = ceil_div(g.pixels, piece), size = g.samples * g.channels * g.pixels;
  const std::vector<C> one(g.channels_last && !scale ? unit : 0, C(1)), zero(g.channels_last && !b ? unit : 0, C(0));
  parallel_for(planes * pieces, ceil_div(kGrainElements, piece * unit), [&](int64_t begin, int64_t end) {
    std::vector<C> in_buffer, out_buffer;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t plane = task / pieces, from = task % pieces * piece, to = std::min(from + piece, g.pixels);
      const int64_t first = (plane * g.pixels + from) * unit, count = (to - from) * unit;
      const int64_t n = g.channels_last ? plane : plane / g.channels;
      const C* in = input_values(dtype, x, first, count, in_buffer);
      C* out = output_buffer(dtype, y, first, count, out_buffer);
      const C* __restrict t = noise == nullptr ? nullptr : noise + (e.noise_per_sample ? n * g.pixels : 0) + from;
      if (g.channels_last) {
        const C* __restrict s = scale == nullptr ? one.data() : scale + n * unit;
        const C* __restrict shift = b == nullptr ? zero.data() : b;
        for (int64_t i = 0; i < to - from; ++i) {
          const C here = t == nullptr ? C(0) : t[i];
          scale_row(
              in + i * unit, out + i * unit, unit, [=](int64_t u) { return s[u]; },
              [=](int64_t u) { return here + shift[u]; });
        }
      } else {
        const C s = scale == nullptr ? C(1) : scale[plane], shift = b == nullptr ? C(0) : b[plane % g.channels];
        if (t == nullptr)
          scale_row(in, out, count, [=](int64_t) { return s; }, [=](int64_t) { return shift; });
        else
          scale_row(in, out, count, [=](int64_t) { return s; }, [=](int64_t i) { return t[i] + shift; });
      }
      activate(e, size, first, count, out);
      if (!is_stored<C>(dtype)) store(dtype, y, first, count, out);
    }
  });
}

// One thread's share of a gradient.
template <class C> class GradWorker {
 public:
  GradWorker(Dtype dtype, const Images& g, const GradParams& a, const void* dy, void* dx)
      : dtype_(dtype), g_(g), a_(a), dy_(dy), dx_(dx), unit_(g.channels_last ? g.channels : 1), piece_(piece_of(g)),
        one_(g.channels, C(1)), recent_(2 * g.channels) {}

  // Pixels [from, to) of sample n; adds to totals [2, channels]: products and sums.
  void task(int64_t n, int64_t from, int64_t to, double* totals) {
    C* const noise = a_.noise == nullptr ? nullptr : static_cast<C*>(a_.noise) + n * g_.pixels;
    const C* const scale = a_.scale == nullptr ? one_.data() : static_cast<const C*>(a_.scale) + n * g_.channels;
    for (int64_t p = from; p < to; p += piece_) {
      const int64_t pixels = std::min(piece_, to - p);
      if (g_.channels_last) {
        const int64_t first = (n * g_.pixels + p) * unit_;
        const C* const dv = slope(first, pixels * unit_);
        pixels_of(first, pixels, dv, scale, totals);
        if (noise != nullptr) sum_channels(dv, pixels, noise + p);
      } else {
        if (noise != nullptr) std::fill_n(noise + p, pixels, C(0)), pending_.assign(pixels, C(0));
        for (int64_t c = 0; c < g_.channels; ++c) {
          const int64_t first = (n * g_.channels + c) * g_.pixels + p;
          const C* const dv = slope(first, pixels);
          plane_of(first, pixels, dv, scale[c], totals + c);
          if (noise == nullptr) continue;
          add(dv, pixels, pending_.data());
          if ((c + 1) % kChannelsInSum != 0 && c + 1 != g_.channels) continue;
          add(pending_.data(), pixels, noise + p);
          std::fill(pending_.begin(), pending_.end(), C(0));
        }
      }
    }
    if (g_.channels_last) flush(totals);
  }

 private:
  // dy * slope, in a buffer.
  const C* slope(int64_t first, int64_t count) {
    const int64_t padded = round_up(count, kMaskBlock);
    if (static_cast<int64_t>(dv_.size()) < padded) dv_.resize(padded), dy_buffer_.resize(padded);
    const C* dy = static_cast<const C*>(dy_) + first;
    if (!is_stored<C>(dtype_) || padded != count) {
      widen(dtype_, dy_, first, count, dy_buffer_.data());
      std::fill(dy_buffer_.begin() + count, dy_buffer_.begin() + padded, C(0));
      dy = dy_buffer_.data();
    }
    const int64_t size = g_.samples * g_.channels * g_.pixels;
    for (int64_t i = 0; i < count; i += kMaskBlock)
      times_slope_of(a_.mask, a_.slopes, a_.has_clamp, size, first + i, dy + i, dv_.data() + i);
    return dv_.data();
  }

  void pixels_of(int64_t first, int64_t pixels, const C* dv, const C* __restrict scale, double* totals) {
    const int64_t count = pixels * unit_;
    const C* const x = a_.products == nullptr ? nullptr : input_values(dtype_, a_.x, first, count, x_buffer_);
    C* const dx = output_buffer(dtype_, dx_, first, count, dx_buffer_);
    C* __restrict product = recent_.data();
    C* __restrict sum = recent_.data() + unit_;
    for (int64_t i = 0; i < pixels; ++i) {
      const C* __restrict d = dv + i * unit_;
      C* __restrict out = dx + i * unit_;
      for (int64_t u = 0; u < unit_; ++u) out[u] = d[u] * scale[u];
      if (x != nullptr) {
        const C* __restrict v = x + i * unit_;
        for (int64_t u = 0; u < unit_; ++u) product[u] += d[u] * v[u];
      }
      if (a_.sums != nullptr)
        for (int64_t u = 0; u < unit_; ++u) sum[u] += d[u];
      if (++added_ % kPixelsInSum == 0) flush(totals);
    }
    if (!is_stored<C>(dtype_)) store(dtype_, dx_, first, count, dx);
  }

  void flush(double* totals) {
    for (int64_t i = 0; i < 2 * unit_; ++i) totals[i] += recent_[i];
    std::fill(recent_.begin(), recent_.end(), C(0));
    added_ = 0;
  }

  void sum_channels(const C* dv, int64_t pixels, C* noise) {
    for (int64_t i = 0; i < pixels; ++i) {
      C lane[kLanes] = {};
      const C* __restrict d = dv + i * unit_;
      int64_t u = 0;
      for (; u + kLanes <= unit_; u += kLanes)
        for (int64_t l = 0; l < kLanes; ++l) lane[l] += d[u + l];
      C total = 0;
      for (int64_t l = 0; l < kLanes; ++l) total += lane[l];
      for (; u < unit_; ++u) total += d[u];
      noise[i] = total;
    }
  }

  void plane_of(int64_t first, int64_t pixels, const C* __restrict dv, C scale, double* totals) {
    const C* const x = a_.products == nullptr ? nullptr : input_values(dtype_, a_.x, first, pixels, x_buffer_);
    C* __restrict dx = output_buffer(dtype_, dx_, first, pixels, dx_buffer_);
    for (int64_t i = 0; i < pixels; ++i) dx[i] = dv[i] * scale;
    if (x != nullptr) totals[0] += dot(pixels, [=](int64_t i) { return dv[i] * x[i]; });
    if (a_.sums != nullptr) totals[g_.channels] += dot(pixels, [=](int64_t i) { return dv[i]; });
    if (!is_stored<C>(dtype_)) store(dtype_, dx_, first, pixels, dx);
  }

  // The sum of value(i), of at most kMaskBlock terms in float at a time.
  template <class F> static double dot(int64_t count, const F& value) {
    double total = 0;
    for (int64_t i = 0; i < count;) {
      C lane[kLanes] = {};
      const int64_t end = std::min(i + kMaskBlock, count);
      for (; i + kLanes <= end; i += kLanes)
        for (int64_t l = 0; l < kLanes; ++l) lane[l] += value(i + l);
      for (; i < end; ++i) lane[0] += value(i);
      for (int64_t l = 0; l < kLanes; ++l) total += lane[l];
    }
    return total;
  }

  static void add(const C* __restrict v, int64_t count, C* __restrict sums) {
    for (int64_t i = 0; i < count; ++i) sums[i] += v[i];
  }

  const Dtype dtype_;
  const Images& g_;
  const GradParams& a_;
  const void* const dy_;
  void* const dx_;
  const int64_t unit_, piece_;
  const std::vector<C> one_;
  std::vector<C> recent_, pending_, dv_, dy_buffer_, x_buffer_, dx_buffer_;
  int64_t added_ = 0;
};

template <class C>
void grad_pieces(Dtype dtype, const Images& g, const GradParams& a, const void* dy, void* dx,
                 const ParallelFor& parallel_for) {
  const int64_t piece = piece_of(g);
  const int64_t wanted = std::max(kTaskElements, ceil_div(g.pixels * g.channels, kTasksOfASample));
  // A task has all channels of its pixels, also of contiguous images, because it sums over channels.
  const int64_t step = round_up(ceil_div(wanted, g.channels), piece), steps = ceil_div(g.pixels, step);
  std::vector<double> totals(g.samples * steps * 2 * g.channels);
  parallel_for(g.samples * steps, 1, [&](int64_t begin, int64_t end) {
    GradWorker<C> worker(dtype, g, a, dy, dx);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t from = task % steps * step;
      worker.task(task / steps, from, std::min(from + step, g.pixels), totals.data() + task * 2 * g.channels);
    }
  });
  for (int which = 0; which < 2; ++which) {
    C* const out = static_cast<C*>(which == 0 ? a.products : a.sums);
    if (out == nullptr) continue;
    for (int64_t i = 0; i < g.samples * g.channels; ++i) {
      double total = 0;
      for (int64_t s = 0; s < steps; ++s)
        total += totals[((i / g.channels * steps + s) * 2 + which) * g.channels + i % g.channels];
      out[i] = static_cast<C>(total);
    }
  }
}

}  // namespace

void forward(Dtype dtype, const Images& g, const Epilogue& e, const void* x, void* y, const ParallelFor& parallel_for) {
  with_arithmetic(dtype, [&](auto c) { forward_pieces<decltype(c)>(dtype, g, e, x, y, parallel_for); });
}

void grad(Dtype dtype, const Images& g, const GradParams& a, const void* dy, void* dx,
          const ParallelFor& parallel_for) {
  with_arithmetic(dtype, [&](auto c) { grad_pieces<decltype(c)>(dtype, g, a, dy, dx, parallel_for); });
}

}  // namespace stylegan::scale_act::cpu
