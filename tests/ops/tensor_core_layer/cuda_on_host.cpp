// SPDX-License-Identifier: Apache-2.0
// csrc/tensor_core_layer/cuda/tensor_core_layer.cuh for ctypes. What works returns null, or what went wrong.
#include "tensor_core_layer/cuda/tensor_core_layer.cuh"

#include "entry.h"

using namespace stylegan;
namespace kernels = stylegan::tensor_core_layer::cuda;
namespace kernels = stylegan::tensor_core_layer::cuda;

// numbers: as Convolution
static stylegan::tensor_core_layer::Convolution conv_of(const int64_t* c) {
  return {c[0], c[1], c[2], c[3], c[4], c[5], c[6], static_cast<int>(c[7]), c[8], c[9], c[10] != 0};
}

ENTRY int64_t plane_bytes(int64_t size) { return mask_plane_bytes(size); }

ENTRY int variants(int dtype) { return kernels::variants(static_cast<Dtype>(dtype)); }

// m, n, k, stages, threads
ENTRY void tile(int dtype, int variant, int* numbers) {
  const kernels::TileShape t = kernels::tile_shape(static_cast<Dtype>(dtype), variant);
  numbers[0] = t.m, numbers[1] = t.n, numbers[2] = t.k, numbers[3] = t.stages, numbers[4] = t.threads;
}

ENTRY int fits(int dtype, const int64_t* numbers) {
  return kernels::supports(static_cast<Dtype>(dtype), conv_of(numbers));
}

ENTRY void choice(int dtype, const int64_t* numbers, int* variant, int* split) {
  const stylegan::tensor_core_layer::Choice made =
      kernels::choose(static_cast<Dtype>(dtype), conv_of(numbers), {*variant, *split});
  *variant = made.variant, *split = made.split;
}

ENTRY int64_t workspace(const int64_t* numbers, int variant, int split) {
  return kernels::workspace_size(conv_of(numbers), {variant, split});
}

ENTRY const char* tensor_core_layer(int dtype, const int64_t* numbers, int variant, int split, const void* scale,
                                    const void* noise, const void* b, int noise_per_sample, double negative,
                                    double positive, double clamp, void* mask, int planes, const void* x,
                                    const void* weight, const void* styles, void* y, void* workspace) {
  const Epilogue e{scale, noise, b, noise_per_sample != 0, {negative, positive}, clamp, static_cast<uint8_t*>(mask),
                   planes};
  return message([&] {
    kernels::run(static_cast<Dtype>(dtype), conv_of(numbers), e, {x, weight, styles}, y, workspace, {variant, split},
                 nullptr);
  });
}
