// SPDX-License-Identifier: Apache-2.0
// What kernels do with their sums before they store them.
#pragma once

#include <cuda_runtime.h>

#include "lib/activation.h"
#include "lib/cuda/vec.cuh"
#include "lib/epilogue.h"

namespace stylegan::cuda {

// Epilogue with numbers in the dtype of arithmetic.
template <class T> struct DeviceEpilogue {
  const T *scale, *noise, *b;
  bool noise_per_sample;
  T negative, positive, clamp;
  uint8_t *positive_plane, *inside_plane;  // null without that plane

  DeviceEpilogue() = default;
  // size: elements of y
  DeviceEpilogue(const Epilogue& e, int64_t size)
      : scale(static_cast<const T*>(e.scale)), noise(static_cast<const T*>(e.noise)), b(static_cast<const T*>(e.b)),
        noise_per_sample(e.noise_per_sample), negative(static_cast<T>(e.slopes.negative)),
        positive(static_cast<T>(e.slopes.positive)), clamp(static_cast<T>(e.clamp)),
        positive_plane(e.planes > 0 ? e.mask : nullptr),
        inside_plane(e.planes > 1 ? e.mask + mask_plane_bytes(size) : nullptr) {}

  // pixel: oy * width + ox of `pixels` in a sample
  __device__ __forceinline__ T scale_of(int64_t n, int64_t c, int64_t channels) const {
    return scale == nullptr ? T(1) : scale[n * channels + c];
  }
  __device__ __forceinline__ T noise_of(int64_t n, int64_t pixel, int64_t pixels) const {
    return noise == nullptr ? T(0) : noise[(noise_per_sample ? n * pixels : 0) + pixel];
  }
  __device__ __forceinline__ T b_of(int64_t c) const { return b == nullptr ? T(0) : b[c]; }

  // From u to y.
  __device__ __forceinline__ T activated(T u) const { return clamped(sloped(u, negative, positive), clamp); }

  // The same for elements i .. i + 7 of y, i a multiple of 8, and their bits.
  __device__ __forceinline__ void activate(int64_t i, T (&u)[8]) const {
    unsigned above = 0, within = 0;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      above |= (u[j] > 0 ? 1u : 0u) << j;
      u[j] = sloped(u[j], negative, positive);
      within |= (inside(u[j], clamp) ? 1u : 0u) << j;
      u[j] = clamped(u[j], clamp);
    }
    if (positive_plane != nullptr) positive_plane[i / 8] = static_cast<uint8_t>(above);
    if (inside_plane != nullptr) inside_plane[i / 8] = static_cast<uint8_t>(within);
  }

  // The same for element i alone, with the bits of 8 neighbouring threads. All threads of the warp must call it,
  // also those beyond the last element.
  __device__ __forceinline__ T activate_alone(int64_t i, int64_t size, T u) const {
    const T v = sloped(u, negative, positive);
    const int lane = threadIdx.x % 32;
    const unsigned above = __ballot_sync(~0u, u > 0) >> lane, within = __ballot_sync(~0u, inside(v, clamp)) >> lane;
    if (lane % 8 == 0 && i < size) {
      if (positive_plane != nullptr) positive_plane[i / 8] = static_cast<uint8_t>(above);
      if (inside_plane != nullptr) inside_plane[i / 8] = static_cast<uint8_t>(within);
    }
    return clamped(v, clamp);
  }
};

}  // namespace stylegan::cuda
