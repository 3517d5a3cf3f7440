// SPDX-License-Identifier: Apache-2.0
// Where the tiles of a convolution lie; shared by winograd.cpp and winograd_grad.cpp.
#pragma once

#include <algorithm>
#include <cstdint>

#include "lib/cpu/aligned.h"
#include "lib/integer.h"
#include "winograd/cpu/winograd.h"
#include "winograd/cpu/kernels.h"

namespace stylegan::winograd::cpu {

// Floats from one frequency to the next: an odd number of lines, or all would meet in one set of the cache.
inline int64_t odd_lines(int64_t floats) { return (ceil_div(floats, kLineFloats) | 1) * kLineFloats; }

const Kernels& kernels_for(Isa isa);

struct Tiling {
  struct Tile {
    int64_t sample, row, column;
  };

  explicit Tiling(const Convolution& g)
      : g(g), side(sides_of(g.form)), rows(ceil_div(g.out_h, side.outputs)), columns(ceil_div(g.out_w, side.outputs)),
        tiles(g.samples * rows * columns), frequencies(side.frequencies * side.frequencies),
        weights(side.weights * side.weights) {}

  Tile tile(int64_t i) const { return {i / (rows * columns), i / columns % rows, i % columns}; }

  // The weight that a frequency is multiplied by.
  int64_t weight(int64_t f) const {
    const int64_t last = side.weights - 1;
    return std::min(f / side.frequencies, last) * side.weights + std::min(f % side.frequencies, last);
  }

  // pixels[row * inputs + column] of a tile of x, `zeros` outside of x; the same for y, [row * outputs + column].
  void inputs_of(const Tile& t, const float* x, const float* zeros, const float** pixels) const {
    const int64_t back = side.before;
    gather(x + t.sample * g.in_h * g.in_w * g.in_channels, g.in_h, g.in_w, g.in_channels,
           t.row * side.step - back - g.pad_y, t.column * side.step - back - g.pad_x, side.inputs, zeros, pixels);
  }
  void outputs_of(const Tile& t, const float* y, const float* zeros, const float** pixels) const {
    gather(y + t.sample * g.out_h * g.out_w * g.out_channels, g.out_h, g.out_w, g.out_channels, t.row * side.outputs,
           t.column * side.outputs, side.outputs, zeros, pixels);
  }

  const Convolution g;
  const Sides side;
  const int64_t rows, columns, tiles;
  const int64_t frequencies, weights;

 private:
  static void gather(const float* image, int64_t height, int64_t width, int64_t channels, int64_t y, int64_t x,
                     int64_t n, const float* zeros, const float** pixels) {
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) {
        const bool exists = 0 <= y + i && y + i < height && 0 <= x + j && x + j < width;
        pixels[i * n + j] = exists ? image + ((y + i) * width + x + j) * channels : zeros;
      }
  }
};

}  // namespace stylegan::winograd::cpu
