// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "filtered_lrelu/cpu/mask_rows.h"
#include "filtered_lrelu/cpu/source_rows.h"
#include "filtered_lrelu/cpu/tile.h"
#include "lib/cpu/aligned.h"

namespace stylegan::filtered_lrelu::cpu {

// The up filter and the activation: rows of v from rows of x. A separable filter first sums rows of x to a line, then
// shifts of the line. A 2-D filter sums shifts of rows of x.
class UpPass {
 public:
  UpPass(const Plan& plan, const Tile& tile, SourceRows& source, MaskRows& mask)
      : plan_(plan), p_(plan.p), k_(plan.k), tile_(tile), source_(source), mask_(mask) {}

  int64_t floats() const { return 2 * tile_.x_floats; }

  // Begins another tile.
  void begin(Arena& arena) {
    line_ = arena.take(floats());
    line_of_next_ = -1;
    lay_out_phases();
  }

  // Row t of the grid between the filters, v from its first column in this tile on.
  void make_row(int64_t t, float* v) {
    const Rows rows = plan_.up.product ? line_of(t) : rows_of(t);
    const Middle middle{p_.slopes, p_.clamp, p_.signs, mask_.words(), p_.x.up.up};
    for (size_t i = 0; i < phases_.size(); i += 2) {
      if (i + 1 == phases_.size() || rows.count == 0) {
        activate(rows, i, 0, middle, v);
        if (i + 1 < phases_.size()) activate(rows, i + 1, 0, middle, v);
        continue;
      }
      const int64_t both = phases_[i + 1].pixels;
      activate_pair(rows, i, both, middle, v);
      if (phases_[i].pixels > both) activate(rows, i, both, middle, v);
    }
  }

 private:
  // The columns of the grid that meet the same taps along x.
  struct Phase {
    int64_t first, taps;  // the first tap, and how many
    int64_t offset;       // floats from the beginning of a row of x
    int64_t pixels;
  };

  // The rows that a row of the grid is summed from along x, and the row of the filter that meets the first of them.
  struct Rows {
    const float* rows[kMaxTaps];
    int64_t count, tap;
  };

  void lay_out_phases() {
    const FirAxis& a = p_.x.up;
    const Span mid = tile_.columns.mid;
    phases_.clear();
    for (int64_t phase = 0; phase < std::min(a.up, mid.size()); ++phase) {
      const int64_t column = mid.begin + phase, first = a.first_tap(column);
      const int64_t taps = first < a.taps ? (a.taps - first - 1) / a.up + 1 : 0;
      const int64_t offset = (a.first_sample(column) - tile_.columns.in.begin) * kPixel;
      phases_.push_back({first, taps, offset, ceil_div(mid.size() - phase, a.up)});
    }
  }

  Shifts shifts(const Rows& rows, const Phase& phase, int64_t begin, ShiftTerm* terms) const {
    for (int64_t i = 0; i < rows.count; ++i) {
      const int64_t tap = plan_.up.product ? 0 : rows.tap + i * p_.y.up.up;
      terms[i] = {plan_.phases.of(tap, phase.first), rows.rows[i] + phase.offset + begin * kPixel};
    }
    return {terms, rows.count, phase.taps};
  }

  // Pixels of a phase from `begin` on.
  void activate(const Rows& rows, size_t i, int64_t begin, Middle middle, float* v) const {
    ShiftTerm terms[kMaxTaps];
    const int64_t up = p_.x.up.up, column = static_cast<int64_t>(i) + begin * up;
    if (middle.words != nullptr) middle.words += column;
    const Shifts sums = shifts(rows, phases_[i], begin, terms);
    k_.activate(sums, phases_[i].pixels - begin, middle, v + column * kPixel, up * kPixel);
  }

  // The first `pixels` pixels of phases i and i + 1.
  void activate_pair(const Rows& rows, size_t i, int64_t pixels, Middle middle, float* v) const {
    ShiftTerm first[kMaxTaps], second[kMaxTaps];
    const int64_t column = static_cast<int64_t>(i);
    if (middle.words != nullptr) middle.words += column;
    const Shifts a = shifts(rows, phases_[i], 0, first), b = shifts(rows, phases_[i + 1], 0, second);
    k_.activate_pair(a, b, pixels, middle, v + column * kPixel, p_.x.up.up * kPixel);
  }

  // The rows of x that row t of the grid meets, for a 2-D filter.
  Rows rows_of(int64_t t) {
    const FirAxis& a = p_.y.up;
    const int64_t sample = a.first_sample(t), first = a.first_tap(t);
    const int64_t from = std::max<int64_t>(sample, 0);
    const int64_t end = std::min(first < a.taps ? sample + (a.taps - first - 1) / a.up + 1 : sample, a.in);
    Rows rows;
    rows.count = std::max<int64_t>(end - from, 0);
    rows.tap = first + (from - sample) * a.up;
    if (rows.count == 0) return rows;
    const float* row = source_.hold(from, end - 1);
    for (int64_t i = 0; i < rows.count; ++i, row = source_.next(row)) rows.rows[i] = row;
    return rows;
  }

  // The sum of the rows of x that row t of the grid meets. If the next row meets the same rows, its line is made too.
  Rows line_of(int64_t t) {
    Rows rows;
    rows.count = 1, rows.tap = 0;
    float* const second = line_ + tile_.x_floats;
    rows.rows[0] = line_of_next_ == t ? second : line_;
    if (line_of_next_ == t) return rows;
    const FirAxis& a = p_.y.up;
    const int64_t sample = a.first_sample(t), first = sample * a.up - (t - a.origin);
    const bool pair =
        first > 0 && a.taps % a.up == 0 && t + 1 < tile_.rows.mid.end;  // the next row begins a tap earlier
    const int64_t from = std::max<int64_t>(sample, 0),
                  end = std::min(sample + (a.taps - first + a.up - 1) / a.up, a.in);
    const int64_t count = std::max<int64_t>(end - from, 0), columns = tile_.columns.in.size();
    const float* row = count > 0 ? source_.hold(from, end - 1) : nullptr;
    const float* tap = plan_.up.y.data() + first + (from - sample) * a.up;
    if (!pair) {
      RowTerm terms[kMaxTaps];
      for (int64_t i = 0; i < count; ++i, tap += a.up, row = source_.next(row)) terms[i] = {*tap, row};
      k_.sum(terms, count, columns, line_, kPixel);
      return rows;
    }
    PairTerm terms[kMaxTaps];
    for (int64_t i = 0; i < count; ++i, tap += a.up, row = source_.next(row)) terms[i] = {tap[0], tap[-1], row};
    k_.sum_pair(nullptr, 0, terms, count, nullptr, 0, columns, line_, second, kPixel);
    line_of_next_ = t + 1;
    return rows;
  }

  const Plan& plan_;
  const Params& p_;
  const Kernels& k_;
  const Tile& tile_;
  SourceRows& source_;
  MaskRows& mask_;
  float* line_ = nullptr;      // two lines
  int64_t line_of_next_ = -1;  // the row of the grid that the second one belongs to
  std::vector<Phase> phases_;
};

}  // namespace stylegan::filtered_lrelu::cpu
