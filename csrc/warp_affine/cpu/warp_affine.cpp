// SPDX-License-Identifier: Apache-2.0
// Tiling: a task is one plane. A sample of v needs four of the fine image, and together they need a box of it. The box
// is made first: every row of pixels that it needs is resampled along x once, and rows of the box are sums of those.
// Then v is read a row at a time; each row is filtered and reduced along x at once, into a ring of as many rows as the
// filter has taps, whose sums are the rows of y. The adjoint does the same in the opposite order. All filters are
// `sum_terms`, vector code; the adjoint adds to the box sample by sample, in one thread, so results do not depend on
// the number of threads. Arithmetic and the four loads from the box bound the kernel, not DRAM: about 60
// multiplications for a pixel that is not magnified.

#include "warp_affine/cpu/warp_affine.h"

#include <algorithm>
#include <vector>

#include "lib/cpu/convert.h"
#include "warp_affine/cpu/axis.h"
#include "warp_affine/cpu/positions.h"

namespace stylegan::warp_affine::cpu {
namespace {

using namespace stylegan::cpu;

// One plane of one sample.
template <class C> class Plane {
 public:
  Plane(const Params& p, const Filter<C>& filter, const Map<double>& map)
      : p_(p), filter_(filter), map_(map), box_(p, map), columns_(filter, box_.x), positions_(p, map_, box_),
        stride_(box_.x.bordered()), samples_(box_.x.samples()), box_memory_(stride_ * box_.y.bordered()),
        rows_(p.height * samples_), needed_(p.height), v_(positions_.count + filter.taps), ring_(filter.taps * p.width),
        halves_(2 * (p.width + 2 * filter.taps)) {
    for (int64_t i = 0; i < box_.y.pixels(); ++i)
      if (const int64_t m = box_.y.pixel(i); m >= 0) needed_[m] = true;
  }

  void forward(const C* x, C* y) {
    if (box_.empty()) {
      std::fill_n(y, p_.height * p_.width, C(0));
      return;
    }
    for (int64_t m = 0; m < p_.height; ++m)
      if (needed_[m]) columns_.up(x + m * p_.width, rows_.data() + m * samples_);
    make_box();
    const int64_t taps = filter_.taps;
    for (int64_t r = 0, o = 0; o < p_.height; ++r) {
      read_row(r);
      reduce_row(ring_.data() + r % taps * p_.width);
      if (r != 2 * o + taps - 1) continue;
      terms_.clear();
      for (int64_t k = 0; k < taps; ++k)
        terms_.push_back({filter_.down[k], ring_.data() + (2 * o + k) % taps * p_.width});
      sum_terms(terms_, Run{1, p_.width, 0, 0}, y + o * p_.width);
      ++o;
    }
  }

  void adjoint(const C* dy, C* dx) {
    std::fill_n(dx, p_.height * p_.width, C(0));
    if (box_.empty()) return;
    const int64_t taps = filter_.taps, rows = mid_size(p_.height, taps);
    for (int64_t r = 0; r < rows; ++r) {
      terms_.clear();
      for (int64_t k = r % 2; k < taps; k += 2)
        if (const int64_t o = (r - k) / 2; r >= k && o < p_.height)
          terms_.push_back({filter_.down[k], dy + o * p_.width});
      sum_terms(terms_, Run{1, p_.width, 0, 0}, ring_.data());
      expand_row(ring_.data());
      add_row(r);
    }
    divide_box();
    for (int64_t m = 0; m < p_.height; ++m)
      if (needed_[m]) columns_.down(rows_.data() + m * samples_, dx + m * p_.width);
  }

 private:
  C* box_row(int64_t i) { return box_memory_.data() + (i + 1) * stride_ + 1; }

  // Rows of the box from rows of pixels.
  void make_box() {
    for (int64_t i = 0; i < box_.y.samples(); ++i) {
      terms_.clear();
      for (int64_t t = 0; t < filter_.taps / 2; ++t)
        if (const int64_t m = box_.y.pixel(i / 2 + i % 2 + t); m >= 0)
          terms_.push_back({(i % 2 == 0 ? filter_.even : filter_.odd)[t], rows_.data() + m * samples_});
      sum_terms(terms_, Run{1, samples_, 0, 0}, box_row(i));
    }
  }

  // The adjoint of that.
  void divide_box() {
    std::vector<Terms<C>> terms(p_.height);
    for (int64_t i = 0; i < box_.y.samples(); ++i)
      for (int64_t t = 0; t < filter_.taps / 2; ++t)
        if (const int64_t m = box_.y.pixel(i / 2 + i % 2 + t); m >= 0)
          terms[m].push_back({(i % 2 == 0 ? filter_.even : filter_.odd)[t], box_row(i)});
    for (int64_t m = 0; m < p_.height; ++m)
      if (needed_[m]) sum_terms(terms[m], Run{1, samples_, 0, 0}, rows_.data() + m * samples_);
  }

  void read_row(int64_t r) {
    positions_.begin_row(r);
    const C* const box = box_memory_.data();
    const int64_t* const at = positions_.at.data();
    const C *const x = positions_.x.data(), *const y = positions_.y.data();
    C* const v = v_.data();
    for (int64_t s = 0; s < positions_.count; ++s) {
      const C *const a = box + at[s], *const b = a + stride_;
      const C above = a[0] + x[s] * (a[1] - a[0]), below = b[0] + x[s] * (b[1] - b[0]);
      v[s] = above + y[s] * (below - above);
    }
  }

  void add_row(int64_t r) {
    positions_.begin_row(r);
    for (int64_t s = 0; s < positions_.count; ++s) {
      C *const a = box_memory_.data() + positions_.at[s], *const b = a + stride_;
      const C x = positions_.x[s], y = positions_.y[s], above = v_[s] * (1 - y), below = v_[s] * y;
      a[0] += above * (1 - x);
      a[1] += above * x;
      b[0] += below * (1 - x);
      b[1] += below * x;
    }
  }

  // A row of v, filtered and every second sample of it; and the adjoint.
  void reduce_row(C* dst) {
    const int64_t part = positions_.count / 2;
    upfirdn2d::cpu::separate_by<2>(v_.data(), part, part, halves_.data());
    terms_.clear();
    for (int64_t k = 0; k < filter_.taps; ++k)
      terms_.push_back({filter_.down[k], halves_.data() + k % 2 * part + k / 2});
    sum_terms(terms_, Run{1, p_.width, 0, 0}, dst);
  }

  void expand_row(const C* src) {
    const int64_t around = filter_.taps / 2, part = positions_.count / 2;
    line_.assign(p_.width + 2 * around, C(0));
    std::copy_n(src, p_.width, line_.data() + around);
    for (int half = 0; half < 2; ++half) {
      terms_.clear();
      for (int64_t k = half; k < filter_.taps; k += 2)
        terms_.push_back({filter_.down[k], line_.data() + around - k / 2});
      sum_terms(terms_, Run{1, part, 0, 0}, halves_.data() + half * part);
    }
    upfirdn2d::cpu::interleave_by<2>(halves_.data(), part, part, v_.data());
  }

  const Params& p_;
  const Filter<C>& filter_;
  const Map<double> map_;
  const Box box_;
  RowResampler<C> columns_;
  Positions<C> positions_;
  const int64_t stride_, samples_;
  std::vector<C> box_memory_, rows_;
  std::vector<bool> needed_;  // rows of pixels
  std::vector<C> v_, ring_, halves_, line_;
  Terms<C> terms_;
};

// A sample that moves nothing is a copy, if f is one of an orthonormal pair and the reflection reaches far enough.
template <class C> bool is_copy(const Params& p, const Filter<C>& filter, const C* matrix) {
  if constexpr (sizeof(C) == sizeof(double)) return false;  // f is only as exact as a float
  const C identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  return std::min(p.height, p.width) >= p.taps && std::equal(matrix, matrix + 9, identity) && filter.orthonormal();
}

template <class C>
void run_plane(Dtype dtype, const Params& p, const Filter<C>& filter, int64_t index, const void* x, void* y) {
  const int64_t size = p.height * p.width;
  const C* const matrix = static_cast<const C*>(p.matrix) + index / p.channels * 9;
  if (is_copy(p, filter, matrix)) {
    const int64_t bytes = size * size_of(dtype);
    std::memcpy(static_cast<char*>(y) + index * bytes, static_cast<const char*>(x) + index * bytes, bytes);
    return;
  }
  double wide[9];
  std::copy_n(matrix, 9, wide);
  Plane<C> plane(p, filter, map_of(wide, p.height, p.width));
  const bool stored = is_stored<C>(dtype);
  std::vector<C> in(stored ? 0 : size), out(stored ? 0 : size);
  const C* from = static_cast<const C*>(x) + index * size;
  C* to = static_cast<C*>(y) + index * size;
  if (!stored) {
    widen(dtype, x, index * size, size, in.data());
    from = in.data(), to = out.data();
  }
  p.adjoint ? plane.adjoint(from, to) : plane.forward(from, to);
  if (!stored) store(dtype, y, index * size, size, to);
}

}  // namespace

void run(Dtype dtype, const Params& p, const void* x, void* y, const ParallelFor& parallel_for) {
  with_arithmetic(dtype, [&](auto c) {
    using C = decltype(c);
    const Filter<C> filter(p);
    parallel_for(p.samples * p.channels, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) run_plane<C>(dtype, p, filter, i, x, y);
    });
  });
}

}  // namespace stylegan::warp_affine::cpu
