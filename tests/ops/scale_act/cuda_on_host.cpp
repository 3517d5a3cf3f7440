// SPDX-License-Identifier: Apache-2.0
// csrc/scale_act/cuda/scale_act.cuh for ctypes. What works returns null, or what went wrong.
#include "scale_act/cuda/scale_act.cuh"

#include "entry.h"

using namespace stylegan;
namespace kernels = stylegan::scale_act::cuda;

ENTRY int64_t plane_bytes(int64_t size) { return mask_plane_bytes(size); }

ENTRY int64_t noise_parts(int64_t samples, int64_t channels, int64_t pixels, int channels_last) {
  return kernels::noise_parts({samples, channels, pixels, channels_last != 0});
}

ENTRY int64_t partial_size(int64_t samples, int64_t channels, int64_t pixels, int channels_last) {
  return kernels::partial_size({samples, channels, pixels, channels_last != 0});
}

ENTRY const char* forward(int dtype, int64_t samples, int64_t channels, int64_t pixels, int channels_last,
                          const void* scale, const void* noise, const void* b, int noise_per_sample, double negative,
                          double positive, double clamp, void* mask, int planes, const void* x, void* y) {
  const Epilogue e{scale, noise, b, noise_per_sample != 0, {negative, positive}, clamp, static_cast<uint8_t*>(mask),
                   planes};
  const scale_act::Images images{samples, channels, pixels, channels_last != 0};
  return message([&] { kernels::forward(static_cast<Dtype>(dtype), images, e, x, y, nullptr); });
}

ENTRY const char* grad(int dtype, int64_t samples, int64_t channels, int64_t pixels, int channels_last, double negative,
                       double positive, int has_clamp, const void* mask, const void* x, const void* scale,
                       void* products, void* noise, void* sums, const void* dy, void* dx, void* partial) {
  const scale_act::GradParams a{
      {negative, positive}, has_clamp != 0, static_cast<const uint8_t*>(mask), x, scale, products, noise, sums};
  const scale_act::Images images{samples, channels, pixels, channels_last != 0};
  return message([&] { kernels::grad(static_cast<Dtype>(dtype), images, a, dy, dx, partial, nullptr); });
}
