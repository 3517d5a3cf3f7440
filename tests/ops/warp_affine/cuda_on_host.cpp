// SPDX-License-Identifier: Apache-2.0
// csrc/warp_affine/cuda/warp_affine.cuh for ctypes.
#include "warp_affine/cuda/warp_affine.cuh"

#include "entry.h"

using namespace stylegan;
namespace kernels = stylegan::warp_affine::cuda;

static stylegan::warp_affine::Params params(const int64_t* n, const void* matrix, const void* f, int adjoint) {
  return {n[0], n[1], n[2], n[3], n[4], matrix, f, adjoint != 0};
}

// sizes: samples, channels, height, width, taps.
ENTRY int64_t workspace_size(const int64_t* sizes, int adjoint) {
  return kernels::workspace_size(params(sizes, nullptr, nullptr, adjoint));
}

// Null, or what went wrong.
ENTRY const char* warp_affine(int dtype, const int64_t* sizes, const void* matrix, const void* f, int adjoint,
                              const void* x, void* y, void* workspace) {
  return message(
      [&] { kernels::run(static_cast<Dtype>(dtype), params(sizes, matrix, f, adjoint), x, y, workspace, nullptr); });
}
