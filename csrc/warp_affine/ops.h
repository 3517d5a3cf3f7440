// SPDX-License-Identifier: Apache-2.0
// The op warp_affine: arguments checked, output allocated, kernel called.
#pragma once

#include "lib/op.h"
#include "lib/tensor.h"
#include "warp_affine/params.h"

namespace stylegan::warp_affine {

struct Call {
  Tensor x, matrix, f;
  bool adjoint;
};

constexpr int64_t kMaxTaps = 64;

// Kernels read and write contiguous images; those in channels_last are copied.
template <class Device> Tensor forward(Call call) {
  const char* op = "warp_affine";
  STD_TORCH_CHECK(call.x.dim() == 4, op, ": x must be [N, C, H, W]");
  const Tensor given = in_either_layout(call.x);
  const Tensor& m = call.matrix;
  const int64_t n = given.size(0), c = given.size(1), h = given.size(2), w = given.size(3);
  STD_TORCH_CHECK(m.dim() == 3 && m.size(0) == n && m.size(1) == 3 && m.size(2) == 3, op, ": matrix must be [N, 3, 3]");
  STD_TORCH_CHECK(call.f.dim() == 1 && call.f.numel() > 0 && call.f.numel() % 4 == 0 && call.f.numel() <= kMaxTaps, op,
                  ": f must be [k] with k divisible by 4 and at most ", kMaxTaps);
  STD_TORCH_CHECK(m.device() == given.device() && call.f.device() == given.device(), op,
                  ": matrix and f must be on the device of x");
  const Tensor x = given.is_contiguous() ? given : torch::stable::contiguous(given);
  Tensor y = empty_strided(x, x.sizes().data(), image_strides(false, c, h, w), x.scalar_type());
  if (x.numel() > 0) {
    const Tensor matrix = contiguous_as(m, arithmetic_type(x)), f = contiguous_as(call.f, arithmetic_type(x));
    const Params p{n, c, h, w, f.numel(), matrix.const_data_ptr(), f.const_data_ptr(), call.adjoint};
    const typename Device::Context context(x);
    Device::warp_affine(dtype_of(x), p, x.const_data_ptr(), y.mutable_data_ptr(), context);
  }
  return with_strides(y, image_strides(is_channels_last(given), c, h, w));
}

template <class Device> void implement_ops(Library& m) { implement_with_raw<&forward<Device>>(m, "warp_affine"); }

}  // namespace stylegan::warp_affine
