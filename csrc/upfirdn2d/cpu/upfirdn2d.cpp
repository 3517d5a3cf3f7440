// SPDX-License-Identifier: Apache-2.0
// Tiling: an image is rows of pixels, a pixel is `unit` neighbouring elements: 1 in contiguous images, all
// channels in channels_last. A row of y is made from the rows of x that its taps meet, in L1: a separable
// filter, or a 2-D one of rank 1, is first a sum of rows and then one of shifts along the row; any other
// 2-D filter is one sum over shifted rows. Both sums are the same loop, `add_terms`, which is vector code
// whatever the layout. No inserted zero is ever met: the taps are sorted by phase beforehand, and rows are
// split into samples of one remainder by `down`, or put together from outputs of one remainder by `up`,
// where a pixel is too short to be a vector. Rows too long for the cache are cut into strips of columns.
// x and y pass through DRAM once, which bounds the kernel up to about 12 taps.

#include "upfirdn2d/cpu/upfirdn2d.h"

#include <algorithm>
#include <vector>

#include "lib/cpu/piecewise.h"
#include "upfirdn2d/cpu/plan.h"
#include "upfirdn2d/cpu/row_sums.h"

namespace stylegan::upfirdn2d::cpu {
namespace {

constexpr int64_t kCacheLine = 64;            // bytes
constexpr int64_t kVectorUnit = 16;           // pixels of that many elements are vectors of their own

// gcc takes a function that does nothing but prefetch for one without effect, and drops its calls.
#if defined(__GNUC__)
#define STYLEGAN_INLINE __attribute__((always_inline)) inline
#else
#define STYLEGAN_INLINE inline
#endif

// One thread's share.
template <class C> class Worker {
 public:
  explicit Worker(const Plan<C>& plan) : p_(plan) {}

  void task(int64_t index) {
    strip(index % p_.strips);
    index /= p_.strips;
    plane_ = index / p_.row_tasks;
    const int64_t begin = index % p_.row_tasks * p_.task_rows;
    const int64_t end = std::min(begin + p_.task_rows, p_.fir.y.out);
    std::fill(held_.begin(), held_.end(), -1);
    for (int64_t o = begin; o < end; o += p_.rows_at_once) {
      const int64_t rows = std::min(p_.rows_at_once, end - o), count = (stop_ - start_) * p_.unit;
      const int64_t first = (plane_ * p_.fir.y.out + o) * p_.row + start_ * p_.unit;
      const bool direct = is_stored<C>(p_.dtype);
      if (!direct && static_cast<int64_t>(out_.size()) < rows * count) out_.resize(rows * count);
      C* out = direct ? static_cast<C*>(p_.y) + first : out_.data();
      fetch_ahead(o, rows, first + p_.row * rows, count);
      for (int64_t i = 0; i < rows; ++i) {
        filter_row(o + i, out + i * count);
        if (p_.epilogue != nullptr) add_vectors(o + i, out + i * count);
      }
      if (p_.epilogue != nullptr) activate(*p_.epilogue, p_.planes * p_.fir.y.out * p_.row, first, rows * count, out);
      if (!direct) store(p_.dtype, p_.y, first, rows * count, out);
    }
  }

 private:
  // Columns [start, stop) of y, made from samples [lo, hi) of which [from, to) exist.
  void strip(int64_t index) {
    if (index == strip_) return;
    strip_ = index;
    const FirAxis& a = p_.fir.x;
    start_ = index * p_.strip;
    stop_ = std::min(start_ + p_.strip, a.out);
    lo_ = a.first_sample(start_);
    const int64_t hi = std::max(lo_, floor_div((stop_ - 1) * a.down - a.origin + a.taps - 1, a.up) + 1);
    from_ = std::clamp<int64_t>(lo_, 0, a.in);
    to_ = std::clamp<int64_t>(hi, from_, a.in);
    split_ = p_.phases.stride > 1 && p_.unit < kVectorUnit;
    ways_ = split_ ? p_.phases.stride : 1;
    part_ = ceil_div(hi - lo_, ways_) * p_.unit;
    slots_ = p_.filter.product ? 1 : p_.fir.y.taps;
    // What the first sum writes begins with a cache line.
    const int64_t lead = (from_ - lo_) * p_.unit;
    line_memory_.assign(part_ * ways_ + kCacheLine / sizeof(C), C(0));
    const int64_t beyond = reinterpret_cast<uintptr_t>(line_memory_.data() + lead) % kCacheLine / sizeof(C);
    line_ = line_memory_.data() + (beyond ? kCacheLine / sizeof(C) - beyond : 0);
    parts_.resize(split_ || slots_ > 1 ? part_ * ways_ * slots_ : 0);
    rows_.resize(is_stored<C>(p_.dtype) ? 0 : (to_ - from_) * p_.unit * p_.fir.y.taps);
    held_.assign(p_.fir.y.taps, -1);
    longest_ = ceil_div(stop_ - start_, p_.phases.count);
    phase_.resize(p_.phases.count > 1 && p_.unit < kVectorUnit ? longest_ * p_.phases.count * p_.unit : 0);
    phase_terms_.assign(std::min(p_.phases.count, stop_ - start_), {});
    if (p_.filter.product) add_phase_terms(p_.filter.x.data(), split_ ? parts_.data() : line_);
  }

  // Begins to load what the rows after o .. o + rows - 1 need of x, and their place in y (`count` elements from
  // `first` on), while these are made: half the time with contiguous images, where rows are short.
  STYLEGAN_INLINE void fetch_ahead(int64_t o, int64_t rows, int64_t first, int64_t count) {
    const FirAxis& a = p_.fir.y;
    if (o + rows >= a.out) return;
    auto last = [&](int64_t o) { return floor_div(o * a.down - a.origin + a.taps - 1, a.up); };
    const int64_t end = std::min(last(o + 2 * rows - 1) + 1, a.in), samples = (to_ - from_) * p_.unit;
    for (int64_t i = std::max<int64_t>(last(o + rows - 1) + 1, 0); i < end; ++i)
      fetch<0>(p_.x, ((plane_ * a.in + i) * p_.fir.x.in + from_) * p_.unit, samples);
    fetch<1>(p_.y, first, count);
  }

  template <int kWrite> STYLEGAN_INLINE void fetch(const void* base, int64_t first, int64_t count) {
#if defined(__GNUC__)
    const int64_t size = size_of(p_.dtype);
    const char* at = static_cast<const char*>(base) + first * size;
    for (int64_t byte = 0; byte < count * size; byte += kCacheLine) __builtin_prefetch(at + byte, kWrite);
#endif
  }

  // Samples [from, to) of a row of x in the dtype of arithmetic.
  const C* samples(int64_t i) {
    const int64_t first = ((plane_ * p_.fir.y.in + i) * p_.fir.x.in + from_) * p_.unit, count = (to_ - from_) * p_.unit;
    if (is_stored<C>(p_.dtype)) return static_cast<const C*>(p_.x) + first;
    const int64_t slot = i % p_.fir.y.taps;
    C* row = rows_.data() + slot * count;
    if (held_[slot] != i) widen(p_.dtype, p_.x, first, count, row);
    held_[slot] = i;
    return row;
  }

  // The line, zeros on both sides, as the second sum takes it.
  const C* lay_out(C* parts) {
    if (!split_ && slots_ == 1) return line_;
    if (!split_)
      std::copy_n(line_, part_ * ways_, parts);
    else
      separate(line_, part_, part_ / p_.unit, p_.unit, ways_, parts);
    return parts;
  }

  // Row o of y in columns [start, stop).
  void filter_row(int64_t o, C* out) {
    const FirAxis& a = p_.fir.y;
    const int64_t tap = a.first_tap(o), sample = a.first_sample(o), count = (to_ - from_) * p_.unit;
    C* inside = line_ + (from_ - lo_) * p_.unit;
    if (p_.filter.product) {
      terms_.clear();
      for (int64_t k = tap, i = sample; k < a.taps; k += a.up, ++i)
        if (0 <= i && i < a.in) terms_.push_back({p_.filter.y[k], samples(i)});
      sum_terms(terms_, {1, count, 0, 0}, inside);
      lay_out(parts_.data());  // where the terms of the phases are
    } else {
      for (Terms<C>& terms : phase_terms_) terms.clear();
      for (int64_t k = tap, i = sample; k < a.taps; k += a.up, ++i) {
        if (i < 0 || i >= a.in) continue;
        std::copy_n(samples(i), count, inside);
        add_phase_terms(p_.filter.both.data() + k * p_.fir.x.taps,
                        lay_out(parts_.data() + part_ * ways_ * (i % a.taps)));
      }
    }
    for (size_t phase = 0; phase < phase_terms_.size(); ++phase) filter_phase(phase, out);
    if (phase_.empty()) return;
    // The last row of phases may be short.
    const int64_t phases = p_.phases.count, whole = (stop_ - start_) / phases, rest = (stop_ - start_) % phases;
    interleave(phase_.data(), longest_ * p_.unit, whole, p_.unit, phases, out);
    for (int64_t phase = 0; phase < rest; ++phase)
      std::copy_n(phase_.data() + (phase * longest_ + whole) * p_.unit, p_.unit,
                  out + (whole * phases + phase) * p_.unit);
  }

  // The summands along x of all phases, of a row that is laid out.
  void add_phase_terms(const C* factors, const C* row) {
    const FirAxis& a = p_.fir.x;
    for (size_t phase = 0; phase < phase_terms_.size(); ++phase) {
      const int64_t o = start_ + static_cast<int64_t>(phase);
      for (int64_t k = a.first_tap(o), i = a.first_sample(o) - lo_; k < a.taps; k += a.up, ++i)
        phase_terms_[phase].push_back(
            {factors[k], row + (split_ ? i % ways_ * part_ + i / ways_ * p_.unit : i * p_.unit)});
    }
  }

  // The outputs start + phase + m * phases.count of a row.
  void filter_phase(int64_t phase, C* out) {
    const int64_t unit = p_.unit, phases = p_.phases.count, stride = p_.phases.stride;
    const int64_t pixels = phases == 1 ? stop_ - start_ : ceil_div(stop_ - start_ - phase, phases);
    const Terms<C>& terms = phase_terms_[phase];
    if (!phase_.empty()) {
      sum_terms(terms, {1, pixels * unit, 0, 0}, phase_.data() + phase * longest_ * unit);
    } else if (phases == 1 && (stride == 1 || split_)) {
      sum_terms(terms, {1, pixels * unit, 0, 0}, out);
    } else {
      sum_terms(terms, {pixels, unit, stride * unit, phases * unit}, out + phase * unit);
    }
  }

  // v = v * scale + noise + b for a row of y.
  void add_vectors(int64_t o, C* __restrict v) {
    const Epilogue& e = *p_.epilogue;
    const int64_t width = p_.fir.x.out, pixels = stop_ - start_;
    const int64_t n = p_.fir.channels_last ? plane_ : plane_ / p_.fir.channels;
    const C* __restrict scale = static_cast<const C*>(e.scale);
    const C* __restrict b = static_cast<const C*>(e.b);
    const C* __restrict noise = static_cast<const C*>(e.noise);
    if (noise != nullptr) noise += ((e.noise_per_sample ? n * p_.fir.y.out : 0) + o) * width + start_;
    if (p_.fir.channels_last) {
      scale = scale == nullptr ? p_.one.data() : scale + n * p_.unit;
      b = b == nullptr ? p_.zero.data() : b;
      for (int64_t i = 0; i < pixels; ++i, v += p_.unit) {
        const C here = noise == nullptr ? C(0) : noise[i];
        for (int64_t u = 0; u < p_.unit; ++u) v[u] = v[u] * scale[u] + (here + b[u]);
      }
    } else {
      const int64_t channel = plane_ % p_.fir.channels;
      const C factor = scale == nullptr ? C(1) : scale[plane_], shift = b == nullptr ? C(0) : b[channel];
      if (noise == nullptr)
        for (int64_t i = 0; i < pixels; ++i) v[i] = v[i] * factor + shift;
      else
        for (int64_t i = 0; i < pixels; ++i) v[i] = v[i] * factor + (noise[i] + shift);
    }
  }

  const Plan<C>& p_;
  int64_t plane_ = 0, strip_ = -1, start_ = 0, stop_ = 0, lo_ = 0, from_ = 0, to_ = 0;
  bool split_ = false;
  int64_t ways_ = 1, part_ = 0, slots_ = 1, longest_ = 0;
  C* line_ = nullptr;  // the sum of rows, zeros on both sides
  std::vector<C> line_memory_, parts_, rows_, phase_, out_;
  std::vector<int64_t> held_;  // the row of x in each slot of rows_
  Terms<C> terms_;
  std::vector<Terms<C>> phase_terms_;
};

template <class C>
void run_as(Dtype dtype, const Fir& fir, const Epilogue* epilogue, const void* x, void* y,
            const ParallelFor& parallel_for) {
  const Plan<C> plan(dtype, fir, epilogue, x, y);
  const int64_t grain = ceil_div(kGrainElements, plan.task_rows * plan.strip * plan.unit);
  parallel_for(plan.tasks(), grain, [&](int64_t begin, int64_t end) {
    Worker<C> worker(plan);
    for (int64_t task = begin; task < end; ++task) worker.task(task);
  });
}

}  // namespace

void run(Dtype dtype, const Fir& fir, const Epilogue* epilogue, const void* x, void* y,
         const ParallelFor& parallel_for) {
  with_arithmetic(dtype, [&](auto c) { run_as<decltype(c)>(dtype, fir, epilogue, x, y, parallel_for); });
}

}  // namespace stylegan::upfirdn2d::cpu
