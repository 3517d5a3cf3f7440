// SPDX-License-Identifier: Apache-2.0
// The adjoint of winograd.cpp: tiles of x, transformed as there, times tiles of dy, transformed by the adjoint of the
// output's transform, summed over all tiles, give the gradient of the transformed weights. Tiles of a round are made
// first, then each task adds the products of one weight and some channels, so no two tasks write to one number, and
// sums are taken in the same order for any number of threads.

#include "winograd/cpu/tiling.h"

#include <vector>

namespace stylegan::winograd::cpu {
namespace {

// Bytes of transformed tiles of a round; the same for any number of threads. Sums are read and written once a round, so
// tiles may take a multiple of theirs, within what caches hold if the sums are small, and memory if not.
constexpr int64_t kMinRoundBytes = 4 << 20, kMaxRoundBytes = 48 << 20, kRoundOfSums = 3;

struct Work : Tiling {
  explicit Work(const Convolution& g)
      : Tiling(g), in_panels(ceil_div(g.in_channels, kPanel)), out_panels(ceil_div(g.out_channels, kPanel)) {
    const int64_t bytes = frequencies * (in_panels + out_panels) * kPanel * sizeof(float);
    const int64_t sums = weights * in_panels * kPanel * g.out_channels * sizeof(float);
    const int64_t wanted = std::min(std::max(kRoundOfSums * sums, kMinRoundBytes), kMaxRoundBytes);
    round = std::min(tiles, std::max(wanted / bytes, kLineFloats));
    panel = odd_lines(round * kPanel);
    in_frequency = in_panels * panel;
    out_frequency = out_panels * panel;
    row = in_panels * kPanel;
    weight_size = odd_lines(g.out_channels * row);
  }

  const int64_t in_panels, out_panels;
  int64_t round;                        // tiles that are made before they are multiplied
  int64_t panel;                        // floats from a panel of their channels to the next
  int64_t in_frequency, out_frequency;  // from a frequency to the next, of x and dy
  int64_t row, weight_size;             // of the sums, [weight, out_channels, row]
};

}  // namespace

int64_t grad_workspace_size(const Convolution& g) {
  const Work w(g);
  return w.weights * w.weight_size + w.frequencies * (w.in_frequency + w.out_frequency) + kLineFloats;
}

void weight_grad(const Convolution& g, Isa isa, const float* x, const float* dy, float* dw, float* workspace,
                 const ParallelFor& parallel_for) {
  const Work w(g);
  const Kernels& k = kernels_for(isa);
  const int form = static_cast<int>(g.form);
  float* const sums = align_to_line(workspace);
  float* const v = sums + w.weights * w.weight_size;
  float* const m = v + w.frequencies * w.in_frequency;
  const std::vector<float> zeros(std::max(g.in_channels, g.out_channels));
  for (int64_t start = 0; start < w.tiles; start += w.round) {
    const int64_t count = std::min(w.round, w.tiles - start);
    parallel_for(count, 1, [&](int64_t begin, int64_t end) {
      const float* pixels[kMaxTileSide * kMaxTileSide];
      for (int64_t t = begin; t < end; ++t) {
        const Tiling::Tile tile = w.tile(start + t);
        w.inputs_of(tile, x, zeros.data(), pixels);
        k.input[form](pixels, nullptr, g.in_channels, v + t * kPanel, w.in_frequency, w.panel);
        w.outputs_of(tile, dy, zeros.data(), pixels);
        k.output_adjoint[form](pixels, nullptr, g.out_channels, m + t * kPanel, w.out_frequency, w.panel);
      }
    });
    parallel_for(w.weights * w.out_panels, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t weight = task / w.out_panels, out = task % w.out_panels, o = out * kPanel;
        const int64_t outs = std::min(kPanel, g.out_channels - o);
        float* const to = sums + weight * w.weight_size + o * w.row;
        if (start == 0) std::fill_n(to, outs * w.row, 0.f);
        for (int64_t f = 0; f < w.frequencies; ++f) {
          if (w.weight(f) != weight) continue;
          for (int64_t in = 0; in < w.in_panels; ++in)
            k.multiply_adjoint(m + f * w.out_frequency + out * w.panel, outs, v + f * w.in_frequency + in * w.panel,
                               count, to + in * kPanel, w.row);
        }
      }
    });
  }
  parallel_for(g.out_channels * w.in_panels, 8, [&](int64_t begin, int64_t end) {
    alignas(64) float taps[9 * kPanel];
    for (int64_t task = begin; task < end; ++task) {
      const int64_t o = task / w.in_panels, first = task % w.in_panels * kPanel;
      k.weights_adjoint[form](sums + o * w.row + first, w.weight_size, taps);
      float* to = dw + (o * g.in_channels + first) * 9;
      for (int64_t i = 0; i < std::min(kPanel, g.in_channels - first); ++i)
        for (int64_t tap = 0; tap < 9; ++tap) *to++ = taps[tap * kPanel + i];
    }
  });
}

}  // namespace stylegan::winograd::cpu
