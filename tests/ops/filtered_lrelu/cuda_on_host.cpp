// SPDX-License-Identifier: Apache-2.0
// csrc/filtered_lrelu/cuda/filtered_lrelu.cuh for ctypes.
#include "filtered_lrelu/cuda/filtered_lrelu.cuh"

#include "entry.h"

using namespace stylegan;

// Good until the next one of the same number.
ENTRY const FilterTaps* filter_taps(int number, const void* taps, int separable, int flip, double gain) {
  static FilterTaps filters[2];
  filters[number] = {taps, separable != 0, flip != 0, gain};
  return &filters[number];
}

// Good until the next one. Axes: the 6 numbers of `up`, then those of `down`. numbers: negative, positive, clamp.
ENTRY const FilteredLrelu* parameters(int64_t samples, int64_t channels, int channels_last, const int64_t* x_axis,
                                      const int64_t* y_axis, const FilterTaps* up, const FilterTaps* down, const void* b,
                                      const double* numbers, int signs, void* mask) {
  static FilteredLrelu f;
  const auto axis = [](const int64_t* a) {
    return FilteredAxis{{a[0], a[1], a[2], a[3], a[4], a[5]}, {a[6], a[7], a[8], a[9], a[10], a[11]}};
  };
  f = {samples, channels, channels_last != 0, axis(x_axis), axis(y_axis), *up, *down, b, {numbers[0], numbers[1]}, numbers[2],
       static_cast<Signs>(signs), static_cast<uint32_t*>(mask)};
  return &f;
}

// Null, or what went wrong.
ENTRY const char* filtered_lrelu(int dtype, const FilteredLrelu* f, const void* x, void* y) {
  return message([&] { cuda::filtered_lrelu(static_cast<Dtype>(dtype), *f, x, y, nullptr); });
}

namespace stylegan::cuda {
bool filtered_lrelu_streamed(const FilteredLrelu&, const float* x, float* y, cudaStream_t);
}

// Whether the streaming kernel took it, in float32.
ENTRY int streamed(const FilteredLrelu* f, const float* x, float* y) {
  return cuda::filtered_lrelu_streamed(*f, x, y, nullptr);
}
