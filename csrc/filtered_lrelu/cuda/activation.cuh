// SPDX-License-Identifier: Apache-2.0
// From u to v between the two filters of filtered_lrelu.
#pragma once

#include <cuda_runtime.h>

#include "filtered_lrelu/params.h"
#include "lib/cuda/vec.cuh"

namespace stylegan::filtered_lrelu::cuda {

using namespace stylegan::cuda;  // lib/cuda

// The maximum and the minimum of two numbers, NaN if one of them is. That is one instruction; a comparison and a
// selection, as in `clamped`, are two.
__device__ __forceinline__ float nan_max(float a, float b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  float v;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(v) : "f"(a), "f"(b));
  return v;
#else
  return a > b || a != a ? a : b;
#endif
}
__device__ __forceinline__ float nan_min(float a, float b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  float v;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(v) : "f"(a), "f"(b));
  return v;
#else
  return a < b || a != a ? a : b;
#endif
}

// The activation between the two filters.
struct MidActivation {
  float negative, positive, clamp;
  float min_u;  // of u: 0 where the slope below is 0, so that 0 * -infinity is 0, as in `sloped`

  MidActivation() = default;
  explicit MidActivation(const Params& p)
      : negative(static_cast<float>(p.slopes.negative)), positive(static_cast<float>(p.slopes.positive)),
        clamp(static_cast<float>(p.clamp)), min_u(negative == 0 ? 0 : -std::numeric_limits<float>::infinity()) {}

  // v before the clamp, and after it.
  __device__ __forceinline__ float slope(float u) const { return nan_max(u, min_u) * (u > 0 ? positive : negative); }
  __device__ __forceinline__ float clamped(float v) const { return nan_min(nan_max(v, -clamp), clamp); }

  // v by bits 0 and 16 of a word of the mask: 0 where the derivative is 0, even for an infinite u.
  __device__ __forceinline__ float given(float u, uint32_t bits) const {
    const float slope = (bits & 0x10000) == 0 ? 0.0f : (bits & 1) != 0 ? positive : negative;
    return slope == 0 ? 0.0f : u * slope;
  }
};

}  // namespace stylegan::filtered_lrelu::cuda
