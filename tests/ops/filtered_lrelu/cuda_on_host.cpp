// SPDX-License-Identifier: Apache-2.0
// csrc/filtered_lrelu/cuda/filtered_lrelu.cuh for ctypes.
#include "filtered_lrelu/cuda/filtered_lrelu.cuh"

#include "entry.h"

using namespace stylegan;
using namespace stylegan::filtered_lrelu;
namespace kernels = stylegan::filtered_lrelu::cuda;

// Good until the next one of the same number.
ENTRY const FilterTaps* filter_taps(int number, const void* taps, int separable, int flip, double gain) {
  static FilterTaps filters[2];
  filters[number] = {taps, separable != 0, flip != 0, gain};
  return &filters[number];
}

// Good until the next one. Axes: the 6 numbers of `up`, then those of `down`. numbers: negative, positive, clamp.
ENTRY const Params* parameters(int64_t samples, int64_t channels, int channels_last, const int64_t* x_axis,
                               const int64_t* y_axis, const FilterTaps* up, const FilterTaps* down, const void* b,
                               const double* numbers, int signs, void* mask) {
  static Params f;
  const auto axis = [](const int64_t* a) {
    return Axis{{a[0], a[1], a[2], a[3], a[4], a[5]}, {a[6], a[7], a[8], a[9], a[10], a[11]}};
  };
  f = {samples,
       channels,
       channels_last != 0,
       axis(x_axis),
       axis(y_axis),
       *up,
       *down,
       b,
       {numbers[0], numbers[1]},
       numbers[2],
       static_cast<Signs>(signs),
       static_cast<uint32_t*>(mask)};
  return &f;
}

// Null, or what went wrong.
ENTRY const char* filtered_lrelu(int dtype, const Params* f, const void* x, void* y) {
  return message([&] { kernels::run(static_cast<Dtype>(dtype), *f, x, y, nullptr); });
}

namespace stylegan::filtered_lrelu::cuda {
bool try_stream(const Params&, const float* x, float* y, cudaStream_t);
}

// Whether the streaming kernel took it, in float32.
ENTRY int streamed(const Params* f, const float* x, float* y) { return kernels::try_stream(*f, x, y, nullptr); }
