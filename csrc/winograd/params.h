// SPDX-License-Identifier: Apache-2.0
// The parameters of the kernels of 3x3 convolutions by minimal filtering.
#pragma once

#include <cstdint>

namespace stylegan::winograd {

// tile2, tile4: y[p] = sum of w[k] x[p + k - pad], in tiles of 2 or 4 outputs on either side
// up:           y[2 p + k] += w[k] x[p] (the transposed convolution at stride 2)
// down:         y[p] = sum of w[k] x[2 p + k - pad]
enum class Form : int { tile2, tile4, up, down };

// Of one axis. The last frequencies share the last weight.
struct Sides {
  int64_t inputs, frequencies, outputs, weights;
  int64_t step, before;  // inputs from tile to tile, and before the first of a tile
};

constexpr Sides sides_of(Form form) {
  switch (form) {
    case Form::tile2: return {4, 4, 2, 4, 2, 0};
    case Form::tile4: return {6, 6, 4, 6, 4, 0};
    case Form::up: return {5, 9, 8, 6, 4, 1};
    default: return {9, 9, 4, 6, 8, 0};
  }
}

struct Convolution {
  Form form;
  int64_t samples, in_channels, out_channels;
  int64_t in_h, in_w, out_h, out_w;  // of x and y; all at least 1
  int64_t pad_y, pad_x;              // zeros before x; 0 for up
};

// The layout of w in memory: w[o, i, ky, kx] at o * stride_o + i * stride_i + ky * stride_y + kx * stride_x
struct Filters {
  Form form;
  int64_t out_channels, in_channels;
  int64_t stride_o, stride_i, stride_y, stride_x;
};

}  // namespace stylegan::winograd
