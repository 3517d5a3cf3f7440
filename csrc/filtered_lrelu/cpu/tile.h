// SPDX-License-Identifier: Apache-2.0
// The part of y that a task makes, and which parts of x and of the grid between the filters it needs.
#pragma once

#include <algorithm>
#include <cstdint>

#include "filtered_lrelu/cpu/plan.h"
#include "filtered_lrelu/cpu/reach.h"

namespace stylegan::filtered_lrelu::cpu {

struct Tile {
  Tile() = default;
  Tile(const Plan& plan, int64_t task) {
    const Params& p = plan.p;
    block = task % plan.blocks;  // tasks one after another are neighbours in memory
    task /= plan.blocks;
    const int64_t column = task % plan.tiles_x * plan.width;
    task /= plan.tiles_x;
    const int64_t row = task % plan.tiles_y * plan.height;
    sample = task / plan.tiles_y;
    const int64_t align = p.channels_last ? 1 : kMaskSamples;
    columns = reach(p.x, {column, std::min(column + plan.width, p.x.down.out)}, plan.keeps, align);
    rows = reach(p.y, {row, std::min(row + plan.height, p.y.down.out)}, plan.keeps, 1);
    lanes = std::min(kPixel, (p.channels_last ? p.channels : p.samples * p.channels) - block * kPixel);
    source = {std::clamp<int64_t>(columns.in.begin, 0, p.x.up.in), std::clamp<int64_t>(columns.in.end, 0, p.x.up.in)};
    v_begin = std::min(columns.window.begin, columns.mid.size() > 0 ? columns.mid.begin : columns.window.begin);
    x_floats = columns.in.size() * kPixel;
    v_floats = (std::max(columns.window.end, columns.mid.end) - v_begin) * kPixel;
    y_floats = columns.out.size() * kPixel;
  }

  // Offsets in a row of v.
  int64_t mid_offset() const { return (columns.mid.begin - v_begin) * kPixel; }
  int64_t window_offset() const { return (columns.window.begin - v_begin) * kPixel; }

  int64_t block = 0, sample = 0, lanes = 0;  // block: of 16 lanes; lanes: of those that exist
  Reach columns, rows;
  Span source;                                      // columns of x that taps meet and that exist
  int64_t v_begin = 0;                              // column of the grid with which rows of v begin
  int64_t x_floats = 0, v_floats = 0, y_floats = 0;  // of a row of pixels
};

}  // namespace stylegan::filtered_lrelu::cpu
