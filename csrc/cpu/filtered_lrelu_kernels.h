// SPDX-License-Identifier: Apache-2.0
// The loops of filtered_lrelu.cpp, which exist once for each instruction set. A pixel is kPixel neighbouring
// floats: of as many channels, or of as many planes.
#pragma once

#include "../common/filtered_lrelu.h"
#include "row_sums.h"

namespace stylegan::cpu {

constexpr int64_t kPixel = 16;  // floats: a cache line, and the samples that a word of a mask tells of

using FloatTerms = Terms<float>;

// What is between the two filters. Word i of a run of pixels is words[i * word_step]: bit j that of lane j.
struct Middle {
  Slopes slopes;
  double clamp;
  Signs signs;
  uint32_t* words;
  int64_t word_step;
};

struct FilteredKernels {
  // Pixel i of dst, at i * step floats, = the sum of factor * pixel i * stride of source; stride 1, 2, 4.
  using Sum = void (*)(const FloatTerms&, int64_t pixels, float* dst, int64_t step);
  Sum sum[3];  // by log2 of the stride
  // The same at stride 1, then what the Middle says.
  void (*activate)(const FloatTerms&, int64_t pixels, const Middle&, float* dst, int64_t step);
  // dst[i] = x[i * step] + b, pixel by pixel.
  void (*gather)(const float* x, int64_t step, int64_t pixels, const float* b, float* dst);
  // kPixel rows, `row` floats apart, and pixels: dst[i * kPixel + j] = rows[j * row + i] + b[j], and back. Rows have
  // room for whole groups of kPixel, and so have the pixels that they are made from.
  void (*to_pixels)(const float* rows, int64_t row, int64_t pixels, const float* b, float* dst);
  void (*to_rows)(const float* pixels, int64_t count, float* rows, int64_t row);
};

const FilteredKernels* filtered_lrelu_portable();
const FilteredKernels* filtered_lrelu_avx2();    // null where the compiler has no such instructions
const FilteredKernels* filtered_lrelu_avx512();

}  // namespace stylegan::cpu
