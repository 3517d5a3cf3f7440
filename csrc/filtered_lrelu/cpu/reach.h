// SPDX-License-Identifier: Apache-2.0
// Which samples of x and of the grid between the filters some outputs of filtered_lrelu need, along an axis.
#pragma once

#include <algorithm>

#include "filtered_lrelu/params.h"

namespace stylegan::filtered_lrelu::cpu {

struct Span {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
  bool has(int64_t i) const { return begin <= i && i < end; }
};

// mid and in are what is computed and read; of mid all exist, of in and window (mid as the taps meet it) not. own: of
// mid, what no other range of outputs keeps a mask of; all ranges together own all of the grid.
struct Reach {
  Span out, window, mid, own, in;
};

// The outputs `out`, a range between 0 and size; own begins and ends at multiples of `align`, if masks are kept.
inline Reach reach(const Axis& a, Span out, bool keeps_mask, int64_t align) {
  const int64_t size = a.up.out;
  auto first = [&](int64_t o) { return std::clamp<int64_t>(o * a.down.down - a.down.origin, 0, size); };
  Reach r;
  r.out = out;
  r.window = {out.begin * a.down.down - a.down.origin, (out.end - 1) * a.down.down - a.down.origin + a.down.taps};
  r.mid = {std::clamp<int64_t>(r.window.begin, 0, size), std::clamp<int64_t>(r.window.end, 0, size)};
  if (keeps_mask) {
    r.own.begin = out.begin == 0 ? 0 : std::min(round_up(first(out.begin), align), size);
    r.own.end = out.end == a.down.out ? size : std::min(round_up(first(out.end), align), size);
    if (r.own.size() > 0) {
      if (r.mid.size() == 0) r.mid = r.own;
      r.mid = {std::min(r.mid.begin, r.own.begin), std::max(r.mid.end, r.own.end)};
    }
  }
  if (r.mid.size() > 0)
    r.in = {a.up.first_sample(r.mid.begin), floor_div(r.mid.end - 1 - a.up.origin + a.up.taps - 1, a.up.up) + 1};
  r.in.end = std::max(r.in.begin, r.in.end);
  return r;
}

}  // namespace stylegan::filtered_lrelu::cpu
