// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace stylegan::cpu {

// tile2, tile4: y[p] = sum of w[k] x[p + k - pad], in tiles of 2 or 4 outputs on either side
// up:           y[2 p + k] += w[k] x[p] (the transposed convolution at stride 2)
// down:         y[p] = sum of w[k] x[2 p + k - pad]
enum class WinogradForm : int { tile2, tile4, up, down };

// Of one axis. The last frequencies share the last weight.
struct WinogradSides {
  int64_t inputs, frequencies, outputs, weights;
  int64_t step, before;  // inputs from tile to tile, and before the first of a tile
};

constexpr WinogradSides winograd_sides(WinogradForm form) {
  switch (form) {
    case WinogradForm::tile2: return {4, 4, 2, 4, 2, 0};
    case WinogradForm::tile4: return {6, 6, 4, 6, 4, 0};
    case WinogradForm::up: return {5, 9, 8, 6, 4, 1};
    default: return {9, 9, 4, 6, 8, 0};
  }
}

}  // namespace stylegan::cpu
