// SPDX-License-Identifier: Apache-2.0
// The loops of winograd.cpp, compiled once for each instruction set.
#pragma once

#include "winograd/params.h"

namespace stylegan::winograd::cpu {

constexpr int64_t kPanel = 32;   // output channels that a multiplication makes
constexpr int kMaxTileSide = 9;  // inputs of a tile on either side
constexpr int kForms = 4;

// The epilogue of a panel, and where a tile of y lies in memory.
struct Output {
  int64_t channels;                          // of the panel that exist
  const float *scale, *b, *noise;  // of the panel's first channel, of the tile's first pixel; null: 1, 0, 0
  int64_t noise_row;  // floats between rows
  float negative, positive, clamp;
  float* y;
  int64_t y_row, y_column;  // floats between pixels
  int64_t rows, columns;  // of the tile that exist
};

// By form. In v, channel c of frequency f is at f * frequency + c / kPanel * panel + c % kPanel.
struct Kernels {
  using Spread = void (*)(const float* const* pixels, const float* styles, int64_t channels, float* v,
                          int64_t frequency, int64_t panel);
  // A tile of pixels [row * inputs + column] -> v, each times styles[c] (null: 1)
  Spread input[kForms];
  // c[r, o] = sum over k of a[r, k] * u[k, o]; c and u have kPanel columns, a has `stride`
  void (*multiply)(const float* a, int64_t stride, int64_t rows, const float* u, int64_t depth, float* c);
  // m[f * frequency + o] of a tile -> y
  void (*output[kForms])(const float* m, int64_t frequency, const Output&);
  // w[tap, kPanel] -> u[f * frequency + o]
  void (*weights[kForms])(const float* w, float* u, int64_t frequency);

  // For the gradient w.r.t. the weight; null for `up`, which is `down` of the two images exchanged.
  // A tile of pixels [row * outputs + column] -> v
  Spread output_adjoint[kForms];
  // c[r, i] += sum over k of a[k, r] * u[k, i]; a and u have kPanel columns, c has `stride`
  void (*multiply_adjoint)(const float* a, int64_t columns, const float* u, int64_t depth, float* c, int64_t stride);
  // u[f * frequency + i] -> w[tap, kPanel]
  void (*weights_adjoint[kForms])(const float* u, int64_t frequency, float* w);
};

const Kernels* portable_kernels();
const Kernels* avx2_kernels();  // null if the compiler does not know these instructions
const Kernels* avx512_kernels();

}  // namespace stylegan::winograd::cpu
