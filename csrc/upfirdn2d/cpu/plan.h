// SPDX-License-Identifier: Apache-2.0
// The plan of a call: the filter in the order of sums, phases, strips of columns, tasks.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "lib/dtype.h"
#include "lib/epilogue.h"
#include "upfirdn2d/params.h"

namespace stylegan::upfirdn2d::cpu {

constexpr int64_t kStripElements = 4096;    // of a row of y: 16 KiB, so that the rows of 4 taps are near
constexpr int64_t kMaxTasks = 256;          // enough for as many threads
constexpr int64_t kTaskElements = 1 << 18;  // of y in a task, at most, even if there are more tasks then
constexpr int64_t kGrainElements = 32768;   // of y in a task, at least: its halo is read again; PyTorch's own grain

// The filter in the order of correlation: one per axis if it is a product, else 2-D.
template <class C> struct Filter {
  std::vector<C> x, y, both;  // gain is in y or in both
  bool product;

  explicit Filter(const Fir& fir) : product(true) {
    const int64_t w = fir.x.taps, h = fir.y.taps;
    const C* f = static_cast<const C*>(fir.taps);
    std::vector<double> row(w, 1.0), column(h, 1.0);
    if (f != nullptr && fir.separable) {
      row.assign(f, f + w);
      column = row;
    } else if (f != nullptr) {
      // A matrix of rank 1 is the product of the row and the column of its largest element.
      const int64_t at = std::max_element(f, f + w * h, [](C a, C b) { return std::abs(a) < std::abs(b); }) - f;
      const int64_t i0 = at / w, j0 = at % w;
      const double pivot = f[at];
      for (int64_t j = 0; j < w; ++j) row[j] = f[i0 * w + j];
      for (int64_t i = 0; i < h; ++i) column[i] = pivot == 0 ? 0 : f[i * w + j0] / pivot;
      const double allowed = std::abs(pivot) * (sizeof(C) == sizeof(double) ? 1e-15 : 2e-7);
      for (int64_t i = 0; i < h && product; ++i)
        for (int64_t j = 0; j < w && product; ++j) product = std::abs(f[i * w + j] - column[i] * row[j]) <= allowed;
    }
    if (product) {
      for (double& v : column) v *= fir.gain;
      x.assign(row.begin(), row.end());
      y.assign(column.begin(), column.end());
    } else {
      for (int64_t i = 0; i < w * h; ++i) both.push_back(static_cast<C>(f[i] * fir.gain));
    }
    if (!fir.flip)
      for (std::vector<C>* v : {&x, &y, &both}) std::reverse(v->begin(), v->end());
  }
};

// Outputs of one remainder along x: o = remainder + m * phases meets samples first_sample(remainder) + m *
// stride + t with taps first_tap(remainder) + t * up.
struct Phases {
  explicit Phases(const FirAxis& a) : count(a.up / std::gcd(a.up, a.down)), stride(a.down / std::gcd(a.up, a.down)) {}
  int64_t count, stride;
};

// What all threads share.
template <class C> struct Plan {
  Plan(Dtype dtype, const Fir& fir, const Epilogue* epilogue, const void* x, void* y)
      : dtype(dtype), fir(fir), epilogue(epilogue), x(x), y(y), filter(fir), phases(fir.x),
        unit(fir.channels_last ? fir.channels : 1),
        planes(fir.channels_last ? fir.samples : fir.samples * fir.channels), row(fir.x.out * unit) {
    const bool whole_blocks = epilogue != nullptr && epilogue->mask != nullptr;
    const int64_t block = whole_blocks ? kMaskBlock : 1;
    rows_at_once = block / std::gcd(block, row);
    strip = fir.x.out;
    if (row > kStripElements && rows_at_once == 1) {
      // Whole blocks and whole turns of the phases.
      const int64_t multiple = std::lcm(phases.count, block / std::gcd(block, unit));
      strip = std::min(strip, ceil_div(std::max(kStripElements / unit, 2 * fir.x.taps), multiple) * multiple);
    }
    strips = ceil_div(fir.x.out, strip);
    const int64_t share = std::clamp(planes * fir.y.out * row / kMaxTasks, kGrainElements, kTaskElements);
    task_rows = ceil_div(std::clamp<int64_t>(share / (strip * unit), 1, fir.y.out), rows_at_once) * rows_at_once;
    row_tasks = ceil_div(fir.y.out, task_rows);
    if (epilogue != nullptr && fir.channels_last) {
      one.assign(unit, C(1));
      zero.assign(unit, C(0));
    }
  }

  int64_t tasks() const { return planes * row_tasks * strips; }

  const Dtype dtype;
  const Fir fir;
  const Epilogue* const epilogue;
  const void* const x;
  void* const y;
  const Filter<C> filter;
  const Phases phases;
  const int64_t unit, planes, row;  // elements of a pixel, of a row of y
  int64_t rows_at_once;             // rows of y that are whole blocks of a mask together
  int64_t strip, strips;            // pixels of y
  int64_t task_rows, row_tasks;
  std::vector<C> one, zero;
};

}  // namespace stylegan::upfirdn2d::cpu
