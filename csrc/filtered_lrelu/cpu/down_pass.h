// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "filtered_lrelu/cpu/destination_rows.h"
#include "filtered_lrelu/cpu/ring.h"
#include "filtered_lrelu/cpu/tile.h"
#include "lib/cpu/aligned.h"

namespace stylegan::filtered_lrelu::cpu {

// The down filter: rows of y from rows of v. A separable filter sums shifts of each row of v at once, and keeps the
// results in the ring. A 2-D filter keeps rows of v there.
class DownPass {
 public:
  DownPass(const Plan& plan, const Tile& tile, DestinationRows& destination)
      : plan_(plan), p_(plan.p), k_(plan.k), tile_(tile), destination_(destination),
        shift_(k_.shift[log2_of(p_.x.down.down)]) {}

  int64_t floats() const {
    return tile_.v_floats + ring_row() * plan_.ring_slots + folded_floats() + 2 * result_floats();
  }

  // Begins another tile.
  void begin(Arena& arena) {
    v_row_ = arena.take(tile_.v_floats);
    ring_.size = ring_row(), ring_.slots = plan_.ring_slots;
    ring_.rows = arena.take(ring_.size * ring_.slots);
    folded_ = arena.take(folded_floats());
    result_ = arena.take(2 * result_floats());
  }

  // Where row t of v has to be written.
  float* v_row(int64_t t) const { return plan_.down.product ? v_row_ : ring_.at(t); }

  // Takes row t of v, which is complete.
  void take_row(int64_t t) {
    if (!plan_.down.product) return;
    const ShiftTerm term{plan_.down.x.data(), v_row_ + tile_.window_offset()};
    shift_({&term, 1, p_.x.down.taps}, tile_.columns.out.size(), ring_.at(t), kPixel);
  }

  // Rows o .. o + count - 1 of y, count 1 or 2, or 1 for a 2-D filter.
  void make_rows(int64_t o, int64_t count) {
    const int64_t top = o * p_.y.down.down - p_.y.down.origin;
    const bool direct = destination_.direct();
    float* results[2] = {result_, result_ + result_floats()};
    if (direct) results[0] = destination_.row(o), results[1] = destination_.row(o + 1);
    const int64_t step = direct ? p_.channels : kPixel;
    if (plan_.down.product)
      sum_rows(top, count, results, step);
    else
      sum_window(top, results[0], step);
    if (!direct)
      for (int64_t i = 0; i < count; ++i) destination_.store(o + i, results[i]);
  }

 private:
  int64_t ring_row() const { return plan_.down.product ? tile_.y_floats : tile_.v_floats; }
  int64_t folded_floats() const { return plan_.down.symmetric ? tile_.v_floats * (p_.y.down.taps / 2) : 0; }
  int64_t result_floats() const { return round_up(tile_.y_floats, kPixel * kPixel); }

  // By a separable filter. Two rows of y share most rows of the ring.
  void sum_rows(int64_t top, int64_t count, float* const* results, int64_t step) {
    const FirAxis& a = p_.y.down;
    const int64_t columns = tile_.columns.out.size(), from = std::max<int64_t>(top, 0);
    const int64_t end = std::min(top + a.taps + (count - 1) * a.down, a.in);
    RowTerm first[kMaxTaps], second[kMaxTaps];
    PairTerm both[kMaxTaps];
    int64_t firsts = 0, seconds = 0, boths = 0;
    float* row = ring_.at(from);
    for (int64_t k = from - top; k < end - top; ++k, row = ring_.next(row)) {
      const int64_t l = k - a.down;  // the tap of the second row of y
      const bool in_first = k < a.taps, in_second = count == 2 && l >= 0 && l < a.taps;
      if (in_first && in_second)
        both[boths++] = {plan_.down.y[k], plan_.down.y[l], row};
      else if (in_first)
        first[firsts++] = {plan_.down.y[k], row};
      else if (in_second)
        second[seconds++] = {plan_.down.y[l], row};
    }
    if (count == 1)
      k_.sum(first, firsts, columns, results[0], step);
    else
      k_.sum_pair(first, firsts, both, boths, second, seconds, columns, results[0], results[1], step);
  }

  // By a 2-D filter. If it is symmetric along y, rows that share their taps are added first.
  void sum_window(int64_t top, float* dst, int64_t step) {
    const FirAxis& a = p_.y.down;
    const int64_t width = p_.x.down.taps, offset = tile_.window_offset(), v = tile_.v_floats;
    const float* taps = plan_.down.both.data();
    ShiftTerm terms[kMaxTaps];
    int64_t count = 0;
    if (plan_.down.symmetric && 0 <= top && top + a.taps <= a.in) {
      for (; count < a.taps / 2; ++count) {
        const RowTerm pair[] = {{1.0f, ring_.at(top + count)}, {1.0f, ring_.at(top + a.taps - 1 - count)}};
        k_.sum(pair, 2, v / kPixel, folded_ + count * v, kPixel);
        terms[count] = {taps + count * width, folded_ + count * v + offset};
      }
      if (a.taps % 2) terms[count] = {taps + count * width, ring_.at(top + count) + offset}, ++count;
    } else {
      for (int64_t k = std::max<int64_t>(-top, 0); k < std::min(a.taps, a.in - top); ++k)
        terms[count++] = {taps + k * width, ring_.at(top + k) + offset};
    }
    shift_({terms, count, width}, tile_.columns.out.size(), dst, step);
  }

  const Plan& plan_;
  const Params& p_;
  const Kernels& k_;
  const Tile& tile_;
  DestinationRows& destination_;
  void (*const shift_)(const Shifts&, int64_t pixels, float* dst, int64_t step);
  Ring ring_;  // rows of v after the filter along x, or rows of v
  float *v_row_ = nullptr, *folded_ = nullptr, *result_ = nullptr;
};

}  // namespace stylegan::filtered_lrelu::cpu
