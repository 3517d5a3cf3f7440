// SPDX-License-Identifier: Apache-2.0
// The loops of filtered_lrelu.cpp, compiled once for each instruction set. A pixel is kPixel neighbouring
// floats: of as many channels, or of as many planes. Rows are rows of pixels.
#pragma once

#include "filtered_lrelu/params.h"

namespace stylegan::filtered_lrelu::cpu {

constexpr int64_t kPixel = 16;  // floats: a cache line, and the samples of a word of a mask

// A summand down the columns: row times a factor.
struct RowTerm {
  float factor;
  const float* row;
};

// The same for two sums at once.
struct PairTerm {
  float first, second;
  const float* row;
};

// A summand along the rows: the taps of one row of a filter, as they meet pixels from `row` on.
struct ShiftTerm {
  const float* taps;
  const float* row;
};
struct Shifts {
  const ShiftTerm* terms;
  int64_t count, taps;
};

// The activation between the two filters, and its mask. Word i of a run of pixels is words[i * word_step]: bit j that
// of lane j.
struct Middle {
  Slopes slopes;
  double clamp;
  Signs signs;
  uint32_t* words;
  int64_t word_step;
};

// Pixel i of a result is at i * step floats.
struct Kernels {
  void (*sum)(const RowTerm* terms, int64_t count, int64_t pixels, float* dst, int64_t step);
  // Two sums: of `first` and `both`, and of `both` and `second`.
  void (*sum_pair)(const RowTerm* first, int64_t firsts, const PairTerm* both, int64_t boths, const RowTerm* second,
                   int64_t seconds, int64_t pixels, float* dst_first, float* dst_second, int64_t step);
  // Pixel i begins at pixel i * stride of the rows; by log2 of the stride, 1, 2 or 4.
  void (*shift[3])(const Shifts&, int64_t pixels, float* dst, int64_t step);
  // The same at stride 1, then the activation.
  void (*activate)(const Shifts&, int64_t pixels, const Middle&, float* dst, int64_t step);
  // That for two neighbouring phases, at dst and a pixel later, with neighbouring words; each has terms.
  void (*activate_pair)(const Shifts& first, const Shifts& second, int64_t pixels, const Middle&, float* dst,
                        int64_t step);
  // dst[i] = x[i * step] + b, pixel by pixel.
  void (*gather)(const float* x, int64_t step, int64_t pixels, const float* b, float* dst);
  // kPixel rows of samples, `row` floats apart, and pixels: dst[i * kPixel + j] = rows[j * row + i] + b[j], and back.
  void (*to_pixels)(const float* rows, int64_t row, int64_t pixels, const float* b, float* dst);
  void (*to_rows)(const float* from, int64_t pixels, float* rows, int64_t row);
};

const Kernels* portable_kernels();
const Kernels* avx2_kernels();    // null if the compiler does not know these instructions
const Kernels* avx512_kernels();

}  // namespace stylegan::filtered_lrelu::cpu
